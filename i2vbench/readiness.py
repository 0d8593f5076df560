"""Which metrics of a protocol cannot run here, known before hours of generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from i2vbench.errors import MissingPackageError, MissingWeightsError
from i2vbench.metric_runs import extractors_of
from i2vbench.protocol import Protocol
from i2vbench.weight_files import WEIGHT_FILES
from i2vbench.weights import find, locate, resolve

# OpenCV's flow takes its place.
_OPTIONAL = {("flow", "raft-large")}


@dataclass(frozen=True, kw_only=True)
class MissingWeights:
    """A metric whose weights are not here, or are not what they should be."""

    metric: str
    weights: str
    reason: str
    is_damaged: bool
    """A file is here, but it is another one or damaged."""


def missing_weights(
    names: Sequence[str], protocol: Protocol, *, download: bool
) -> list[MissingWeights]:
    """The metrics that would be empty columns for want of weights.

    Metrics that the protocol itself declares unavailable are not among them.

    Args:
        names: of the metrics asked for.
        protocol: which network each reads.
        download: fetch what can be fetched; else only look.

    Raises:
        UserError: a metric that does not exist.
    """
    found: dict[tuple[str, str], MissingWeights] = {}
    for name in names:
        for extractor in extractors_of(name, protocol):
            for entry in WEIGHT_FILES.values():
                if extractor not in entry.loaded_by or (extractor, entry.name) in _OPTIONAL:
                    continue
                # Two extractors of a metric may read one file.
                if (name, entry.name) not in found and (
                    problem := _problem(entry.name, download=download)
                ):
                    reason, is_damaged = problem
                    found[name, entry.name] = MissingWeights(
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
