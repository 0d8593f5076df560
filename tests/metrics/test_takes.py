"""Several takes a sample: set metrics count references once and draw samples, not clips."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from i2vbench.clip import Clip
from i2vbench.metric import Example
from i2vbench.metrics.frechet import FID, FVD, frechet_distance
from i2vbench.metrics.frechet_extrapolation import FVDInfinity
from i2vbench.metrics.inception_score import InceptionScore
from i2vbench.metrics.kernel_distance import KID, KVD
from i2vbench.metrics.manifold import Coverage, Density, Precision, Recall

CLIP = Clip(frames=np.zeros((2, 2, 2, 3), np.uint8), fps=8)
PAIRED = [FVD, FID, FVDInfinity, KVD, KID, Precision, Recall, Density, Coverage]
OF_FRAMES = (FID, KID, InceptionScore)
WITH_INTERVAL = [FVD, FID, KVD, KID, Precision, Density, InceptionScore]


@pytest.fixture(autouse=True)
def _one_thread():
    """Small matrices gain nothing from threads."""
    with threadpool_limits(limits=1):
        yield


def examples_of(metric, takes_STD, reference_SD):
    """An example per sample and take; where a row is of a frame, two frames a clip."""
    (extractor,) = metric.extractors
    array = getattr(metric, "array", "logits")

    def arrays(row_D):
        frames = np.stack([row_D, row_D * 0.9]) if metric in OF_FRAMES else row_D
        return {extractor: {array: frames}}

    return [
        Example(
            sample_id=f"s{sample:02}",
            take=take,
            clip=CLIP,
            reference=CLIP,
            features=arrays(takes_STD[sample, take]),
            reference_features=arrays(reference_SD[sample]),
        )
        for sample in range(len(takes_STD))
        for take in range(takes_STD.shape[1])
    ]


def correlated(rng, num_samples, num_takes, size, *, likeness=0.9):
    """Takes of a sample that share most of what they show."""
    shared = rng.standard_normal((num_samples, 1, size))
    own = rng.standard_normal((num_samples, num_takes, size))
    return 0.5 + likeness**0.5 * shared + (1 - likeness) ** 0.5 * own


def scored(metric, examples):
    made = metric()
    made.update(examples)
    return made.compute()


@pytest.mark.parametrize("metric", PAIRED)
def test_a_reference_counts_with_the_first_take_that_is_scored(metric):
    """Three of ten samples have lost their take 0: all ten references still count."""
    rng = np.random.default_rng(0)
    takes, real = correlated(rng, 10, 2, 3), rng.standard_normal((10, 3))
    whole = examples_of(metric, takes, real)
    kept = [each for each in whole if each.take == 1 or each.sample_id > "s02"]
    some = metric()
    some.update(kept)
    counts = (
        (some.generated.num_clips, some.reference.num_clips)
        if hasattr(some.generated, "num_clips")
        else (some.generated.count, some.reference.count)
    )
    frames = 2 if metric is FID else 1
    assert counts == (17 * frames, 10 * frames)
    if metric is FVD:
        rows = np.concatenate([takes[:, 1], takes[3:, 0]])
        assert some.compute() == pytest.approx(frechet_distance(rows, real), rel=1e-10)


def test_an_interval_too_compares_with_every_reference():
    rng = np.random.default_rng(1)
    takes, real = correlated(rng, 10, 2, 3), 3 * rng.standard_normal((10, 3))
    whole = examples_of(FVD, takes, real)
    kept = [each for each in whole if each.take == 1 or each.sample_id > "s02"]
    metric = FVD()
    metric.update(kept)
    low, high = metric.interval(kept, num_resamples=200, seed=0)
    assert low < metric.compute() < high
    # With the references of seven samples the interval would be another.
    wrong = [each for each in kept if each.sample_id > "s02"]
    assert metric.interval(wrong, num_resamples=200, seed=0) != (low, high)


@pytest.mark.parametrize("metric", [*PAIRED, InceptionScore])
def test_the_order_of_the_examples_changes_nothing(metric):
    rng = np.random.default_rng(2)
    ours = examples_of(metric, correlated(rng, 12, 3, 2), rng.standard_normal((12, 2)))
    mixed = [ours[index] for index in rng.permutation(len(ours))]
    assert scored(metric, mixed) == scored(metric, ours)
    made = metric()
    made.update(ours)
    intervals = [made.interval(each, num_resamples=50, seed=0) for each in (ours, mixed)]
    assert intervals[0] == intervals[1]
    assert (intervals[0] is None) == (metric not in WITH_INTERVAL)


@pytest.mark.parametrize("metric", WITH_INTERVAL)
def test_copies_of_a_clip_do_not_narrow_the_interval(metric):
    rng = np.random.default_rng(3)
    once, real = correlated(rng, 16, 1, 8), rng.standard_normal((16, 8))
    widths = []
    for takes in (once, np.repeat(once, 3, axis=1)):
        made, ours = metric(), examples_of(metric, takes, real)
        made.update(ours)
        widths.append(np.ptp(made.interval(ours, num_resamples=100, seed=0)))
    # Balls of k neighbours and the divisor N - 1 differ a little between 16 and 48 rows.
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


@pytest.mark.parametrize("metric", [Precision, Density])
def test_a_sample_weighs_as_another_however_many_takes_it_has(metric):
    rng = np.random.default_rng(4)
    near, far = rng.standard_normal((20, 1, 3)), np.full((1, 20, 3), 50.0)
    real = rng.standard_normal((21, 3))
    ours = examples_of(metric, near, real[:20])
    alone = scored(metric, ours)
    (extra,) = {each.sample_id for each in examples_of(metric, far, real[20:])}
    with_far = ours + [
        Example(
            sample_id="far" + extra,
            take=each.take,
            clip=CLIP,
            features=each.features,
            reference_features=ours[0].reference_features,
        )
        for each in examples_of(metric, far, real[20:])
    ]
    made = metric()
    made.update(with_far)
    value = made.compute()
    # 20 takes far away are one sample of 21, not half of the clips.
    assert value == pytest.approx(alone * 20 / 21, rel=0.12)
    low, high = made.interval(with_far, num_resamples=100, seed=0)
    assert low <= value <= high


@pytest.mark.parametrize(
    ("metric", "num_samples", "size"),
    [
        (FVD, 16, 20),
        (FVD, 50, 4),
        (FID, 12, 30),
        (InceptionScore, 24, 10),
        (KVD, 32, 6),
        (KID, 24, 6),
        (Precision, 24, 6),
        (Density, 32, 6),
    ],
)
def test_intervals_hold_the_expected_value_with_five_correlated_takes(metric, num_samples, size):
    """120 sets; drawn clip by clip, intervals of FVD hold it in about 60 of 100."""
    rng = np.random.default_rng(5)
    real = rng.standard_normal((num_samples, size))
    values, intervals = [], []
    for seed in range(120):
        ours = examples_of(metric, 2 * correlated(rng, num_samples, 5, size), real)
        made = metric()
        made.update(ours)
        values.append(made.compute())
        intervals.append(made.interval(ours, num_resamples=100, seed=seed))
    expected = np.mean(values)
    hits = np.mean([low <= expected <= high for low, high in intervals])
    inside = np.mean([low <= v <= high for v, (low, high) in zip(values, intervals, strict=True)])
    # 120 draws of 0.95 scatter by 0.02, and small sets lose up to 0.07.
    assert hits > 0.84
    assert inside == 1.0


def test_both_parts_of_a_merge_must_not_hold_one_sample():
    rng = np.random.default_rng(6)
    for metric in (FVD, KVD):
        ours = examples_of(metric, correlated(rng, 4, 2, 2), rng.standard_normal((4, 2)))
        one, other = metric(), metric()
        one.update(ours[:3])
        other.update(ours[3:])
        with pytest.raises(ValueError, match="sample 's01' is in both parts"):
            one.merge(other)


def test_the_limit_of_rows_keeps_samples_whole_in_any_order():
    """A later take of a sample that was left out must not come back on its own."""
    rng = np.random.default_rng(7)
    ours = examples_of(KVD, correlated(rng, 9, 3, 2), rng.standard_normal((9, 2)))
    values = set()
    for order in (range(27), reversed(range(27)), rng.permutation(27)):
        metric = KVD(max_rows=10)
        for index in order:
            metric.update([ours[index]])
        assert (metric.generated.num_samples, metric.generated.num_clips) == (3, 9)
        assert metric.warnings()[0].startswith("9 of 27 generated clips")
        values.add(metric.compute())
    assert len(values) == 1
