"""The parts of a checkpoint folder: UNet, VAE, text encoder, tokenizer, schedule."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from i2vbench.errors import UserError

from .checkpoint import read_config, read_weights
from .stored import RenamedWeights, load_strictly
from .unet import ConsistI2VUNet

# The published inference and training configurations; they fill what a stored configuration lacks.
PUBLISHED_VIDEO: Final[Mapping[str, Any]] = {
    "use_temporal": True,
    "n_frames": 16,
    "n_temp_heads": 8,
    "first_frame_condition_mode": "concat",
    "augment_temporal_attention": True,
    "temp_pos_embedding": "rotary",
    "use_frame_stride_condition": True,
}
# Linear betas, unlike Stable Diffusion's own configuration (T8).
PUBLISHED_SCHEDULE: Final[Mapping[str, Any]] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "set_alpha_to_one": True,
    "timestep_spacing": "leading",
    "prediction_type": "epsilon",
}
_TEMPORAL: Final = ("conv3ds.", "tempo_attns.", "frame_stride_embedding.")
_DEAD: Final = (".conv3ds.", ".time_emb_proj."), (".rotary_bias.",), (".pos_enc.dummy",)
# Names of the VAE's attention before diffusers 0.18.
_OLD_VAE_NAMES: Final = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


def is_dead(key: str) -> bool:
    """Whether a UNet key exists in files only: its value never reaches the output (T2)."""
    return any(all(part in key for part in parts) for parts in _DEAD)


def count_parameters(folder: Path) -> int:
    """Of UNet, VAE and text encoder, by the configurations of a checkpoint; no weights are read.

    Raises:
        UserError: a configuration is missing or does not fit.
    """
    with torch.device("meta"):
        networks = (
            ConsistI2VUNet.from_config({**PUBLISHED_VIDEO, **read_config(folder / "unet")}),
            _build_vae(folder / "vae"),
            _build_text_encoder(folder / "text_encoder"),
        )
    return sum(p.numel() for network in networks for p in network.parameters())


def _build_vae(folder: Path) -> Any:  # noqa: ANN401
    build: Any = AutoencoderKL.from_config
    return build(read_config(folder))


def _build_text_encoder(folder: Path) -> Any:  # noqa: ANN401
    return CLIPTextModel(CLIPTextConfig.from_dict(read_config(folder)))


def load_unet(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    overrides: Mapping[str, Any] | None = None,
    from_image_model: bool = False,
    allow_pickle: bool = False,
) -> ConsistI2VUNet:
    """The UNet of ``folder`` (a ``unet/`` folder), in eval mode on the CPU.

    Args:
        folder: with ``config.json`` and weights.
        dtype: of the weights in memory.
        overrides: values that replace those of ``config.json``.
        from_image_model: accept a Stable Diffusion 2.1 UNet; temporal layers keep their initial
            values, as training starts.
        allow_pickle: see :func:`.checkpoint.read_weights`.

    Raises:
        UserError: a configuration or weights that do not fit.
    """
    config = {**PUBLISHED_VIDEO, **read_config(folder), **(overrides or {})}
    weights = read_weights(folder, dtype=dtype, allow_pickle=allow_pickle)

    def may_lack(key: str) -> bool:
        temporal = any(part in key for part in _TEMPORAL)
        return is_dead(key) or (from_image_model and temporal)

    # Initial values cost seconds at full size, and matter only where the file lacks them.
    with torch.device("cpu" if from_image_model else "meta"):
        unet = ConsistI2VUNet.from_config(config)
    load_strictly(unet, weights, where=folder, dtype=dtype, may_lack=may_lack, may_have=is_dead)
    return unet.eval()


def load_vae(
    folder: Path, *, dtype: torch.dtype = torch.float32, allow_pickle: bool = False
) -> Any:  # noqa: ANN401
    """The VAE of ``folder``, in eval mode; in float16, Stable Diffusion's overflows.

    Raises:
        UserError: a configuration or weights that do not fit.
    """
    vae = _build_vae(folder)
    maps = {key for key, tensor in vae.state_dict().items() if tensor.ndim == 2}

    def adapt(key: str, tensor: Tensor) -> Tensor:
        # Older still: the same maps as 1x1 convolutions.
        return tensor[:, :, 0, 0] if key in maps and tensor.ndim == 4 else tensor

    stored = read_weights(folder, dtype=dtype, allow_pickle=allow_pickle)
    load_strictly(vae, RenamedWeights(stored, _new_vae_name, adapt), where=folder, dtype=dtype)
    return vae.eval()


def _new_vae_name(key: str) -> str:
    if ".attentions." in key:
        for old, new in _OLD_VAE_NAMES.items():
            key = key.replace(old, new)
    return key


def load_text_encoder(
    folder: Path, *, dtype: torch.dtype = torch.float32, allow_pickle: bool = False
) -> Any:  # noqa: ANN401
    """The CLIP text encoder of ``folder``, in eval mode.

    Raises:
        UserError: a configuration or weights that do not fit.
    """
    encoder = _build_text_encoder(folder)
    stored = read_weights(folder, dtype=dtype, allow_pickle=allow_pickle)
    weights = _with_prefix(stored, encoder.state_dict())

    def may_have(key: str) -> bool:
        return key.endswith("embeddings.position_ids")

    load_strictly(encoder, weights, where=folder, dtype=dtype, may_have=may_have)
    return encoder.eval()


def _with_prefix(weights: Mapping[str, Tensor], own: Iterable[str]) -> Mapping[str, Tensor]:
    """Under the prefix of ``own``: releases of transformers differ in ``text_model.``."""
    prefix = "text_model."
    stored = any(key.startswith(prefix) for key in weights)
    wanted = any(key.startswith(prefix) for key in own)
    if stored and not wanted:
        return RenamedWeights(weights, lambda key: key.removeprefix(prefix))
    if wanted and not stored:
        return RenamedWeights(weights, lambda key: prefix + key)
    return weights


def load_tokenizer(folder: Path) -> Any:  # noqa: ANN401
    """The CLIP tokenizer of ``folder``.

    Raises:
        UserError: the vocabulary is not there.
    """
    # Of transformers from 5 on: one file in place of the two.
    has_new_file = (folder / "tokenizer.json").is_file()
    for name in ("vocab.json", "merges.txt"):
        if not has_new_file and not (folder / name).is_file():
            raise UserError(f"{folder / name} does not exist; a checkpoint has tokenizer/{name}")
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def load_scheduler(folder: Path) -> Any:  # noqa: ANN401
    """DDIM with the schedule of ``folder``; the published one where there is no such folder.

    Two values are forced, as the original's pipeline does: an offset of one step, and no clipping.

    Raises:
        UserError: ``scheduler_config.json`` is missing or not JSON.
    """
    stored = read_config(folder) if folder.is_dir() else {}
    accepted = inspect.signature(DDIMScheduler.__init__).parameters
    # A folder may hold another scheduler's configuration, with keys that DDIM has not.
    values = {key: value for key, value in stored.items() if key in accepted}
    forced = {"steps_offset": 1, "clip_sample": False}
    build: Any = DDIMScheduler
    return build(**{**PUBLISHED_SCHEDULE, **values, **forced})
