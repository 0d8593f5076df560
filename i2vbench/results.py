"""The schema of ``results.json``: what a run scored, with counts, intervals and fingerprints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from i2vbench.errors import UserError

SCHEMA_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class CategoryScore:
    """One metric of one run in one category of the suite."""

    category: str
    value: float | None
    """The mean over the category's clips; None where none was scored."""
    n_scored: int
    n_expected: int
    ci95: tuple[float, float] | None = None
    """95 % bootstrap interval over its samples."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one run."""

    metric: str
    """Name in the registry, e.g. ``fvd``."""
    label: str
    """As boards print it, with the network in brackets: ``FVD(i3d-k400)``."""
    value: float | None
    """None where it could not be computed; ``reason`` says why."""
    reason: str = ""
    higher_is_better: bool | None
    unit: str = ""
    level: str
    """``clip`` or ``set``; ``total`` of what is computed from other scores."""
    n_scored: int
    """Clips in the value."""
    n_expected: int
    """Clips that should be in it."""
    ci95: tuple[float, float] | None = None
    """95 % bootstrap interval over clips."""
    fingerprint: str
    """Of metric, version, extractors, weights, preprocessing and reference set."""
    protocol: str = ""
    """``name version`` of the protocol it was computed under."""
    clips_sha256: str = ""
    """Of the clips and samples it was computed on: a later scoring keeps it while they are equal."""
    code_sha256: str = ""
    """Of the versions and the code that computed it: likewise."""
    source: str = ""
    """The name that it was asked for by: one of the registry, or ``path/to/file.py:Name``."""
    arithmetic: str = ""
    """``dtype backend`` that was asked for, e.g. ``fp32 torch``."""
    warnings: tuple[str, ...] = ()
    by_category: tuple[CategoryScore, ...] = ()
    """Of a clip metric, where the suite's samples have categories."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """All scores of one run; what a leaderboard reads."""

    schema_version: int = SCHEMA_VERSION
    run: str
    """Name of the run directory."""
    run_fingerprint: str
    suite: Mapping[str, Any]
    """``name``, ``version``, ``content_sha256``, ``num_samples``, ``limit`` (null for all)."""
    protocol: str
    """``name version`` of the protocol that was scored last; each score names its own."""
    model: Mapping[str, Any]
    """The card: ``name``, ``version``, ``weights``, ``options``, ``num_parameters``, ``notes``."""
    seed: int
    num_takes: int
    counts: Mapping[str, int]
    """``expected``, ``ok``, ``failed``, ``skipped`` takes."""
    geometry: tuple[Mapping[str, Any], ...] = ()
    """The sizes and rates of the clips, the most frequent first: ``num_frames``, ``height``,
    ``width``, ``fps`` and ``num_clips``; empty where it was not recorded."""
    scores: tuple[Score, ...] = field(default=())

    def to_json(self) -> str:
        """Indented JSON without NaN, newline at the end."""
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"


def load_results(path: Path) -> Results:
    """Reads ``results.json``, or that of a run directory.

    Raises:
        UserError: no such file, not JSON, another schema, a missing or unknown field.
    """
    file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path} has no results.json: score it first with `i2vbench score {path}`")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
        found = data.get("schema_version") if isinstance(data, dict) else None
        raise UserError(f"{file}: schema_version {found!r}, accepted: {SCHEMA_VERSION}")
    try:
        scores = tuple(
            Score(
                **{
                    **score,
                    "ci95": tuple(score["ci95"]) if score["ci95"] else None,
                    "warnings": tuple(score["warnings"]),
                    "by_category": tuple(
                        CategoryScore(
                            **{**each, "ci95": tuple(each["ci95"]) if each["ci95"] else None}
                        )
                        for each in score.get("by_category", ())
                    ),
                }
            )
            for score in data.pop("scores")
        )
        return Results(**data, scores=scores)
    except (TypeError, KeyError) as error:
        raise UserError(f"{file} does not follow schema {SCHEMA_VERSION}: {error}") from error
