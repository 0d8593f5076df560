"""Which device a run uses."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

from i2vbench.errors import UserError

BACKENDS = ("torch", "openvino")
"""What runs the metrics' networks."""


def resolve_device(name: str) -> str:
    """``cpu`` or ``cuda:i`` for ``auto``, ``cpu``, ``cuda`` or ``cuda:i``.

    Raises:
        UserError: another word, or a CUDA device that is not there.
    """
    if name == "cpu":
        return "cpu"
    match = re.fullmatch(r"auto|cuda(?::(\d+))?", name)
    if match is None:
        raise UserError(f"--device {name!r}: accepted are auto, cpu, cuda and cuda:i")
    if name == "auto" and not _may_have_cuda():
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if count else "cpu"
    index = int(match[1] or 0)
    if index >= count:
        raise UserError(
            f"--device {name}: this machine has {count or 'no'} CUDA device"
            f"{'' if count == 1 else 's'}; use --device cpu or auto"
        )
    return f"cuda:{index}"


def has_arithmetic(dtype: str, device: str = "cpu") -> bool:
    """Whether torch multiplies in ``fp32``, ``bf16`` or ``fp16`` there, not number by number.

    x86 CPUs without AVX-512, as in many laptops, mostly do not; nor do most for ``fp16``.
    """
    if device != "cpu" or dtype not in ("bf16", "fp16"):
        return True
    import torch

    if not torch.backends.mkldnn.is_available():
        return True  # another library's kernels, of which nothing is known
    supported = getattr(torch.ops.mkldnn, f"_is_mkldnn_{dtype}_supported", None)
    return supported is None or bool(supported())


def slowness_note(dtype: str | None, device: str) -> str | None:
    """A line for users who asked for speed and get the contrary; None where all is well.

    Args:
        dtype: as :func:`has_arithmetic` takes it; None for the model's own.
        device: as :func:`resolve_device` gives it.
    """
    if dtype is None or has_arithmetic(dtype, device):
        return None
    return (
        f"--dtype {dtype} is many times slower than fp32 here: this CPU has no {dtype} "
        "arithmetic; use --dtype fp32"
    )


def check_scoring(backend: str, dtype: str, device: str) -> None:
    """Refuses ways to run the metrics' networks that there are not here, before hours are spent.

    Args:
        backend: ``torch`` or ``openvino``.
        dtype: ``fp32`` or ``bf16``.
        device: as :func:`resolve_device` gives it.

    Raises:
        UserError: another word, OpenVINO on a GPU or not installed, or bf16 on a CPU without it,
            where torch's kernels fail or take a hundred times as long as in fp32.
    """
    if backend not in BACKENDS:
        raise UserError(f"backend {backend!r}: accepted are {' and '.join(BACKENDS)}")
    if backend == "openvino":
        require_openvino()
        if device != "cpu":
            raise UserError(
                f"backend openvino runs on the CPU alone, not on {device}; use --device cpu"
            )
    if not has_arithmetic(dtype, device):
        raise UserError(f"this CPU has no {dtype} arithmetic; use --scoring-dtype fp32")


def require_openvino() -> None:
    """Raises a UserError with the command that installs OpenVINO, where it is missing."""
    if find_spec("openvino") is None:
        raise UserError("backend openvino needs openvino: pip install 'i2vbench[openvino]'")


def _may_have_cuda() -> bool:
    """False where the answer is known without importing torch, which takes seconds."""
    if sys.platform == "darwin":
        return False
    if sys.platform == "linux":
        return Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    return True
