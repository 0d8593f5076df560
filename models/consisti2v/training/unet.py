"""Trains the tiny video UNet by the recipe of ConsistI2V (TMLR 2024, arXiv:2402.04324).

Kept: noise shared between frames (PYoCo), linear betas, one timestep per clip, loss on frames
1..T-1, text and first frame each dropped one time in ten, frame stride as a condition, AdamW.
Changed, because this network starts from nothing rather than from Stable Diffusion: a larger rate
that warms up and falls at the end, EMA weights, alphas at one half, and, on request, what is
predicted, which timesteps are drawn, and whether the last one holds any signal.

Shapes: B clips, C latent channels, T frames, H, W latent size, L tokens, D text width.
"""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from i2vbench.device import has_arithmetic
from i2vbench.models.consisti2v.checkpoint import read_weights
from i2vbench.models.consisti2v.stored import load_strictly
from i2vbench.models.consisti2v.training.data import STRIDES, SceneClips
from i2vbench.models.consisti2v.training.diffusion import (
    NUM_TIMESTEPS,
    SCHEDULER_FILE,
    NoiseSchedule,
    StepDraws,
    losses_per_clip,
    predicted_and_target,
    sampling_values,
)
from i2vbench.models.consisti2v.training.latents import FrozenParts, LatentBatch, latent_batch
from i2vbench.models.consisti2v.training.optimizer import OPTIMIZERS, build_optimizer
from i2vbench.models.consisti2v.training.parallel import Team
from i2vbench.models.consisti2v.training.progress import (
    Ema,
    load_state,
    log_numbers,
    save_state,
    set_learning_rate,
    step_generator,
    trapezoid_rate,
)
from i2vbench.models.consisti2v.unet import ConsistI2VUNet
from i2vbench.suites.playground.seeds import TRAIN_SEED_START

_log = logging.getLogger(__name__)

UNET_CONFIG: dict[str, Any] = {
    "sample_size": 16,
    # Three levels: at 4x4 cells the zero padding tells a convolution where it is, and without that
    # nothing can be moved to a place. What is moved there is copied from the first frame by
    # attention, to the latent only at the top level: there on the way up alone, for its cost.
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "block_out_channels": [64, 128, 128],
    "layers_per_block": 1,
    "attention_head_dim": [2, 4, 4],
    "cross_attention_dim": 128,
    "norm_num_groups": 16,
    "use_temporal": True,
    "n_temp_heads": 4,
    "first_frame_condition_mode": "concat",
    "augment_temporal_attention": True,
    "temp_pos_embedding": "rotary",
    "use_frame_stride_condition": True,
}
_SCENES_PER_SEED = 10_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetTraining:
    """Options of the UNet's training; the comments name the published values that differ."""

    steps: int = 4500
    batch_size: int = 4
    peak_rate: float = 8e-4  # published: 5e-5, constant, on pretrained weights
    warmup_steps: int = 150  # published: 0
    fall: float = 1 / 3
    """Share of the steps, the last ones, in which the rate falls; published: 0."""
    optimizer: str = "adamw"
    """"adamw" as published, or "muon"."""
    weight_decay: float = 1e-2
    max_grad_norm: float = 0.5
    ema_decay: float = 0.998  # published: no EMA
    text_dropout: float = 0.1
    image_dropout: float = 0.1
    noise_alpha: float = 1.0
    """Share of noise that frames have in common: alpha^2 / (1 + alpha^2)."""
    initial_alpha: float = 0.5  # published: 1
    prediction: str = "epsilon"
    """What is predicted: "epsilon" as published, or "v_prediction" (arXiv:2202.00512).

    At high noise an epsilon network has to return its input to three digits before the first frame
    makes a difference; a network of this size does not get there and its frames drift in colour.
    Velocity at high noise is the negative of the clip itself, which attention can copy from the
    first frame.
    """
    zero_snr: bool = False
    """The last timestep holds no signal (arXiv:2305.08891); asks for "v_prediction".

    The published schedule leaves some, in which a network sees whether a clip moves; sampling
    starts from noise, in which nothing moves, and a network that looks there lets clips stand.
    """
    high_noise_share: float = 0.0
    """Share of the clips whose timestep is `high_noise_from` or more; the rest's is uniform."""
    high_noise_from: int = 600
    strides: tuple[int, int] = STRIDES
    """Range of the frame stride, both ends included."""
    size_px: int = 64
    num_frames: int = 16
    seed: int = 0
    save_every: int = 100
    bf16: bool = field(default_factory=lambda: has_arithmetic("bf16"))
    """Where the CPU multiplies it; float32 is ten and more times as quick where it does not."""

    def __post_init__(self) -> None:
        if self.prediction not in ("epsilon", "v_prediction"):
            raise ValueError(f"prediction={self.prediction!r}; accepted: 'epsilon', 'v_prediction'")
        if self.zero_snr and self.prediction != "v_prediction":
            raise ValueError("zero_snr=True needs prediction='v_prediction'")
        if not 0 <= self.fall <= 1:
            raise ValueError(f"fall={self.fall}; accepted: 0 to 1")


