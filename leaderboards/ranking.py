"""Who is best in a column, who cannot be told from the best, and in which order rows stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Standing = Literal["best", "tied", ""]


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A value of one column as the ranking sees it."""

    value: float | None
    text: str
    """As it is printed: values that print alike rank alike."""
    interval: tuple[float, float] | None
    is_model: bool
    """Baselines are yardsticks: they neither win nor make a contest."""
    is_complete: bool
    """Partial scores are of fewer clips, hence not ranked."""

    @property
    def eligible(self) -> bool:
        """Whether it may win."""
        return self.is_model and self.is_complete and self.value is not None


def standings(entrants: Sequence[Entrant], higher_is_better: bool | None) -> list[Standing]:
    """The standing of each entrant.

    ``best``: the best printed value of all that are eligible. ``tied``: its 95 % interval overlaps
    that of a best one. Nobody is best where neither direction is, or where only one model has a
    value.
    """
    result: list[Standing] = [""] * len(entrants)
    values = [e.value for e in entrants if e.eligible and e.value is not None]
    if higher_is_better is None or not values or not _contested(entrants):
        return result
    best_value = max(values) if higher_is_better else min(values)
    best_text = next(e.text for e in entrants if e.eligible and e.value == best_value)
    best = [e for e in entrants if e.eligible and e.text == best_text]
    for place, entrant in enumerate(entrants):
        if not entrant.eligible:
            continue
        if entrant.text == best_text:
            result[place] = "best"
        elif any(_overlap(entrant.interval, other.interval) for other in best):
            result[place] = "tied"
    return result


def _contested(entrants: Sequence[Entrant]) -> bool:
    return sum(entrant.is_model and entrant.value is not None for entrant in entrants) > 1


def _overlap(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    if one is None or other is None:
        return False
    return one[0] <= other[1] and other[0] <= one[1]


def ranks(entrants: Sequence[Entrant], higher_is_better: bool | None) -> list[int | None]:
    """1 for the best eligible value; values that print alike share a rank; None for the others.

    As in :func:`standings`, a model that is alone has nothing to be first of.
    """
    if higher_is_better is None or not _contested(entrants):
        return [None] * len(entrants)
    sign = -1 if higher_is_better else 1
    keys = {
        place: sign * entrant.value
        for place, entrant in enumerate(entrants)
        if entrant.eligible and entrant.value is not None
    }
    result: list[int | None] = [None] * len(entrants)
    previous: int | None = None
    for position, place in enumerate(sorted(keys, key=lambda place: keys[place]), start=1):
        alike = previous is not None and entrants[previous].text == entrants[place].text
        result[place] = result[previous] if alike and previous is not None else position
        previous = place
    return result
