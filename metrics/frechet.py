"""Fréchet distance between two sets of features: FVD and FID.

D. Dowson, B. Landau: The Fréchet distance between multivariate normal distributions, 1982. FID:
M. Heusel et al., NeurIPS 2017. FVD: T. Unterthiner et al., arXiv:1812.01717.

    d² = |μ1 - μ2|² + tr Σ1 + tr Σ2 - 2 tr (Σ1 Σ2)^½

The last trace is where implementations differ in the sixth digit, return complex numbers or never
return: they take the square root of a matrix that has no full rank. With factors Σ = FᵀF it is the
nuclear norm (the sum of the singular values) of F1 F2ᵀ, which needs no square root and no epsilon.
Up to D rows, F is the centred rows themselves; beyond, a factor of the covariance.

Letters: N rows, D features, K rows of a factor, C clips, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np
import torch

from i2vbench.metric import Example, SetMetric, by_sample
from i2vbench.statistics import percentile_interval, resample_counts

from .feature_set import (
    EPSILON,
    Array,
    FeatureSet,
    Normal,
    as_array,
    check_finite,
    factorise,
    overlap,
)
from .frechet_linear import normal_interval, standard_error
from .frechet_resampling import resampled_distances

# Unbiased, as in pytorch-fid, clean-fid, torch-fidelity, torchmetrics, TATS and the original FVD.
# StyleGAN-V and cd-fvd divide by N instead (ddof 0): 0.985 of the value at 64 clips.
DDOF = 1
MAX_ERROR_BOUND = 1e-8
"""Relative, of a sum of singular values by the eigenvalues of the Gram matrix."""
MIN_ROWS_PER_FEATURE = 5
"""The field's 2048 clips for 400 logits; with fewer, a warning."""
MIN_SAMPLES_FOR_INTERVAL = 8
LINEAR_ROWS_PER_FEATURE = 10
"""Of one take a sample; from here on an interval is of the linearised distance, and holds no
rows."""
MAX_VALUES_FOR_INTERVAL = 2**26
"""Rows times features that a resampled interval holds, 0.5 GiB: the score itself needs no rows."""


def frechet_distance(x_ND: object, y_ND: object, *, ddof: int = DDOF) -> float:
    """Fréchet distance between the normal distributions fitted to two sets of rows.

    Right for any N >= 2, also for N <= D, where the covariance is singular.

    Args:
        x_ND: finite rows of features, array or tensor (N, D) of any real dtype.
        y_ND: the other set, (M, D); M may differ from N.
        ddof: divisor of the covariance is N - ddof: 1 unbiased, 0 population.

    Returns:
        The squared distance, >= 0, in squared units of the features.

    Raises:
        ValueError: a set has fewer than two rows, or a value that is not finite; or D differs.

    >>> frechet_distance([[0.0], [2.0]], [[3.0], [7.0]])  # 4² + (√2 - √8)²
    18.0
    """
    x, y = FeatureSet("x"), FeatureSet("y")
    x.add(x_ND)
    y.add(y_ND)
    return _distance(x.normal(ddof), y.normal(ddof))


def frechet_distance_from_moments(
    mu1_D: object, sigma1_DD: object, mu2_D: object, sigma2_DD: object
) -> float:
    """Fréchet distance between two normal distributions.

    Args:
        mu1_D: mean, (D,).
        sigma1_DD: covariance, (D, D), symmetric, of any rank.
        mu2_D: the other mean.
        sigma2_DD: the other covariance.

    Returns:
        The squared distance, >= 0.

    Raises:
        ValueError: shapes do not match, a value is not finite, or a matrix is no covariance.

    >>> round(frechet_distance_from_moments([0, 0], [[1, 0], [0, 4]], [3, 0], [[9, 0], [0, 0]]), 9)
    17.0
    """
    return _distance(_normal_of("1", mu1_D, sigma1_DD), _normal_of("2", mu2_D, sigma2_DD))


def _distance(first: Normal, second: Normal) -> float:
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            "fréchet distance: the sets have different numbers of features, "
            f"{first.mean.size} and {second.mean.size}"
        )
    offset = float(np.square(first.mean - second.mean).sum())
    shared = nuclear_norm(overlap(first, second))
    # Rounding may leave a tiny negative number where the sets are equal.
    return max(0.0, offset + first.variance + second.variance - 2.0 * shared)


def nuclear_norm(matrix: Array) -> float:
    """Sum of the singular values of ``matrix``.

    The eigenvalues of its Gram matrix give them in less than half the time, but their roots lose
    half the digits near zero. The error that this can make is bounded from the eigenvalues
    themselves, and the singular values proper are computed where it matters. The error itself is
    far below: 1e-11 at most, relative, over 70 spectra of 5 to 1000 values. That does not hold of
    an eigenvalue that is rounding and nothing else, as where the rank is not full.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    if wide.size == 0:
        return 0.0
    squares = _eigenvalues(wide @ wide.T)
    rounding = 16 * EPSILON * squares[-1]
    if squares[0] > 100 * rounding:
        roots = np.sqrt(squares)
        if rounding * (1.0 / roots).sum() <= MAX_ERROR_BOUND * roots.sum():
            return float(roots.sum())
    return float(torch.linalg.svdvals(torch.from_numpy(wide)).sum())


def _eigenvalues(symmetric: Array) -> Array:
    """In ascending order; by torch: its LAPACK shares its threads, NumPy's brings its own."""
    values: Array = torch.linalg.eigvalsh(torch.from_numpy(symmetric)).numpy()
    return values


