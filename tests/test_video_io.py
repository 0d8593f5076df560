from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2vbench import video_io
from i2vbench.clip import Clip
from i2vbench.errors import MissingPackageError, UnreadableClipError
from i2vbench.video_io import count_frames, read_video, require_reader, write_video


def noise(num_frames: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def waves(num_frames: int = 32, height: int = 64, width: int = 96) -> np.ndarray:
    """Frames that all differ and that lossy codecs keep apart."""
    t, y, x = np.mgrid[:num_frames, :height, :width]
    red = 128 + 90 * np.sin(x / 7 + t / 2)
    green = 128 + 90 * np.sin(y / 5 - t / 3)
    blue = np.clip(4 * t + 0 * x, 0, 255)
    grain = np.random.default_rng(1).normal(0, 6, (num_frames, height, width, 3))
    return (np.stack([red, green, blue], axis=-1) + grain).clip(0, 255).astype(np.uint8)


def encode(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: list[int] | None = None,
    muxer: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Writes ``frames`` at 8 fps, or at ``times`` in eighths of a second."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=8, options=options)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pix_fmt
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def copy_from(source: Path, target: Path, start_s: float, **muxer: str) -> Path:
    """What ``ffmpeg -ss START -i SOURCE -c copy TARGET`` does: whole groups, and an edit list."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=muxer) as new:
        stream = old.streams.video[0]
        copied = new.add_stream_from_template(stream)
        start = int(start_s / stream.time_base)
        old.seek(start, stream=stream)
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.stream = copied
                packet.pts -= start
                packet.dts -= start
                new.mux(packet)
    return target


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableClipError) as caught:
        read_video(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


@pytest.mark.parametrize(
    ("shape", "fps"),
    [
        ((1, 64, 64), 8.0),
        ((16, 64, 64), 8.0),
        ((5, 37, 51), 24000 / 1001),
        ((3, 1, 1), 7.5),
        ((2, 2, 131), 30000 / 1001),
        ((2, 131, 2), 0.1),
        ((7, 48, 80), 59.94),
    ],
)
def test_what_was_written_is_read(tmp_path: Path, shape: tuple[int, int, int], fps: float) -> None:
    clip = Clip(frames=noise(*shape), fps=fps)
    write_video(tmp_path / "clip.mp4", clip)
    back = read_video(tmp_path / "clip.mp4")
    np.testing.assert_array_equal(back.frames, clip.frames)
    assert back.fps == fps
    assert back.sha256 == clip.sha256


@settings(max_examples=25, deadline=None)
@given(
    num_frames=st.integers(1, 5),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    fps=st.floats(0.001, 10_000),
)
def test_any_size_and_rate_survives(
    tmp_path_factory: pytest.TempPathFactory, num_frames: int, height: int, width: int, fps: float
) -> None:
    path = tmp_path_factory.mktemp("any") / "clip.mp4"
    clip = Clip(frames=noise(num_frames, height, width), fps=fps)
    write_video(path, clip)
    back = read_video(path)
    assert back.sha256 == clip.sha256
    assert back.fps == pytest.approx(fps, rel=1e-5)


def test_decord_reads_the_same_pixels(tmp_path: Path) -> None:
    try:
        require_reader("decord")
    except MissingPackageError as error:
        pytest.skip(str(error))
    import decord

    for shape in ((16, 64, 64), (5, 37, 51)):
        frames = noise(*shape)
        write_video(tmp_path / "clip.mp4", Clip(frames=frames, fps=8))
        reader = decord.VideoReader(str(tmp_path / "clip.mp4"))
        np.testing.assert_array_equal(reader.get_batch(range(len(reader))).asnumpy(), frames)
        assert reader.get_avg_fps() == 8


def test_the_same_clip_gives_the_same_bytes(tmp_path: Path) -> None:
    frames = noise(16, 48, 64)
    write_video(tmp_path / "a.mp4", Clip(frames=frames, fps=8))
    write_video(tmp_path / "b.mp4", Clip(frames=frames[:, :, ::-1].copy()[:, :, ::-1], fps=8))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    frames[3, 2, 1, 0] ^= 1
    write_video(tmp_path / "b.mp4", Clip(frames=frames, fps=8))
    assert (tmp_path / "a.mp4").read_bytes() != (tmp_path / "b.mp4").read_bytes()


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "clip.mp4"
    write_video(path, Clip(frames=noise(3, 8, 8), fps=8))
    write_video(path, Clip(frames=noise(2, 8, 8), fps=8))
    assert read_video(path).geometry.num_frames == 2
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("fps", [1e-4, 1e12])
def test_a_rate_that_cannot_be_stored_is_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        write_video(tmp_path / "clip.mp4", Clip(frames=noise(1, 8, 8), fps=fps))


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.webm", "libsvtav1", "yuv420p"),
        ("a.mkv", "ffv1", "bgr0"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_common_containers_keep_every_frame(
    tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    frames = waves(9)
    clip = read_video(encode(tmp_path / name, frames, codec, pix_fmt))
    assert clip.frames.shape == frames.shape
    # GIF times are in hundredths of a second.
    assert clip.fps == pytest.approx(8, abs=0.1 if name == "a.gif" else 1e-9)
    brightness = clip.frames.astype(float).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(brightness, frames.astype(float).mean(axis=(1, 2, 3)), atol=12)


def test_frames_hidden_by_an_edit_list_are_left_out(tmp_path: Path) -> None:
    source = encode(tmp_path / "whole.mp4", waves(32), g="8")
    whole = read_video(source)
    part = read_video(copy_from(source, tmp_path / "part.mp4", 12 / 8))
    assert part.geometry.num_frames == 20
    np.testing.assert_array_equal(part.frames, whole.frames[12:])


def test_uneven_times_keep_all_frames_at_their_mean_rate(tmp_path: Path) -> None:
    path = encode(tmp_path / "vfr.mp4", waves(4), times=[0, 1, 5, 6])
    clip = read_video(path)
    assert clip.geometry.num_frames == 4
    assert clip.fps == pytest.approx(3 / (6 / 8))


def test_reading_can_stop_early(tmp_path: Path) -> None:
    frames = noise(5, 16, 16)
    write_video(tmp_path / "clip.mp4", Clip(frames=frames, fps=8))
    clip = read_video(tmp_path / "clip.mp4", max_frames=2)
    np.testing.assert_array_equal(clip.frames, frames[:2])
    assert clip.fps == 8


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video("take:1.mp4", Clip(frames=noise(2, 8, 8), fps=8))
    assert read_video("take:1.mp4").geometry.num_frames == 2


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 99)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "empty, 0 bytes" in refusal(tmp_path / "empty.mp4")
    assert "truncated or damaged" in refusal(tmp_path / "text.mp4")
    assert "no video stream" in refusal(tmp_path / "sound.mp4")
    assert "no such file" in refusal(tmp_path / "absent.mp4")
    assert "a folder" in refusal(tmp_path)


def test_a_file_cut_before_its_index_is_refused(tmp_path: Path) -> None:
    assert "truncated" in refusal(cut(encode(tmp_path / "half.mp4", waves()), 0.5))


def test_a_cut_stream_says_how_many_frames_it_has(tmp_path: Path) -> None:
    source = encode(tmp_path / "whole.mp4", waves(32))
    path = cut(copy_from(source, tmp_path / "cut.mp4", 0, movflags="faststart"), 0.6)
    message = refusal(path)
    count, total = (int(word) for word in message.split() if word.isdigit())
    assert "truncated after" in message
    assert (5 < count < 32, total) == (True, 32)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mkv", "libx264", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
def test_a_cut_file_is_refused_in_every_container(
    tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    assert "truncated" in refusal(cut(encode(tmp_path / name, waves(), codec, pix_fmt), 0.6))


def test_a_matroska_without_a_stated_size_is_read(tmp_path: Path) -> None:
    """As recorders write it, who never come back to the header."""
    path = encode(tmp_path / "live.mkv", waves(9), muxer={"live": "1"})
    assert read_video(path).geometry.num_frames == 9


def test_flipped_bytes_never_give_wrong_frames_unnoticed(tmp_path: Path) -> None:
    """H.264 has no checksum: a flip may hide. What the decoder notices must not pass."""
    write_video(tmp_path / "clip.mp4", Clip(frames=waves(16), fps=8))
    content = (tmp_path / "clip.mp4").read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(20):
        damaged = bytearray(content)
        for place in generator.integers(len(content) // 10, len(content) * 9 // 10, 8):
            damaged[place] ^= 0xFF
        (tmp_path / "clip.mp4").write_bytes(damaged)
        try:
            clip = read_video(tmp_path / "clip.mp4")
        except UnreadableClipError:
            refused += 1
        else:
            assert clip.geometry.num_frames == 16
    # All 20 with FFmpeg 8; decord refuses none of them.
    assert refused >= 15


def test_a_file_too_large_for_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "clip.mp4", Clip(frames=noise(8, 256, 256), fps=8))
    monkeypatch.setattr(video_io, "MAX_MIB", 1)
    assert "more than 1 MiB" in refusal(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), lambda flat: flat),
        ((-1, 0, 0, 1), lambda flat: flat[:, :, ::-1]),
        ((1, 0, 0, -1), lambda flat: flat[:, ::-1]),
        ((-1, 0, 0, -1), lambda flat: flat[:, ::-1, ::-1]),
        ((0, 1, 1, 0), lambda flat: flat.swapaxes(1, 2)),
        ((0, -1, -1, 0), lambda flat: flat.swapaxes(1, 2)[:, ::-1, ::-1]),
        ((0, 1, -1, 0), lambda flat: flat.swapaxes(1, 2)[:, :, ::-1]),
        ((0, -1, 1, 0), lambda flat: flat.swapaxes(1, 2)[:, ::-1]),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_every_display_matrix_is_applied(
    tmp_path: Path,
    suffix: str,
    matrix: tuple[int, int, int, int],
    expected: Callable[[np.ndarray], np.ndarray],
) -> None:
    path = encode(tmp_path / f"phone.{suffix}", waves(4))
    flat = read_video(path).frames
    set_matrix(path, *matrix)
    np.testing.assert_array_equal(read_video(path).frames, expected(flat))
    np.testing.assert_array_equal(
        read_video(path, keep=range(1, 4, 2)).frames, expected(flat)[1::2]
    )
    np.testing.assert_array_equal(read_video(path, max_frames=2).frames, expected(flat)[:2])
    assert count_frames(path) == 4


def test_a_turn_by_part_of_a_quarter_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "phone.mp4", waves(2))
    set_matrix(path, 0.866, 0.5, -0.5, 0.866)
    assert "turned by 30 degrees; accepted are quarter turns" in refusal(path)


def set_matrix(path: Path, a: float, b: float, c: float, d: float) -> None:
    def display(*numbers: float) -> bytes:
        a, b, c, d = (round(number * 65536) for number in numbers)
        return struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)

    head, track = path.read_bytes().split(b"tkhd", 1)
    path.write_bytes(head + b"tkhd" + track.replace(display(1, 0, 0, 1), display(a, b, c, d), 1))


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "avi"])
def test_a_title_in_another_encoding_is_passed_over(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "TITLE"
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for picture in waves(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    assert b"TITLE" in content
    path.write_bytes(content.replace(b"TITLE", b"caf\xe9s"))
    assert count_frames(path) == read_video(path).geometry.num_frames == 3


def test_what_is_no_video_is_not_counted_either(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video\n" * 99)
    with pytest.raises(UnreadableClipError, match="truncated or damaged"):
        count_frames(tmp_path / "text.mp4")


def with_sound(path: Path, cover: bool = False, video: bool = False) -> Path:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        pictures = []
        if cover:
            stream = container.add_stream("mjpeg", rate=1)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
            stream.disposition = av.stream.Disposition.attached_pic
            pictures.append((stream, waves(1)))
        if video:
            stream = container.add_stream("libx264", rate=8)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            pictures.append((stream, waves(5, 32, 48)))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
        for stream, frames in pictures:
            for picture in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    return path


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = with_sound(tmp_path / "song.mp4", cover=True)
    assert "only a cover picture" in refusal(path)
    with pytest.raises(UnreadableClipError, match="only a cover picture"):
        count_frames(path)


@pytest.mark.parametrize("cover", [False, True])
def test_the_video_is_found_among_other_streams(tmp_path: Path, cover: bool) -> None:
    path = with_sound(tmp_path / "film.mp4", cover=cover, video=True)
    assert read_video(path).frames.shape == (5, 32, 48, 3)
    assert count_frames(path) == 5


def test_edit_lists_and_uneven_times_are_counted_as_they_are_read(tmp_path: Path) -> None:
    source = encode(tmp_path / "whole.mp4", waves(32), g="8")
    assert count_frames(copy_from(source, tmp_path / "part.mp4", 12 / 8)) == 20
    assert count_frames(encode(tmp_path / "vfr.mp4", waves(4), times=[0, 1, 5, 6])) == 4


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_the_memory_of_decoding_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A Matroska file states no number of frames: the array grows, without a second one."""
    frames = np.repeat(waves(1, 240, 320), 40, axis=0)
    path = encode(tmp_path / name, frames, preset="ultrafast")
    mib = frames.nbytes / 2**20

    def peak() -> float:
        tracemalloc.start()
        try:
            read_video(path)
        finally:
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return most / 2**20

    assert peak() <= 1.5 * mib + 1
    monkeypatch.setattr(video_io, "MAX_MIB", 9)
    assert peak() <= 9 + 1
    monkeypatch.setattr(video_io, "MAX_MIB", 5)
    tracemalloc.start()
    assert "more than 5 MiB" in refusal(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most / 2**20 <= 5 + 1
