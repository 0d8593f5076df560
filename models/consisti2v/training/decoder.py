"""Trains the autoencoder's decoder on what the UNet leaves: its latents, noise and blur included.

What sampling ends with is the UNet's last estimate of the clip, which is never quite a latent of
the encoder; a decoder that knows only those draws the difference as noise. Here it is given the
UNet's estimates of real clips at small timesteps and has to return the clips. The encoder, and so
all that the UNet has learned, stays.

Shapes: B clips, C latent channels, T frames, N = B * T images, H, W latent size.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import click
import torch
from diffusers import AutoencoderKL
from torch import nn

from i2vbench.models.consisti2v.checkpoint import read_config, read_weights
from i2vbench.models.consisti2v.stored import load_strictly
from i2vbench.models.consisti2v.training.data import SceneClips, first_scene, to_unit_range
from i2vbench.models.consisti2v.training.diffusion import (
    NoiseSchedule,
    StepDraws,
    predicted_and_target,
)
from i2vbench.models.consisti2v.training.latents import FrozenParts
from i2vbench.models.consisti2v.training.progress import (
    Ema,
    learning_rate,
    load_state,
    log_numbers,
    save_state,
    set_learning_rate,
    step_generator,
)
from i2vbench.models.consisti2v.training.unet import load_parts, mixed_noise
from i2vbench.models.consisti2v.training.vae import Lpips, VaeTraining, reconstruction_losses
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

_log = logging.getLogger(__name__)

LARGEST_TIMESTEP = 250
"""Eight steps of sampling end with estimates at 250 and 125."""
_NOISE_ALPHA = 1.0


@torch.no_grad()
def estimated_latents(
    unet: ConsistI2VUNet,
    parts: FrozenParts,
    latents_BCTHW: torch.Tensor,
    texts: list[str],
    stride_B: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Returns the UNet's estimate of scaled latents to which it is shown noise, (B, C, T, H, W).

    Each clip has a timestep of its own, up to :data:`LARGEST_TIMESTEP`; the first frame is given
    and stays as it is. For networks that predict the velocity on a schedule without signal at its
    end.
    """
    size = len(latents_BCTHW)
    schedule = NoiseSchedule(zero_snr=True)
    t_B = torch.randint(LARGEST_TIMESTEP + 1, (size,), generator=generator)
    never_B = torch.zeros(size, dtype=torch.bool)
    draws = StepDraws(
        noise_BCTHW=mixed_noise(tuple(latents_BCTHW.shape), _NOISE_ALPHA, generator),
        t_B=t_B,
        no_text_B=never_B,
        no_image_B=never_B,
    )
    velocity, _ = predicted_and_target(
        unet,
        latents_BCTHW,
        parts.encode_text(texts),
        stride_B,
        parts.encode_text([""])[0],
        draws,
        schedule,
        prediction="v_prediction",
    )
    noisy = schedule.add_noise(latents_BCTHW, draws.noise_BCTHW, t_B)[:, :, 1:]
    estimate = schedule.clean(noisy, velocity.float(), t_B)
    return torch.cat([latents_BCTHW[:, :, :1], estimate], dim=2)


def train(
    output: Path,
    unet: ConsistI2VUNet,
    parts: FrozenParts,
    options: VaeTraining,
    *,
    num_frames: int = 16,
    strides: tuple[int, int] = (1, 3),
    lpips: nn.Module | None = None,
) -> AutoencoderKL:
    """Trains or resumes in `output` and returns the autoencoder with the averaged decoder.

    Args:
        output: Holds `state.pt`, `log.jsonl` and, at the end, the Diffusers folder `vae/`.
        unet: Predicts the velocity; stays as it is.
        parts: The autoencoder, whose decoder is trained, and the text tower of `unet`.
        options: `batch_size` is of clips.
        num_frames: Of a clip.
        strides: Range of the frame stride, both ends included.
        lpips: Callable distance of two batches in [-1, 1].
    """
    torch.manual_seed(options.seed)
    vae = parts.vae
    trained = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        trained, lr=options.peak_rate, betas=(0.9, 0.99), weight_decay=1e-4
    )
    ema = Ema(vae, options.ema_decay)
    held = {"model": vae, "optimizer": optimizer, "ema": ema}
    start = load_state(output, held)
    clips = SceneClips(
        num_frames, options.size_px, first_seed=first_scene(options.seed), strides=strides
    )
    factor = float(vae.config.scaling_factor)
    began = time.monotonic()
    for step in range(start, options.steps):
        set_learning_rate(
            optimizer, learning_rate(step, options.steps, options.peak_rate, options.warmup_steps)
        )
        first = step * options.batch_size
        drawn = [clips[number] for number in range(first, first + options.batch_size)]
        frames_BTCHW = torch.stack([frames for frames, _, _ in drawn])
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            latents_BCTHW = estimated_latents(
                unet,
                parts,
                parts.encode_clips(frames_BTCHW, bf16=options.bf16) * factor,
                [text for _, text, _ in drawn],
                torch.tensor([stride for _, _, stride in drawn]),
                step_generator(options.seed, step),
            )
            latents_NCHW = latents_BCTHW.transpose(1, 2).flatten(0, 1) / factor
            output_NCHW = vae.decode(latents_NCHW).sample
        frames_NCHW = to_unit_range(frames_BTCHW.flatten(0, 1))
        losses = reconstruction_losses(output_NCHW, frames_NCHW, options, lpips)
        optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(trained, options.max_grad_norm)
        optimizer.step()
        ema.update(vae)
        log_numbers(
            output,
            step=step,
            seconds=time.monotonic() - began,
            **{k: v.item() for k, v in losses.items()},
        )
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            save_state(output, step + 1, held)
            _log.info("step %d: loss %.4f", step + 1, losses["loss"].item())
    vae.load_state_dict(ema.shadow)
    vae.eval().requires_grad_(False)
    vae.save_pretrained(output / "vae", safe_serialization=True)
    return vae


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Run directory; resumes if it exists.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="What `export` wrote: UNet, VAE and text tower.",
)
@click.option(
    "--lpips-weights",
    type=click.Path(path_type=Path, exists=True),
    help="AlexNet safetensors file.",
)
@click.option("--steps", default=1500, show_default=True)
@click.option("--batch-size", default=1, show_default=True, help="Clips in a step.")
@click.option("--peak-rate", default=4e-4, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    output: Path,
    checkpoint: Path,
    lpips_weights: Path | None,
    steps: int,
    batch_size: int,
    peak_rate: float,
    seed: int,
) -> None:
    """Trains the decoder of a checkpoint on the estimates of its UNet."""
    logging.basicConfig(level=logging.INFO)
    unet = ConsistI2VUNet.from_config(read_config(checkpoint / "unet"))
    load_strictly(unet, read_weights(checkpoint / "unet"), where=checkpoint / "unet")
    train(
        output,
        unet.float().eval().requires_grad_(False),
        load_parts(checkpoint / "vae", checkpoint),
        VaeTraining(steps=steps, batch_size=batch_size, peak_rate=peak_rate, seed=seed),
        lpips=Lpips(lpips_weights) if lpips_weights else None,
    )


if __name__ == "__main__":
    main()
