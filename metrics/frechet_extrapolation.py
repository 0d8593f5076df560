"""Fréchet video distance extrapolated to infinitely many clips.

M. Chong, D. Forsyth: Effectively unbiased FID and Inception score and where to find them, CVPR
2020. A Fréchet distance of N rows exceeds its limit by about c / N. Distances of subsets of several
sizes, fitted by a line over 1 / N, give the limit as the line's value at 0.

Chong and Forsyth keep the real statistics at 50,000 rows; here references are as few as clips, so
both sides shrink together. The line holds only where the covariances have full rank.

Letters: N rows, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from .clip_rows import MAX_ROWS, PairedRowsMetric
from .feature_set import Array, as_array
from .frechet import frechet_distance

NUM_SIZES = 15
"""Of subsets, from half of the samples to all of them."""
NUM_DRAWS = 20
"""Subsets of each size; their mean goes into the fit."""
MIN_SAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class Extrapolation:
    """The end of the line over 1 / N."""

    limit: float
    """The line's value at 0; may be slightly negative for equal distributions."""
    standard_error: float
    """How much other random subsets of the same samples would move it; other samples move it
    more."""


def extrapolate(
    x_samples: Sequence[Array], y_samples: Sequence[Array], *, seed: int = 0
) -> Extrapolation:
    """The Fréchet distance that two sets would have with infinitely many samples.

    Args:
        x_samples: rows (N, D) of each sample; a subset takes all rows of a sample or none.
        y_samples: of the other set.
        seed: of the subsets.

    Raises:
        ValueError: fewer than 8 samples on a side, a value that is not finite, or another D.
    """
    fewest = min(len(x_samples), len(y_samples))
    if fewest < MIN_SAMPLES:
        raise ValueError(f"at least {MIN_SAMPLES} samples are needed, got {fewest}")
    rng = np.random.default_rng(seed)

    def drawn(samples: Sequence[Array], size: int) -> Array:
        return np.concatenate([samples[index] for index in rng.permutation(len(samples))[:size]])

    inverse, distances = [], []
    # Hundreds of small matrices: threads cost more than they compute, above all beside other work.
    with threadpool_limits(limits=1):
        for share in np.linspace(0.5, 1.0, NUM_SIZES):
            size_x, size_y = round(share * len(x_samples)), round(share * len(y_samples))
            inverse.append((1 / size_x + 1 / size_y) / 2)
            # All samples are the same set at each draw.
            num_draws = NUM_DRAWS if share < 1 else 1
            of_size = [
                frechet_distance(drawn(x_samples, size_x), drawn(y_samples, size_y))
                for _ in range(num_draws)
            ]
            distances.append(of_size * (NUM_DRAWS // num_draws))
    # A line through each draw of every size; the mean of their ends is the end of the mean's line.
    limits = np.polyfit(inverse, np.array(distances), 1)[1]
    return Extrapolation(
        limit=float(limits.mean()),
        standard_error=float(limits.std(ddof=1) / np.sqrt(NUM_DRAWS)),
    )


def extrapolated_distance(x_ND: object, y_ND: object, *, seed: int = 0) -> float:
    """The limit of :func:`extrapolate` for two sets of independent rows.

    Args:
        x_ND: finite rows of features, array or tensor (N, D).
        y_ND: the other set, (M, D).
        seed: of the subsets.

    Raises:
        ValueError: fewer than 8 rows on a side, not (N, D), a value that is not finite, or
            another D.
    """
    x, y = as_array(x_ND), as_array(y_ND)
    if x.ndim != 2 or y.ndim != 2:
        raise ValueError(f"features must be rows (N, D), got {x.shape} and {y.shape}")
    return extrapolate(list(x[:, None]), list(y[:, None]), seed=seed).limit


class FVDInfinity(PairedRowsMetric):
    """FVD at infinitely many samples: one row of 400 I3D logits per clip, a line over 1 / N.

    Without an interval: a resample has fewer distinct samples, which is what is extrapolated. How
    much the draw of the subsets matters stands among the warnings.
    """

    name = "fvd_infinity"
    title = "FVD∞"
    version = "2"  # 20 subsets a size instead of 4, of samples
    higher_is_better = False
    extractors = ("i3d",)
    array = "logits"

    def __init__(self, *, max_rows: int = MAX_ROWS) -> None:
        """Starts with nothing added; each side keeps at most ``max_rows``."""
        super().__init__(max_rows=max_rows)
        self._extrapolation: Extrapolation | None = None

    def spec(self) -> dict[str, Any]:
        """Array, limit, and the subsets."""
        return {**super().spec(), "num_sizes": NUM_SIZES, "num_draws": NUM_DRAWS}

    def compute(self) -> float:
        """The extrapolated distance.

        Raises:
            ValueError: fewer than 8 samples on a side.
        """
        self._extrapolation = extrapolate(self.generated.samples(), self.reference.samples())
        return self._extrapolation.limit

    def warnings(self) -> list[str]:
        """How much the subsets matter; whether clips were left out, or are too few for a line."""
        lines = super().warnings()
        if self._extrapolation is not None:
            lines.append(
                f"a line through {NUM_DRAWS} random subsets of each of {NUM_SIZES} sizes; other "
                f"subsets move the value by ±{self._extrapolation.standard_error:.3g} (standard "
                "error), other samples by more"
            )
        fewest = min(self.generated.num_clips, self.reference.num_clips)
        num_features = self.generated.rows().shape[1] if fewest else 0
        if fewest < 2 * num_features:
            lines.append(
                f"{fewest} clips for {num_features} features: half of them have no covariance of "
                "full rank, so the extrapolation does not hold; at least "
                f"{2 * num_features} clips are needed"
            )
        return lines
