"""The networks as a training starts: what is loaded, what of it learns, what is recomputed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import DDIMScheduler
from torch.utils.checkpoint import checkpoint

from i2vbench.errors import UserError
from i2vbench.models.consisti2v.blocks import Block
from i2vbench.models.consisti2v.networks import PUBLISHED_SCHEDULE, is_dead, load_unet
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

from .diffusion import BETAS, NUM_TIMESTEPS, sampling_values
from .recipe import Recipe

TEMPORAL: Final = ("conv3ds.", "tempo_attns.", "frame_stride_embedding.")
"""Parts of the names of what an image model lacks."""


def starting_unet(folder: Path, recipe: Recipe) -> ConsistI2VUNet:
    """The float32 UNet of a `unet/` folder in train mode, its trainable parameters chosen.

    Layers that the folder lacks, as one of Stable Diffusion 2.1 lacks all across frames, start from
    the recipe's seed.

    Raises:
        UserError: a folder that does not fit, or a pattern of the recipe that fits no parameter.
    """
    overrides = {
        "n_frames": recipe.num_frames,
        "first_frame_condition_mode": recipe.first_frame_condition_mode,
        "augment_temporal_attention": recipe.augment_temporal_attention,
        "n_temp_heads": recipe.n_temp_heads,
        "temp_pos_embedding": recipe.temp_pos_embedding,
        "use_frame_stride_condition": True,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        unet = load_unet(folder, overrides=overrides, from_image_model=True)
    choose_trainable(unet, recipe.trainable)
    if recipe.gradient_checkpointing:
        recompute_layers(unet)
    return unet.train()


def choose_trainable(unet: ConsistI2VUNet, trainable: str) -> None:
    """Lets the named parameters learn and no others; those without effect never do.

    Args:
        unet: its parameters' `requires_grad` is set.
        trainable: "all", "temporal", or parts of names, separated by commas.

    Raises:
        UserError: a part that no name has.
    """
    parts = tuple(part.strip() for part in trainable.split(",") if part.strip())
    if trainable == "temporal":
        parts = TEMPORAL
    live = [name for name, _ in unet.named_parameters() if not is_dead(name)]
    if trainable != "all":
        lost = [part for part in parts if not any(part in name for name in live)]
        if lost or not parts:
            raise UserError(
                f"trainable={trainable!r}: no parameter has {(lost or [''])[0]!r} in its name; "
                "accepted: all, temporal, or parts of names such as 'tempo_attns.,conv3ds.'"
            )
    for name, parameter in unet.named_parameters():
        wanted = trainable == "all" or any(part in name for part in parts)
        parameter.requires_grad_(wanted and not is_dead(name))


def recompute_layers(unet: ConsistI2VUNet) -> None:
    """Keeps the inputs of each layer and computes the rest again in the backward pass.

    All that conditions a layer (text, steps, first frame, number of frames) is an argument of it
    and is passed again, so that the gradients are those without recomputation; the original's
    recomputation drops the first frame.
    """
    for module in unet.modules():
        if isinstance(module, Block):
            # On the instance: a subclass would change what checkpoints and registries see.
            vars(module)["run_layer"] = partial(_recomputed, module.run_layer)


def _recomputed(layer: Callable[..., torch.Tensor], *arguments: Any) -> torch.Tensor:  # noqa: ANN401
    if not torch.is_grad_enabled():
        return layer(*arguments)
    # No layer draws random numbers, so that their state need not be kept.
    out: torch.Tensor = checkpoint(layer, *arguments, use_reentrant=False, preserve_rng_state=False)
    return out


def training_scheduler(recipe: Recipe) -> Any:  # noqa: ANN401
    """The DDIM scheduler that belongs to what the recipe trains, for sampling and for the file."""
    values: dict[str, Any] = {
        **PUBLISHED_SCHEDULE,
        "num_train_timesteps": NUM_TIMESTEPS,
        "beta_start": BETAS[0],
        "beta_end": BETAS[1],
        "steps_offset": 1,
        "clip_sample": False,
        **sampling_values(recipe.prediction, zero_snr=recipe.zero_snr),
    }
    build: Any = DDIMScheduler
    return build(**values)


def build_adamw(unet: ConsistI2VUNet, recipe: Recipe) -> torch.optim.AdamW:
    """The optimizer of all parameters that learn; weight decay acts on alphas and norms too."""
    return torch.optim.AdamW(
        [parameter for parameter in unet.parameters() if parameter.requires_grad],
        lr=recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        weight_decay=recipe.weight_decay,
    )
