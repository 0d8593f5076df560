"""What rows are called: baselines, and runs of one model told apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from i2vbench.results import Results

from .formatting import clean

Role = Literal["model", "baseline", "upper bound", "published"]

BASELINES: dict[str, Role] = {"static": "baseline", "reference": "upper bound"}
"""Registry names whose rows are yardsticks: never ranked, never bold."""

_MAX_VALUE_LENGTH = 32


def role_of(results: Results) -> Role:
    """What the run's row is on a board."""
    return BASELINES.get(str(results.model.get("name", "")), "model")


@dataclass(frozen=True, kw_only=True)
class RowName:
    """A name that no other row of the table has."""

    model: str
    details: tuple[str, ...] = ()
    """``key=value`` of what tells it from rows of the same model."""

    def __str__(self) -> str:
        return f"{self.model} ({', '.join(self.details)})" if self.details else self.model


def row_names(runs: Sequence[Results]) -> list[RowName]:
    """A name for each run, all different.

    The model's name; where it stands twice, what differs between its runs; where nothing of the
    card does, the run directory; at last a number.
    """
    names = [RowName(model=model_name(run)) for run in runs]
    for model, count in Counter(name.model for name in names).items():
        if count > 1:
            places = [place for place, name in enumerate(names) if name.model == model]
            details = _differences([runs[place] for place in places])
            for place, detail in zip(places, details, strict=True):
                names[place] = RowName(model=model, details=detail)
    return names


def model_name(run: Results) -> str:
    """The model's name on one line."""
    return clean(run.model.get("name", "")) or "(unnamed)"


def _differences(runs: Sequence[Results]) -> list[tuple[str, ...]]:
    settings = [_settings(run) for run in runs]
    keys = dict.fromkeys(key for setting in settings for key in setting)
    varying = [key for key in keys if len({setting.get(key, "unset") for setting in settings}) > 1]
    details = [
        tuple(f"{key}={setting.get(key, 'unset')}" for key in varying) for setting in settings
    ]
    details = _extended(details, [f"run={clean(run.run)}" for run in runs])
    return _extended(details, [f"#{number}" for number in range(1, len(runs) + 1)])


def _extended(
    details: Sequence[tuple[str, ...]], additions: Sequence[str]
) -> list[tuple[str, ...]]:
    """Details that stand more than once, each with its addition."""
    counts = Counter(details)
    return [
        (*detail, addition) if counts[detail] > 1 else detail
        for detail, addition in zip(details, additions, strict=True)
    ]


def _settings(run: Results) -> dict[str, str]:
    """All that can tell two runs of a model apart, in the order in which a reader wants it."""
    options: Mapping[str, Any] = run.model.get("options") or {}
    return {
        **{clean(key): _short(value) for key, value in options.items()},
        "version": _short(run.model.get("version", "")),
        "weights": _short(str(run.model.get("weights") or "none")[:8]),
        "seed": _short(run.seed),
        "takes": _short(run.num_takes),
    }


def _short(value: object) -> str:
    text = clean(value if isinstance(value, str) else json.dumps(value, default=str))
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 1]}…"
