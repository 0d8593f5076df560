"""A protocol: a named, frozen choice of metrics, their networks and options, and of frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from i2vbench.errors import UserError
from i2vbench.registry import METRICS, PROTOCOLS

if TYPE_CHECKING:
    from i2vbench.clip import Geometry
    from i2vbench.sample import Suite


@dataclass(frozen=True, kw_only=True)
class MetricChoice:
    """How a protocol wants one of its metrics; the defaults leave the metric as it is."""

    extractors: tuple[str, ...] = ()
    """One name for each that the metric reads, in its order; empty for the metric's own."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the metric's class."""
    dimension: str = ""
    """Counts only samples whose extra column ``dimensions`` (names parted by spaces) has it."""
    not_on: tuple[str, ...] = ()
    """Suites on which the protocol does not report the metric."""
    label: str = ""
    """As boards print it; empty for the title with the networks in brackets."""
    source: str = ""
    """Where the choice is from."""
    unavailable: str = ""
    """Why it cannot be computed by this version at all; empty where it can."""

    def spec(self) -> dict[str, Any]:
        """What neither the metric's own spec nor the extractors' fingerprints say."""
        return {"dimension": self.dimension} if self.dimension else {}


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """How a dimension enters a total: weight * (x - low) / (high - low), not clipped."""

    low: float
    high: float
    weight: float


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Weighted means of normalised metrics, and the plain mean of these."""

    source: str
    groups: Mapping[str, tuple[str, ...]]
    """Title of the group -> metrics in it."""
    dimensions: Mapping[str, Normalisation]
    """Metric -> its constants."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is computed, with which networks, on which frames."""

    name: str
    version: str
    source: str
    """Paper or repository that it follows."""
    metrics: tuple[str, ...]
    """Names in the metric registry, in the order of the board's columns."""
    choices: Mapping[str, MetricChoice] = field(default_factory=dict)
    """Metric -> what the protocol wants of it, where that is not the metric's own way."""
    num_frames: int | None = None
    """Frames of a clip that are scored, from the first; None for all."""
    reader: str = "pyav"
    """What decodes the clips: ``pyav``, or ``decord`` where published code reads with it."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """The options of suites (``-S key=value``) that the protocol asks for."""
    totals: Totals | None = None
    notes: tuple[str, ...] = ()
    """What a reader must know, e.g. what is reconstructed."""

    @property
    def title(self) -> str:
        """``name version``, as scores name it."""
        return f"{self.name} {self.version}"

    def choice(self, metric: str) -> MetricChoice:
        """How it wants ``metric``."""
        return self.choices.get(metric, MetricChoice())

    def metrics_on(self, suite: str) -> tuple[str, ...]:
        """The metrics that it reports on a suite."""
        return tuple(name for name in self.metrics if suite not in self.choice(name).not_on)

    def sampling_note(self, suite: Suite, geometry: Geometry) -> str:
        """How the suite's reference clips differ from those that the protocol asks for; or ""."""
        own = dict(suite.sampling)
        # What follows the model is what the model makes.
        if own.get("num_frames") == "model":
            own["num_frames"] = geometry.num_frames
        if own.get("size") == "model" and geometry.height == geometry.width:
            own["size"] = geometry.height
        other = {key: value for key, value in self.sampling.items() if own.get(key) != value}
        if not other:
            return ""
        asked = " ".join(f"{key}={value}" for key, value in other.items())
        found = " ".join(f"{key}={own[key]}" for key in other if key in own)
        return f"{self.name} asks for reference clips of {asked}, these are {found or 'not cut'}"

    def spec(self) -> dict[str, Any]:
        """What of the protocol itself changes every number."""
        spec: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "num_frames": self.num_frames,
        }
        if self.sampling:
            spec["sampling"] = dict(self.sampling)
        if self.reader != "pyav":
            spec["reader"] = self.reader
        return spec


def load_protocol(name: str) -> Protocol:
    """A protocol by name, or from ``path/to/file.yaml``.

    A built-in protocol may name metrics and networks that this version lacks: those become columns
    with a reason (:func:`i2vbench.metric_runs.prepare_metrics`).

    Raises:
        UserError: an unknown name, a file that is no protocol, or one that names a metric that
            does not exist.
    """
    if name.endswith((".yaml", ".yml")):
        from i2vbench.protocol_file import read_protocol

        protocol = read_protocol(Path(name))
    else:
        protocol = PROTOCOLS.load(name)
        if not isinstance(protocol, Protocol):
            raise UserError(f"protocol {name!r} is {protocol!r}, not an i2vbench.protocol.Protocol")
        if any(entry.name == name and entry.source == "built in" for entry in PROTOCOLS.entries()):
            return protocol
    known = {entry.name for entry in METRICS.entries()}
    for metric in protocol.metrics:
        declared = protocol.choice(metric).unavailable
        if metric not in known and ":" not in metric and not declared:
            raise UserError(f"protocol {name!r} names metric {metric!r}, which does not exist")
    return protocol
