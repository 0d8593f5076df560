"""Checkpoint folders: found or downloaded, with the files of weights that are read of each.

The layout is that of Diffusers: ``unet/ vae/ text_encoder/ tokenizer/ scheduler/``, each with its
configuration and, for the networks, safetensors files.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from torch import Tensor

from i2vbench.errors import MissingWeightsError, UserError
from i2vbench.files import file_sha256
from i2vbench.weight_loading import UnreadableWeightsError, read_file, tensors_of

from .stored import StoredWeights, first_line

PUBLISHED_ID: Final = "TIGER-Lab/ConsistI2V"
_NETWORKS: Final = ("unet", "vae", "text_encoder")
_PARTS: Final = (*_NETWORKS, "tokenizer", "scheduler")
_DIFFUSERS_STEMS: Final = ("diffusion_pytorch_model", "model", "pytorch_model")
_TRANSFORMERS_STEMS: Final = ("model", "pytorch_model", "diffusion_pytorch_model")
# The first that is there is read: full precision before half, one file before its parts.
_SAFETENSORS: Final = (
    ".safetensors",
    ".safetensors.index.json",
    ".fp16.safetensors",
    ".safetensors.index.fp16.json",
    ".fp16.safetensors.index.json",
)
_PICKLES: Final = (".bin", ".bin.index.json", ".fp16.bin")
_CONFIG_PATTERNS: Final = ["*.json", "*/*.json", "*/*.txt"]


def checkpoint_folder(
    checkpoint: str,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    without_weights: bool = False,
    allow_pickle: bool = False,
) -> Path:
    """The folder of a checkpoint: itself, or the snapshot of a Hugging Face repository.

    Of a repository's weights only the files that are read are downloaded, not their variants.

    Args:
        checkpoint: folder or repository id.
        revision: of the repository; None for its main branch.
        local_files_only: never download.
        without_weights: download configurations and tokenizer alone.
        allow_pickle: take ``.bin`` files where the repository has no safetensors.

    Raises:
        UserError: neither a folder nor a repository id, a folder with a revision, or a repository
            without weights that may be read.
        MissingWeightsError: a repository that is neither cached nor reachable.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UserError(
                f"revision={revision!r} with the folder {checkpoint!r}; accepted with a Hugging "
                "Face id alone: leave it out"
            )
        return folder
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", checkpoint) or checkpoint.startswith("."):
        raise UserError(
            f"checkpoint {checkpoint!r} is no folder; give a folder with unet/, vae/, "
            f"text_encoder/, tokenizer/ and scheduler/, or a Hugging Face id such as {PUBLISHED_ID}"
        )
    try:
        folder = _snapshot(checkpoint, revision, local_files_only=local_files_only)
        if not without_weights:
            for network in _NETWORKS:
                _fetch_weights(
                    checkpoint,
                    folder / network,
                    local_files_only=local_files_only,
                    allow_pickle=allow_pickle,
                )
    except HFValidationError as error:
        raise UserError(f"checkpoint {checkpoint!r} is no Hugging Face id: {error}") from error
    except OSError as error:
        at = f" at revision {revision!r}" if revision else ""
        raise MissingWeightsError(
            f"checkpoint {checkpoint!r}{at} is neither a folder nor complete in the Hugging Face "
            f"cache, and cannot be downloaded ({first_line(error)}); give a folder or "
            "checkpoint=tiny, or go online once"
        ) from error
    return folder


def _snapshot(repository: str, revision: str | None, *, local_files_only: bool) -> Path:
    """The folder of one commit, with its configurations and tokenizer."""
    return Path(
        snapshot_download(
            repository,
            revision=revision,
            local_files_only=local_files_only,
            allow_patterns=_CONFIG_PATTERNS,
        )
    )


def _fetch_weights(
    repository: str, folder: Path, *, local_files_only: bool, allow_pickle: bool
) -> None:
    """Downloads what :func:`weight_files` would read, if the repository had been cloned."""
    commit = folder.parent.name

    def fetch(name: str) -> bool:
        if (folder / name).is_file():
            return True
        try:
            hf_hub_download(
                repository,
                f"{folder.name}/{name}",
                revision=commit,
                local_files_only=local_files_only,
            )
        except LocalEntryNotFoundError:
            # A subclass of the next: the Hub was not asked, so the file may exist there.
            raise
        except EntryNotFoundError:
            return False
        return True

    try:
        weight_files(folder, allow_pickle=allow_pickle, has=fetch)
    except LocalEntryNotFoundError:
        # Without a network, a variant that somebody else downloaded is what there is.
        if not _is_complete(folder, allow_pickle=allow_pickle):
            raise


