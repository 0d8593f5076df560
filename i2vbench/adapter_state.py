"""What an adapter does to the process stays with the adapter.

Research code sets torch's default dtype, enters autocast, sets threads, changes folder and disables
logging. Its own calls need that; the metrics must not see it. So each adapter has a state, which is
put in force around its calls and taken away after them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_AUTOCAST_DEVICES = ("cpu", "cuda")


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
    matmul_precision: str
    num_threads: int
    cudnn: tuple[bool, bool, bool, bool]
    """enabled, benchmark, deterministic, allow_tf32."""
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
            matmul_precision=torch.get_float32_matmul_precision(),
            num_threads=torch.get_num_threads(),
            cudnn=(
                torch.backends.cudnn.enabled,
                torch.backends.cudnn.benchmark,
                torch.backends.cudnn.deterministic,
                torch.backends.cudnn.allow_tf32,
            ),
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
        torch.set_float32_matmul_precision(self.matmul_precision)
        if torch.get_num_threads() != self.num_threads:
            torch.set_num_threads(self.num_threads)
        cudnn: Any = torch.backends.cudnn
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = self.cudnn
        logging.disable(self.silenced)


def _deterministic() -> tuple[bool, bool]:
    import torch

    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


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
