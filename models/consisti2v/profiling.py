"""What ConsistI2V costs: FLOPs from shapes alone, seconds by part of the pipeline."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers import DDIMScheduler
from torch import nn

from i2vbench.clip import Geometry
from i2vbench.model import Request
from i2vbench.profile import Part, Profile, ProfileSettings
from i2vbench.profile_measure import (
    clock,
    count_flops,
    device_name,
    example_requests,
    num_threads,
    peak_memory_mib,
    reset_peak_memory,
)

from .checkpoint import PUBLISHED_ID
from .config import UNetConfig
from .flops import PUBLISHED_UNET, Shapes, count_unet_flops, original_extra_flops
from .networks import PUBLISHED_SCHEDULE, load_scheduler
from .sampling import Sampling
from .schedulers import build_scheduler
from .unet import ConsistI2VUNet

if TYPE_CHECKING:
    from .adapter import ConsistI2V

PUBLISHED_GEOMETRY: Final = Geometry(num_frames=16, height=256, width=256, fps=8)
TABLE_3_TFLOP: Final = 5.168
"""Of a UNet pass; Ren et al., TMLR 2024, Table 3 (RTX 4090, fp32, batch 1)."""
TABLE_3_SECONDS: Final = 18.48
"""Per clip, likewise."""
TABLE_3_MEMORY: Final = "9249 MB"
"""Likewise."""

_TEMPORAL: Final = ("conv3ds.", "tempo_attns.", "frame_stride_embedding.")
# Where a clip has more: enough for a mean, and minutes rather than hours on a CPU.
_TIMED_STEPS: Final = 5


def profile(model: ConsistI2V, settings: ProfileSettings) -> Profile:
    """The profile of ``model``; with ``count_only``, that of its shapes.

    Args:
        model: any checkpoint; the published one need not be there for ``count_only``.
        settings: ``num_steps`` of None times five steps, or all where a clip has fewer.

    Raises:
        UserError: a checkpoint that is missing.
        ValueError: a geometry that the network cannot make.
    """
    if settings.count_only and model.choice.source == PUBLISHED_ID:
        shapes = Shapes()
        sampling = Sampling(**model.options.sampling_values())
        num_frames = model.options.segments * (PUBLISHED_GEOMETRY.num_frames - 1) + 1
        geometry = settings.geometry or dataclasses.replace(
            PUBLISHED_GEOMETRY, num_frames=num_frames
        )
    else:
        shapes = Shapes.read(model.folder)
        sampling = model.sampling
        geometry = settings.geometry or model.geometry
    counted = _count(model, shapes, sampling, geometry, settings.batch_size)
    if settings.count_only:
        return counted
    return _measure(model, counted, sampling, geometry, settings)


@torch.inference_mode()
def _count(
    model: ConsistI2V, shapes: Shapes, sampling: Sampling, geometry: Geometry, batch_size: int
) -> Profile:
    """Parameters and FLOPs, and no clock."""
    height, width = geometry.height // shapes.vae_factor, geometry.width // shapes.vae_factor
    per_step = count_unet_flops(
        shapes.unet,
        height=height,
        width=width,
        num_rows=sampling.guidance.num_rows,
        num_tokens=shapes.num_tokens,
    )
    num_steps = _num_steps(model, sampling) * _num_segments(shapes.unet, geometry)
    if sampling.frameinit:
        num_steps *= sampling.frameinit_iterations
    vae, text = shapes.build_vae(), shapes.build_text_encoder()
    with torch.device("meta"):
        unet = ConsistI2VUNet(shapes.unet)
        picture = torch.empty(1, 3, geometry.height, geometry.width)
        latents = torch.empty(1, shapes.unet.in_channels, height, width)
        tokens = torch.zeros(1, shapes.num_tokens, dtype=torch.long)
    parts = (
        # The prompt and the negative prompt.
        Part(
            name="text encoder",
            num_parameters=_num_parameters(text),
            flops_per_clip=2 * count_flops(lambda: text(tokens)),
        ),
        Part(
            name="VAE encoder",
            num_parameters=_num_parameters(vae.encoder, vae.quant_conv),
            flops_per_clip=_num_encoded(shapes.unet, sampling)
            * count_flops(lambda: vae.encode(picture)),
        ),
        Part(
            name="UNet",
            num_parameters=_num_parameters(unet),
            flops_per_clip=num_steps * per_step,
        ),
        Part(
            name="VAE decoder",
            num_parameters=_num_parameters(vae.decoder, vae.post_quant_conv),
            flops_per_clip=geometry.num_frames * count_flops(lambda: vae.decode(latents)),
        ),
    )
    temporal = [p for key, p in unet.named_parameters() if any(part in key for part in _TEMPORAL)]
    notes = [model.choice.reason]
    notes += _compared(shapes.unet, geometry)
    if model.options.t2i is not None:
        notes.append("the text-to-image pipeline is timed, but neither counted nor among the parts")
    return Profile(
        model=model.choice.name,
        num_frames=geometry.num_frames,
        height=geometry.height,
        width=geometry.width,
        batch_size=batch_size,
        dtype=model.dtype or "fp32",
        num_parameters=sum(part.num_parameters or 0 for part in parts),
        num_temporal_parameters=sum(p.numel() for p in temporal),
        num_steps=num_steps,
        flops_per_step=per_step,
        flops_per_clip=sum(part.flops_per_clip or 0 for part in parts),
        parts=parts,
        notes=tuple(notes),
    )


def _num_parameters(*modules: nn.Module | None) -> int:
    return sum(p.numel() for module in modules if module is not None for p in module.parameters())


def _num_steps(model: ConsistI2V, sampling: Sampling) -> int:
    """Evaluations of the network for one segment; some schedulers take two a step."""
    is_published = model.choice.source == PUBLISHED_ID
    build: Any = DDIMScheduler
    # The published folder may not be there.
    base = (
        build(**PUBLISHED_SCHEDULE) if is_published else load_scheduler(model.folder / "scheduler")
    )
    scheduler = build_scheduler(sampling.scheduler, base)
    scheduler.set_timesteps(sampling.num_inference_steps)
    return len(scheduler.timesteps)


def _num_encoded(config: UNetConfig, sampling: Sampling) -> int:
    """Pictures that the VAE encodes: none, the first frame, or one per frame of a camera motion."""
    if not config.has_condition_frame:
        return 0
    return 1 if sampling.camera_motion == "static" else config.n_frames


def _num_segments(config: UNetConfig, geometry: Geometry) -> int:
    """Clips that a long video is joined from."""
    num_segments, rest = divmod(geometry.num_frames - 1, config.n_frames - 1)
    if num_segments < 1 or rest:
        raise ValueError(
            f"clips of {geometry.num_frames} frames; this network makes {config.n_frames}, or "
            f"longer ones of {2 * config.n_frames - 1}, {3 * config.n_frames - 2}, ... frames"
        )
    return num_segments


def _compared(config: UNetConfig, geometry: Geometry) -> list[str]:
    """The published figures, where the network and the size are the published ones."""
    published = dataclasses.replace(config, sample_size=PUBLISHED_UNET.sample_size)
    sizes = (geometry.num_frames, geometry.height, geometry.width)
    wanted = PUBLISHED_GEOMETRY
    if published != PUBLISHED_UNET or sizes != (wanted.num_frames, wanted.height, wanted.width):
        return []
    here = count_unet_flops(config, height=wanted.height // 8, width=wanted.width // 8)
    extra = original_extra_flops(config, height=wanted.height // 8, width=wanted.width // 8).total
    return [
        f"published (Table 3, RTX 4090, fp32, batch 1): {TABLE_3_TFLOP} TFLOP per UNet pass, "
        f"{TABLE_3_SECONDS} s and {TABLE_3_MEMORY} per clip; a pass takes {here / 1e12:.3f} TFLOP "
        f"here and {(here + extra) / 1e12:.3f} in the original's code if counted alike, which "
        "projects keys and values of text and first frame anew for each pixel and frame"
    ]


def _measure(
    model: ConsistI2V,
    counted: Profile,
    sampling: Sampling,
    geometry: Geometry,
    settings: ProfileSettings,
) -> Profile:
    """``counted`` with the seconds and memory of a segment that takes few steps."""
    num_frames, batch_size = model.pipeline.num_frames, settings.batch_size
    requests = example_requests(dataclasses.replace(geometry, num_frames=num_frames), batch_size)
    number = min(settings.num_steps or _TIMED_STEPS, sampling.num_inference_steps)
    # One step first: threads, kernels and caches start up.
    _time(model, sampling, 1, requests)
    reset_peak_memory(model.device)
    spans, seconds = _time(model, sampling, number, requests)
    peak = peak_memory_mib(model.device)

    num_timed = len(spans["UNet"])
    inside = {name: sum(end - start for start, end in spans[name]) for name in spans}
    # With guidance and scheduler, which run between two calls.
    inside["UNet"] = spans["UNet"][-1][1] - spans["UNet"][0][0]
    # FrameInit, noise, and the conversion of pictures and frames.
    inside["other"] = max(seconds - sum(inside.values()), 0.0)
    assert counted.num_steps is not None
    # Of a long video, text and first frame are encoded once.
    scale = {"UNet": counted.num_steps / num_timed, "VAE decoder": geometry.num_frames / num_frames}
    parts = tuple(
        dataclasses.replace(
            part, seconds_per_clip=inside[part.name] * scale.get(part.name, 1.0) / batch_size
        )
        for part in (*counted.parts, Part(name="other"))
    )
    words = f"{num_timed} of {counted.num_steps} steps were timed"
    return dataclasses.replace(
        counted,
        device=device_name(model.device),
        num_threads=num_threads(model.device),
        num_timed_steps=num_timed,
        seconds_per_step=inside["UNet"] / num_timed / batch_size,
        seconds_per_clip=sum(part.seconds_per_clip or 0.0 for part in parts),
        peak_memory_mib=peak,
        parts=parts,
        notes=(*counted.notes, *([words] if num_timed < counted.num_steps else [])),
    )


Spans = dict[str, list[tuple[float, float]]]


def _time(
    model: ConsistI2V, sampling: Sampling, num_inference_steps: int, requests: Sequence[Request]
) -> tuple[Spans, float]:
    """Start and end of each call of each part, and the seconds of all."""
    pipeline = model.pipeline
    # Shares the networks, which are loaded by now.
    shorter = copy.copy(model)
    shorter.sampling = dataclasses.replace(
        sampling, num_inference_steps=num_inference_steps, frameinit_iterations=1
    )
    modules = {
        "text encoder": pipeline.text_encoder,
        "VAE encoder": pipeline.vae.encoder,
        # Where the UNet is compiled, its own hooks are not called.
        "UNet": pipeline._predict,
        "VAE decoder": pipeline.vae.decoder,
    }
    with _watched(modules, pipeline.device) as spans:
        started = clock(pipeline.device)
        for _ in shorter.generate(requests):
            continue
        seconds = clock(pipeline.device) - started
    return spans, seconds


@contextmanager
def _watched(modules: Mapping[str, nn.Module], device: torch.device) -> Iterator[Spans]:
    """Fills the spans while the context lasts."""
    spans: Spans = {name: [] for name in modules}
    starts: dict[str, float] = {}
    handles = []
    for name, module in modules.items():

        def begin(*_: object, name: str = name) -> None:
            starts[name] = clock(device)

        def end(*_: object, name: str = name) -> None:
            spans[name].append((starts[name], clock(device)))

        handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    try:
        yield spans
    finally:
        for handle in handles:
            handle.remove()
