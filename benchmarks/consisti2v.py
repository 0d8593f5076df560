"""Speed and memory of ConsistI2V at full size, side by side with a checkout of the original.

    python benchmarks/consisti2v.py [--original CHECKOUT] [--dtype bf16] [--part unet|vae]

The original needs diffusers==0.21.2, transformers==4.35.2, huggingface_hub<0.20, einops and
beartype; in an environment with these, this script runs both. Without `--original` it measures ours
alone.

Weights are random (speed does not depend on them): the published configuration, 256x256 pixels, 16
frames, one clip with text guidance, so two rows. The step of both is timed in turn in one process,
and so is the peak of matrix products, for single times on a shared machine mean nothing.
`--memory` builds one implementation in a process of its own and prints its peak.

On a GPU: python benchmarks/consisti2v.py --device cuda --dtype bf16 --runs 10
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from i2vbench.models.consisti2v.convolution import order_kernels
from i2vbench.models.consisti2v.linear import linear
from i2vbench.models.consisti2v.unet import ConsistI2VUNet
from i2vbench.models.consisti2v.upsample import speed_up_vae
from i2vbench.profile_measure import count_flops

PUBLISHED: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "attention_head_dim": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "norm_num_groups": 32,
    "use_linear_projection": True,
    "use_temporal": True,
    "n_frames": 16,
    "n_temp_heads": 8,
    "first_frame_condition_mode": "concat",
    "augment_temporal_attention": True,
    "temp_pos_embedding": "rotary",
    "use_frame_stride_condition": True,
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Step = Callable[[], torch.Tensor]


def build(make: Callable[[], Any], dtype: torch.dtype, device: str) -> Any:  # noqa: ANN401
    """The network with random weights of a size that keeps numbers tame; no slow initialisation."""
    with torch.device("meta"):
        network = torch.nn.Module.to(make(), dtype)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(network.named_parameters()):
            if name.endswith("alpha"):
                parameter.fill_(0.5)
            elif parameter.ndim < 2:
                parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.01)
            else:
                bound = parameter[0].numel() ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
    return torch.nn.Module.to(network, device).eval()


def inputs(dtype: torch.dtype, device: str) -> dict[str, torch.Tensor]:
    """One clip, twice, as text guidance has it."""
    generator = torch.Generator().manual_seed(1)
    shapes = {"sample": (1, 4, 15, 32, 32), "first": (1, 4, 1, 32, 32), "text": (2, 77, 1024)}
    made = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    made["sample"] = made["sample"].repeat(2, 1, 1, 1, 1)
    made["first"] = made["first"].repeat(2, 1, 1, 1, 1)
    return {name: tensor.to(device, dtype) for name, tensor in made.items()}


def our_step(dtype: torch.dtype, device: str, compiled: bool) -> Step:
    """Our UNet, ready to call."""
    unet = build(lambda: ConsistI2VUNet.from_config(PUBLISHED), dtype, device)
    order_kernels(unet)
    network = torch.compile(unet) if compiled else unet
    given = inputs(dtype, device)
    steps, stride = torch.tensor([981], device=device), torch.tensor([3], device=device)

    def step() -> torch.Tensor:
        rows: torch.Tensor = network(
            given["sample"],
            steps,
            given["text"],
            first_frame_latents=given["first"],
            frame_stride=stride,
        )
        return guided(rows)

    return step


def original_step(checkout: Path, dtype: torch.dtype, device: str) -> Step:
    """The original's UNet, ready to call."""
    # In place of this script's folder, where `consisti2v` would be the script itself.
    sys.path[0] = str(checkout)
    from consisti2v.models.videoldm_unet import VideoLDMUNet3DConditionModel

    config = {k: tuple(v) if isinstance(v, list) else v for k, v in PUBLISHED.items()}
    unet = build(lambda: VideoLDMUNet3DConditionModel(**config), dtype, device)
    given = inputs(dtype, device)

    def step() -> torch.Tensor:
        rows: torch.Tensor = unet(
            given["sample"],
            981,
            encoder_hidden_states=given["text"],
            first_frame_latents=given["first"],
            frame_stride=3,
        ).sample
        return guided(rows)

    return step


def guided(rows: torch.Tensor) -> torch.Tensor:
    """Text guidance."""
    plain, full = rows.float().chunk(2)
    return plain + 7.5 * (full - plain)


