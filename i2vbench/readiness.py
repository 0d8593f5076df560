"""Which metrics of a protocol cannot run here, known before hours of generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from i2vbench.errors import MissingPackageError, MissingWeightsError, UserError
from i2vbench.metric_runs import extractors_of
from i2vbench.protocol import Protocol
from i2vbench.registry import EXTRACTORS
from i2vbench.video_io import require_reader
from i2vbench.weight_files import WEIGHT_FILES
from i2vbench.weights import find, locate, resolve

# OpenCV's flow takes its place.
_OPTIONAL = {("flow", "raft-large")}


@dataclass(frozen=True, kw_only=True)
class Unready:
    """A metric that would be an empty column, for want of weights or of a package."""

    metric: str
    reason: str
    weights: str = ""
    """The name of the file in the register; empty where a package is missing."""
    is_damaged: bool = False
    """A file is here, but it is another one or damaged."""


def unready_metrics(names: Sequence[str], protocol: Protocol, *, download: bool) -> list[Unready]:
    """The metrics that would be empty columns.

    Metrics that the protocol itself declares unavailable are not among them.

    Args:
        names: of the metrics asked for.
        protocol: which network each reads.
        download: fetch what can be fetched; else only look.

    Raises:
        UserError: a metric that does not exist.
    """
    try:
        require_reader(protocol.reader)
    except MissingPackageError as error:
        return [Unready(metric=name, reason=str(error)) for name in names]
    # Two extractors of a metric may read one file.
    found: dict[tuple[str, str], Unready] = {}
    for name in names:
        for extractor in extractors_of(name, protocol):
            try:
                kind = EXTRACTORS.load(extractor)
            except UserError as error:
                found[name, ""] = Unready(metric=name, reason=str(error))
                continue
            if kind.package and find_spec(kind.package) is None:
                reason = f"{extractor} needs the package {kind.package}: {kind.install}"
                found[name, ""] = Unready(metric=name, reason=reason)
                continue
            for entry in WEIGHT_FILES.values():
                if extractor not in entry.loaded_by or (extractor, entry.name) in _OPTIONAL:
                    continue
                if (name, entry.name) not in found and (
                    problem := _problem(entry.name, download=download)
                ):
                    reason, is_damaged = problem
                    found[name, entry.name] = Unready(
                        metric=name, weights=entry.name, reason=reason, is_damaged=is_damaged
                    )
    return list(found.values())


def _problem(weights: str, *, download: bool) -> tuple[str, bool] | None:
    """Why the file cannot be used, and whether one is here all the same; None where it can."""
    is_here = False
    try:
        is_here = locate(weights) is not None
        if download:
            resolve(weights)
        elif find(weights) is None:
            return f"weights {weights!r} are not here", False
    except (MissingWeightsError, MissingPackageError) as error:
        return str(error), is_here
    return None
