"""The Fréchet distance on its own, and the feature sets it is computed from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from i2vbench.metrics.feature_set import FeatureSet, Normal, factorise, overlap
from i2vbench.metrics.frechet import (
    frechet_distance,
    frechet_distance_from_moments,
    nuclear_norm,
)
from i2vbench.metrics.frechet_resampling import resampled_distances


def rows_x(n, d):
    i, j = np.mgrid[:n, :d]
    return ((3 * i**2 + 5 * i * j + 7 * j**3 + i * j**2) % 17 - 8) / 4


def rows_y(n, d):
    i, j = np.mgrid[:n, :d]
    return ((5 * i + 11 * j**2 + 2 * i**2 * j + 3 * i**3) % 19 - 7) / 8


# With mpmath 1.3 at 60 digits, from the definition: root of Σ1 by its eigenvectors, then the roots
# of the eigenvalues of Σ1^½ Σ2 Σ1^½; covariances over N - 1. Columns: N, M, D.
REFERENCE = [
    (2, 2, 12, 39.98828125),
    (5, 30, 12, 18.1681599057156022),
    (30, 5, 12, 13.1270546993958143),
    (8, 9, 12, 11.6825629324773399),
    (12, 13, 12, 11.6771856558506551),
    (13, 13, 12, 11.0187692156900286),
    (40, 30, 12, 8.90401650375081206),
    (20, 60, 24, 24.0906466527082663),
]


@pytest.mark.parametrize(("n", "m", "d", "expected"), REFERENCE)
def test_equals_sixty_digit_reference_at_any_rank(n, m, d, expected):
    x, y = rows_x(n, d), rows_y(m, d)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-12)
    moments = (x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T))
    assert frechet_distance_from_moments(*moments) == pytest.approx(expected, rel=1e-12)


def test_hand_computed_values():
    # One feature: (μ1 - μ2)² + (σ1 - σ2)² with variances 2 and 8.
    assert frechet_distance([[0.0], [2.0]], [[3.0], [7.0]]) == pytest.approx(18.0)
    # Over N instead: variances 1 and 4.
    assert frechet_distance([[0.0], [2.0]], [[3.0], [7.0]], ddof=0) == pytest.approx(17.0)
    # Two independent features of the second kind of rank one: 3² + (1 - 3)² + (2 - 0)².
    value = frechet_distance_from_moments([0, 0], np.diag([1, 4]), [3, 0], np.diag([9, 0]))
    assert value == pytest.approx(17.0)
    # Perpendicular lines: nothing of the trace is saved.
    value = frechet_distance([[1, 0], [-1, 0]], [[0, 1], [0, -1]])
    assert value == pytest.approx(4.0)


def test_sets_without_any_spread():
    still = np.tile([3.0, 4.0], (9, 1))
    assert frechet_distance(still, np.zeros((2, 2))) == pytest.approx(25.0)
    nothing = np.zeros((2, 2))
    value = frechet_distance_from_moments([0, 0], nothing, [3, 4], np.eye(2))
    assert value == pytest.approx(27.0)


@pytest.mark.parametrize("n", [3, 20, 21, 200])
def test_same_set_is_at_distance_zero(n):
    x = np.random.default_rng(n).normal(size=(n, 20)) * np.logspace(0, -5, 20)
    # Never below zero, which rounding alone would be about half of the time.
    assert all(0 <= frechet_distance(x + k, x[::-1] + k) <= 1e-12 * n for k in range(10))


@pytest.mark.parametrize(("n", "m"), [(6, 9), (6, 40), (50, 40)])
def test_shift_scale_and_rotation(n, m):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 12)), rng.gamma(1.0, size=(m, 12))
    value = frechet_distance(x, y)
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    assert frechet_distance(x @ rotation, y @ rotation) == pytest.approx(value, rel=1e-10)
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * value, rel=1e-10)
    step = np.arange(12.0)
    assert frechet_distance(x, x + step) == pytest.approx(np.square(step).sum(), rel=1e-10)


def test_repeating_every_row_changes_nothing_over_n():
    x, y = rows_x(9, 12), rows_y(30, 12)
    value = frechet_distance(x, y, ddof=0)
    assert frechet_distance(np.repeat(x, 4, axis=0), y, ddof=0) == pytest.approx(value, rel=1e-10)


def test_collinear_features_with_many_rows():
    # A constant and a repeated feature: the covariance is singular though N > D.
    x, y = rows_x(60, 6), rows_y(50, 6)
    value = frechet_distance(x, y)
    padded = [np.hstack([each, each[:, :2], np.ones((len(each), 1))]) for each in (x, y)]
    mixed = [each @ np.diag([0.5**0.5] * 2 + [1.0] * 4 + [0.5**0.5] * 2 + [1]) for each in padded]
    assert frechet_distance(*mixed) == pytest.approx(value, rel=1e-9)


def test_tensors_arrays_and_lists_are_the_same():
    x, y = rows_x(7, 5), rows_y(8, 5)
    value = frechet_distance(x, y)
    tensor = torch.tensor(x, requires_grad=True)
    assert frechet_distance(tensor, y.tolist()) == value


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    x = rows_x(8, 5)
    x[3, 2] = bad
    with pytest.raises(ValueError, match="1 of 40 values are not finite"):
        frechet_distance(x, rows_y(8, 5))
    with pytest.raises(ValueError, match="sigma2: 1 of 9 values"):
        frechet_distance_from_moments(np.zeros(3), np.eye(3), np.zeros(3), np.diag([1.0, bad, 1.0]))


def test_one_row_is_refused():
    with pytest.raises(ValueError, match="at least 2 rows of features, got 1"):
        frechet_distance(rows_x(1, 5), rows_y(8, 5))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (rows_x(4, 5), rows_y(4, 6), "different numbers of features, 5 and 6"),
        (np.zeros(5), rows_y(4, 5), r"must be rows \(N, D\), got \(5,\)"),
    ],
)
def test_shapes_are_checked(x, y, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(x, y)


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "sigma1 is not symmetric"),
        (np.diag([1.0, -0.5]), "eigenvalue -0.5: it is no covariance"),
        (-np.eye(2), "it is no covariance"),
        (np.eye(3), r"must be \(D,\) and \(D, D\)"),
    ],
)
def test_a_matrix_that_is_no_covariance_is_refused(sigma, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance_from_moments(np.zeros(2), sigma, np.zeros(2), np.eye(2))


@pytest.mark.parametrize("smallest", [1.0, 1e-6, 1e-12, 0.0])
def test_nuclear_norm_keeps_small_singular_values(smallest):
    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    right = np.linalg.qr(rng.normal(size=(50, 30)))[0]
    values = np.r_[np.ones(5), np.full(25, smallest)]
    assert nuclear_norm(left * values @ right.T) == pytest.approx(values.sum(), rel=1e-13)
    assert nuclear_norm(np.zeros((3, 4))) == 0.0


@pytest.mark.parametrize("smallest", [1e-1, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8])
@pytest.mark.parametrize("size", [12, 300])
def test_nuclear_norm_is_right_by_either_way(smallest, size):
    """Whether the eigenvalues of the Gram matrix do, or the singular values must be computed."""
    rng = np.random.default_rng(1)
    values = np.geomspace(1.0, smallest, size)
    left, right = (np.linalg.qr(rng.normal(size=(size, size)))[0] for _ in range(2))
    matrix = left * values @ right.T
    assert nuclear_norm(matrix) == pytest.approx(values.sum(), rel=1e-10)


@pytest.mark.parametrize("smallest", [0.0, 1e-9, 3e-8, 1e-7, 1e-6, 1e-5])
def test_one_singular_value_that_is_lost_in_rounding_is_not_counted_as_noise(smallest):
    """As of centred rows fewer than the features: bounded by 1e-8 of the sum, and too much."""
    rng = np.random.default_rng(2)
    left, right = (np.linalg.qr(rng.normal(size=(100, 100)))[0] for _ in range(2))
    values = np.r_[np.geomspace(1.0, 0.1, 99), smallest]
    assert nuclear_norm(left * values @ right.T) == pytest.approx(values.sum(), rel=1e-11)


def test_factorise_drops_what_is_rounding():
    rows = rows_x(5, 12)
    factor = factorise(np.cov(rows.T))
    assert factor.shape == (4, 12)
    assert np.allclose(factor.T @ factor, np.cov(rows.T), atol=1e-12)
    assert factorise(np.cov(rows_x(40, 12).T)).shape == (12, 12)
    assert factorise(np.diag([1.0, 0.0, 1e-12])).shape == (2, 3)  # small is not rounding


@pytest.mark.parametrize(
    ("rows", "other_rows"), [(600, 600), (600, 300), (40, 600), (600, 0), (3, 2)]
)
def test_overlap_leaves_out_nothing_but_zeros(rows, other_rows):
    """Triangular factors (600 rows), those of less rank (fewer), and none at all."""
    rng = np.random.default_rng(3)
    first, second = (
        np.triu(rng.normal(size=(600, 600)))[600 - num :]
        if num > 3
        else rng.normal(size=(num, 600))
        for num in (rows, other_rows)
    )
    first[:2] = 0.0
    found = overlap(*(Normal(mean=np.zeros(600), factor=each) for each in (first, second)))
    assert found.shape == (rows, other_rows)
    assert np.allclose(found, first @ second.T, rtol=0, atol=1e-12)


def test_asymmetry_of_rounding_is_no_reason_to_refuse():
    x, y = rows_x(40, 12), rows_y(30, 12)
    moments = (x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T))
    moments[1][3, 7] *= 1 + 1e-12
    assert frechet_distance_from_moments(*moments) == pytest.approx(8.90401650375081206, rel=1e-9)


def test_moments_may_run_backwards_and_be_read_only():
    x, y = rows_x(40, 12), rows_y(30, 12)
    moments = [x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T)]
    for each in moments:
        each.flags.writeable = False
    backwards = [np.flip(each) for each in moments]
    expected = frechet_distance_from_moments(*moments)
    assert frechet_distance_from_moments(*backwards) == pytest.approx(expected, rel=1e-12)


def filled(parts):
    made = FeatureSet("test")
    for part in parts:
        made.add(part)
    return made


def covariance(made):
    normal = made.normal()
    return normal.factor.T @ normal.factor


@pytest.mark.parametrize("size", [2, 5, 9])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_merging_in_any_order_is_adding_at_once(size, order):
    # 6 features: three sets of 2 rows stay rows, of 5 become moments together, of 9 before.
    parts = [rows_x(size, 6) + 0.3 * k + rows_y(size, 6) * k for k in range(3)]
    rows = np.concatenate(parts)
    sets = [filled([part[:1], part[1:]]) for part in parts]
    whole = FeatureSet("test")
    for index in order:
        whole.merge(sets[index])
    assert whole.count == len(rows)
    assert np.allclose(whole.normal().mean, rows.mean(axis=0), rtol=0, atol=1e-13)
    assert np.allclose(covariance(whole), np.cov(rows.T), rtol=0, atol=1e-12)
    assert [each.count for each in sets] == [size] * 3  # the merged ones stay as they were
    assert np.allclose(covariance(sets[0]), np.cov(parts[0].T), rtol=0, atol=1e-12)


def test_merging_an_empty_set_changes_nothing():
    made = filled([rows_x(4, 6)])
    made.merge(FeatureSet("empty"))
    assert made.count == 4
    empty = FeatureSet("empty")
    empty.merge(made)
    assert empty.count == 4
    made.add(np.zeros((0, 6)))
    assert made.count == 4


def test_memory_does_not_grow_with_the_rows():
    made = FeatureSet("test")
    for _ in range(300):
        made.add(rows_x(7, 10))
        assert made._num_kept <= 10
    assert made.count == 2100
    assert np.allclose(covariance(made), np.cov(np.tile(rows_x(7, 10), (300, 1)).T))


def test_a_far_mean_costs_no_digits():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 8))
    made = filled(np.split(rows + 1e7, 50))
    # 1e7 in float64 leaves the rows 2e-9; raw second moments would leave the covariance 1e-2.
    assert np.allclose(covariance(made), np.cov(rows.T), atol=1e-7)


def test_rows_are_copied():
    rows = rows_x(4, 6).copy()
    made = filled([rows])
    rows[:] = 0.0
    assert np.allclose(covariance(made), np.cov(rows_x(4, 6).T))


def test_rows_of_another_size_are_refused():
    made = filled([rows_x(4, 6)])
    with pytest.raises(ValueError, match="test: rows of 5 features after rows of 6"):
        made.add(rows_x(4, 5))
    with pytest.raises(ValueError, match="a set of 5 features does not merge into one of 6"):
        made.merge(filled([rows_x(4, 5)]))


@pytest.mark.parametrize(
    ("num_clips", "frames", "num_reference"), [(10, 1, 8), (9, 3, 60), (30, 2, 5)]
)
@pytest.mark.parametrize("ddof", [0, 1])
def test_resampled_distance_is_that_of_the_repeated_rows(num_clips, frames, num_reference, ddof):
    rows = rows_x(num_clips * frames, 12) + 0.1 * rows_y(num_clips * frames, 12)
    clips = np.split(rows, num_clips)
    reference = filled([rows_y(num_reference, 12)])
    counts = np.random.default_rng(0).multinomial(num_clips, [1 / num_clips] * num_clips, 5)
    found = resampled_distances(clips, reference.normal(ddof), counts, ddof=ddof)
    for each, value in zip(counts, found, strict=True):
        repeated = np.concatenate(
            [np.tile(clip, (n, 1)) for clip, n in zip(clips, each, strict=True)]
        )
        expected = frechet_distance(repeated, rows_y(num_reference, 12), ddof=ddof)
        assert value == pytest.approx(expected, rel=1e-6)
