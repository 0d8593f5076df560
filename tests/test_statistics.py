"""Means over samples and their intervals: coverage on simulated data, determinism, edge cases."""

import numpy as np
import pytest

from i2vbench import statistics
from i2vbench.statistics import (
    bootstrap_mean,
    bootstrap_mean_interval,
    mean_over_samples,
    sample_means,
    wilson_interval,
)


@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_about_95_of_100_intervals_hold_the_true_mean(draw):
    rng = np.random.default_rng(1)
    true_mean = {"normal": 0.0, "exponential": 1.0}[draw]
    hits = 0
    for seed in range(300):
        low, high = bootstrap_mean_interval(
            getattr(rng, draw)(size=50), num_resamples=500, seed=seed
        )
        hits += low <= true_mean <= high
    # 300 binomial draws of p = 0.95 have a standard deviation of 1.3 %; the percentile bootstrap
    # loses another 1 to 3 % at n = 50.
    assert 0.89 < hits / 300 < 0.985


def test_a_narrower_confidence_holds_it_less_often():
    values = np.random.default_rng(0).normal(size=40)
    low95, high95 = bootstrap_mean_interval(values)
    low50, high50 = bootstrap_mean_interval(values, confidence=0.5)
    assert low95 < low50 < values.mean() < high50 < high95


def test_width_agrees_with_the_standard_error():
    values = np.random.default_rng(3).normal(loc=7.0, scale=2.0, size=400)
    low, high = bootstrap_mean_interval(values, num_resamples=4000)
    expected = 2 * 1.96 * values.std() / np.sqrt(400)
    assert high - low == pytest.approx(expected, rel=0.05)


def test_resamples_are_drawn_with_replacement_and_are_means_of_the_values():
    means = bootstrap_mean([0.0, 1.0], num_resamples=4000)
    found, counts = np.unique(means, return_counts=True)
    assert found.tolist() == [0.0, 0.5, 1.0]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_same_seed_same_bits_other_seed_others():
    values = np.random.default_rng(0).normal(size=30).tolist()
    assert bootstrap_mean_interval(values) == bootstrap_mean_interval(values)
    assert bootstrap_mean_interval(values) != bootstrap_mean_interval(values, seed=1)


def test_chunks_do_not_change_the_distribution(monkeypatch):
    values = np.random.default_rng(0).normal(size=30)
    whole = bootstrap_mean(values, num_resamples=2000)
    monkeypatch.setattr(statistics, "_CHUNK_ELEMENTS", 30 * 7)
    chunked = bootstrap_mean(values, num_resamples=2000)
    assert len(np.unique(chunked)) == len(np.unique(whole))
    assert chunked.std() == pytest.approx(whole.std(), rel=0.05)


def test_fewer_than_two_values_have_no_interval():
    assert bootstrap_mean_interval([]) is None
    assert bootstrap_mean_interval([3.0]) is None
    assert bootstrap_mean_interval([3.0, 3.0]) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [1.0, float("nan")]}, "finite"),
        ({"values": [1.0, float("inf")]}, "finite"),
        ({"values": [[1.0, 2.0], [1.0, 2.0]]}, "shape"),
        ({"values": [1.0, 2.0], "num_resamples": 0}, "num_resamples"),
        ({"values": [1.0, 2.0], "confidence": 95}, "confidence"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean_interval(**arguments)


@pytest.mark.parametrize(("num_samples", "least"), [(10, 0.88), (64, 0.91)])
def test_means_of_correlated_takes_hold_the_true_mean(num_samples, least):
    """Taken as 5 independent values a sample, they would hold it in about two thirds."""
    rng = np.random.default_rng(num_samples)
    hits = 0
    for seed in range(300):
        takes = rng.normal(size=(num_samples, 1)) + 0.5 * rng.normal(size=(num_samples, 5))
        by_sample = {f"{i}": row.tolist() for i, row in enumerate(takes)}
        low, high = bootstrap_mean_interval(sample_means(by_sample), num_resamples=300, seed=seed)
        hits += low <= 0.0 <= high
    assert least - 0.03 < hits / 300 < 0.985


def test_samples_weigh_alike_and_their_order_does_not_matter():
    values = {"b": [0.0, 0.0, 0.3], "a": [1.0]}
    assert mean_over_samples(values) == pytest.approx(0.55)
    assert sample_means(values) == [1.0, pytest.approx(0.1)]
    assert mean_over_samples(values) == mean_over_samples(dict(reversed(values.items())))
    with pytest.raises(ValueError, match="at least one sample"):
        mean_over_samples({})


# The two roots x of (p - x)² = z² x (1 - x) / n, z = 1.959964.
@pytest.mark.parametrize(
    ("count", "total", "expected"),
    [
        (24, 24, (0.862024, 1.0)),
        (0, 24, (0.0, 0.137976)),
        (5, 10, (0.236593, 0.763407)),
        (1, 1, (0.206549, 1.0)),
    ],
)
def test_wilson_intervals(count, total, expected):
    low, high = wilson_interval(count / total, total)
    assert (low, high) == pytest.approx(expected, abs=1e-6)
    assert low <= count / total <= high


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("takes", [1, 5])
def test_wilson_intervals_hold_the_true_share(share, takes):
    """Takes that agree in part: the chance differs by sample, with correlation 0.5 of takes."""
    rng = np.random.default_rng(7)
    chances = np.full((1000, 24), share) if takes == 1 else rng.beta(share, 1 - share, (1000, 24))
    found = (rng.random((takes, 1000, 24)) < chances).mean(axis=(0, 2))
    hits = [low <= share <= high for low, high in (wilson_interval(x, 24) for x in found)]
    assert np.mean(hits) > 0.92


def test_a_wilson_interval_narrows_with_the_samples_and_the_confidence():
    widths = [np.ptp(wilson_interval(0.8, n)) for n in (10, 100, 1000)]
    assert widths[0] > 2 * widths[1] > 4 * widths[2]
    assert np.ptp(wilson_interval(0.8, 10, confidence=0.5)) < widths[0] / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.2, 5), "share must lie"), ((0.5, 0), "num_samples must be at least 1")],
)
def test_bad_shares_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        wilson_interval(*arguments)
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got 95"):
        wilson_interval(0.5, 5, confidence=95)
