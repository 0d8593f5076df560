"""FVD as a metric: sides, takes, merging, warnings and the interval."""

from __future__ import annotations

import numpy as np
import pytest

from i2vbench.clip import Clip
from i2vbench.metric import Example
from i2vbench.metrics import frechet
from i2vbench.metrics.feature_set import FeatureSet
from i2vbench.metrics.frechet import FVD, MIN_SAMPLES_FOR_INTERVAL, frechet_distance
from i2vbench.metrics.frechet_linear import standard_error

PIXEL = Clip(frames=np.zeros((1, 1, 1, 3), np.uint8), fps=8)


def example(number, generated, reference, take=0):
    return Example(
        sample_id=f"s{number}",
        take=take,
        clip=PIXEL,
        reference=PIXEL,
        features={"i3d": {"logits": np.asarray(generated, np.float32)}},
        reference_features={"i3d": {"logits": np.asarray(reference, np.float32)}},
    )


def logits(num_clips=40, size=12, seed=0):
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(num_clips, size)).astype(np.float32)
    generated = reference + rng.gamma(1.0, 0.3, size=(num_clips, size)).astype(np.float32)
    return generated, reference


def examples(**options):
    return [example(i, g, r) for i, (g, r) in enumerate(zip(*logits(**options), strict=True))]


def test_is_the_distance_of_the_logits():
    generated, reference = logits()
    metric = FVD()
    metric.update(examples())
    assert metric.compute() == pytest.approx(frechet_distance(generated, reference), rel=1e-12)
    alone = FVD()
    alone.update_features(generated=generated[:9], reference=reference)
    alone.update_features(generated=generated[9:])
    assert alone.compute() == pytest.approx(metric.compute(), rel=1e-12)


@pytest.mark.parametrize("num_clips", [6, 12, 40])
def test_real_clips_are_at_distance_zero(num_clips):
    _, reference = logits(num_clips)
    metric = FVD()
    metric.update([example(i, row, row) for i, row in enumerate(reference)])
    assert metric.compute() == pytest.approx(0.0, abs=1e-12)


def test_workers_in_any_order_give_the_same():
    whole = FVD()
    whole.update(examples())
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        parts = [FVD() for _ in range(3)]
        for index, each in enumerate(examples()):
            parts[index % 3].update([each])
        merged = FVD()
        for index in order:
            merged.merge(parts[index])
        assert merged.compute() == pytest.approx(whole.compute(), rel=1e-12)
        assert merged.warnings() == whole.warnings()


def test_a_reference_counts_once_however_many_takes():
    generated, reference = logits()
    metric = FVD()
    for take in range(3):
        metric.update(
            [
                example(i, g + take, r, take)
                for i, (g, r) in enumerate(zip(generated, reference, strict=True))
            ]
        )
    stacked = np.concatenate([generated + take for take in range(3)])
    assert metric.compute() == pytest.approx(frechet_distance(stacked, reference), rel=1e-10)


def test_divisor_is_an_option_and_in_the_spec():
    generated, reference = logits(num_clips=20)
    offset = np.square((generated - reference).mean(axis=0, dtype=np.float64)).sum()
    values = {}
    for ddof in (0, 1):
        metric = FVD(ddof=ddof)
        metric.update(examples(num_clips=20))
        values[ddof] = metric.compute() - offset
        assert metric.spec()["ddof"] == ddof
    # With as many clips on both sides the divisor scales all that is not the means' offset.
    assert values[1] == pytest.approx(values[0] * 20 / 19, rel=1e-9)
    with pytest.raises(ValueError, match="fvd: ddof must be 0 or 1, got 2"):
        FVD(ddof=2)


def test_a_clip_that_is_not_finite_is_refused_by_name():
    metric = FVD()
    metric.update(examples()[:3])
    bad = np.zeros(12)
    bad[4] = np.nan
    for generated, reference, side in (
        (bad, np.zeros(12), "generated"),
        (np.zeros(12), bad, "ref"),
    ):
        with pytest.raises(ValueError, match=f"sample 's7' take 0: fvd, {side}.*1 of 12"):
            metric.update([example(7, generated, reference)])
    assert (metric.generated.count, metric.reference.count) == (3, 3)


@pytest.mark.parametrize("num_clips", [0, 1])
def test_too_few_clips_are_an_error(num_clips):
    metric = FVD()
    metric.update(examples()[:num_clips])
    with pytest.raises(ValueError, match=f"fvd, generated: .* at least 2 rows .* got {num_clips}"):
        metric.compute()


