"""What an adapter does to the process stays with the adapter.

Research code sets torch's default dtype, enters autocast, sets threads, changes folder and disables
logging. Its own calls need that; the metrics must not see it. So each adapter has a state, which is
put in force around its calls and taken away after them.
"""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

_AUTOCAST_DEVICES = ("cpu", "cuda")
_Setting = TypeVar("_Setting")
# Below torch.backends, from the widest to the narrowest: setting a wide one sets those in it. torch
# has them from 2.9 on.
_PRECISION_PLACES = (
    "",
    *("cuda.matmul", "cudnn", "cudnn.conv", "cudnn.rnn"),
    *("mkldnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"),
)


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """The current folder and torch's global switches."""

    folder: str
    """Empty where it has been deleted."""
    default_dtype: torch.dtype
    default_device: torch.device
    grad: bool
    autocast: tuple[tuple[bool, torch.dtype], ...]
    """Of :data:`_AUTOCAST_DEVICES`: whether it is on, and its dtype."""
    deterministic: tuple[bool, bool]
    """Whether deterministic algorithms are asked for, and whether others only warn."""
    matmul_precision: str | None
    """Of ``set_float32_matmul_precision``; None where :attr:`precisions` say something else, which
    torch then refuses to read."""
    precisions: tuple[str, ...]
    """At :data:`_PRECISION_PLACES`, of those that this torch has."""
    num_threads: int
    cudnn: tuple[bool, bool, bool]
    """enabled, benchmark, deterministic."""
    allow_tf32: bool | None
    """Of cuDNN; None as for :attr:`matmul_precision`."""
    silenced: int
    """The level up to which ``logging.disable`` drops the warnings of everyone."""

    @classmethod
    def now(cls) -> ProcessState:
        """As it is at this moment."""
        import torch

        return cls(
            folder=_current_folder(),
            default_dtype=torch.get_default_dtype(),
            default_device=torch.get_default_device(),
            grad=torch.is_grad_enabled(),
            autocast=tuple(
                (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
                for kind in _AUTOCAST_DEVICES
            ),
            deterministic=_deterministic(),
            matmul_precision=_readable(torch.get_float32_matmul_precision),
            precisions=tuple(place.fp32_precision for place in _precision_places()),
            num_threads=torch.get_num_threads(),
            cudnn=(
                torch.backends.cudnn.enabled,
                torch.backends.cudnn.benchmark,
                torch.backends.cudnn.deterministic,
            ),
            allow_tf32=_readable(lambda: torch.backends.cudnn.allow_tf32),
            silenced=logging.root.manager.disable,
        )

    def restore(self) -> None:
        """Puts it in force; a folder that is gone meanwhile is left."""
        import torch

        if self.folder and Path(self.folder).is_dir():
            os.chdir(self.folder)
        torch.set_default_dtype(self.default_dtype)
        if torch.get_default_device() != self.default_device:
            # None takes the mode away that another default device is.
            is_plain = self.default_device.type == "cpu"
            torch.set_default_device(None if is_plain else self.default_device)
        torch.set_grad_enabled(self.grad)
        for kind, (enabled, dtype) in zip(_AUTOCAST_DEVICES, self.autocast, strict=True):
            torch.set_autocast_enabled(kind, enabled)
            torch.set_autocast_dtype(kind, dtype)
        torch.clear_autocast_cache()
        if _deterministic() != self.deterministic:
            # Only then: the call imports torch's compiler, which takes seconds.
            deterministic, warn_only = self.deterministic
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        cudnn: Any = torch.backends.cudnn
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = self.cudnn
        if self.matmul_precision is not None:
            torch.set_float32_matmul_precision(self.matmul_precision)
        if self.allow_tf32 is not None:
            cudnn.allow_tf32 = self.allow_tf32
        # After these two, which set some of them.
        for place, precision in zip(_precision_places(), self.precisions, strict=True):
            place.fp32_precision = precision
        if torch.get_num_threads() != self.num_threads:
            torch.set_num_threads(self.num_threads)
        logging.disable(self.silenced)


def _deterministic() -> tuple[bool, bool]:
    import torch

    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _readable(read: Callable[[], _Setting]) -> _Setting | None:
    try:
        return read()
    except RuntimeError:
        return None


def _precision_places() -> list[Any]:
    import torch

    if not hasattr(torch.backends, "fp32_precision"):
        return []
    return [
        operator.attrgetter(name)(torch.backends) if name else torch.backends
        for name in _PRECISION_PLACES
    ]


def _current_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 (Path.cwd() is the same call)
    except FileNotFoundError:
        return ""


_KEPT = "_i2vbench_process_state"


@contextmanager
def state_of(adapter: object | None) -> Iterator[None]:
    """Puts the adapter's state in force for the block, keeps what becomes of it, and ends it.

    Args:
        adapter: None while it is being built; :func:`adopt` then gives the state to it.
    """
    before = ProcessState.now()
    own: ProcessState | None = getattr(adapter, _KEPT, None)
    if own is not None:
        own.restore()
    try:
        yield
    finally:
        try:
            if adapter is not None:
                adopt(adapter)
        finally:
            before.restore()


def adopt(adapter: object) -> None:
    """Keeps the process's state as it is now for the adapter's next block."""
    # Past a __setattr__ of the adapter's own, as a frozen dataclass has it.
    object.__setattr__(adapter, _KEPT, ProcessState.now())
