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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from i2vbench.models.consisti2v.checkpoint import read_weights
from i2vbench.models.consisti2v.stored import load_strictly
from i2vbench.models.consisti2v.training.data import STRIDES, SceneClips, find_pictures, first_scene
from i2vbench.models.consisti2v.training.diffusion import (
    NUM_TIMESTEPS,
    SCHEDULER_FILE,
    NoiseSchedule,
    StepDraws,
    losses_per_clip,
    predicted_and_target,
    sampling_values,
)
from i2vbench.models.consisti2v.training.flow import FlowHead
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
from i2vbench.models.consisti2v.training.tiny_recipe import UNET_CONFIG, UNetTraining
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

_log = logging.getLogger(__name__)


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
    *,
    weights_C: torch.Tensor | None = None,
    flow: tuple[FlowHead, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Returns the loss of each clip, (B,).

    `weights_C` are those of the latent channels, all 1 if None; `flow` is the layer that reads the
    flow from `unet`, and what it should read.
    """
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
    if weights_C is not None:
        root_C111 = weights_C.sqrt()[:, None, None, None]
        predicted, target = predicted.float() * root_C111, target * root_C111
    losses_B = losses_per_clip(predicted, target)
    if flow is not None:
        head, flow_BT2HW = flow
        told_B = ~(draws.no_text_B | draws.no_image_B)
        losses_B = losses_B + options.flow_weight * told_B * head.losses_per_clip(flow_BT2HW)
    return losses_B


def train(
    output: Path,
    parts: FrozenParts,
    options: UNetTraining,
    *,
    config: dict[str, Any] | None = None,
    initial: Path | None = None,
    pictures: Sequence[Path] = (),
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
        pictures: Photographs that cameras move over in some of the clips.
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
    head = FlowHead(unet) if options.flow_weight else None
    read = [] if head is None else list(head.parameters())
    trained = [*(parameter for parameter in unet.parameters() if parameter.requires_grad), *read]
    optimizer = build_optimizer(
        options.optimizer,
        unet,
        options.peak_rate,
        options.weight_decay,
        bf16=options.bf16,
        also=read,
    )
    ema = Ema(unet, options.ema_decay)
    held: dict[str, Any] = {"model": unet, "optimizer": optimizer, "ema": ema}
    if head is not None:
        held["flow"] = head
    start = load_state(output, held)
    output.mkdir(parents=True, exist_ok=True)
    if team.rank == 0:
        (output / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        values = sampling_values(options.prediction, zero_snr=options.zero_snr)
        (output / SCHEDULER_FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    clips = SceneClips(
        options.num_frames,
        options.size_px,
        first_seed=first_scene(options.seed),
        strides=options.strides,
        stride_step=options.stride_step,
        scene_sides=options.scene_sides,
        pictures=pictures,
    )
    weights_C = None
    if options.pixel_weights:
        weights_C = parts.pixel_weights(torch.cat([clips[number][0] for number in range(8)]))
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
        batch = latent_batch(parts, clips, numbers, bf16=options.bf16)
        flow = None
        if head is not None:
            cells = batch.latents_BCTHW.shape[-1]
            flow = head, torch.stack([clips.flow(number, cells) for number in numbers])
        loss = diffusion_loss(
            unet,
            batch,
            empty_text_LD,
            schedule,
            options,
            generator,
            weights_C=weights_C,
            flow=flow,
        ).mean()
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
    if head is not None:
        head.leave()
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
@click.option("--warmup-steps", default=150, show_default=True)
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
@click.option(
    "--scene-sides",
    default=1,
    show_default=True,
    help="Clips are windows of scenes whose side is so many times as long.",
)
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
    "--pixel-weights",
    is_flag=True,
    help="Latent channels count by what their errors do to the pixels.",
)
@click.option(
    "--flow-weight",
    default=0.0,
    show_default=True,
    help="Weight of the flow's loss beside that of what is predicted.",
)
@click.option(
    "--strides",
    type=(float, float),
    default=STRIDES,
    show_default=True,
    help="Smallest and largest frame stride.",
)
@click.option(
    "--stride-step", default=1.0, show_default=True, help="Between the strides that are drawn."
)
@click.option(
    "--initial",
    type=click.Path(path_type=Path, exists=True),
    help="Run or checkpoint folder whose UNet to go on from; it may have fewer layers.",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of photographs: in some clips a camera moves over one of them.",
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
    warmup_steps: int,
    fall: float,
    prediction: str,
    size_px: int,
    scene_sides: int,
    num_frames: int,
    zero_snr: bool,
    high_noise_share: float,
    high_noise_from: int,
    pixel_weights: bool,
    flow_weight: float,
    strides: tuple[float, float],
    stride_step: float,
    initial: Path | None,
    pictures: Path | None,
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
        warmup_steps=warmup_steps,
        fall=fall,
        prediction=prediction,
        size_px=size_px,
        scene_sides=scene_sides,
        num_frames=num_frames,
        zero_snr=zero_snr,
        high_noise_share=high_noise_share,
        high_noise_from=high_noise_from,
        pixel_weights=pixel_weights,
        flow_weight=flow_weight,
        strides=strides,
        stride_step=stride_step,
        seed=seed,
    )
    team = Team(rank=rank, size=processes)
    team.join(meeting_point or output / "meeting-point")
    train(
        output,
        load_parts(vae, text),
        options,
        initial=initial,
        pictures=find_pictures(pictures),
        team=team,
    )
    team.leave()


if __name__ == "__main__":
    main()
