"""Fréchet distances of many resamples of one set of clips, for bootstrap intervals.

Letters: N rows, D features, K directions of the reference, C clips, R resamples, U distinct rows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from .feature_set import Array, Normal


def resampled_distances(
    clips: Sequence[Array], reference: Normal, counts_RC: NDArray[np.int64], *, ddof: int = 1
) -> Array:
    """Distances to ``reference`` of sets in which clip c occurs ``counts_RC[r, c]`` times.

    Equal to the distance of the repeated rows to a relative 1e-6 (the eigenvalues that should be
    zero have roots that are not), which is enough for an interval.

    Args:
        clips: rows (T, D) of each clip; a clip's rows stay together.
        reference: what the distances are to.
        counts_RC: how often each resample takes each clip.
        ddof: divisor of a covariance is its number of rows minus this.

    Returns:
        (R,), >= 0.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        projection = _Projection(clips, reference, ddof)
        # LAPACK gains little from threads at these sizes, and waits for them in busy loops: on a
        # machine with other work, hundreds of times longer than it computes. Python's do not.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.array(list(pool.map(projection.distance, counts_RC)))


class _Projection:
    """The rows seen from the reference's factor; a resample only weighs them.

    With F the factor of the reference, X the rows less its mean and w a row's weight, the overlap
    is the nuclear norm of diag(√w) (X - x̄) Fᵀ. It is taken from the Gram matrix of the distinct
    rows, cut out of X Fᵀ F Xᵀ, or from that of the K directions if those are fewer.
    """

    def __init__(self, clips: Sequence[Array], reference: Normal, ddof: int) -> None:
        # In place: at 30,000 rows of 2048 features each copy is half a gigabyte.
        self.rows_ND = np.concatenate(clips)
        self.rows_ND -= reference.mean
        self.clip_of_row_N = np.repeat(np.arange(len(clips)), [len(clip) for clip in clips])
        self.squares_N = np.square(self.rows_ND).sum(axis=1)
        self.projected_NK = self.rows_ND @ reference.factor.T
        # Against cancellation when a resample's own mean is taken off.
        self.projected_NK -= self.projected_NK.mean(axis=0)
        num_rows, num_directions = self.projected_NK.shape
        by_rows = num_rows <= 2 * num_directions
        self.gram_NN = self.projected_NK @ self.projected_NK.T if by_rows else None
        self.variance = reference.variance
        self.ddof = ddof

    def distance(self, counts_C: NDArray[np.int64]) -> float:
        """The distance of the set with clip c ``counts_C[c]`` times."""
        weights_N = counts_C[self.clip_of_row_N].astype(np.float64)
        total = weights_N.sum()
        offset = float(np.square(weights_N @ self.rows_ND / total).sum())
        spread = float(weights_N @ self.squares_N - total * offset) / (total - self.ddof)
        values = np.linalg.eigvalsh(self._gram(weights_N, total))
        overlap = float(np.sqrt(np.maximum(values, 0.0)).sum()) / np.sqrt(total - self.ddof)
        return max(0.0, float(offset + spread + self.variance - 2.0 * overlap))

    def _gram(self, weights_N: Array, total: float) -> Array:
        kept_U = np.flatnonzero(weights_N)
        roots_U = np.sqrt(weights_N[kept_U])
        if self.gram_NN is None:
            centre_K = weights_N @ self.projected_NK / total
            weighted_UK = roots_U[:, None] * (self.projected_NK[kept_U] - centre_K)
            directions_KK: Array = weighted_UK.T @ weighted_UK
            return directions_KK
        shares_U = weights_N[kept_U] / total
        gram_UU: Array = self.gram_NN[np.ix_(kept_U, kept_U)]
        across_U = gram_UU @ shares_U
        gram_UU += shares_U @ across_U - across_U - across_U[:, None]
        gram_UU *= roots_U * roots_U[:, None]
        return gram_UU
