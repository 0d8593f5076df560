"""Trains the tiny autoencoder: 64x64 RGB frames to 16x16 latents of 8 channels and back.

Shapes: B frames, C channels, H, W pixels, D latent channels.

Loss: L1 + `lpips_weight` * LPIPS + `kl_weight` * KL, as in latent diffusion without the adversary;
on request also what makes latents easier for a video network (`equivariance.py`).
The LPIPS term needs AlexNet weights (a safetensors file of torchvision's `features.*` names);
without them it is left out.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from torch import nn

from i2vbench.device import has_arithmetic
from i2vbench.models.consisti2v.training.data import (
    SceneFrames,
    find_pictures,
    stream,
    to_unit_range,
)
from i2vbench.models.consisti2v.training.equivariance import (
    FINER,
    coarse,
    moved,
    random_moves,
    small_noise,
)
from i2vbench.models.consisti2v.training.progress import (
    Ema,
    learning_rate,
    load_state,
    log_numbers,
    save_state,
    set_learning_rate,
    step_generator,
)

_log = logging.getLogger(__name__)

VAE_CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 8,
    "sample_size": 64,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [16, 48, 96],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "act_fn": "silu",
    "mid_block_add_attention": False,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class VaeTraining:
    """Options of the autoencoder's training."""

    steps: int = 4000
    batch_size: int = 12
    size_px: int = 64
    peak_rate: float = 8e-4
    warmup_steps: int = 100
    lpips_weight: float = 0.3
    mse_weight: float = 4.0
    kl_weight: float = 1e-6
    max_grad_norm: float = 1.0
    ema_decay: float = 0.998
    seed: int = 0
    num_workers: int = 1
    save_every: int = 250
    bf16: bool = field(default_factory=lambda: has_arithmetic("bf16"))
    decoder_only: bool = False
    """Second stage: the encoder stays, so that a UNet can be trained on its latents meanwhile."""
    moved_weight: float = 0.0
    """Weight of what moved pictures' latents differ from moved latents, which half are decoded."""
    latent_noise: float = 0.0
    """Largest deviation of the noise that is decoded with the latents, in deviations of these."""

    def __post_init__(self) -> None:
        if self.decoder_only and self.moved_weight:
            raise ValueError("moved_weight trains the encoder, which decoder_only leaves")


class Lpips(nn.Module):
    """LPIPS on AlexNet, frozen; the linear heads are those of the `lpips` package."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        import lpips

        self.net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        tensors = load_file(weights)
        backbone = self.net.net.state_dict()
        # lpips splits torchvision's `features` into slices but keeps the layer numbers.
        renamed = {name: tensors["features." + name.split(".", 1)[1]] for name in backbone}
        self.net.net.load_state_dict(renamed)
        self.requires_grad_(False).eval()

    def forward(self, first_BCHW: torch.Tensor, second_BCHW: torch.Tensor) -> torch.Tensor:
        """Returns the mean distance of frames in [-1, 1]."""
        return self.net(first_BCHW, second_BCHW).mean()  # type: ignore[no-any-return]


def train(
    output: Path,
    options: VaeTraining,
    *,
    config: dict[str, Any] | None = None,
    pictures: list[Path] | None = None,
    lpips: nn.Module | None = None,
    initial: Path | None = None,
) -> AutoencoderKL:
    """Trains or resumes in `output` and returns the averaged autoencoder.

    Args:
        output: Holds `state.pt`, `log.jsonl` and, at the end, the Diffusers folder `vae/`.
        options: Steps, rates and weights.
        config: AutoencoderKL configuration; the tiny one if None.
        pictures: Photographs whose crops make a fifth of each batch.
        lpips: Callable distance of two batches in [-1, 1].
        initial: Diffusers folder to go on from.
    """
    torch.manual_seed(options.seed)
    vae = _create(config or VAE_CONFIG, initial)
    if options.decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    trained = [parameter for parameter in vae.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=options.peak_rate, betas=(0.9, 0.99), weight_decay=1e-4
    )
    ema = Ema(vae, options.ema_decay)
    parts = {"model": vae, "optimizer": optimizer, "ema": ema}
    start = load_state(output, parts)
    finer = FINER if options.moved_weight else 1
    dataset = SceneFrames(options.batch_size, options.size_px * finer, pictures or ())
    began = time.monotonic()
    for step, batch in zip(
        range(start, options.steps),
        stream(dataset, start, options.steps, options.num_workers),
        strict=True,
    ):
        set_learning_rate(
            optimizer, learning_rate(step, options.steps, options.peak_rate, options.warmup_steps)
        )
        frames_BCHW = to_unit_range(batch)
        losses = _losses(vae, frames_BCHW, options, lpips, step_generator(options.seed, step))
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
            save_state(output, step + 1, parts)
            _log.info("step %d: loss %.4f", step + 1, losses["loss"].item())
    vae.load_state_dict(ema.shadow)
    vae.eval()
    if not options.decoder_only:
        _set_scaling_factor(vae, options)
    vae.save_pretrained(output / "vae", safe_serialization=True)
    return vae


def _create(config: dict[str, Any], initial: Path | None) -> AutoencoderKL:
    if initial is not None:
        return AutoencoderKL.from_pretrained(initial).train()
    vae = AutoencoderKL(**config)
    with torch.no_grad():
        # Posteriors start narrow; at unit width the latents are mostly noise and the first thousand
        # steps are lost.
        vae.quant_conv.bias[vae.config.latent_channels :] = -5.0
    return vae


def _losses(
    vae: AutoencoderKL,
    frames_BCHW: torch.Tensor,
    options: VaeTraining,
    lpips: nn.Module | None,
    generator: torch.Generator,
) -> dict[str, torch.Tensor]:
    """Returns the loss of a batch and, for the log, its parts.

    With a `moved_weight` the frames are drawn :data:`FINER` times as large.
    """
    shown = _shown_moved if options.moved_weight else _shown
    latents_BDHW, expected_BCHW, added, logged = shown(vae, frames_BCHW, options, generator)
    latents_BDHW = latents_BDHW + small_noise(latents_BDHW, options.latent_noise, generator)
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
        output_BCHW = vae.decode(latents_BDHW).sample
    losses = reconstruction_losses(output_BCHW, expected_BCHW, options, lpips)
    losses["loss"] = losses["loss"] + added
    return {**losses, **logged}


_Shown = tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]
"""Latents, the frames that they should be decoded to, what is added to the loss, and the log's."""


