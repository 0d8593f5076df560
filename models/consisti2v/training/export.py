"""Writes trained parts as one checkpoint folder in the published layout, fp16 safetensors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

from i2vbench.models.consisti2v.saving import MODEL_INDEX
from i2vbench.models.consisti2v.training.diffusion import BETAS, NUM_TIMESTEPS, SCHEDULER_FILE

SCHEDULER_CONFIG: dict[str, Any] = {
    "_class_name": "DDIMScheduler",
    "_diffusers_version": "0.21.2",
    "beta_start": BETAS[0],
    "beta_end": BETAS[1],
    "beta_schedule": "linear",
    "num_train_timesteps": NUM_TIMESTEPS,
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}

_SILENT_LOG_VARIANCE = -30.0
"""The least that diffusers lets through."""


def export_checkpoint(unet_run: Path, vae: Path, text: Path, output: Path) -> None:
    """Writes `model_index.json` and the five parts into `output`; other files there stay.

    Args:
        unet_run: Output of the UNet training; its averaged weights are taken.
        vae: Diffusers folder of the autoencoder.
        text: Output of the CLIP training.
        output: Checkpoint folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    _write_json(
        output / "model_index.json",
        {**MODEL_INDEX, "scheduler": ["diffusers", "DDIMScheduler"]},
    )
    trained = json.loads((unet_run / SCHEDULER_FILE).read_text(encoding="utf-8"))
    schedule = {**SCHEDULER_CONFIG, **trained}
    _write_json(output / "scheduler" / "scheduler_config.json", schedule)
    config = json.loads((unet_run / "config.json").read_text(encoding="utf-8"))
    # The name of the network that the published configuration carries.
    config = {
        "_class_name": "VideoLDMUNet3DConditionModel",
        "_diffusers_version": "0.21.2",
        **config,
    }
    _write_json(output / "unet" / "config.json", config)
    state = torch.load(unet_run / "state.pt", map_location="cpu", weights_only=True)["ema"][
        "shadow"
    ]
    save_file(
        {name: tensor.half().contiguous() for name, tensor in state.items()},
        output / "unet" / "diffusion_pytorch_model.safetensors",
        metadata={"format": "pt"},
    )
    autoencoder = AutoencoderKL.from_pretrained(vae)
    _silence_posterior(autoencoder)
    autoencoder.half().save_pretrained(output / "vae", safe_serialization=True)
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(text / part, output / part, dirs_exist_ok=True)
    _drop_local_paths(output)
    # Safetensors files are written for their owner alone; a package is for everybody.
    for path in output.rglob("*"):
        if path.is_file():
            path.chmod(0o644)


@torch.no_grad()
def _silence_posterior(vae: AutoencoderKL) -> None:
    """Makes samples of the posterior, which a pipeline draws, the means that the UNet knows."""
    channels = vae.config.latent_channels
    vae.quant_conv.weight[channels:] = 0.0
    vae.quant_conv.bias[channels:] = _SILENT_LOG_VARIANCE


def _drop_local_paths(output: Path) -> None:
    """Removes the folder that `from_pretrained` notes in the configurations it writes again."""
    for path in output.rglob("config.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("_name_or_path", None) is not None:
            _write_json(path, values)


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


@click.command()
@click.option(
    "--unet",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Run of the UNet training.",
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
    help="Run of the CLIP training.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Checkpoint folder to write."
)
def main(unet: Path, vae: Path, text: Path, output: Path) -> None:
    """Writes the checkpoint folder."""
    export_checkpoint(unet, vae, text, output)


if __name__ == "__main__":
    main()
