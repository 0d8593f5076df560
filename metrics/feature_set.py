"""A set of feature rows as a normal distribution: bounded memory, mergeable, right at any rank.

Letters: N rows, D features, K rows of a factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, eq=False)
class Normal:
    """A normal distribution whose covariance is ``factor.T @ factor``."""

    mean: Array
    """(D,)."""
    factor: Array
    """(K, D)."""

    @property
    def variance(self) -> float:
        """Trace of the covariance."""
        return float(np.square(self.factor).sum())


def factorise(covariance_DD: Array, name: str = "covariance") -> Array:
    """``factor`` (K, D) with ``factor.T @ factor = covariance``, K its numerical rank.

    Raises:
        ValueError: an eigenvalue is negative beyond rounding.
    """
    noise = len(covariance_DD) * EPSILON
    # By torch: 1.3 times as fast as NumPy at 2048 x 2048 on cores of its own, and six times where
    # other programs have them as well, since NumPy's threads then wait for each other.
    lower, failed = torch.linalg.cholesky_ex(torch.from_numpy(covariance_DD))
    if not failed:
        lower_DD: Array = lower.numpy()
        # A singular matrix can pass by luck, with pivots that are rounding; their square roots
        # would then count (1e-16 of variance becomes 1e-8 of standard deviation).
        if np.square(lower_DD.diagonal()).min() > 10 * noise * covariance_DD.diagonal().max():
            return np.ascontiguousarray(lower_DD.T)
    values, vectors = (t.numpy() for t in torch.linalg.eigh(torch.from_numpy(covariance_DD)))
    largest = max(values[-1], 0.0)
    if values[0] < -1e-6 * largest or largest < -values[0]:
        raise ValueError(f"{name} has the eigenvalue {values[0]:.3g}: it is no covariance")
    kept = values > noise * largest
    factor_KD: Array = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    return factor_KD


def overlap(first: Normal, second: Normal) -> Array:
    """Product of the factors, F1 F2ᵀ (K, K'); its singular values sum to tr (Σ1 Σ2)^½.

    Cholesky's factors are upper triangular: zeros that begin all of 256 rows are left out, which
    spares a third of the time at 2048 rows.
    """
    product = np.empty((len(first.factor), len(second.factor)))
    for at in range(0, len(product), 256):
        rows = first.factor[at : at + 256]
        start = int(rows.any(axis=0).argmax())
        np.matmul(rows[:, start:], second.factor[:, start:].T, out=product[at : at + 256])
    return product


class FeatureSet:
    """Mean and covariance of feature rows in bounded memory; sets merge.

    Rows are kept while there are at most D of them: the covariance would be larger, and singular.
    Beyond that they are folded into count, mean and centred outer products in float64 (T. Chan,
    G. Golub, R. LeVeque 1979): no cancellation however far the mean is from zero.
    """

    def __init__(self, name: str) -> None:
        """Starts empty; ``name`` is what error messages call the set."""
        self.name = name
        self._rows: list[Array] = []
        self._num_kept = 0
        self._folded: _Moments | None = None
        self._num_features: int | None = None

    @property
    def count(self) -> int:
        """Rows added so far."""
        return self._num_kept + (self._folded.count if self._folded else 0)

    @property
    def num_features(self) -> int | None:
        """D, or None before the first row."""
        return self._num_features

    def add(self, rows_ND: object) -> None:
        """Adds rows (N, D); N = 0 adds nothing.

        Raises:
            ValueError: not two-dimensional, another D than before, or a value that is not finite.
        """
        self._append(self.checked(rows_ND))

    def checked(self, rows_ND: object) -> Array:
        """The rows as float64, if they may be added.

        Raises:
            ValueError: as in :meth:`add`.
        """
        return checked_rows(self.name, rows_ND, self._num_features)

    def merge(self, other: FeatureSet) -> None:
        """Adds what ``other`` holds; ``other`` stays as it is.

        Raises:
            ValueError: the other set has another D.
        """
        if other._num_features is None:
            return
        if self._num_features not in (None, other._num_features):
            raise ValueError(
                f"{self.name}: a set of {other._num_features} features does not merge into one "
                f"of {self._num_features}"
            )
        if other._folded is not None:
            self._num_features = other._num_features
            self._folded = other._folded + self._folded
        for rows in other._rows:
            self._append(rows)

    def normal(self, ddof: int = 1) -> Normal:
        """The normal distribution fitted to the rows.

        Raises:
            ValueError: fewer than two rows.
        """
        if self.count < 2:
            raise ValueError(
                f"{self.name}: a covariance needs at least 2 rows of features, got {self.count}"
            )
        divisor = self.count - ddof
        if self._folded is None:
            rows_ND = np.concatenate(self._rows)
            mean_D = rows_ND.mean(axis=0)
            return Normal(mean=mean_D, factor=(rows_ND - mean_D) / np.sqrt(divisor))
        total = self._folded
        if self._rows:
            total = total + _Moments.of(np.concatenate(self._rows))
        return Normal(mean=total.mean, factor=factorise(total.scatter / divisor))

    def _append(self, rows_ND: Array) -> None:
        if len(rows_ND) == 0:
            return
        self._num_features = rows_ND.shape[1]
        self._rows.append(rows_ND)
        self._num_kept += len(rows_ND)
        # Once there are moments, rows still wait for company: one update of D x D for many.
        if self._num_kept > self._num_features:
            self._folded = _Moments.of(np.concatenate(self._rows)) + self._folded
            self._rows, self._num_kept = [], 0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Moments:
    count: int
    mean: Array
    """(D,)."""
    scatter: Array
    """(D, D): sum of the outer products of the centred rows."""

    @classmethod
    def of(cls, rows_ND: Array) -> _Moments:
        mean_D = rows_ND.mean(axis=0)
        centred_ND = rows_ND - mean_D
        return cls(count=len(rows_ND), mean=mean_D, scatter=centred_ND.T @ centred_ND)

    def __add__(self, other: _Moments | None) -> _Moments:
        if other is None:
            return self
        count = self.count + other.count
        step_D = other.mean - self.mean
        between = self.count * other.count / count
        return _Moments(
            count=count,
            mean=self.mean + step_D * (other.count / count),
            scatter=self.scatter + other.scatter + between * np.outer(step_D, step_D),
        )


def checked_rows(name: str, rows_ND: object, num_features: int | None) -> Array:
    """The rows as float64, if the set of that name may take them.

    Args:
        name: of the set, for the message.
        rows_ND: array or tensor (N, D).
        num_features: D of the set, None while it is empty.

    Raises:
        ValueError: not two-dimensional, another D, or a value that is not finite.
    """
    rows = as_array(rows_ND)
    if rows.ndim != 2:
        raise ValueError(f"{name}: features must be rows (N, D), got {rows.shape}")
    if num_features not in (None, rows.shape[1]):
        raise ValueError(f"{name}: rows of {rows.shape[1]} features after rows of {num_features}")
    check_finite(name, rows)
    return rows


def as_array(values: object) -> Array:
    """float64; a tensor may be on any device and part of a graph.

    A copy: rows are kept, and torch takes no array that runs backwards or may not be written.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.array(values, dtype=np.float64, order="C")


def check_finite(name: str, array: Array) -> None:
    """Refuses NaN and infinity: eigenvalue solvers return nonsense on them, or do not return.

    Raises:
        ValueError: some value is not finite.
    """
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {array.size} values are not finite")