def _normal_of(which: str, mu_D: object, sigma_DD: object) -> Normal:
    mean_D, covariance_DD = as_array(mu_D), as_array(sigma_DD)
    if mean_D.ndim != 1 or covariance_DD.shape != (mean_D.size, mean_D.size):
        raise ValueError(
            f"mu{which} and sigma{which} must be (D,) and (D, D), "
            f"got {mean_D.shape} and {covariance_DD.shape}"
        )
    for name, array in ((f"mu{which}", mean_D), (f"sigma{which}", covariance_DD)):
        check_finite(name, array)
    name = f"sigma{which}"
    return Normal(mean=mean_D, factor=factorise(_symmetric(name, covariance_DD), name))


def _symmetric(name: str, matrix: Array) -> Array:
    """``matrix`` without the asymmetry that rounding leaves; most have none, which is cheap to see.

    Raises:
        ValueError: there is more of it than rounding leaves.
    """
    as_tensor = torch.from_numpy(matrix)
    if torch.equal(as_tensor, as_tensor.T):
        return matrix
    scale = float(np.abs(matrix).max())
    if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-9 * scale):
        raise ValueError(f"{name} is not symmetric: it is no covariance")
    return (matrix + matrix.T) / 2


class FrechetMetric(SetMetric):
    """Fréchet distance between the features of the clips and of their references.

    Every clip counts. A sample's reference counts once, with the first take that is added, however
    many takes there are.
    """

    higher_is_better = False
    needs = frozenset({"reference"})
    array: ClassVar[str]
    """Which of the extractor's arrays: (D,), a row per clip, or (T, D), a row per frame."""
    row: ClassVar[str]
    """What a row is of: ``clip`` or ``frame``."""
    max_resamples: ClassVar[int]
    """Of an interval."""

    def __init__(self, *, ddof: int = DDOF) -> None:
        """Starts with nothing added.

        Args:
            ddof: divisor of the covariance is N - ddof, see ``DDOF``.

        Raises:
            ValueError: ``ddof`` is neither 0 nor 1.
        """
        if ddof not in (0, 1):
            raise ValueError(f"{self.name}: ddof must be 0 or 1, got {ddof!r}")
        self.ddof = ddof
        self.generated = FeatureSet(f"{self.name}, generated")
        self.reference = FeatureSet(f"{self.name}, reference")
        self._num_clips = 0
        self._referenced: set[str] = set()
        """Samples whose reference was added."""

    def spec(self) -> dict[str, Any]:
        """Divisor and array."""
        return {"ddof": self.ddof, "array": self.array, "reference": "of the first take"}

    def update(self, examples: Sequence[Example]) -> None:
        """Adds clips and, with the first take of a sample, its reference.

        Raises:
            ValueError: a feature is not finite; that clip and those after it are not added.
        """
        for example in chain.from_iterable(by_sample(examples)):
            reference_ND: Array | None = None
            try:
                generated_ND = self._generated_rows(example)
                if example.sample_id not in self._referenced:
                    reference_ND = self._reference_rows(example)
            except ValueError as error:
                raise ValueError(
                    f"sample {example.sample_id!r} take {example.take}: {error}"
                ) from error
            self.generated.add(generated_ND)
            self._num_clips += 1
            if reference_ND is not None:
                self.reference.add(reference_ND)
                self._referenced.add(example.sample_id)

    def update_features(
        self, *, generated: object | None = None, reference: object | None = None
    ) -> None:
        """Adds rows of features without clips, arrays or tensors (N, D), to either side.

        Raises:
            ValueError: not two-dimensional, another D than before, or a value that is not finite.
        """
        if generated is not None:
            self.generated.add(generated)
        if reference is not None:
            self.reference.add(reference)

    def merge(self, other: Self) -> None:
        """Adds the other's clips and references.

        Raises:
            ValueError: both hold takes of one sample, whose reference would count twice.
        """
        both = self._referenced & other._referenced
        if both:
            raise ValueError(f"{self.name}: sample {min(both)!r} is in both parts")
        self.generated.merge(other.generated)
        self.reference.merge(other.reference)
        self._num_clips += other._num_clips
        self._referenced |= other._referenced

    def compute(self) -> float:
        """The distance.

        Raises:
            ValueError: fewer than two rows on a side.
        """
        return _distance(self.generated.normal(self.ddof), self.reference.normal(self.ddof))

    def warnings(self) -> list[str]:
        """Which side has too few rows for the features' size."""
        lines = []
        sides = (
            ("generated", self.generated, self._num_clips),
            ("reference", self.reference, len(self._referenced)),
        )
        for kind, rows, num_clips in sides:
            num_features = rows.num_features or 0
            if not 0 < rows.count < MIN_ROWS_PER_FEATURE * num_features:
                continue
            what = f"{kind} clips"
            if self.row != "clip":
                what = f"{kind} {self.row}s" + (f" of {num_clips} clips" if num_clips else "")
            line = f"{rows.count} {what} for {num_features} features"
            if rows.count <= num_features:
                line += f": the covariance has rank {rows.count - 1} at most"
            lines.append(f"{line}; biased upward, compare only with the same number of clips")
        if self._too_large_for_interval():
            lines.append(
                f"no interval: {self.generated.count} rows of {self.generated.num_features} "
                f"features are more than the {MAX_VALUES_FOR_INTERVAL} values that it may hold"
            )
        return lines

    def _too_large_for_interval(self) -> bool:
        values = self.generated.count * (self.generated.num_features or 0)
        return values > MAX_VALUES_FOR_INTERVAL and not self._interval_is_linear()

    def _interval_is_linear(self) -> bool:
        num_features = self.generated.num_features or 1
        # Further takes of a sample bring few directions that its first one has not.
        share = len(self._referenced) / self._num_clips if self._num_clips else 1.0
        return self.generated.count * share >= LINEAR_ROWS_PER_FEATURE * num_features

    def interval(
        self,
        examples: Sequence[Example],
        *,
        num_resamples: int,
        seed: int,
        confidence: float = 0.95,
    ) -> tuple[float, float] | None:
        """Interval over samples, all frames of all takes of a sample together, references kept.

        ``examples`` are those that were added, in any order.

        With ``LINEAR_ROWS_PER_FEATURE`` rows a feature and more, of one take a sample, that of the
        linearised distance (:func:`~i2vbench.metrics.frechet_linear.standard_error`). In
        simulations (20 and 50 features, 10 to 80 rows each, skewed) it held the expected distance
        in 96 to 97 %, and with five takes of correlation 0.5 or 0.9 (120 samples, 10 features, 200
        sets) in 94 %.

        With fewer rows, a bootstrap. A resample has fewer distinct samples than the set, which
        lowers the rank and so raises the distance: plain percentiles often lie above the value
        itself. Their mean excess is taken off. In simulations (16 to 400 rows, 50 to 400 features,
        skewed) that interval held the expected distance at the same number of clips in 90 to 98 %
        of the cases; plain percentiles did in 0 to 92 %, mirrored ones ("basic") in 8 to 89 %.
        With five takes a sample, of correlation 0.5 or 0.9 (16 to 64 samples, 10 to 50 features,
        skewed, 200 sets each), it held it in 91 to 99 %.

        At most ``max_resamples`` are drawn. None above ``MAX_VALUES_FOR_INTERVAL``, and for fewer
        than ``MIN_SAMPLES_FOR_INTERVAL`` samples.
        """
        samples = by_sample(examples)
        if len(samples) < MIN_SAMPLES_FOR_INTERVAL or self._too_large_for_interval():
            return None
        if self._interval_is_linear():
            generated, reference = (
                each.normal(self.ddof) for each in (self.generated, self.reference)
            )
            rows_of_samples = (self._rows_of_takes(takes) for takes in samples)
            error = standard_error(rows_of_samples, generated, reference)
            return normal_interval(_distance(generated, reference), error, confidence)
        reference_set = FeatureSet(self.reference.name)
        for takes in samples:
            reference_set.add(self._reference_rows(takes[0]))
        counts_RC = resample_counts(len(samples), min(num_resamples, self.max_resamples), seed)
        once = np.ones((1, len(samples)), dtype=counts_RC.dtype)
        distances_R = resampled_distances(
            [self._rows_of_takes(takes) for takes in samples],
            reference_set.normal(self.ddof),
            np.concatenate([once, counts_RC]),
            ddof=self.ddof,
        )
        value, resampled = distances_R[0], distances_R[1:]
        low, high = percentile_interval(resampled, confidence)
        excess = float(resampled.mean() - value)
        return max(0.0, low - excess), high - excess

    def _rows_of_takes(self, takes: Sequence[Example]) -> Array:
        return np.concatenate([self._generated_rows(example) for example in takes])

    def _generated_rows(self, example: Example) -> Array:
        return self.generated.checked(np.atleast_2d(example.features_of(self)[self.array]))

    def _reference_rows(self, example: Example) -> Array:
        rows_ND = np.atleast_2d(example.reference_features_of(self)[self.array])
        return self.reference.checked(rows_ND)


class FVD(FrechetMetric):
    """Fréchet video distance: one row of 400 I3D logits per clip."""

    name = "fvd"
    title = "FVD"
    version = "1"
    max_resamples = 1000
    extractors = ("i3d",)
    array = "logits"
    row = "clip"


class FID(FrechetMetric):
    """Fréchet distance of frame features: every frame of every clip is a row.

    Published FIDs are of another network (Inception); the label on boards names this one.
    """

    name = "fid"
    title = "FID"
    version = "1"
    max_resamples = 200  # each takes the eigenvalues of some 650 x 650 at 64 clips of 16 frames
    extractors = ("efficientnet-lite0",)
    array = "pooled"
    row = "frame"