def mixed_noise(shape: tuple[int, ...], alpha: float, generator: torch.Generator) -> torch.Tensor:
    """Returns PYoCo's noise (B, C, T, H, W): frames share alpha^2 / (1 + alpha^2) of it."""
    shared = torch.randn(*shape[:2], 1, *shape[3:], generator=generator)
    own = torch.randn(shape, generator=generator)
    return shared * math.sqrt(alpha**2 / (1 + alpha**2)) + own * math.sqrt(1 / (1 + alpha**2))


def drawn_timesteps(
    size: int, high_noise_share: float, high_noise_from: int, generator: torch.Generator
) -> torch.Tensor:
    """Returns timesteps (B,), int64: uniform, but for a share of them from `high_noise_from` on."""
    t_B = torch.randint(NUM_TIMESTEPS, (size,), generator=generator)
    if not high_noise_share:
        return t_B
    high_B = torch.randint(high_noise_from, NUM_TIMESTEPS, (size,), generator=generator)
    return torch.where(torch.rand(size, generator=generator) < high_noise_share, high_B, t_B)


def diffusion_loss(
    unet: nn.Module,
    batch: LatentBatch,
    empty_text_LD: torch.Tensor,
    schedule: NoiseSchedule,
    options: UNetTraining,
    generator: torch.Generator,
) -> torch.Tensor:
    """Returns the loss of each clip, (B,)."""
    latents_BCTHW, text_BLD, stride_B = batch
    size = len(latents_BCTHW)
    noise_BCTHW = mixed_noise(tuple(latents_BCTHW.shape), options.noise_alpha, generator)
    t_B = drawn_timesteps(size, options.high_noise_share, options.high_noise_from, generator)
    no_text, no_image = (torch.rand(2, size, generator=generator)).unbind()
    draws = StepDraws(
        noise_BCTHW=noise_BCTHW,
        t_B=t_B,
        no_text_B=no_text < options.text_dropout,
        no_image_B=no_image < options.image_dropout,
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
        predicted, target = predicted_and_target(
            unet,
            latents_BCTHW,
            text_BLD,
            stride_B,
            empty_text_LD,
            draws,
            schedule,
            prediction=options.prediction,
        )
    return losses_per_clip(predicted, target)


def train(
    output: Path,
    parts: FrozenParts,
    options: UNetTraining,
    *,
    config: dict[str, Any] | None = None,
    initial: Path | None = None,
    team: Team | None = None,
) -> ConsistI2VUNet:
    """Trains or resumes in `output`, where `export.py` reads; returns the averaged network.

    Args:
        output: Holds `state.pt`, `log.jsonl` and `config.json`.
        parts: Autoencoder and text tower.
        options: Steps, rates and dropouts.
        config: UNet configuration, the tiny one if None; it gets the channels of the latents and
            the number of frames.
        initial: Run, or checkpoint folder, of a network to go on from, which may have fewer layers.
        team: The processes that train together, each on `batch_size` clips; this one if None.
    """
    team = team or Team()
    torch.manual_seed(options.seed)
    channels = parts.vae.config.latent_channels
    config = {
        **(config or UNET_CONFIG),
        "n_frames": options.num_frames,
        "in_channels": channels,
        "out_channels": channels,
    }
    unet = ConsistI2VUNet.from_config(config)
    _open_branches(unet, options.initial_alpha)
    _normalise_in_float32(unet)
    if initial is not None:
        _grow(unet, initial)
    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimizer = build_optimizer(
        options.optimizer, unet, options.peak_rate, options.weight_decay, bf16=options.bf16
    )
    ema = Ema(unet, options.ema_decay)
    held = {"model": unet, "optimizer": optimizer, "ema": ema}
    start = load_state(output, held)
    output.mkdir(parents=True, exist_ok=True)
    if team.rank == 0:
        (output / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        values = sampling_values(options.prediction, zero_snr=options.zero_snr)
        (output / SCHEDULER_FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    # Runs of other seeds, and runs that carry on from them, see other scenes.
    first_seed = TRAIN_SEED_START + options.seed * _SCENES_PER_SEED
    clips = SceneClips(
        options.num_frames, options.size_px, first_seed=first_seed, strides=options.strides
    )
    schedule = NoiseSchedule(zero_snr=options.zero_snr)
    empty_text_LD = parts.encode_text([""])[0]
    began = time.monotonic()
    for step in range(start, options.steps):
        set_learning_rate(
            optimizer,
            trapezoid_rate(
                step, options.steps, options.peak_rate, options.warmup_steps, options.fall
            ),
        )
        draw = step * team.size + team.rank
        generator = step_generator(options.seed, draw)
        numbers = range(draw * options.batch_size, (draw + 1) * options.batch_size)
        batch = latent_batch(parts, clips, numbers, generator, bf16=options.bf16)
        loss = diffusion_loss(unet, batch, empty_text_LD, schedule, options, generator).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        team.average_gradients(trained)
        norm = nn.utils.clip_grad_norm_(trained, options.max_grad_norm)
        optimizer.step()
        unet.project_alphas()
        ema.update(unet)
        if team.rank:
            continue
        log_numbers(
            output,
            step=step,
            seconds=time.monotonic() - began,
            loss=loss.item(),
            grad_norm=norm.item(),
        )
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            save_state(output, step + 1, held)
            _log.info("step %d: loss %.4f", step + 1, loss.item())
    unet.load_state_dict(ema.shadow)
    return unet.eval()


def _open_branches(unet: nn.Module, alpha: float) -> None:
    """Sets every alpha; at the published 1 only alpha itself gets a gradient.

    That protects a pretrained image network. Without one there is nothing to protect, and the first
    thousand steps would be spent on opening the branches.
    """
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if name.endswith("alpha"):
                parameter.fill_(alpha)


def _grow(unet: nn.Module, initial: Path) -> None:
    """Loads a smaller or equal network; attention layers that it lacks start as the identity.

    Raises:
        UserError: If it lacks another layer, or has one that `unet` has not.
    """
    if (initial / "unet").is_dir():
        weights = read_weights(initial / "unet")
    else:
        weights = torch.load(initial / "state.pt", map_location="cpu", weights_only=True)["model"]
    load_strictly(unet, weights, where=initial, may_lack=_is_of_attention)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if name not in weights and ".proj_out." in name:
                parameter.zero_()


def _is_of_attention(key: str) -> bool:
    return ".attentions." in key or ".tempo_attns." in key


def _normalise_in_float32(unet: nn.Module) -> None:
    """Casts the inputs of group norms: the bf16 CPU kernel is slower, and less exact."""

    def cast(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(tensor.float() for tensor in inputs)

    for module in unet.modules():
        if isinstance(module, nn.GroupNorm):
            module.register_forward_pre_hook(cast)


def load_parts(vae: Path, text: Path) -> FrozenParts:
    """Loads the Diffusers autoencoder in `vae` and `tokenizer/`, `text_encoder/` in `text`."""
    return FrozenParts(
        vae=AutoencoderKL.from_pretrained(vae).eval().requires_grad_(False),
        tokenizer=CLIPTokenizer.from_pretrained(text / "tokenizer"),
        text_encoder=CLIPTextModel.from_pretrained(text / "text_encoder")
        .float()
        .eval()
        .requires_grad_(False),
    )


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Run directory; resumes if it exists.",
)
@click.option(
    "--vae",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Diffusers folder of the VAE.",
)
@click.option(
    "--text",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Output folder of the CLIP training.",
)
@click.option("--steps", default=4500, show_default=True)
@click.option("--batch-size", default=4, show_default=True)
@click.option("--optimizer", default="adamw", show_default=True, type=click.Choice(OPTIMIZERS))
@click.option("--peak-rate", default=8e-4, show_default=True)
@click.option(
    "--fall",
    default=1 / 3,
    show_default="1/3",
    help="Share of the steps, the last ones, in which the rate falls.",
)
@click.option(
    "--prediction",
    default="epsilon",
    show_default=True,
    type=click.Choice(["epsilon", "v_prediction"]),
)
@click.option("--size-px", default=64, show_default=True, help="Side of the scenes.")
@click.option("--num-frames", default=16, show_default=True, help="Length of a clip.")
@click.option("--zero-snr", is_flag=True, help="No signal in the last timestep.")
@click.option(
    "--high-noise-share",
    default=0.0,
    show_default=True,
    help="Share of clips whose timestep is --high-noise-from or more; the rest's is uniform.",
)
@click.option("--high-noise-from", default=600, show_default=True)
@click.option(
    "--strides",
    type=(int, int),
    default=STRIDES,
    show_default=True,
    help="Smallest and largest frame stride.",
)
@click.option(
    "--initial",
    type=click.Path(path_type=Path, exists=True),
    help="Run or checkpoint folder whose UNet to go on from; it may have fewer layers.",
)
@click.option("--processes", default=1, show_default=True, help="How many train together.")
@click.option("--rank", default=0, show_default=True, help="Which of them this one is.")
@click.option(
    "--meeting-point",
    type=click.Path(path_type=Path),
    help="New file by which they find each other.",
)
@click.option("--seed", default=0, show_default=True)
def main(
    output: Path,
    vae: Path,
    text: Path,
    steps: int,
    batch_size: int,
    optimizer: str,
    peak_rate: float,
    fall: float,
    prediction: str,
    size_px: int,
    num_frames: int,
    zero_snr: bool,
    high_noise_share: float,
    high_noise_from: int,
    strides: tuple[int, int],
    initial: Path | None,
    processes: int,
    rank: int,
    meeting_point: Path | None,
    seed: int,
) -> None:
    """Trains the tiny video UNet on procedural scenes."""
    logging.basicConfig(level=logging.INFO)
    options = UNetTraining(
        steps=steps,
        batch_size=batch_size,
        optimizer=optimizer,
        peak_rate=peak_rate,
        fall=fall,
        prediction=prediction,
        size_px=size_px,
        num_frames=num_frames,
        zero_snr=zero_snr,
        high_noise_share=high_noise_share,
        high_noise_from=high_noise_from,
        strides=strides,
        seed=seed,
    )
    team = Team(rank=rank, size=processes)
    team.join(meeting_point or output / "meeting-point")
    train(output, load_parts(vae, text), options, initial=initial, team=team)
    team.leave()


if __name__ == "__main__":
    main()
