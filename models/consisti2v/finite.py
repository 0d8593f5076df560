"""Networks that give NaN or infinite numbers: an error instead of black frames.

A cast of NaN to uint8 gives 0 without a word, and clamping hides infinity, so every result of a
network is looked at before either.

Shape letters: S steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ADVICE = "its weights are damaged or diverged, or overflow in this dtype (try --dtype fp32)"


def all_finite(numbers: Tensor) -> Tensor:
    """Bool () on the device: whether no number is NaN or infinite.

    NaN passes into both ends, which takes a tenth of the time of ``isfinite().all()`` on a CPU.
    """
    low, high = numbers.aminmax()
    return low.isfinite() & high.isfinite()


def require_finite(numbers: Tensor | np.ndarray[Any, Any], network: str) -> None:
    """Nothing, where all numbers are finite.

    Args:
        numbers: what the network gave, floats of any shape.
        network: its name for the message, e.g. ``decoder``.

    Raises:
        FloatingPointError: one of the numbers is NaN or infinite.
    """
    if not bool(all_finite(torch.as_tensor(numbers))):
        raise FloatingPointError(f"the network gave NaN or infinite numbers ({network}); {_ADVICE}")


def require_finite_steps(finite: Sequence[Tensor]) -> None:
    """Nothing, where every step of a sampling run was finite.

    Args:
        finite: for each step a bool () on the device, which is read here for all steps at once.

    Raises:
        FloatingPointError: the message names the first bad step.
    """
    finite_S = torch.stack(list(finite)).tolist()
    if not all(finite_S):
        raise FloatingPointError(
            f"the network gave NaN or infinite numbers (UNet, at step {finite_S.index(False) + 1} "
            f"of {len(finite_S)}); {_ADVICE}"
        )
