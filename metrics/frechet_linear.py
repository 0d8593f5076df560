"""How a Fréchet distance moves with its clips: intervals of sets that are too large to resample.

The distance is linearised in the weights of the rows (the infinitesimal jackknife: B. Efron, The
Jackknife, the Bootstrap and Other Resampling Plans, 1982, chapter 6). With T the matrix of the
optimal transport between the two normal distributions (I. Olkin, F. Pukelsheim 1982),

    T = Σ1^-½ (Σ1^½ Σ2 Σ1^½)^½ Σ1^-½,    d tr (Σ1 Σ2)^½ = ½ tr (T dΣ1),

row x moves the distance by its share of 2 (μ1 - μ2)·c + cᵀ(I - T) c, c = x - μ1, less the mean of
this over all rows. One pass over the clips, and memory for D x D.

Letters: N rows, D features, K directions of the generated set, C clips.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import NormalDist

import numpy as np
import torch

from .feature_set import Array, Normal, overlap


def standard_error(clips: Iterable[Array], generated: Normal, reference: Normal) -> float:
    """Standard error of the distance over clips, all rows of a clip together.

    Right where the generated set has many rows for its features; with few the distance is too far
    from linear.

    Args:
        clips: rows (T, D) of each clip of the generated set, read one after another.
        generated: fitted to all of these rows.
        reference: what the distance is to; it counts as known.
    """
    transport_DK = _half_transport(generated, reference)
    offset_D = 2 * (generated.mean - reference.mean)
    sums, sizes = [], []
    for rows_TD in clips:
        centred_TD = rows_TD - generated.mean
        moved_TK = centred_TD @ transport_DK
        pulls_T = centred_TD @ offset_D + np.square(centred_TD).sum(1) - np.square(moved_TK).sum(1)
        sums.append(pulls_T.sum())
        sizes.append(len(pulls_T))
    sums_C, sizes_C = np.array(sums), np.array(sizes)
    num_rows, num_clips = sizes_C.sum(), len(sizes_C)
    influence_C = (sums_C - sizes_C * sums_C.sum() / num_rows) / num_rows
    return float(np.sqrt(np.square(influence_C).sum() * num_clips / (num_clips - 1)))


def normal_interval(value: float, error: float, confidence: float) -> tuple[float, float]:
    """The middle ``confidence`` of a normal distribution, cut at a distance of 0."""
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return max(0.0, value - reach), value + reach


def _half_transport(generated: Normal, reference: Normal) -> Array:
    """B (D, K) with B Bᵀ = T on the directions that the generated set has."""
    shared = overlap(generated, reference)
    squares, vectors = (t.numpy() for t in torch.linalg.eigh(torch.from_numpy(shared @ shared.T)))
    scaled_KK = torch.from_numpy(vectors * np.maximum(squares, 0.0) ** 0.25)
    factor_KD = torch.from_numpy(generated.factor)
    # The rows of a factor of less than full rank are orthogonal: their Gram matrix is harmless.
    # (By a pseudo-inverse of NumPy this took 30 s at 2048 features, beside another program.)
    if factor_KD.shape[0] == factor_KD.shape[1]:
        half_DK: Array = torch.linalg.solve(factor_KD, scaled_KK).numpy()
    else:
        half_DK = (factor_KD.T @ torch.linalg.solve(factor_KD @ factor_KD.T, scaled_KK)).numpy()
    return half_DK
