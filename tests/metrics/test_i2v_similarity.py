"""VBench-I2V's similarity of a clip with its picture."""

from __future__ import annotations

import numpy as np
import pytest

from i2vbench.clip import Clip
from i2vbench.metric import Example, _own
from i2vbench.metrics.i2v_similarity import I2VSubject, i2v_similarity
from i2vbench.registry import EXTRACTORS

CLIP = Clip(frames=np.zeros((3, 8, 8, 3), np.uint8), fps=8)


def vbench_loop(picture, frames):
    """The formula as VBench's code walks it, frame by frame."""
    conformity, consecutive, former = [], [], None
    unit_picture = picture / np.linalg.norm(picture)
    for frame in frames:
        unit = frame / np.linalg.norm(frame)
        if former is not None:
            consecutive.append(max(0.0, float(former @ unit)))
        conformity.append(max(0.0, float(unit_picture @ unit)))
        former = unit
    return 0.4 * np.max(conformity) + 0.3 * np.mean(consecutive) + 0.3 * np.min(consecutive)


def test_the_value_by_hand():
    # Frames: the picture, 90 degrees off, 45 degrees back: c = 1, 0, r; d = 0, r with r = sqrt(.5).
    frames = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = i2v_similarity(np.array([1.0, 0.0]), frames)
    assert found == pytest.approx(0.4 + 0.3 * np.sqrt(0.5) / 2, abs=1e-12)


@pytest.mark.parametrize("num_frames", [2, 3, 16])
def test_it_is_the_walk_of_vbench(num_frames):
    rng = np.random.default_rng(num_frames)
    picture, frames = rng.normal(size=24), rng.normal(size=(num_frames, 24)) + 0.3
    assert i2v_similarity(picture, frames) == pytest.approx(vbench_loop(picture, frames), abs=1e-12)


def test_opposites_count_as_zero_and_the_picture_itself_as_one():
    picture = np.array([1.0, 0.0])
    assert i2v_similarity(picture, np.array([[-1.0, 0.0], [1.0, 0.0]])) == pytest.approx(0.4)
    assert i2v_similarity(picture, np.repeat(picture[None], 4, 0)) == pytest.approx(1.0)


@pytest.mark.parametrize("frames", [np.ones((2, 3)), np.ones(2)])
def test_shapes_that_do_not_fit_are_refused(frames):
    with pytest.raises(ValueError, match=r"must be \(D,\) and \(T, D\)"):
        i2v_similarity(np.ones(2), frames)


def test_the_metric_compares_frames_with_the_picture():
    picture, frames = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    (name,) = I2VSubject.extractors
    example = Example(
        sample_id="a",
        take=0,
        clip=CLIP,
        first_frame=CLIP.frames[0],
        features={name: {"pooled": frames}},
        first_frame_features={name: {"pooled": picture}},
    )
    assert I2VSubject().score_clip(example) == i2v_similarity(picture[0], frames)


def test_a_clip_without_a_picture_or_with_one_frame_is_refused():
    with pytest.raises(ValueError, match="there is no first frame"):
        I2VSubject().score_clip(Example(sample_id="a", take=0, clip=CLIP))
    single = Clip(frames=CLIP.frames[:1], fps=8)
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        I2VSubject().score_clip(Example(sample_id="a", take=0, clip=single))


def test_a_bare_example_gets_the_features_of_its_picture(monkeypatch):
    class Means:
        def extract(self, clips, prompts):
            return [{"pooled": clip.frames.mean((1, 2))} for clip in clips]

        def extract_picture(self, picture):
            return {"pooled": np.array([[1.0, 0.0, 0.0]])}

    _own.cache_clear()
    monkeypatch.setattr(EXTRACTORS, "load", {"dino-vit-b16-i2v": Means}.__getitem__)
    try:
        frames = np.full((2, 4, 4, 3), 7, np.uint8)
        example = Example(
            sample_id="a", take=0, clip=Clip(frames=frames, fps=8), first_frame=frames[0]
        )
        assert I2VSubject().score_clip(example) == pytest.approx(0.4 / np.sqrt(3) + 0.6)
    finally:
        _own.cache_clear()
