"""VBench-I2V's quality, image-to-video and total scores from the values of its dimensions.

Source: VBench (github.com/Vchitect/VBench, ``scripts/constant.py`` and
``scripts/cal_i2v_final_score.py``). Each dimension is normalised by (x - low) / (high - low),
without clipping, then averaged with weights; the total is the plain mean of the two scores. The
first leaderboard, which papers of 2024 reprint, left camera motion out and counted temporal
flickering in: its totals do not compare with those of today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from i2vbench.errors import UserError, did_you_mean

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "camera_motion": (0.0, 1.0),
    "i2v_subject": (0.1462, 1.0),
    "i2v_background": (0.2615, 1.0),
    "subject_consistency": (0.1462, 1.0),
    "background_consistency": (0.2615, 1.0),
    "temporal_flickering": (0.6293, 1.0),
    "motion_smoothness": (0.7060, 0.9975),
    "dynamic_degree": (0.0, 1.0),
    "aesthetic_quality": (0.0, 1.0),
    "imaging_quality": (0.0, 1.0),
}
"""Dimension -> the values that become 0 and 1. Above the upper one a score exceeds 1."""
WEIGHTS: Final[Mapping[str, float]] = {
    **dict.fromkeys(BOUNDS, 1.0),
    "camera_motion": 0.1,
    "dynamic_degree": 0.5,
}
_ROUNDING = 1e-6
"""A mean of cosines may come out as 1.0000001."""


@dataclass(frozen=True, kw_only=True)
class Formula:
    """Which dimensions make which score."""

    i2v: tuple[str, ...]
    quality: tuple[str, ...]


_QUALITY = (
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
)
FORMULAS: Final[Mapping[str, Formula]] = {
    "current": Formula(i2v=("camera_motion", "i2v_subject", "i2v_background"), quality=_QUALITY),
    "2024": Formula(
        i2v=("i2v_subject", "i2v_background"), quality=(*_QUALITY, "temporal_flickering")
    ),
}


@dataclass(frozen=True, kw_only=True)
class VBenchTotals:
    """The three scores, 1 for the best that the normalisation foresees."""

    quality: float
    i2v: float
    total: float


def vbench_i2v_totals(values: Mapping[str, float], *, formula: str = "current") -> VBenchTotals:
    """The scores of one model.

    Args:
        values: dimension -> mean in [0, 1]; a dimension that the formula does not use is ignored.
        formula: ``current``, or ``2024`` for the leaderboard of that year.

    Raises:
        UserError: an unknown formula or dimension, a missing one (VBench counts it as 0, which
            makes it negative), or a value outside of [0, 1].

    >>> perfect = dict.fromkeys(BOUNDS, 1.0)
    >>> round(vbench_i2v_totals(perfect | {"motion_smoothness": 0.9975}).total, 6)
    1.0
    """
    if formula not in FORMULAS:
        raise UserError(f"formula {formula!r} is unknown: {did_you_mean(formula, FORMULAS)}")
    for name, value in values.items():
        if name not in BOUNDS:
            raise UserError(f"dimension {name!r} is unknown: {did_you_mean(name, BOUNDS)}")
        if not -_ROUNDING <= value <= 1.0 + _ROUNDING:
            raise UserError(f"{name} is {value}, must be in 0 to 1 (percentages: divide by 100)")
    chosen = FORMULAS[formula]
    missing = [name for name in (*chosen.i2v, *chosen.quality) if name not in values]
    if missing:
        raise UserError(
            f"formula {formula!r} needs {', '.join(missing)} as well: nothing missing is filled in"
        )
    quality, i2v = (_weighted_mean(values, names) for names in (chosen.quality, chosen.i2v))
    return VBenchTotals(quality=quality, i2v=i2v, total=(quality + i2v) / 2)


def _weighted_mean(values: Mapping[str, float], names: Sequence[str]) -> float:
    scores = [
        WEIGHTS[name] * (values[name] - BOUNDS[name][0]) / (BOUNDS[name][1] - BOUNDS[name][0])
        for name in names
    ]
    return sum(scores) / sum(WEIGHTS[name] for name in names)
