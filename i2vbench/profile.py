"""What a model costs: parameters, FLOPs, seconds and memory, as figures with their circumstances.

A profile is measured, so it holds a clock: it enters neither a run's fingerprint nor
``results.json``, but lies beside them as ``profile.json``. How it is measured:
:mod:`i2vbench.profile_measure`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from i2vbench.errors import UserError

if TYPE_CHECKING:
    from i2vbench.clip import Geometry

SCHEMA_VERSION: Final = 1
PROFILE_FILE: Final = "profile.json"
_TEXTS: Final = ("model", "dtype", "device")


@dataclass(frozen=True, kw_only=True)
class ProfileSettings:
    """What to measure."""

    geometry: Geometry | None = None
    """Of the clips; None for the model's own."""
    batch_size: int = 1
    """Clips made together; seconds are each clip's share."""
    num_steps: int | None = None
    """Denoising steps to time; None for the model's choice."""
    count_only: bool = False
    """Count parameters and FLOPs from shapes; nothing runs, no weights are needed."""

    def __post_init__(self) -> None:
        for option, value in (("batch-size", self.batch_size), ("steps", self.num_steps)):
            if value is not None and value < 1:
                raise UserError(f"--{option} must be at least 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one part of a model contributes; None where that is not known."""

    name: str
    num_parameters: int | None = None
    flops_per_clip: int | None = None
    """Floating-point operations, a multiply-add being two."""
    seconds_per_clip: float | None = None
    """Seconds."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a model costs; None where a figure is not known or does not apply.

    FLOPs are those of matrix products, attention and convolutions, a multiply-add being two.
    """

    schema_version: int = SCHEMA_VERSION
    model: str
    """Name on the card."""
    num_frames: int
    """Of the clip, the first one included."""
    height: int
    """Of the clip, pixels."""
    width: int
    """Of the clip, pixels."""
    batch_size: int = 1
    """Clips made together."""
    dtype: str
    """``fp32``, ``bf16``, ``fp16`` or ``default`` where the model chooses."""
    device: str = ""
    """Its maker's name; empty where nothing ran."""
    num_threads: int | None = None
    """Of the CPU; None on other devices."""
    num_parameters: int | None = None
    """Of all networks together."""
    num_temporal_parameters: int | None = None
    """Of the layers that a video model has and an image model has not."""
    num_steps: int | None = None
    """Denoising steps of a clip: evaluations of the network, guidance rows taken as one."""
    num_timed_steps: int | None = None
    """Of them, so many were timed."""
    flops_per_step: int | None = None
    """Of a clip, all guidance rows together."""
    flops_per_clip: int | None = None
    """Text, first frame and decoding included."""
    seconds_per_step: float | None = None
    """Seconds, the clip's share of its batch."""
    seconds_per_clip: float | None = None
    """Seconds, the clip's share of its batch; loading is left out."""
    peak_memory_mib: float | None = None
    """MiB for the batch. CUDA: allocated tensors, weights included. CPU: resident memory of the
    whole process since its start, libraries and loading included."""
    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    """Lines for the reader."""

    def __post_init__(self) -> None:
        owners: tuple[Profile | Part, ...] = (self, *self.parts)
        for owner in owners:
            for field in dataclasses.fields(owner):
                _check(field.name, getattr(owner, field.name))

    @property
    def tflop_per_s(self) -> float | None:
        """10^12 FLOPs per second reached in denoising; over the whole clip where no step is known.

        >>> Profile(
        ...     model="m", num_frames=16, height=64, width=64, dtype="fp32",
        ...     flops_per_step=6 * 10**12, seconds_per_step=2.0,
        ... ).tflop_per_s
        3.0
        """
        per_step = _rate(self.flops_per_step, self.seconds_per_step)
        return _rate(self.flops_per_clip, self.seconds_per_clip) if per_step is None else per_step

    @property
    def circumstances(self) -> str:
        """Where it ran, in short: ``NVIDIA H200, bf16`` or ``CPU, 2 threads, fp32``."""
        place = self.device if self.num_threads is None else f"CPU, {self.num_threads} threads"
        batch = "" if self.batch_size == 1 else f"batch {self.batch_size}"
        return ", ".join(filter(None, [place, self.dtype, batch]))

    def to_json(self) -> str:
        """Indented JSON without NaN, newline at the end."""
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"


def _rate(flops: int | None, seconds: float | None) -> float | None:
    return flops / seconds / 1e12 if flops and seconds else None


def _check(name: str, value: object) -> None:
    """Refuses what no measurement gives, since profiles are read back from files."""
    if name in (*_TEXTS, "name"):
        accepted, good = "a text", isinstance(value, str)
    elif name in ("parts", "notes"):
        accepted, good = "a list", isinstance(value, tuple)
    else:
        accepted = "a finite number from 0"
        good = value is None or (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and value >= 0
        )
    if not good:
        raise ValueError(f"{name}={value!r}; accepted: {accepted}")


@runtime_checkable
class Profiled(Protocol):
    """A model that can say more about its cost than can be seen from outside; optional."""

    def profile(self, settings: ProfileSettings) -> Profile:
        """Its profile; with ``count_only``, without running and without weights."""


def load_profile(folder: Path) -> Profile | None:
    """The ``profile.json`` of a run directory; None where it was never profiled.

    Raises:
        UserError: not JSON, another schema, a missing, unknown or impossible field.
    """
    file = folder / PROFILE_FILE
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON: {error}; delete it or profile again") from error
    found = data.get("schema_version") if isinstance(data, dict) else None
    if found != SCHEMA_VERSION:
        raise UserError(f"{file}: schema_version {found!r}, accepted: {SCHEMA_VERSION}")
    try:
        return _from_json(data)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise UserError(f"{file} does not follow schema {SCHEMA_VERSION}: {error}") from error


def _from_json(data: dict[str, Any]) -> Profile:
    parts = tuple(Part(**part) for part in data["parts"])
    return Profile(**{**data, "parts": parts, "notes": tuple(data["notes"])})
