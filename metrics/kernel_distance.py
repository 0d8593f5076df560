"""Kernel distance between two sets of features: KVD and KID.

M. Bińkowski et al.: Demystifying MMD GANs, ICLR 2018 (KID); T. Unterthiner et al., arXiv:1812.01717
(the same on video features). The squared maximum mean discrepancy with the kernel

    k(x, y) = (x·y / D + 1)³

in its unbiased form: unlike a Fréchet distance its expectation does not depend on the number of
clips, and it may be slightly negative. Peers average it over random subsets of 1000 rows; this is
the value over all rows, which is what their average tends to.

Letters: N rows, D features, C clips, G clips of the other set, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from i2vbench.metric import Example
from i2vbench.statistics import percentile_interval, resample_counts

from .clip_rows import ClipRows, PairedRowsMetric
from .feature_set import Array, as_array, check_finite

MIN_CLIPS_FOR_INTERVAL = 8
# Rows whose kernel is held at a time.
_BLOCK = 1024


def kernel_distance(x_ND: object, y_ND: object) -> float:
    """Unbiased squared MMD of two sets of rows, arrays or tensors (N, D) and (M, D).

    Raises:
        ValueError: a set has fewer than two rows, a value is not finite, or D differs.

    >>> kernel_distance([[0.0], [1.0]], [[0.0], [1.0]])  # 1 + 1 - 2 (1 + 1 + 1 + 8) / 4
    -3.5
    """
    x, y = as_array(x_ND), as_array(y_ND)
    for name, rows in (("x", x), ("y", y)):
        if rows.ndim != 2 or len(rows) < 2:
            raise ValueError(f"{name} must be at least two rows (N, D), got {rows.shape}")
        check_finite(name, rows)
    _same_features(x, y)
    alone_x, alone_y = np.arange(len(x)), np.arange(len(y))
    return _unbiased(_sums(x, alone_x), _sums(y, alone_y), _kernel_sums(x, alone_x, y, alone_y))


class KernelDistance(PairedRowsMetric):
    """Unbiased squared MMD between the features of the clips and of their references."""

    higher_is_better = False

    def compute(self) -> float:
        """The distance; around zero, also below, for equal distributions.

        Raises:
            ValueError: fewer than two rows on a side.
        """
        generated, reference = _side(self.generated), _side(self.reference)
        _same_features(generated[0], reference[0])
        return _unbiased(_sums(*generated), _sums(*reference), _kernel_sums(*generated, *reference))

    def interval(
        self,
        examples: Sequence[Example],
        *,
        num_resamples: int,
        seed: int,
        confidence: float = 0.95,
    ) -> tuple[float, float] | None:
        """Bootstrap interval over clips, all frames of a clip together, the references kept.

        Pairs of a row with its own copies are left out, as pairs of a row with itself are.
        """
        held = self.rows_of(examples)
        if held.generated.num_clips < MIN_CLIPS_FOR_INTERVAL:
            return None
        generated, reference = _side(held.generated), _side(held.reference)
        inner, outer = _sums(*generated), _sums(*reference)
        across_CG = _kernel_sums(*generated, *reference)
        counts_RC = resample_counts(held.generated.num_clips, num_resamples, seed)
        values = [_unbiased(inner, outer, across_CG, counts_C) for counts_C in counts_RC]
        return percentile_interval(values, confidence)


class KVD(KernelDistance):
    """Kernel video distance: one row of 400 I3D logits per clip."""

    name = "kvd"
    title = "KVD"
    version = "1"
    extractors = ("i3d",)
    array = "logits"


class KID(KernelDistance):
    """Kernel distance of frame features: every frame of every clip is a row.

    Published KIDs are of another network (Inception); the label on boards names this one.
    """

    name = "kid"
    title = "KID"
    version = "1"
    extractors = ("efficientnet-lite0",)
    array = "pooled"


Starts = NDArray[np.int64]
"""Row at which each clip begins."""


class Sums(NamedTuple):
    """What the distance needs of one set."""

    kernel_CC: Array  # noqa: N815
    """Sums of the kernel over the rows of each pair of clips."""
    own_C: Array  # noqa: N815
    """Sums of k(x, x) over the rows of each clip."""
    rows_C: Array  # noqa: N815
    """Rows of each clip."""


def _side(rows: ClipRows) -> tuple[Array, Starts]:
    return rows.rows(), rows.starts()


def _same_features(x_ND: Array, y_ND: Array) -> None:
    if x_ND.shape[1] != y_ND.shape[1]:
        raise ValueError(
            "kernel distance: the sets have different numbers of features, "
            f"{x_ND.shape[1]} and {y_ND.shape[1]}"
        )


def _kernel_sums(x_ND: Array, starts_C: Starts, y_MD: Array, starts_G: Starts) -> Array:
    """(C, G): sums of the kernel over the rows of each pair of clips."""
    by_row = [
        np.add.reduceat((part @ y_MD.T / x_ND.shape[1] + 1.0) ** 3, starts_G, axis=1)
        for part in np.array_split(x_ND, -(-len(x_ND) // _BLOCK))
    ]
    sums: Array = np.add.reduceat(np.concatenate(by_row), starts_C, axis=0)
    return sums


def _sums(x_ND: Array, starts_C: Starts) -> Sums:
    own_N = (np.square(x_ND).sum(axis=1) / x_ND.shape[1] + 1.0) ** 3
    return Sums(
        kernel_CC=_kernel_sums(x_ND, starts_C, x_ND, starts_C),
        own_C=np.add.reduceat(own_N, starts_C),
        rows_C=np.diff(np.append(starts_C, len(x_ND))).astype(np.float64),
    )


def _unbiased(x: Sums, y: Sums, across_CG: Array, counts_C: Array | None = None) -> float:
    """The distance; ``counts_C`` says how often x's clips occur, None once each."""
    counts_C = np.ones(len(across_CG)) if counts_C is None else counts_C.astype(np.float64)
    num_x, num_y = float(counts_C @ x.rows_C), float(y.rows_C.sum())
    mean_across = float((counts_C @ across_CG).sum()) / (num_x * num_y)
    within = _mean_of_pairs(x, counts_C) + _mean_of_pairs(y, np.ones(len(y.rows_C)))
    return within - 2.0 * mean_across


def _mean_of_pairs(sums: Sums, counts_C: Array) -> float:
    """Mean of the kernel over pairs of different rows."""
    squares_C = np.square(counts_C)
    pairs = float((counts_C @ sums.rows_C) ** 2 - squares_C @ sums.rows_C)
    if pairs <= 0:
        raise ValueError("kernel distance: a set needs at least 2 rows of features")
    return float(counts_C @ sums.kernel_CC @ counts_C - squares_C @ sums.own_C) / pairs
