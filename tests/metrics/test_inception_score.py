"""Inception score: values by hand, streaming, splits, the interval."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from i2vbench.clip import Clip
from i2vbench.metric import Example
from i2vbench.metrics.inception_score import (
    MIN_SAMPLES_FOR_INTERVAL,
    InceptionScore,
    inception_score,
)

PIXEL = Clip(frames=np.zeros((1, 1, 1, 3), np.uint8), fps=8)


def examples(num_clips=20, num_frames=4, num_classes=7, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Example(
            sample_id=f"s{number}",
            take=0,
            clip=PIXEL,
            features={
                "efficientnet-lite0": {
                    "logits": rng.normal(0, 3, (num_frames, num_classes)).astype(np.float32)
                }
            },
        )
        for number in range(num_clips)
    ]


def all_logits(clips):
    return np.concatenate([clip.features["efficientnet-lite0"]["logits"] for clip in clips])


def test_values_by_hand():
    # Each class for sure, all equally often: as many as there are classes.
    assert inception_score(1e4 * np.eye(5)) == pytest.approx(5.0)
    # All rows alike, or nothing known of any: 1.
    assert inception_score(np.ones((6, 5))) == pytest.approx(1.0)
    assert inception_score([[3.0, -1.0, 0.5]] * 4) == pytest.approx(1.0)
    # p = (3/4, 1/4) and (1/4, 3/4): log 2 - H(1/4) = 3/4 log 3 - log 2.
    rows = np.log([[0.75, 0.25], [0.25, 0.75]])
    assert inception_score(rows) == pytest.approx(3**0.75 / 2)
    # p = (1, 0) twice and (0, 1) once: exp of the entropy of (2/3, 1/3).
    rows = [[800.0, 0.0], [800.0, 0.0], [0.0, 800.0]]
    assert inception_score(rows) == pytest.approx(3 / 2 ** (2 / 3))
    # A class that no row gives any probability adds nothing.
    assert inception_score([[*row, -800.0] for row in rows]) == pytest.approx(3 / 2 ** (2 / 3))


def test_is_the_definition():
    logits = torch.from_numpy(all_logits(examples())).double()
    p = torch.softmax(logits, dim=1)
    divergence = (p * (p.log() - p.mean(dim=0).log())).sum(dim=1)
    expected = divergence.mean().exp().item()
    assert inception_score(logits) == pytest.approx(expected, rel=1e-12)
    metric = InceptionScore()
    metric.update(examples())
    assert metric.compute() == pytest.approx(expected, rel=1e-12)


def test_softmax_ignores_a_shift():
    logits = all_logits(examples())
    assert inception_score(logits + 1e4) == pytest.approx(inception_score(logits), rel=1e-3)


@pytest.mark.parametrize("splits", [1, 3])
def test_workers_in_any_order_give_the_same(splits):
    clips = examples()
    whole = InceptionScore(splits=splits)
    whole.update(clips)
    for order in ([0, 1, 2], [2, 1, 0]):
        parts = [InceptionScore(splits=splits) for _ in range(3)]
        for index, clip in enumerate(reversed(clips)):
            parts[index % 3].update([clip])
        merged = InceptionScore(splits=splits)
        for index in order:
            merged.merge(parts[index])
        assert merged.compute() == pytest.approx(whole.compute(), rel=1e-12)


def test_splits_are_scored_apart():
    metric = InceptionScore(splits=3)
    metric.update(examples())
    whole = InceptionScore()
    whole.update(examples())
    assert 1 < metric.compute() < whole.compute()  # fewer frames, less diversity
    assert metric.spec()["splits"] == 3
    with pytest.raises(ValueError, match="1 splits do not merge into 3"):
        metric.merge(whole)
    few = InceptionScore(splits=3)
    few.update(examples(num_clips=1))
    with pytest.raises(ValueError, match="2 of 3 splits are empty"):
        few.compute()
    with pytest.raises(ValueError, match="splits must be at least 1, got 0"):
        InceptionScore(splits=0)


def test_features_alone():
    logits = all_logits(examples())
    metric = InceptionScore()
    metric.update_features(torch.from_numpy(logits[:30]))
    metric.update_features(logits[30:])
    assert metric.compute() == pytest.approx(inception_score(logits), rel=1e-12)


def test_nothing_added_is_an_error():
    with pytest.raises(ValueError, match="1 of 1 splits are empty"):
        InceptionScore().compute()
    with pytest.raises(ValueError, match="no rows"):
        inception_score(np.zeros((0, 5)))


def test_what_is_not_finite_is_refused_by_name():
    metric = InceptionScore()
    metric.update(examples()[:2])
    value = metric.compute()
    bad = examples(num_clips=3)[2]
    bad.features["efficientnet-lite0"]["logits"][1, 2] = np.nan
    with pytest.raises(ValueError, match="sample 's2' take 0: logits: 1 of 28 values"):
        metric.update([bad])
    assert metric.compute() == value
    with pytest.raises(ValueError, match=r"must be \(N, K\), got \(3,\)"):
        metric.update_features(np.zeros(3))


def test_warning_says_the_numbers():
    metric = InceptionScore()
    assert metric.warnings() == []
    metric.update(examples(num_clips=2, num_frames=4, num_classes=9))
    (line,) = metric.warnings()
    assert "8 frames in the smallest split for 9 classes; biased downward" in line
    metric.update(examples(num_clips=1, num_classes=9))
    assert metric.warnings() == []


def test_interval_holds_the_value_and_repeats():
    metric, clips = InceptionScore(), examples()
    metric.update(clips)
    low, high = metric.interval(clips, num_resamples=300, seed=0)
    assert 1 <= low < metric.compute() < high
    assert metric.interval(clips, num_resamples=300, seed=0) == (low, high)
    assert metric.interval(clips, num_resamples=300, seed=1) != (low, high)
    assert metric.interval(clips[: MIN_SAMPLES_FOR_INTERVAL - 1], num_resamples=9, seed=0) is None
    assert InceptionScore(splits=2).interval(clips, num_resamples=9, seed=0) is None


def test_interval_is_taken_around_the_value():
    # Every clip a class of its own: a resample can only lose some.
    clips = examples(num_clips=12, num_frames=1, num_classes=12)
    for number, clip in enumerate(clips):
        clip.features["efficientnet-lite0"]["logits"] = 20.0 * np.eye(12)[[number]]
    low, high = InceptionScore().interval(clips, num_resamples=200, seed=0)
    assert low < 12.0 < high


def test_interval_resamples_clips_not_frames():
    clips = examples(num_frames=1)
    single = InceptionScore().interval(clips, num_resamples=100, seed=0)
    for clip in clips:
        arrays = clip.features["efficientnet-lite0"]
        arrays["logits"] = np.repeat(arrays["logits"], 8, axis=0)
    assert InceptionScore().interval(clips, num_resamples=100, seed=0) == pytest.approx(single)


@pytest.mark.parametrize(
    ("splits", "seed", "recorded"),
    [(10, 2020, 2.782535328335555), (10, 42, 2.6289330242129774), (3, 42, 3.7411556924312293)],
)
def test_the_shuffled_splits_are_those_of_torch_fidelity(splits, seed, recorded):
    """Recorded from torch-fidelity 0.4.0, ``isc_features_to_metric`` on these 47 rows."""
    rows = np.random.default_rng(7).normal(size=(47, 12)).astype(np.float32) * 3
    one, other = (InceptionScore(splits=splits, shuffle_seed=seed) for _ in range(2))
    # The order of arrival must not matter: clips are sorted by id before the shuffle.
    other.update_features(rows[:20], clip="a")
    one.update_features(rows[20:], clip="b")
    one.merge(other)
    assert one.compute() == pytest.approx(recorded, rel=1e-12)


def test_another_shuffle_is_another_spec_and_does_not_merge():
    plain, shuffled = InceptionScore(splits=2), InceptionScore(splits=2, shuffle_seed=42)
    assert plain.spec() == {"splits": 2, "array": "logits"}
    assert shuffled.spec()["shuffle_seed"] == 42
    with pytest.raises(ValueError, match="shuffle_seed 42 does not merge into None"):
        plain.merge(shuffled)