def decode_steps(dtype: torch.dtype, device: str) -> dict[str, Step]:
    """Four frames of 256x256: one by one as the original decodes, and as we do, also in a batch."""
    from diffusers import AutoencoderKL

    plain, ours = (build(lambda: AutoencoderKL(**VAE), dtype, device) for _ in range(2))
    speed_up_vae(ours)
    latents = torch.randn(4, 4, 32, 32, generator=torch.Generator().manual_seed(2))
    latents = latents.to(device, dtype)

    def step(vae: Any, size: int) -> Step:  # noqa: ANN401
        parts = latents.split(size)
        return lambda: torch.cat([vae.decode(part).sample for part in parts]).float()

    return {"original": step(plain, 1), "ours, 1 frame": step(ours, 1), "ours": step(ours, 4)}


def matmul_peak(dtype: torch.dtype, device: str) -> float:
    """TFLOP/s of a matrix product of 2048 cubed, the best of five of torch's two libraries."""
    size = 2048 if device == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    times = [seconds(call, device) for call in (lambda: a @ b, lambda: linear(a, b, None)) * 5]
    return 2 * size**3 / min(times) / 1e12


def seconds(call: Callable[[], Any], device: str) -> float:
    """Wall-clock time of one call."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def count_tflop() -> float:
    """Of one step of ours, two rows, counted on the meta device."""
    with torch.device("meta"):
        unet = ConsistI2VUNet.from_config(PUBLISHED).eval()
    given = {name: tensor.to("meta") for name, tensor in inputs(torch.float32, "cpu").items()}
    one = torch.ones(1, device="meta")
    with torch.no_grad():
        flops = count_flops(
            lambda: unet(
                given["sample"],
                one,
                given["text"],
                first_frame_latents=given["first"],
                frame_stride=one,
            )
        )
    return flops / 1e12


def compare(steps: dict[str, Step], runs: int, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """Interleaved runs after one for warming up; the first name is what ratios refer to."""
    with torch.inference_mode():
        first = {name: step() for name, step in steps.items()}
        names = list(steps)
        reference = first[names[0]].float()
        times: dict[str, list[float]] = {name: [] for name in names}
        peak = []
        for _ in range(runs):
            peak.append(matmul_peak(dtype, device))
            for name, step in steps.items():
                times[name].append(seconds(step, device))
    result: dict[str, Any] = {"matmul_tflops": max(peak)}
    for name in names:
        ratios = [a / b for a, b in zip(times[names[0]], times[name], strict=True)]
        error = (first[name].float() - reference).norm() / reference.norm()
        result[name] = {
            "seconds": round(statistics.median(times[name]), 3),
            "all": [round(value, 3) for value in times[name]],
            "faster_than_first": round(statistics.median(ratios), 3),
            "relative_difference": float(error),
        }
    return result


def profile(step: Step, by_shape: bool) -> str:
    """Where the time of one step goes, by operator, after one for warming up."""
    with torch.inference_mode():
        step()
        with torch.profiler.profile(record_shapes=by_shape) as profiler:
            step()
    averages = profiler.key_averages(group_by_input_shape=by_shape)
    return str(averages.table(sort_by="self_cpu_time_total", row_limit=60 if by_shape else 20))


def main() -> None:
    """Runs what was asked and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--original", type=Path, help="checkout of TIGER-AI-Lab/ConsistI2V")
    parser.add_argument("--part", choices=["unet", "vae"], default="unet")
    parser.add_argument("--dtype", choices=list(DTYPES), default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--by-shape", action="store_true", help="the profile by shapes as well")
    parser.add_argument("--memory", choices=["ours", "original"], help="peak of one step, alone")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    dtype = DTYPES[given.dtype]
    if given.memory:
        step = (
            our_step(dtype, given.device, given.compile)
            if given.memory == "ours"
            else original_step(given.original, dtype, given.device)
        )
        with torch.inference_mode():
            step()
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"implementation": given.memory, "peak_gib": round(peak_kib / 2**20, 2)}))
        return
    if given.part == "vae":
        steps = decode_steps(dtype, given.device)
    else:
        ours = our_step(dtype, given.device, given.compile)
        if given.profile:
            print(profile(ours, given.by_shape))
        steps = {"ours": ours}
        if given.original:
            steps = {"original": original_step(given.original, dtype, given.device), **steps}
    result = compare(steps, given.runs, dtype, given.device)
    if given.part == "unet":
        tflop = count_tflop()
        result["tflop_per_step"] = round(tflop, 2)
        result["tflops_reached"] = round(tflop / result["ours"]["seconds"], 3)
        result["share_of_matmul_peak"] = round(
            result["tflops_reached"] / result["matmul_tflops"], 3
        )
    print(json.dumps({"dtype": given.dtype, "threads": given.threads, **result}, indent=2))


if __name__ == "__main__":
    main()