def read_config(folder: Path) -> dict[str, Any]:
    """The content of ``folder/config.json`` (``scheduler_config.json`` in a scheduler's folder).

    Raises:
        UserError: no such file, or not a JSON object.
    """
    name = "scheduler_config.json" if folder.name == "scheduler" else "config.json"
    path = folder / name
    if not path.is_file():
        raise UserError(f"{path} does not exist; a checkpoint has {folder.name}/{name}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {type(values).__name__}; accepted: an object")
    return values


def weight_files(
    folder: Path,
    *,
    allow_pickle: bool = False,
    has: Callable[[str], bool] | None = None,
) -> list[Path]:
    """The files of one network that are read: one, or the parts that its index names.

    Args:
        folder: of the network.
        allow_pickle: accept ``.bin`` files where no safetensors are.
        has: whether a file of that name is in the folder; it may put it there.

    Raises:
        UserError: none is there, a part is missing, or an index that is not one.
    """
    has = has or (lambda name: (folder / name).is_file())
    stems = _TRANSFORMERS_STEMS if folder.name == "text_encoder" else _DIFFUSERS_STEMS
    for ending in _SAFETENSORS + (_PICKLES if allow_pickle else ()):
        for name in (f"{stem}{ending}" for stem in stems):
            if not has(name):
                continue
            if not name.endswith(".json"):
                return [folder / name]
            parts = _parts(folder / name)
            for part in parts:
                if not has(part):
                    raise UserError(
                        f"{folder / part} does not exist, but {name} names it; "
                        "copy or download it again"
                    )
            return [folder / part for part in parts]
    pickles = "" if allow_pickle else "; .bin files only with allow_pickle"
    raise UserError(
        f"{folder} has no weights; accepted: {stems[0]}.safetensors, its parts with "
        f"{stems[0]}.safetensors.index.json, or {stems[0]}.fp16.safetensors{pickles}"
    )


def _parts(index: Path) -> list[str]:
    kind = "bin" if ".bin." in index.name else "safetensors"
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(
            f"{index} cannot be read ({type(error).__name__}: {first_line(error)}); accepted: an "
            "object whose weight_map gives each key its file"
        ) from error
    for name in names:
        # An index is a stranger's: it must not reach out of its folder.
        if not isinstance(name, str) or not re.fullmatch(rf"[\w-][\w.-]*\.{kind}", name):
            raise UserError(
                f"{index} names the file {name!r}; accepted: the plain name of a .{kind} file in "
                "the same folder"
            )
    return names


def _is_complete(folder: Path, *, allow_pickle: bool = False) -> bool:
    try:
        weight_files(folder, allow_pickle=allow_pickle)
    except UserError:
        return False
    return True


def read_weights(
    folder: Path, *, dtype: torch.dtype | None = None, allow_pickle: bool = False
) -> Mapping[str, Tensor]:
    """All tensors of one network.

    Args:
        folder: of the network.
        dtype: of the floating-point tensors of safetensors files; None for that of the file.
        allow_pickle: read ``.bin`` files where no safetensors are, by the restricted loader
            of torch that builds tensors only; they are in memory at once.

    Raises:
        UserError: missing, truncated or foreign files.
    """
    files = weight_files(folder, allow_pickle=allow_pickle)
    if files[0].suffix == ".safetensors":
        return StoredWeights(files, dtype)
    state: dict[str, Tensor] = {}
    for path in files:
        try:
            state |= tensors_of(read_file(path))
        except UnreadableWeightsError as error:
            raise UserError(
                f"{path} cannot be read: {error}; accepted: a dictionary of tensors"
            ) from error
    return state


def is_cached(repository: str, revision: str | None = None) -> bool:
    """Whether the Hugging Face cache has configurations and weights of ``repository``."""
    try:
        folder = _snapshot(repository, revision, local_files_only=True)
    except OSError:
        return False
    return all(_is_complete(folder / network) for network in _NETWORKS)


def weights_identity(folder: Path) -> str:
    """The commit of a Hugging Face snapshot, or the sha256 over the files of a plain folder.

    The hash covers name and content of all that makes a number: networks, tokenizer, schedule.
    """
    if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name):
        return folder.name
    digest = hashlib.sha256()
    files = [path for part in _PARTS for path in (folder / part).glob("*")]
    for path in sorted(files):
        if path.suffix in (".safetensors", ".bin", ".json", ".txt"):
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def stored_parameters(folder: Path) -> int | None:
    """Of UNet, VAE and text encoder, by the headers of their files; None where one has no weights.

    Building the networks to count them would cost seconds of imports at every start.

    Raises:
        UserError: a damaged file.
    """
    if not all(_is_complete(folder / network) for network in _NETWORKS):
        return None
    stored = [StoredWeights(weight_files(folder / network)) for network in _NETWORKS]
    return sum(math.prod(shape) for weights in stored for shape in weights.shapes.values())
