"""What every training loop shares: resumable state, a log of numbers, EMA weights, a schedule.

All randomness of a step (which scenes, which noise) is a function of the seed and the step number.
A run that was killed and resumed therefore gives the same losses as one that was not, and no
generator state has to be stored.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

_STATE_FILE = "state.pt"
_LOG_FILE = "log.jsonl"


class Ema:
    """Exponential moving average of the parameters, with the warm-up of diffusers' EMAModel."""

    def __init__(self, module: nn.Module, max_decay: float, *, lag: int = 0) -> None:
        """Starts as `module`; `lag` updates replace the average first, 1 in diffusers' EMAModel."""
        self._max_decay = max_decay
        self._lag = lag
        self._updates = 0
        self.shadow = {
            name: tensor.detach().clone() for name, tensor in module.state_dict().items()
        }

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Moves the average towards the current weights."""
        self._updates += 1
        counted = self._updates - self._lag
        decay = min(self._max_decay, (1 + counted) / (10 + counted)) if counted > 0 else 0.0
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                self.shadow[name].lerp_(tensor, 1.0 - decay)
            else:
                self.shadow[name].copy_(tensor)

    def state_dict(self) -> dict[str, Any]:
        """Returns the average and the number of updates."""
        return {"shadow": self.shadow, "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self._updates = int(state["updates"])
        for name, tensor in state["shadow"].items():
            self.shadow[name].copy_(tensor)


def learning_rate(step: int, steps: int, peak: float, warmup_steps: int) -> float:
    """Returns the rate of `step`: linear warm-up, then a cosine to 2 % of the peak.

    >>> learning_rate(0, 100, 1.0, 10)
    0.1
    >>> round(learning_rate(99, 100, 1.0, 10), 3)
    0.02
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = min((step - warmup_steps) / max(steps - 1 - warmup_steps, 1), 1.0)
    return peak * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * done)))


class HasGroups(Protocol):
    """An optimizer, as far as its rate goes."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """As torch's optimizers have them."""
        ...


def trapezoid_rate(
    step: int, steps: int, peak: float, warmup_steps: int, fall: float = 1 / 3
) -> float:
    """Returns the rate of `step`: linear warm-up, the peak, in the end linear to 2 % of it.

    `fall` is the share of the steps in which it falls; 0 in a stage that another one follows.

    Unlike a cosine it does not depend on `steps` before it falls, so that a run may be given more.

    >>> trapezoid_rate(0, 100, 1.0, 10)
    0.1
    >>> trapezoid_rate(60, 100, 1.0, 10)
    1.0
    >>> round(trapezoid_rate(99, 100, 1.0, 10), 3)
    0.02
    >>> trapezoid_rate(99, 100, 1.0, 10, fall=0)
    1.0
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    # Rounded down, but not where a third of the steps is a whole number.
    falling = int(steps * fall + 1e-9)
    if not falling:
        return peak
    left = min((steps - 1 - step) / falling, 1.0)
    return peak * (0.02 + 0.98 * left)


def set_learning_rate(optimizer: HasGroups, rate: float) -> None:
    """Gives every parameter group the same rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def step_generator(seed: int, step: int) -> torch.Generator:
    """Returns the CPU generator of one step; neighbouring steps and seeds are unrelated."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step * 7_919 + 17) % (1 << 62))


def save_state(folder: Path, step: int, parts: Mapping[str, Any]) -> None:
    """Writes the state of a run; a reader sees the old file or the new one, never half of one.

    Args:
        folder: The run's directory.
        step: Number of finished steps.
        parts: Objects with `state_dict`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    payload = {"step": step, **{name: part.state_dict() for name, part in parts.items()}}
    partial = folder / f"{_STATE_FILE}.partial"
    with partial.open("wb") as file:
        torch.save(payload, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / _STATE_FILE)


def load_state(folder: Path, parts: Mapping[str, Any]) -> int:
    """Restores `parts` in place; returns the number of finished steps, 0 if nothing is stored."""
    path = folder / _STATE_FILE
    if not path.is_file():
        return 0
    payload = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(payload[name])
    return int(payload["step"])


def log_numbers(folder: Path, **numbers: float) -> None:
    """Appends one line of numbers to the run's log."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOG_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({name: _rounded(value) for name, value in numbers.items()}) + "\n")


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
