from __future__ import annotations

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest

from i2vbench.clip import Geometry
from i2vbench.errors import UnreadableClipError
from i2vbench.suites.clip_sampling import ClipSampling, SampledClip, SampledFirstFrame, draw
from i2vbench.video_io import count_frames, read_video
from tests.suites.miniatures import put_avi, put_video

GEOMETRY = Geometry(num_frames=6, height=12, width=20, fps=8)


def seen(sampling: ClipSampling, path: Path, sample_id: str = "a") -> list[int]:
    """The numbers of the frames that the clip is made of, read off the pixels."""
    frames = SampledClip(path, sample_id, sampling)(GEOMETRY).frames
    return [int(frame[0, 0, 0]) for frame in frames]


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (ClipSampling(clip="first", num_frames=4, stride=3), [0, 3, 6, 9]),
        (ClipSampling(clip="middle", num_frames=4, stride=3), [5, 8, 11, 14]),
        (ClipSampling(clip="first", num_frames="model", stride=2), [0, 2, 4, 6, 8, 10]),
        (ClipSampling(clip="first", num_frames=1, stride=3), [0]),
        (ClipSampling(clip="random", num_frames=20, stride=1), list(range(20))),
    ],
)
def test_the_frames_are_those_asked_for(
    tmp_path: Path, sampling: ClipSampling, expected: list[int]
) -> None:
    assert seen(sampling, put_video(tmp_path / "a.mp4", num_frames=20)) == expected


def test_the_first_frame_is_that_of_the_clip(tmp_path: Path) -> None:
    path = put_video(tmp_path / "a.mp4", num_frames=60)
    for sample_id in ("a", "b", "c"):
        sampling = ClipSampling(num_frames=8, size=10)
        clip = SampledClip(path, sample_id, sampling)(GEOMETRY)
        picture = SampledFirstFrame(path, sample_id, sampling)(GEOMETRY)
        np.testing.assert_array_equal(picture, clip.frames[0])


def test_random_hangs_on_seed_and_id_alone(tmp_path: Path) -> None:
    path = put_video(tmp_path / "a.mp4", num_frames=200, size=(2, 2))
    other = put_video(tmp_path / "elsewhere" / "b.mp4", num_frames=200, size=(2, 2))
    one = ClipSampling(num_frames=2, stride=1)
    starts = [seen(one, path, f"id{i}")[0] for i in range(12)]
    assert starts == [seen(one, other, f"id{i}")[0] for i in range(12)]
    assert len(set(starts)) > 6
    assert starts != [
        seen(ClipSampling(num_frames=2, stride=1, seed=1), path, f"id{i}")[0] for i in range(12)
    ]
    # Held, since another rule would silently be another reference set.
    assert draw(0, "v_Archery_g01_c01\x00clip", 1000) == 544


def test_every_start_can_come() -> None:
    sampling = ClipSampling(num_frames=2, stride=3)
    found = {sampling.frames_of(7, f"id{i}", GEOMETRY).start for i in range(200)}
    assert found == {0, 1, 2, 3}


def test_a_short_video_shrinks_the_stride_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = put_video(tmp_path / "a.mp4", num_frames=29)
    with caplog.at_level(logging.WARNING):
        clip = SampledClip(path, "a", ClipSampling(num_frames=16, stride=3))(GEOMETRY)
    assert len(clip.frames) == 16
    assert clip.fps == 24
    assert "a.mp4 is too short for stride 3; it is sampled with stride 1" in caplog.text
    caplog.clear()
    assert SampledClip(path, "a", ClipSampling(num_frames=4, stride=3))(GEOMETRY).fps == 8
    assert not caplog.text


def test_a_video_with_too_few_frames_is_an_error_of_its_sample(tmp_path: Path) -> None:
    path = put_video(tmp_path / "a.mp4", num_frames=5)
    for loader in (SampledClip, SampledFirstFrame):
        with pytest.raises(UnreadableClipError, match=r"a\.mp4: has 5 frames, 6 are asked for"):
            loader(path, "a", ClipSampling(num_frames=6, stride=1))(GEOMETRY)


@pytest.mark.parametrize(
    ("size", "expected"), [(10, (10, 10)), ("model", (12, 20)), ("native", (16, 24))]
)
def test_the_size_is_the_asked_one(tmp_path: Path, size, expected: tuple[int, int]) -> None:
    path = put_video(tmp_path / "a.mp4")
    sampling = ClipSampling(num_frames=2, stride=1, size=size)
    assert SampledClip(path, "a", sampling)(GEOMETRY).frames.shape[1:3] == expected
    assert SampledFirstFrame(path, "a", sampling)(GEOMETRY).shape[:2] == expected
    assert sampling.drawn == (size == "model")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"clip": "last"}, "clip is 'last'"),
        ({"num_frames": 0}, "num_frames (or 'model') is 0"),
        ({"num_frames": True}, "is True"),
        ({"stride": 1.5}, "stride is 1.5"),
        ({"size": "big"}, "size (or 'model' or 'native') is 'big'"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_is_not_accepted_is_named(values: dict, said: str) -> None:
    with pytest.raises(ValueError, match="accepted") as caught:
        ClipSampling(**values)
    assert said in str(caught.value)


def test_loaders_travel(tmp_path: Path) -> None:
    loader = SampledClip(put_video(tmp_path / "a.mp4"), "a", ClipSampling(num_frames=2))
    assert len(pickle.loads(pickle.dumps(loader))(GEOMETRY).frames) == 2


def test_frames_are_counted_without_decoding(tmp_path: Path) -> None:
    assert count_frames(put_video(tmp_path / "a.mp4", num_frames=7)) == 7
    avi = put_avi(tmp_path / "a.avi", num_frames=9)
    assert count_frames(avi) == len(read_video(avi).frames) == 9
    kept = read_video(avi, keep=range(2, 9, 3))
    np.testing.assert_allclose(kept.frames[:, 5, 5, 0], [20, 50, 80], atol=6)
    assert kept.fps == 25
    avi.write_bytes(avi.read_bytes()[:-2000])
    with pytest.raises(UnreadableClipError, match="truncated"):
        count_frames(avi)
    with pytest.raises(UnreadableClipError, match="no such file"):
        count_frames(tmp_path / "absent.mp4")


def test_a_frame_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    path = put_video(tmp_path / "a.mp4", num_frames=4)
    with pytest.raises(UnreadableClipError, match="has 4 frames; frame 6 was asked for"):
        read_video(path, keep=range(0, 7, 3))