def _shown(
    vae: AutoencoderKL, frames_BCHW: torch.Tensor, options: VaeTraining, generator: torch.Generator
) -> _Shown:
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
        posterior = vae.encode(frames_BCHW).latent_dist
        latents_BDHW = posterior.mean + posterior.std * torch.randn(
            posterior.mean.shape, generator=generator
        )
    kl = posterior.kl().float().mean()
    return latents_BDHW, frames_BCHW, options.kl_weight * kl, {"kl": kl.detach()}


def _shown_moved(
    vae: AutoencoderKL, finer_BCHW: torch.Tensor, options: VaeTraining, generator: torch.Generator
) -> _Shown:
    """Half of the frames and of their latents, which are means here, are moved."""
    frames_BCHW, half = coarse(finer_BCHW), len(finer_BCHW) // 2
    moves_N23 = random_moves(half, generator)
    moved_NCHW = coarse(moved(finer_BCHW[:half], moves_N23))
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
        means = vae.encode(torch.cat([frames_BCHW, moved_NCHW])).latent_dist.mean
    latents_BDHW, of_moved_NDHW = means.float().split([len(frames_BCHW), half])
    moved_NDHW = moved(latents_BDHW[:half], moves_N23)
    apart = (of_moved_NDHW - moved_NDHW).square().mean() / latents_BDHW.detach().var()
    return (
        torch.cat([moved_NDHW, latents_BDHW[half:]]),
        torch.cat([moved_NCHW, frames_BCHW[half:]]),
        options.moved_weight * apart,
        {"apart": apart.detach()},
    )


def reconstruction_losses(
    output_BCHW: torch.Tensor,
    frames_BCHW: torch.Tensor,
    options: VaeTraining,
    lpips: nn.Module | None,
) -> dict[str, torch.Tensor]:
    """Returns the loss of decoded frames and, for the log, its parts and the PSNR in dB."""
    perceptual = torch.zeros(())
    if lpips is not None:
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            perceptual = lpips(output_BCHW, frames_BCHW).float()
    difference = output_BCHW.float() - frames_BCHW
    l1, mse = difference.abs().mean(), difference.square().mean()
    loss = l1 + options.mse_weight * mse + options.lpips_weight * perceptual
    # PSNR of frames in [0, 1], whose squared error is a quarter of that in [-1, 1].
    psnr = -10.0 * torch.log10(mse.detach() / 4.0)
    return {"loss": loss, "l1": l1.detach(), "lpips": perceptual.detach(), "psnr": psnr}


@torch.no_grad()
def _set_scaling_factor(vae: AutoencoderKL, options: VaeTraining) -> None:
    """Stores the factor that gives latents unit standard deviation, measured on scenes alone."""
    dataset = SceneFrames(64, options.size_px)
    latents = torch.cat(
        [
            vae.encode(to_unit_range(dataset[options.steps + index])).latent_dist.mean
            for index in range(4)
        ]
    )
    vae.register_to_config(scaling_factor=round(1.0 / latents.std().item(), 5))


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Run directory; resumes if it exists.",
)
@click.option("--steps", default=4000, show_default=True)
@click.option("--batch-size", default=12, show_default=True)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, exists=True),
    help="Folder of photographs to crop from.",
)
@click.option(
    "--lpips-weights",
    type=click.Path(path_type=Path, exists=True),
    help="AlexNet safetensors file.",
)
@click.option(
    "--initial",
    type=click.Path(path_type=Path, exists=True),
    help="Diffusers folder of a VAE to go on from.",
)
@click.option("--decoder-only", is_flag=True, help="The encoder of --initial stays as it is.")
@click.option(
    "--moved-weight",
    default=0.0,
    show_default=True,
    help="Weight of latents that do not move as their picture does.",
)
@click.option(
    "--latent-noise",
    default=0.0,
    show_default=True,
    help="Largest noise on what is decoded, in deviations of the latents.",
)
@click.option("--peak-rate", default=8e-4, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    output: Path,
    steps: int,
    batch_size: int,
    pictures: Path | None,
    lpips_weights: Path | None,
    initial: Path | None,
    decoder_only: bool,
    moved_weight: float,
    latent_noise: float,
    peak_rate: float,
    seed: int,
) -> None:
    """Trains the tiny autoencoder on procedural scenes."""
    logging.basicConfig(level=logging.INFO)
    if decoder_only and initial is None:
        raise click.UsageError("--decoder-only needs the encoder of a VAE; give --initial FOLDER")
    lpips = Lpips(lpips_weights) if lpips_weights else None
    options = VaeTraining(
        steps=steps,
        batch_size=batch_size,
        peak_rate=peak_rate,
        seed=seed,
        decoder_only=decoder_only,
        moved_weight=moved_weight,
        latent_noise=latent_noise,
    )
    train(output, options, pictures=find_pictures(pictures), lpips=lpips, initial=initial)


if __name__ == "__main__":
    main()