def test_warnings_say_the_numbers():
    metric = FVD()
    assert metric.warnings() == []
    metric.update_features(generated=np.eye(64, 400), reference=np.ones((2048, 400)))
    (line,) = metric.warnings()
    assert "64 generated clips for 400 features: the covariance has rank 63" in line
    assert "biased upward" in line
    many = FVD()
    many.update_features(generated=np.eye(500, 400), reference=np.ones((2048, 400)))
    assert ["rank" in line for line in many.warnings()] == [False]


def test_interval_holds_the_value_and_repeats():
    metric, clips = FVD(), examples()
    metric.update(clips)
    low, high = metric.interval(clips, num_resamples=200, seed=0)
    assert 0 < low < metric.compute() < high
    assert metric.interval(clips, num_resamples=200, seed=0) == (low, high)
    assert metric.interval(clips, num_resamples=200, seed=1) != (low, high)
    narrow = metric.interval(clips, num_resamples=200, seed=0, confidence=0.5)
    assert low < narrow[0] < narrow[1] < high
    assert metric.interval(clips[: MIN_SAMPLES_FOR_INTERVAL - 1], num_resamples=9, seed=0) is None


def test_interval_shrinks_with_the_clips():
    widths = []
    for num_clips in (40, 640):
        clips = examples(num_clips=num_clips)
        low, high = FVD().interval(clips, num_resamples=100, seed=0)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2  # 4 times the square root


def test_interval_covers_the_expected_value_at_the_same_size():
    # Skewed features, rank below D: plain percentiles would cover it in no run of twenty.
    def draw(rng):
        return np.maximum(rng.normal(size=(16, 40)), -0.3) * np.linspace(2, 1, 40)

    rng = np.random.default_rng(0)
    reference = rng.normal(size=(16, 40))
    expected = np.mean([frechet_distance(draw(rng), reference) for _ in range(200)])
    covered = 0
    for _ in range(20):
        clips = [
            example(i, g, r) for i, (g, r) in enumerate(zip(draw(rng), reference, strict=True))
        ]
        low, high = FVD().interval(clips, num_resamples=200, seed=0)
        covered += low <= expected <= high
    assert covered >= 16


def test_a_large_set_has_the_interval_of_the_linearised_distance():
    clips, metric = examples(num_clips=200), FVD()
    metric.update(clips)
    low, high = metric.interval(clips, num_resamples=1, seed=0)
    resampled = FVD().interval(clips, num_resamples=400, seed=0)
    assert (low + high) / 2 == pytest.approx(metric.compute(), rel=1e-9)
    assert high - low == pytest.approx(resampled[1] - resampled[0], rel=0.25)


@pytest.mark.parametrize(("frames", "dead"), [(1, 0), (4, 0), (1, 2)])
def test_the_standard_error_is_the_jackknifes(frames, dead):
    """Leaving out one clip at a time moves the distance as its linearisation says.

    Also where features never vary, and the covariance is singular.
    """
    rng = np.random.default_rng(0)
    clips = [rng.gamma(1.0, size=(1, 6)) + rng.normal(size=(frames, 6)) for _ in range(150)]
    for rows in clips:
        rows[:, :dead] = 0.5
    reference = FeatureSet("reference")
    reference.add(rng.normal(size=(500, 6)))

    def fitted(chosen):
        rows = FeatureSet("generated")
        rows.add(np.concatenate(chosen))
        return rows.normal()

    left_out = [
        frechet._distance(fitted(clips[:i] + clips[i + 1 :]), reference.normal())
        for i in range(len(clips))
    ]
    jackknife = np.sqrt((len(clips) - 1) * np.var(left_out))
    error = standard_error(clips, fitted(clips), reference.normal())
    assert error == pytest.approx(jackknife, rel=0.05)


def test_a_set_too_large_for_an_interval_has_none_and_says_so(monkeypatch):
    clips, metric = examples(num_clips=MIN_SAMPLES_FOR_INTERVAL), FVD()
    metric.update(clips)
    assert metric.interval(clips, num_resamples=9, seed=0) is not None
    assert not any("no interval" in line for line in metric.warnings())
    monkeypatch.setattr(frechet, "MAX_VALUES_FOR_INTERVAL", 12 * MIN_SAMPLES_FOR_INTERVAL - 1)
    assert metric.interval(clips, num_resamples=9, seed=0) is None
    assert any("no interval: 8 rows" in line for line in metric.warnings())
