"""The schema of ``results.json``: what a run scored, with counts, intervals and fingerprints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from i2vbench.checked_json import AtLeast, FieldError, Keys, OneOf, build, read_json
from i2vbench.errors import UserError

SCHEMA_VERSION: Final = 2
_READABLE: Final = (1, SCHEMA_VERSION)

Count = Annotated[int, AtLeast(0)]
_SUITE: Final = Keys(
    required={
        "name": str,
        "version": str,
        "content_sha256": str,
        "num_samples": Count,
        "limit": Annotated[int | None, AtLeast(1)],
    },
    optional={
        "samples": list[str] | None,
        "num_takes": Annotated[int | None, AtLeast(1)],
    },
)
_CARD: Final = Keys(
    required={"name": str, "version": str},
    optional={
        "weights": str,
        "options": Mapping[str, Any],
        "num_parameters": Annotated[int | None, AtLeast(0)],
        "notes": list[str],
    },
)
_COUNTS: Final = Keys(required={"expected": Count, "ok": Count})
_GEOMETRY: Final = Keys(
    required={
        "num_frames": Count,
        "height": Count,
        "width": Count,
        "fps": Annotated[float, AtLeast(0)],
        "num_clips": Count,
    }
)


@dataclass(frozen=True, kw_only=True)
class CategoryScore:
    """One metric of one run in one category of the suite."""

    category: str
    value: float | None
    """The mean over the category's clips; None where none was scored."""
    n_scored: Count
    n_expected: Count
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
    level: Annotated[str, OneOf(("clip", "set", "total"))]
    """``clip`` or ``set``; ``total`` of what is computed from other scores."""
    n_scored: Count
    """Clips in the value."""
    n_expected: Count
    """Clips that should be in it."""
    ci95: tuple[float, float] | None = None
    """95 % bootstrap interval over clips."""
    fingerprint: str
    """Of metric, version, extractors, weights, preprocessing and reference set."""
    protocol: str = ""
    """``name version`` of the protocol it was computed under."""
    clips_sha256: str = ""
    """Of the clips and samples it was computed on: a later scoring keeps it while they stay."""
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
    suite: Annotated[Mapping[str, Any], _SUITE]
    """``name``, ``version``, ``content_sha256``, ``num_samples``, ``limit`` (null for all); where
    they are known, ``samples`` (the ids that were chosen) and ``num_takes`` (the suite's own)."""
    protocol: str
    """``name version`` of the protocol that was scored last; each score names its own."""
    model: Annotated[Mapping[str, Any], _CARD]
    """The card: ``name``, ``version``, ``weights``, ``options``, ``num_parameters``, ``notes``."""
    seed: int
    num_takes: Annotated[int, AtLeast(1)]
    counts: Annotated[Mapping[str, Count], _COUNTS]
    """``expected``, ``ok``, ``failed``, ``skipped`` takes."""
    geometry: tuple[Annotated[Mapping[str, Any], _GEOMETRY], ...] = ()
    """The sizes and rates of the clips, the most frequent first: ``num_frames``, ``height``,
    ``width``, ``fps`` and ``num_clips``; empty where it was not recorded."""
    scores: tuple[Score, ...] = field(default=())

    def to_json(self) -> str:
        """Indented JSON without NaN, newline at the end."""
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols of the scores, in order of first appearance; at least one."""
        named = dict.fromkeys(score.protocol or self.protocol for score in self.scores)
        return tuple(named) or (self.protocol,)

    def by_protocol(self) -> list[Results]:
        """The results of each protocol, in order of first appearance: boards rank them apart."""
        return [
            dataclasses.replace(
                self,
                protocol=protocol,
                scores=tuple(s for s in self.scores if (s.protocol or self.protocol) == protocol),
            )
            for protocol in self.protocols
        ]


def load_results(path: Path) -> Results:
    """Reads ``results.json``, or that of a run directory; files of schema 1 are read as well.

    Raises:
        UserError: no such file, not JSON, another schema, or a field that is missing, unknown or
            not what the schema says.
    """
    file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{path} has no results.json: score it first with `i2vbench score {path}`")
    data = read_json(file)
    version = data.get("schema_version") if isinstance(data, dict) else None
    if type(version) is not int or version not in _READABLE:
        raise UserError(f"{file}: {_refusal(version)}")
    try:
        results = build(Results, {**data, "schema_version": SCHEMA_VERSION})
        if "scores" not in data:
            raise FieldError("scores is missing")
        _refuse_contradictions(results.scores)
    except FieldError as error:
        raise UserError(f"{file}: {error}") from error
    if version == SCHEMA_VERSION:
        return results
    # Schema 1 has one protocol, which its scores do not repeat.
    scores = (dataclasses.replace(s, protocol=results.protocol) for s in results.scores)
    return dataclasses.replace(results, scores=tuple(scores))


def _refusal(version: object) -> str:
    accepted = ", ".join(map(str, _READABLE))
    if type(version) is int and version > SCHEMA_VERSION:
        return (
            f"schema_version {version} is of a newer i2vbench than this one, which reads "
            f"{accepted}: update i2vbench, or score the run again with this one"
        )
    shown = version if version is None or type(version) is int else type(version).__name__
    return f"schema_version {shown}, accepted: {accepted}; it is no results.json of i2vbench"


def _refuse_contradictions(scores: tuple[Score, ...]) -> None:
    seen: dict[tuple[str, str, str], int] = {}
    for place, score in enumerate(scores):
        # One metric may stand in several arithmetics, whose fingerprints differ.
        first = seen.setdefault((score.protocol, score.metric, score.fingerprint), place)
        if first != place:
            raise FieldError(
                f"scores[{place}].metric is that of scores[{first}] under the same protocol, each "
                "metric was expected once"
            )
        parts: list[tuple[str, Score | CategoryScore]] = [(f"scores[{place}]", score)]
        parts += [(f"scores[{place}].by_category[{i}]", c) for i, c in enumerate(score.by_category)]
        for where, part in parts:
            if part.n_scored > part.n_expected:
                raise FieldError(
                    f"{where}.n_scored is {part.n_scored}, at most the {part.n_expected} of "
                    "n_expected were expected"
                )
            if part.ci95 and part.ci95[0] > part.ci95[1]:
                raise FieldError(
                    f"{where}.ci95 is {list(part.ci95)}, its ends in order were expected"
                )
