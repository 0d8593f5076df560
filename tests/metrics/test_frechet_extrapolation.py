"""The extrapolated distance is nearer to the true one than that of the rows at hand."""

import numpy as np
import pytest

from i2vbench.metrics.frechet import frechet_distance
from i2vbench.metrics.frechet_extrapolation import (
    FVDInfinity,
    extrapolate,
    extrapolated_distance,
)

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
    (spread,) = metric.warnings()
    assert spread.startswith("a line through 20 random subsets of each of 15 sizes; other subsets")
    wide = np.random.default_rng(0).standard_normal((2, 40, 30))
    metric = FVDInfinity()
    metric.update(examples_of(FVDInfinity, *wide))
    # Nothing was computed yet, so there is no spread.
    assert "at least 60 clips are needed" in metric.warnings()[0]


def test_too_few_rows():
    with pytest.raises(ValueError, match="at least 8 samples are needed, got 7"):
        extrapolated_distance(np.zeros((7, 2)), np.zeros((9, 2)))


def test_the_spread_is_that_of_other_subsets():
    """The limits of many seeds scatter as the standard error says."""
    x, y = np.random.default_rng(1).standard_normal((2, 60, 4))
    made = [extrapolate(list(x[:, None]), list(y[:, None]), seed=seed) for seed in range(12)]
    scatter = np.std([each.limit for each in made], ddof=1)
    assert np.mean([each.standard_error for each in made]) == pytest.approx(scatter, rel=0.5)


def test_takes_of_a_sample_are_drawn_together():
    """Three copies of each clip are no more clips: the line ends where it would without them."""
    x, y = np.random.default_rng(2).standard_normal((2, 100, 3))
    once = extrapolate(list(x[:, None]), list(y[:, None]))
    copies = extrapolate(list(np.repeat(x[:, None], 3, axis=1)), list(y[:, None]))
    # The divisor N - 1 differs a little between 100 and 300 rows.
    assert copies.limit == pytest.approx(once.limit, abs=0.02)
    assert copies.standard_error == pytest.approx(once.standard_error, rel=0.1)


def test_the_order_of_the_clips_changes_no_draw():
    x, y = np.random.default_rng(3).standard_normal((2, 20, 3))
    forth, back = FVDInfinity(), FVDInfinity()
    ours = examples_of(FVDInfinity, x, y) + examples_of(FVDInfinity, x + 0.1, y, take=1)
    forth.update(ours)
    for each in ours[19::-1] + ours[20:]:
        back.update([each])
    assert forth.compute() == back.compute()
