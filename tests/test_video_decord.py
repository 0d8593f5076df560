from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from i2vbench import video_io
from i2vbench.clip import Clip
from i2vbench.errors import MissingPackageError, UnreadableClipError, UserError
from i2vbench.video_io import READERS, read_video, require_reader, write_video


def decord_or_skip() -> Any:
    """Loaded as the product loads it, which leaves OpenCV whole."""
    try:
        require_reader("decord")
    except MissingPackageError as error:
        pytest.skip(str(error))
    return sys.modules["decord"]


def noise(num_frames: int, height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def encode(path: Path, frames: np.ndarray, codec: str = "libx264") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_an_unknown_reader_is_refused() -> None:
    assert READERS == ("pyav", "decord")
    require_reader("pyav")
    with pytest.raises(UserError, match="did you mean 'decord'"):
        require_reader("decor")
    with pytest.raises(UserError, match="accepted: decord, pyav"):
        read_video("a.mp4", reader="x")


def test_where_decord_is_missing_a_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(MissingPackageError) as caught:
        require_reader("decord")
    assert "'pyav'" in str(caught.value)
    assert "\n" not in str(caught.value)
    write_video(tmp_path / "a.mp4", Clip(frames=noise(2, 8, 8), fps=8))
    assert read_video(tmp_path / "a.mp4").geometry.num_frames == 2
    with pytest.raises(MissingPackageError):
        read_video(tmp_path / "a.mp4", reader="decord")


@pytest.mark.parametrize("shape", [(16, 64, 64), (5, 37, 51), (1, 40, 32)])
def test_both_readers_agree_on_lossless_files(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    decord_or_skip()
    frames = noise(*shape)
    write_video(tmp_path / "a.mp4", Clip(frames=frames, fps=8))
    clip = read_video(tmp_path / "a.mp4", reader="decord")
    np.testing.assert_array_equal(clip.frames, frames)
    assert clip.fps == 8


def test_the_pixels_are_decords_own(tmp_path: Path) -> None:
    """Of YUV 4:2:0 with an odd size the two differ, by more than rounding."""
    decord = decord_or_skip()
    frames = noise(9, 37, 51)
    frames[:, 8:24, 8:24] = (250, 20, 20)
    path = encode(tmp_path / "a.mkv", frames, "ffv1")
    video = decord.VideoReader(str(path))
    expected = video.get_batch(range(len(video))).asnumpy()
    clip = read_video(path, reader="decord")
    np.testing.assert_array_equal(clip.frames, expected)
    assert clip.fps == video.get_avg_fps()
    difference = np.abs(read_video(path).frames.astype(int) - clip.frames)
    assert difference.max() > 2
    np.testing.assert_array_equal(
        read_video(path, reader="decord", keep=range(1, 9, 3)).frames, expected[1::3]
    )
    np.testing.assert_array_equal(
        read_video(path, reader="decord", max_frames=4).frames, expected[:4]
    )
    with pytest.raises(UnreadableClipError, match="frame 9 was asked for"):
        read_video(path, reader="decord", keep=range(5, 10))


def test_another_bridge_of_the_process_is_left_alone(tmp_path: Path) -> None:
    decord = decord_or_skip()
    write_video(tmp_path / "a.mp4", Clip(frames=noise(2, 40, 64), fps=8))
    decord.bridge.set_bridge("torch")
    try:
        clip = read_video(tmp_path / "a.mp4", reader="decord")
        assert type(decord.VideoReader(str(tmp_path / "a.mp4"))[0]).__name__ == "Tensor"
    finally:
        decord.bridge.set_bridge("native")
    assert isinstance(clip.frames, np.ndarray)


def test_damage_that_decord_covers_with_copies_is_refused(tmp_path: Path) -> None:
    decord_or_skip()
    write_video(tmp_path / "a.mp4", Clip(frames=noise(16, 64, 64), fps=8))
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    (tmp_path / "a.mp4").write_bytes(content[:-200])
    with pytest.raises(UnreadableClipError, match="truncated"):
        read_video(tmp_path / "a.mp4", reader="decord")
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UnreadableClipError, match="damaged"):
        read_video(tmp_path / "a.mp4", reader="decord")


def test_the_same_bound_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decord_or_skip()
    write_video(tmp_path / "a.mp4", Clip(frames=noise(8, 256, 256), fps=8))
    monkeypatch.setattr(video_io, "MAX_MIB", 1)
    with pytest.raises(UnreadableClipError, match="more than 1 MiB"):
        read_video(tmp_path / "a.mp4", reader="decord")
    assert read_video(tmp_path / "a.mp4", reader="decord", max_frames=4).geometry.num_frames == 4


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed on Linux")
def test_no_file_stays_open(tmp_path: Path) -> None:
    decord_or_skip()
    path = tmp_path / "a.mp4"
    write_video(path, Clip(frames=noise(4, 64, 64), fps=8))
    for _ in range(3):
        read_video(path, reader="decord")
        with pytest.raises(UnreadableClipError):
            read_video(path, reader="decord", keep=range(9, 10))
    still_open = [
        link for link in Path("/proc/self/fd").iterdir() if link.resolve() == path.resolve()
    ]
    assert not still_open


def test_frames_too_narrow_for_decord_are_refused(tmp_path: Path) -> None:
    decord_or_skip()
    write_video(tmp_path / "a.mp4", Clip(frames=noise(2, 16, 8), fps=8))
    with pytest.raises(UnreadableClipError, match="as narrow as 8 pixels"):
        read_video(tmp_path / "a.mp4", reader="decord")


def test_pictures_are_read_beside_decord(tmp_path: Path) -> None:
    """In a process of its own: decord changes the zlib of what is loaded after it."""
    write_video(tmp_path / "a.mp4", Clip(frames=noise(2, 40, 64), fps=8))
    decord_or_skip()
    code = (
        "import sys, av, numpy as np; from i2vbench.video_io import read_video;"
        "from i2vbench.pictures import read_picture;"
        "read_video(sys.argv[1], reader='decord'); print(read_picture(sys.argv[2])[0, 0])"
    )
    deep = np.full((9, 9, 3), (65535, 257, 32896), np.uint16)
    with av.open(str(tmp_path / "a.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 9, 9, "rgb48be"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(deep, format="rgb48be")))
        container.mux(stream.encode())
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.mp4"), str(tmp_path / "a.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["[255", "1", "128]"]
