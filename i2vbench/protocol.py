"""A protocol: a named, frozen choice of metrics and of the frames that they see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from i2vbench.errors import UserError
from i2vbench.registry import METRICS, PROTOCOLS


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is computed; the metrics themselves name extractors and preprocessing."""

    name: str
    version: str
    source: str
    """Paper or repository that it follows."""
    metrics: tuple[str, ...]
    """Names in the metric registry, in the order of the board's columns."""
    num_frames: int | None = None
    """Frames of a clip that are scored, from the first; None for all."""

    def spec(self) -> dict[str, Any]:
        """What of the protocol itself changes a number."""
        return {"name": self.name, "version": self.version, "num_frames": self.num_frames}


def load_protocol(name: str) -> Protocol:
    """A protocol by name; the metrics it names exist.

    Raises:
        UserError: an unknown name, or one that is no protocol.
    """
    protocol = PROTOCOLS.load(name)
    if not isinstance(protocol, Protocol):
        raise UserError(f"protocol {name!r} is {protocol!r}, not an i2vbench.protocol.Protocol")
    known = {entry.name for entry in METRICS.entries()}
    for metric in protocol.metrics:
        if metric not in known and ":" not in metric:
            raise UserError(f"protocol {name!r} names metric {metric!r}, which does not exist")
    return protocol
