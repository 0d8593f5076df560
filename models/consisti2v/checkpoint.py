"""Checkpoint folders: found or downloaded, read without pickles, loaded strictly.

The layout is that of Diffusers: ``unet/ vae/ text_encoder/ tokenizer/ scheduler/``, each with its
configuration and, for the networks, safetensors files.
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from i2vbench.errors import MissingWeightsError, UserError
from i2vbench.files import file_sha256

PUBLISHED_ID: Final = "TIGER-Lab/ConsistI2V"
_NETWORKS: Final = ("unet", "vae", "text_encoder")
_PARTS: Final = (*_NETWORKS, "tokenizer", "scheduler")
_STEMS: Final = ("diffusion_pytorch_model", "model", "pytorch_model")
_ENDINGS: Final = (".safetensors", ".fp16.safetensors", ".safetensors.index.json")
_CONFIG_PATTERNS: Final = ["*.json", "*/*.json", "*/*.txt"]
_WEIGHT_PATTERNS: Final = [f"{network}/*.safetensors" for network in _NETWORKS]


def checkpoint_folder(
    checkpoint: str,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    without_weights: bool = False,
) -> Path:
    """The folder of a checkpoint: itself, or the snapshot of a Hugging Face repository.

    Args:
        checkpoint: folder or repository id.
        revision: of the repository; None for its main branch.
        local_files_only: never download.
        without_weights: download configurations and tokenizer alone.

    Raises:
        UserError: neither a folder nor a repository id.
        MissingWeightsError: a repository that is neither cached nor reachable.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", checkpoint) or checkpoint.startswith("."):
        raise UserError(
            f"checkpoint {checkpoint!r} is no folder; give a folder with unet/, vae/, "
            f"text_encoder/, tokenizer/ and scheduler/, or a Hugging Face id such as {PUBLISHED_ID}"
        )
    try:
        return Path(
            snapshot_download(
                checkpoint,
                revision=revision,
                local_files_only=local_files_only,
                allow_patterns=_CONFIG_PATTERNS + ([] if without_weights else _WEIGHT_PATTERNS),
            )
        )
    except HFValidationError as error:
        raise UserError(f"checkpoint {checkpoint!r} is no Hugging Face id: {error}") from error
    except OSError as error:
        at = f" at revision {revision!r}" if revision else ""
        raise MissingWeightsError(
            f"checkpoint {checkpoint!r}{at} is neither a folder nor in the Hugging Face cache, and "
            f"cannot be downloaded ({_first_line(error)}); give a folder or checkpoint=tiny, or go "
            "online once"
        ) from error


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


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of one network: one, or the parts that its index names.

    Raises:
        UserError: none is there, or a part is missing.
    """
    for stem in _STEMS:
        for path in (folder / f"{stem}{ending}" for ending in _ENDINGS[:2]):
            if path.is_file():
                return [path]
        index = folder / f"{stem}{_ENDINGS[2]}"
        if index.is_file():
            names = sorted(
                set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            )
            for name in names:
                if not (folder / name).is_file():
                    raise UserError(f"{folder / name} does not exist, but {index.name} names it")
            return [folder / name for name in names]
    raise UserError(
        f"{folder} has no safetensors file; accepted: {_STEMS[0]}.safetensors or {_STEMS[1]}"
        ".safetensors (pickled .bin files are not read unless allow_pickle_format is set)"
    )


def read_weights(folder: Path, *, allow_pickle_format: bool = False) -> dict[str, Tensor]:
    """All tensors of one network as stored.

    Args:
        folder: of the network.
        allow_pickle_format: read ``.bin`` files where no safetensors are, by the restricted loader
            of torch that builds tensors only.

    Raises:
        UserError: missing, truncated or foreign files.
    """
    old = [folder / f"{stem}.bin" for stem in _STEMS if (folder / f"{stem}.bin").is_file()]
    if allow_pickle_format and old and not list(folder.glob("*.safetensors")):
        try:
            loaded: dict[str, Tensor] = torch.load(old[0], map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise UserError(f"{old[0]} cannot be read: {_first_line(error)}") from error
        return loaded
    state: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            state.update(load_file(path))
        except SafetensorError as error:
            raise _damaged(path, error) from error
    return state


def is_cached(repository: str, revision: str | None = None) -> bool:
    """Whether the Hugging Face cache has the UNet's weights of ``repository``."""
    names = (f"unet/{stem}{end}" for stem in _STEMS for end in _ENDINGS)
    found = (try_to_load_from_cache(repository, name, revision=revision) for name in names)
    return any(isinstance(path, str) for path in found)


def weights_identity(folder: Path) -> str:
    """The commit of a Hugging Face snapshot, or the sha256 over the files of a plain folder.

    The hash covers name and content of all that makes a number: networks, tokenizer, schedule.
    """
    if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name):
        return folder.name
    digest = hashlib.sha256()
    files = [path for part in _PARTS for path in (folder / part).glob("*")]
    for path in sorted(files):
        if path.suffix in (".safetensors", ".json", ".txt"):
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def stored_parameters(folder: Path) -> int | None:
    """Of UNet, VAE and text encoder, by the headers of their files; None where one has no weights.

    Building the networks to count them would cost seconds of imports at every start.
    """
    total = 0
    for part in ("unet", "vae", "text_encoder"):
        files = sorted((folder / part).glob("*.safetensors"))
        if not files:
            return None
        for file in files:
            try:
                with safe_open(file, framework="numpy") as stored:
                    keys = list(stored.keys())
                    shapes = [stored.get_slice(key).get_shape() for key in keys]
            except SafetensorError as error:
                raise _damaged(file, error) from error
            total += sum(math.prod(shape) for shape in shapes)
    return total


def load_strictly(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    where: Path,
    dtype: torch.dtype = torch.float32,
    may_lack: Callable[[str], bool] = lambda key: False,
    may_have: Callable[[str], bool] = lambda key: False,
) -> None:
    """Fills ``module`` (on the meta device or not) and refuses any key that does not fit.

    Args:
        module: its tensors are replaced, and end on the CPU.
        state: stored tensors by key; half-precision ones are cast.
        where: for messages.
        dtype: of the floating-point tensors.
        may_lack: keys of the module that the file need not have; on the meta device they become 0.
        may_have: keys of the file that the module need not have; they are dropped.

    Raises:
        UserError: a missing key, a key too many, or a shape that differs.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state and not may_lack(key)]
    extra = [key for key in state if key not in own and not may_have(key)]
    if missing:
        raise UserError(
            f"{where} lacks {_some(missing)}; weights and config.json must be of one model"
        )
    if extra:
        raise UserError(
            f"{where} has {_some(extra)} that the network has not; "
            "weights and config.json must be of one model"
        )
    filled: dict[str, Tensor] = {}
    for key, tensor in own.items():
        if key not in state:
            filled[key] = torch.zeros(tensor.shape) if tensor.is_meta else tensor
        elif state[key].shape != tensor.shape:
            raise UserError(
                f"{where}: {key} has shape {tuple(state[key].shape)}, config.json asks for "
                f"{tuple(tensor.shape)}"
            )
        else:
            filled[key] = state[key]
    cast = {k: v.to(dtype) if v.is_floating_point() else v for k, v in filled.items()}
    module.load_state_dict(cast, strict=True, assign=True)


def _some(keys: Iterable[str]) -> str:
    keys = sorted(keys)
    rest = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{keys[0]!r}{rest}"


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is damaged or cut short ({path.stat().st_size} bytes: {_first_line(error)}); "
        "copy or download it again"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
