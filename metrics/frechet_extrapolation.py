"""Fréchet video distance extrapolated to infinitely many clips.

M. Chong, D. Forsyth: Effectively unbiased FID and Inception score and where to find them, CVPR
2020. A Fréchet distance of N rows exceeds its limit by about c / N. Distances of subsets of several
sizes, fitted by a line over 1 / N, give the limit as the line's value at 0.

Chong and Forsyth keep the real statistics at 50,000 rows; here references are as few as clips, so
both sides shrink together. The line holds only where the covariances have full rank.

Letters: N rows, D features.
"""

from __future__ import annotations

import numpy as np

from .clip_rows import PairedRowsMetric
from .feature_set import as_array
from .frechet import frechet_distance

NUM_SIZES = 15
"""Of subsets, from half of the rows to all of them."""
NUM_DRAWS = 4
"""Subsets of each size; their mean goes into the fit."""


def extrapolated_distance(x_ND: object, y_ND: object, *, seed: int = 0) -> float:
    """The Fréchet distance that two sets would have with infinitely many rows.

    Args:
        x_ND: finite rows of features, array or tensor (N, D).
        y_ND: the other set, (M, D).
        seed: of the subsets.

    Returns:
        The value at 0 of the least-squares line; may be slightly negative for equal distributions.

    Raises:
        ValueError: fewer than 8 rows on a side, a value that is not finite, or another D.
    """
    x, y = as_array(x_ND), as_array(y_ND)
    if x.ndim != 2 or y.ndim != 2 or min(len(x), len(y)) < 8:
        raise ValueError(f"at least 8 rows (N, D) are needed, got {x.shape} and {y.shape}")
    rng = np.random.default_rng(seed)
    shares = np.linspace(0.5, 1.0, NUM_SIZES)
    inverse, distances = [], []
    for share in shares:
        size_x, size_y = round(share * len(x)), round(share * len(y))
        drawn = [
            frechet_distance(
                x[rng.permutation(len(x))[:size_x]], y[rng.permutation(len(y))[:size_y]]
            )
            for _ in range(NUM_DRAWS if share < 1 else 1)
        ]
        inverse.append((1 / size_x + 1 / size_y) / 2)
        distances.append(float(np.mean(drawn)))
    slope_and_limit = np.polyfit(inverse, distances, 1)
    return float(slope_and_limit[1])


class FVDInfinity(PairedRowsMetric):
    """FVD at infinitely many clips: one row of 400 I3D logits per clip, a line over 1 / N.

    Without an interval: a resample has fewer distinct clips, which is what is being extrapolated.
    """

    name = "fvd_infinity"
    title = "FVD∞"
    version = "1"
    higher_is_better = False
    extractors = ("i3d",)
    array = "logits"

    def compute(self) -> float:
        """The extrapolated distance.

        Raises:
            ValueError: fewer than 8 clips on a side.
        """
        return extrapolated_distance(self.generated.rows(), self.reference.rows())

    def warnings(self) -> list[str]:
        """Whether clips were left out; whether there are too few for the line to hold."""
        lines = super().warnings()
        fewest = min(self.generated.num_clips, self.reference.num_clips)
        num_features = self.generated.rows().shape[1] if fewest else 0
        if fewest < 2 * num_features:
            lines.append(
                f"{fewest} clips for {num_features} features: half of them have no covariance of "
                "full rank, so the extrapolation does not hold; at least "
                f"{2 * num_features} clips are needed"
            )
        return lines
