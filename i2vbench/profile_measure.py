"""Measuring a model from outside: one batch of the playground, timed and counted.

A model that is :class:`~i2vbench.profile.Profiled` measures itself; the tools here are for it, too.
"""

from __future__ import annotations

import itertools
import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from i2vbench.clip import Geometry
from i2vbench.errors import UserError
from i2vbench.model import Model, Request
from i2vbench.profile import Profile, Profiled, ProfileSettings
from i2vbench.suites import load_suite

_MIB = 2**20


def profile_model(model: Model, settings: ProfileSettings | None = None) -> Profile:
    """The model's own profile where it makes one, else :func:`profile_by_generating`.

    Raises:
        UserError: a setting that this model cannot honour.
    """
    settings = settings or ProfileSettings()
    if isinstance(model, Profiled):
        return model.profile(settings)
    return profile_by_generating(model, settings)


def profile_by_generating(model: Model, settings: ProfileSettings) -> Profile:
    """The profile of any model: it makes the same batch twice.

    The first time, which also loads the weights, the FLOPs are counted; the second time is timed.
    Only this thread's FLOPs in PyTorch are seen: those of other programs and libraries are not, and
    where none is, ``flops_per_clip`` is None.

    Raises:
        UserError: ``num_steps`` or ``count_only``, which need a model that profiles itself.
    """
    card = model.describe()
    if settings.count_only or settings.num_steps is not None:
        option = "--count-only" if settings.count_only else f"--steps {settings.num_steps}"
        raise UserError(
            f"{option}: {card.name} has no profile of its own, so only whole clips can be measured;"
            f" leave it out"
        )
    geometry = settings.geometry or model.geometry
    requests = example_requests(geometry, settings.batch_size)

    def generate() -> int:
        return sum(1 for _ in model.generate(requests))

    flops = count_flops(generate)
    reset_peak_memory(model.device)
    started = clock(model.device)
    generate()
    seconds = clock(model.device) - started
    return Profile(
        model=card.name,
        num_frames=geometry.num_frames,
        height=geometry.height,
        width=geometry.width,
        batch_size=settings.batch_size,
        dtype=model.dtype or "default",
        device=device_name(model.device),
        num_threads=num_threads(model.device),
        num_parameters=card.num_parameters or None,
        flops_per_clip=round(flops / settings.batch_size) or None,
        seconds_per_clip=seconds / settings.batch_size,
        peak_memory_mib=peak_memory_mib(model.device),
        notes=() if flops else ("no FLOPs were seen: the model does not compute in PyTorch",),
    )


def example_requests(geometry: Geometry, number: int) -> list[Request]:
    """Requests for the first samples of the playground, which every installation has."""
    samples = itertools.islice(itertools.cycle(load_suite("playground")), number)
    return [
        Request(sample=sample, take=take, seed=0, geometry=geometry)
        for take, sample in enumerate(samples)
    ]


def count_flops(call: Callable[[], object]) -> int:
    """FLOPs of ``call`` in matrix products, attention and convolutions; a multiply-add is two.

    On the meta device nothing is computed, and the count is the same.

    >>> count_flops(lambda: torch.ones(2, 3) @ torch.ones(3, 5))
    60
    """
    # What torch's counter does not know, the second in some of its versions alone.
    more: dict[Any, Callable[..., int]] = {
        torch.ops.mkldnn._linear_pointwise: _linear_flops,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    }
    with FlopCounterMode(display=False, custom_mapping=more) as counter:
        call()
    return int(counter.get_total_flops())


def _linear_flops(
    x_shape: Sequence[int],
    second: Sequence[int],
    third: Sequence[int],
    *rest: object,
    **_: object,
) -> int:
    """Of oneDNN's linear map: (x, weight, bias, ...), or (x, other, weight, bias, "mul")."""
    weight_shape = third if len(rest) == 2 else second
    return 2 * math.prod(x_shape) * int(weight_shape[0])


def _attention_flops(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *_: object,
    attn_mask: torch.Tensor | None = None,
    **__: object,
) -> int:
    """Of q k^T and of the weights times v, each (..., tokens, width), for the keys that count."""
    num_keys = k.shape[-2]
    if attn_mask is not None:
        seen = attn_mask if attn_mask.dtype == torch.bool else attn_mask > float("-inf")
        num_keys = int(seen.flatten(0, -2).any(dim=0).sum())
    return 2 * math.prod(q.shape[:-1]) * num_keys * (q.shape[-1] + v.shape[-1])


# torch's counter then hands over the tensors, not their shapes alone: a mask is read.
_attention_flops._get_raw = True  # type: ignore[attr-defined]


def clock(device: str | torch.device) -> float:
    """Seconds on a monotonic clock, after all that the device was given to do."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def reset_peak_memory(device: str | torch.device) -> None:
    """Starts the peak of a CUDA device anew; that of a process lasts for its life."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mib(device: str | torch.device) -> float | None:
    """MiB: tensors on a CUDA device, resident memory of the process on the CPU.

    None on Windows, whose Python has no such figure.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS gives bytes, others KiB.
    return peak / (_MIB if sys.platform == "darwin" else 1024)


def device_name(device: str | torch.device) -> str:
    """Its maker's name for it."""
    if torch.device(device).type == "cuda":
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine() or "CPU"


def num_threads(device: str | torch.device) -> int | None:
    """Threads that PyTorch computes with on the CPU; None for other devices."""
    return torch.get_num_threads() if torch.device(device).type == "cpu" else None
