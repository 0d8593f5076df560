"""Subject and background consistency."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from i2vbench.clip import Clip
from i2vbench.metric import Example, _own
from i2vbench.metrics.consistency import (
    BackgroundConsistency,
    SubjectConsistency,
    consistency_from_features,
)
from i2vbench.registry import EXTRACTORS

BOTH = [
    (SubjectConsistency, "efficientnet-lite0", "pooled"),
    (BackgroundConsistency, "tiny-clip", "frames"),
]


def an_example(
    extractor: str, array: str, feats_TD: NDArray[np.floating], sample_id: str = "a"
) -> Example:
    clip = Clip(frames=np.zeros((len(feats_TD), 8, 8, 3), np.uint8), fps=8)
    features = {extractor: {array: feats_TD}}
    return Example(sample_id=sample_id, take=0, clip=clip, features=features)


def vbench_loop(feats_TD: NDArray[np.floating]) -> float:
    """The formula as VBench's code walks it, frame by frame."""
    total, count, first, former = 0.0, 0, None, None
    for feature in feats_TD:
        unit = feature / np.sqrt(np.sum(feature**2))
        if first is None:
            first = former = unit
            continue
        total += (max(0.0, float(unit @ former)) + max(0.0, float(unit @ first))) / 2
        count += 1
        former = unit
    return total / count


def test_the_value_by_hand():
    # 45 degrees a step: frame 1 has cosines sqrt(1/2) and sqrt(1/2), frame 2 sqrt(1/2) and 0.
    feats = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert consistency_from_features(feats) == pytest.approx(0.75 * np.sqrt(0.5), abs=1e-12)


def test_opposite_features_count_as_zero_and_not_below():
    # Frame 1 opposes frame 0; frame 2 opposes frame 1 and equals frame 0.
    feats = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert consistency_from_features(feats) == pytest.approx((0.0 + 0.5) / 2, abs=1e-12)


def test_it_is_the_walk_of_vbench_on_random_features():
    rng = np.random.default_rng(0)
    for num_frames in (2, 3, 16):
        feats = rng.normal(size=(num_frames, 24)) + rng.uniform(0, 1)
        assert consistency_from_features(feats) == pytest.approx(vbench_loop(feats), abs=1e-12)


def test_lengths_of_features_do_not_matter_but_their_order_does():
    rng = np.random.default_rng(1)
    feats = rng.uniform(size=(6, 5))
    value = consistency_from_features(feats)
    assert consistency_from_features(feats * rng.uniform(1, 9, (6, 1))) == pytest.approx(value)
    assert consistency_from_features(feats[::-1]) != pytest.approx(value, abs=1e-4)


def test_a_static_clip_has_one_and_a_float32_copy_no_more():
    feats = np.repeat(np.random.default_rng(2).uniform(size=(1, 1280)).astype(np.float32), 16, 0)
    assert consistency_from_features(feats) == pytest.approx(1.0, abs=1e-12)
    assert consistency_from_features(feats) <= 1.0


def test_a_zero_vector_has_no_direction():
    assert consistency_from_features(np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])) == 0.25


@pytest.mark.parametrize("shape", [(3,), (3, 2, 2)])
def test_only_a_matrix_is_taken(shape):
    with pytest.raises(ValueError, match=r"must be \(T, D\)"):
        consistency_from_features(np.ones(shape))


@pytest.mark.parametrize(("metric", "extractor", "array"), BOTH)
def test_one_frame_is_refused_by_name(metric, extractor, array):
    with pytest.raises(ValueError, match="needs at least 2 frames, got 1"):
        metric().score_clip(an_example(extractor, array, np.ones((1, 4))))


@pytest.mark.parametrize(("metric", "extractor", "array"), BOTH)
def test_each_metric_reads_its_own_array(metric, extractor, array):
    feats = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    assert metric.extractors == (extractor,)
    assert metric().score_clip(an_example(extractor, array, feats)) == consistency_from_features(
        feats
    )


def test_merged_halves_equal_the_whole():
    rng = np.random.default_rng(3)
    examples = [
        an_example("tiny-clip", "frames", rng.uniform(size=(4, 3)), str(i)) for i in range(5)
    ]
    whole, left, right = BackgroundConsistency(), BackgroundConsistency(), BackgroundConsistency()
    whole.update(examples)
    left.update(examples[:2])
    right.update(examples[2:])
    left.merge(right)
    assert left.compute() == pytest.approx(whole.compute(), abs=1e-15)
    values = [consistency_from_features(e.features["tiny-clip"]["frames"]) for e in examples]
    assert whole.compute() == pytest.approx(np.mean(values), abs=1e-15)


def test_a_bare_example_gets_its_features_from_a_network_that_is_loaded_once(monkeypatch):
    loaded = []

    class Means:
        def __init__(self):
            loaded.append(self)

        def extract(self, clips, prompts):
            return [
                {"frames": clip.frames.mean((1, 2)), "prompt": np.array(prompts)} for clip in clips
            ]

    _own.cache_clear()
    monkeypatch.setattr(EXTRACTORS, "load", {"tiny-clip": Means}.__getitem__)
    try:
        frames = np.zeros((2, 4, 4, 3), np.uint8)
        frames[0, ..., 0] = 9
        frames[1, ..., :2] = 7
        example = Example(sample_id="a", take=0, clip=Clip(frames=frames, fps=8))
        metric = BackgroundConsistency()
        metric.update([example, example])
        assert metric.compute() == pytest.approx(np.sqrt(0.5))
        assert len(loaded) == 1
    finally:
        _own.cache_clear()
