"""The extrapolated distance is nearer to the true one than that of the rows at hand."""

import numpy as np
import pytest

from i2vbench.metrics.frechet import frechet_distance
from i2vbench.metrics.frechet_extrapolation import FVDInfinity, extrapolated_distance

from .rows import examples_of


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_takes_the_bias_off(shift):
    """Normal rows of 20 features: the true distance is 20 shift²."""
    excess, rest = [], []
    for seed in range(6):
        x, y = np.random.default_rng(seed).standard_normal((2, 300, 20))
        x += shift
        excess.append(frechet_distance(x, y) - 20 * shift**2)
        rest.append(extrapolated_distance(x, y) - 20 * shift**2)
    assert np.mean(excess) > 0.5
    assert abs(np.mean(rest)) < 0.35 * np.mean(excess)


def test_repeats_itself_and_warns():
    x, y = np.random.default_rng(0).standard_normal((2, 40, 6))
    metric = FVDInfinity()
    metric.update(examples_of(FVDInfinity, x, y))
    assert metric.compute() == metric.compute()
    assert metric.warnings() == []
    wide = np.random.default_rng(0).standard_normal((2, 40, 30))
    metric = FVDInfinity()
    metric.update(examples_of(FVDInfinity, *wide))
    assert "at least 60 clips are needed" in metric.warnings()[0]


def test_too_few_rows():
    with pytest.raises(ValueError, match="at least 8 rows"):
        extrapolated_distance(np.zeros((7, 2)), np.zeros((9, 2)))
