"""VBench-I2V's quality, image-to-video and total scores from the values of its dimensions.

Source: VBench (github.com/Vchitect/VBench, ``scripts/constant.py`` and
``scripts/cal_i2v_final_score.py``). Each dimension is normalised by (x - low) / (high - low),
without clipping, then averaged with weights; the total is the plain mean of the two scores. The
first leaderboard, which papers of 2024 reprint, left camera motion out and counted temporal
flickering in: its totals do not compare with those of today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from i2vbench.errors import UserError, did_you_mean
from i2vbench.protocol import Totals, load_protocol
from i2vbench.totals import group_means


def _totals_of(protocol: str) -> Totals:
    totals = load_protocol(protocol).totals
    assert totals is not None
    return totals


FORMULAS: Final[Mapping[str, Totals]] = {
    "current": _totals_of("vbench-i2v"),
    "2024": _totals_of("vbench-i2v-2024"),
}
"""The constants are those of the protocols."""
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    name: (constants.low, constants.high)
    for formula in FORMULAS.values()
    for name, constants in formula.dimensions.items()
}
"""Dimension -> the values that become 0 and 1. Above the upper one a score exceeds 1."""
_ROUNDING = 1e-6
"""A mean of cosines may come out as 1.0000001."""


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
    missing = [name for names in chosen.groups.values() for name in names if name not in values]
    if missing:
        raise UserError(
            f"formula {formula!r} needs {', '.join(missing)} as well: nothing missing is filled in"
        )
    means = group_means(chosen, values)
    quality, i2v = means["Quality"], means["I2V"]
    return VBenchTotals(quality=quality, i2v=i2v, total=(quality + i2v) / 2)
