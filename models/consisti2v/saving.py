"""A checkpoint folder written: the Diffusers layout, safetensors, whole or in parts."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from huggingface_hub import save_torch_state_dict
from torch import Tensor, nn

from i2vbench.errors import UserError

from .unet import ConsistI2VUNet

# Class names of the published checkpoint: what reads that one reads this one.
_UNET_CLASS: Final = "VideoLDMUNet3DConditionModel"
_DIFFUSERS_VERSION: Final = "0.21.2"
MODEL_INDEX: Final[dict[str, Any]] = {
    "_class_name": "ConditionalAnimationPipeline",
    "_diffusers_version": _DIFFUSERS_VERSION,
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["consisti2v.models.videoldm_unet", _UNET_CLASS],
    "vae": ["diffusers", "AutoencoderKL"],
}
# Where the parts were loaded from, which is nobody else's business.
_LOCAL_KEYS: Final = ("_name_or_path", "name_or_path", "is_local", "local_files_only")


def save_checkpoint(
    folder: Path,
    *,
    unet: ConsistI2VUNet,
    vae: Any,  # noqa: ANN401
    text_encoder: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    scheduler: Any,  # noqa: ANN401
    max_shard_bytes: int | None = None,
) -> None:
    """Writes a checkpoint that loads again bit for bit; it appears whole or not at all.

    Args:
        folder: to make; it may exist if it is empty.
        unet: stored in the dtype that it has, as the others.
        vae: ``AutoencoderKL``.
        text_encoder: ``CLIPTextModel``.
        tokenizer: ``CLIPTokenizer``.
        scheduler: ``DDIMScheduler``, or another of Diffusers.
        max_shard_bytes: networks with more are split into files of at most so much (a larger
            tensor gets a file of its own), with an index; None for one file each.

    Raises:
        UserError: a folder that holds something, or a size that is not positive.
    """
    if max_shard_bytes is not None and max_shard_bytes < 1:
        raise UserError(f"max_shard_bytes={max_shard_bytes}; accepted: a positive number of bytes")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not an empty folder; give a new one to save to")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        new = Path(temporary) / folder.name
        networks = (
            ("unet", "diffusion_pytorch_model", unet.state_dict()),
            ("vae", "diffusion_pytorch_model", vae.state_dict()),
            ("text_encoder", "model", _with_old_prefix(text_encoder)),
        )
        for part, stem, state in networks:
            (new / part).mkdir(parents=True)
            save_torch_state_dict(
                state,
                new / part,
                filename_pattern=f"{stem}{{suffix}}.safetensors",
                max_shard_size=max_shard_bytes or sys.maxsize,
            )
        names = {"_class_name": _UNET_CLASS, "_diffusers_version": _DIFFUSERS_VERSION}
        _write_json(new / "unet" / "config.json", {**names, **asdict(unet.config)})
        vae.save_config(new / "vae")
        text_encoder.config.save_pretrained(new / "text_encoder")
        scheduler.save_pretrained(new / "scheduler")
        tokenizer.save_pretrained(new / "tokenizer")
        _add_old_tokenizer_files(new / "tokenizer")
        schedule = {"scheduler": ["diffusers", type(scheduler).__name__]}
        _write_json(new / "model_index.json", {**MODEL_INDEX, **schedule})
        _drop_local_keys(new)
        for path in new.rglob("*.safetensors"):
            # The library writes for the owner alone; a checkpoint is for whom its folder is.
            path.chmod(0o644)
        new.replace(folder)


def _with_old_prefix(text_encoder: nn.Module) -> dict[str, Tensor]:
    """With the prefix of the published files, which releases of transformers from 5 on drop."""
    prefix = "text_model."
    state = text_encoder.state_dict()
    return {prefix + key.removeprefix(prefix): tensor for key, tensor in state.items()}


def _add_old_tokenizer_files(folder: Path) -> None:
    """``vocab.json`` and ``merges.txt``, which releases of transformers from 5 on do not write."""
    if (folder / "vocab.json").is_file():
        return
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    vocabulary = json.dumps(model["vocab"], ensure_ascii=False)
    (folder / "vocab.json").write_text(vocabulary, encoding="utf-8")
    # Pairs are strings or lists, by the release of tokenizers.
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    lines = ["#version: 0.2", *pairs]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _drop_local_keys(folder: Path) -> None:
    for path in folder.glob("*/*config.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in values.items() if key not in _LOCAL_KEYS}
        if kept != values:
            _write_json(path, kept)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
