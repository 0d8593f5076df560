"""Means over samples, and how sure they are.

The clips of one sample (its takes) are not independent: a sample counts once, with the mean of its
takes, and intervals treat samples as the independent observations. Of plain numbers the interval
is the percentile bootstrap (Efron 1979), of shares Wilson's (1927).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_CHUNK_ELEMENTS = 1 << 20
"""Drawn indices in memory at once (8 MiB), however many clips there are."""


def mean_over_samples(values: Mapping[str, Iterable[float]]) -> float:
    """The mean over the samples of the mean of their takes; the order of neither matters.

    Args:
        values: sample id -> the finite values of its takes, at least one.

    Raises:
        ValueError: no sample.

    >>> mean_over_samples({"a": [1.0], "b": [0.0, 0.0, 3.0]})
    1.0
    """
    if not values:
        raise ValueError("a mean needs at least one sample, got none")
    means = sample_means(values)
    return math.fsum(means) / len(means)


def sample_means(values: Mapping[str, Iterable[float]]) -> list[float]:
    """The mean of each sample's takes, in the order of the sorted ids: draws depend on no other.

    >>> sample_means({"b": [1.0, 2.0], "a": [3.0]})
    [3.0, 1.5]
    """
    takes = (list(values[sample_id]) for sample_id in sorted(values))
    return [math.fsum(each) / len(each) for each in takes]


def wilson_interval(
    share: float, num_samples: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Wilson's score interval of a share (E. Wilson 1927, JASA 22): it has a width at 0 and 1 too.

    The share is the mean over samples of values in [0, 1]: 0 or 1, or means of several of these, as
    with takes. Their variance is at most that of 0 and 1 at the same mean, so that the interval
    holds the true share about as often as it says or more often. Simulated, 2000 sets each of 10,
    24 and 64 samples at true shares of 0.05, 0.3, 0.5 and 0.9: held in 91 to 98 % with one take, in
    98 to 99 % with five whose correlation is 0.5, and in 99 % for shares of two questions (0.7).

    Args:
        share: in [0, 1].
        num_samples: samples, not clips.
        confidence: in (0, 1).

    Returns:
        In [0, 1], ``share`` inside.

    Raises:
        ValueError: an argument is out of its range.

    >>> low, high = wilson_interval(1.0, 24)
    >>> round(low, 3), high
    (0.862, 1.0)
    """
    _check_confidence(confidence)
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share}")
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    shrink = 1 + z**2 / num_samples
    centre = (share + z**2 / (2 * num_samples)) / shrink
    spread = share * (1 - share) / num_samples + z**2 / (4 * num_samples**2)
    reach = z * math.sqrt(spread) / shrink
    # At 0 and 1 the formula gives 0 and 1 but for rounding.
    return max(0.0, min(centre - reach, share)), min(1.0, max(centre + reach, share))


def bootstrap_mean(
    values: Sequence[float] | NDArray[np.float64], *, num_resamples: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """The means of ``num_resamples`` resamples of ``values``, drawn with replacement.

    Args:
        values: one per sample, any unit.
        num_resamples: how many means come back.
        seed: the same seed and values give the same bits.

    Returns:
        float64 ``(num_resamples,)``, unsorted.

    Raises:
        ValueError: no values, several axes, a value that is not finite, or no resamples.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0:
        raise ValueError(f"values must be a non-empty list of numbers, got shape {sample.shape}")
    if not np.isfinite(sample).all():
        raise ValueError(f"values must be finite, got {sample[~np.isfinite(sample)][0]}")
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    generator = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    chunk = max(1, _CHUNK_ELEMENTS // sample.size)
    for start in range(0, num_resamples, chunk):
        stop = min(start + chunk, num_resamples)
        drawn = generator.integers(sample.size, size=(stop - start, sample.size))
        means[start:stop] = sample[drawn].mean(axis=1)
    return means


def bootstrap_mean_interval(
    values: Sequence[float] | NDArray[np.float64],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """The percentile interval of the mean of ``values``; None for fewer than two.

    Each value counts as independent: give the means of samples, not the values of takes. The
    interval is somewhat narrow for few values. Simulated (1000 sets each, normal and exponential
    values, one take or the mean of five), it held the true mean in 88 to 91 % at 10 samples, 90 to
    95 % at 24, 93 to 95 % at 64.

    Raises:
        ValueError: as :func:`bootstrap_mean`, or a confidence that is not between 0 and 1.

    >>> bootstrap_mean_interval([2.0, 2.0, 2.0])
    (2.0, 2.0)
    >>> bootstrap_mean_interval([2.0]) is None
    True
    """
    _check_confidence(confidence)
    if len(values) < 2:
        return None
    means = bootstrap_mean(values, num_resamples=num_resamples, seed=seed)
    return percentile_interval(means, confidence)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")


def resample_counts(num_samples: int, num_resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each resample, drawn with replacement, takes each sample.

    Returns:
        int64 ``(num_resamples, num_samples)``; each row sums to ``num_samples``.
    """
    even = np.full(num_samples, 1 / num_samples)
    return np.random.default_rng(seed).multinomial(num_samples, even, num_resamples)


def percentile_interval(
    values: Sequence[float] | NDArray[np.float64], confidence: float
) -> tuple[float, float]:
    """The middle ``confidence`` of ``values``, of which there is at least one."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
