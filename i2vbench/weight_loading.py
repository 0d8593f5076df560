"""Files of weights, read: the one loader of all networks.

A file of weights is a stranger's. It is read as data: safetensors, or what torch's restricted
unpickler builds. Whatever is wrong with it, one error in one line says so, and names where to get
the right one; so a damaged file costs the columns that need it and no others.

Nothing stays mapped to the file: a network whose file is overwritten in place, while it runs, would
become another one, or end the process.
"""

from __future__ import annotations

import pickle
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from i2vbench.errors import MissingPackageError, MissingWeightsError
from i2vbench.weight_content import visible_damage
from i2vbench.weights import distrust, origin_of

_LONGEST_REASON: Final = 160
# Trainers store numbers of numpy beside the tensors, such as a learning rate. numpy 2 gave the
# function that makes them another name; files have either.
_SCALAR: Final[Any] = np.float64(0.0).__reduce__()[0]
_HARMLESS: Final[list[Any]] = [
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]
# What a file that is another network's, or nobody's, makes fail between its bytes and a module.
_MISFITS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

# And what readers of such bytes raise besides.
_DAMAGE: Final = (
    *_MISFITS,
    EOFError,
    ImportError,
    SafetensorError,
    pickle.PickleError,
    struct.error,
    zlib.error,
)


class UnreadableWeightsError(ValueError):
    """A file that is neither safetensors nor torch's; the message is the reason in few words."""


def load_state_dict(
    path: Path, *, name: str, network: str, under: str | None = None
) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU, in the order and the dtypes of the file.

    A ``module.`` in front of every key, which torch's ``DataParallel`` leaves there, is taken away.

    Args:
        path: ``.safetensors``, or what ``torch.save`` wrote.
        name: in the register of weights, for messages.
        network: what the file should hold, for messages.
        under: the key that the published file has its tensors under; where it is not there, the
            tensors may lie at the top.

    Raises:
        MissingWeightsError: the file is damaged, or holds anything but tensors.
    """
    with fitting(path, name=name, network=network):
        damage = visible_damage(path)
        if damage is not None:
            raise UnreadableWeightsError(f"it is {damage}")
        return tensors_of(read_file(path), under=under)


@contextmanager
def fitting(path: Path, *, name: str, network: str) -> Iterator[None]:
    """Inside, whatever fails is the fault of ``path``: it is no ``network``.

    Raises:
        MissingWeightsError: something failed; in one line, with where to get the right file.
    """
    try:
        yield
    except (MissingPackageError, MissingWeightsError, torch.cuda.OutOfMemoryError):
        # The last one is the device's fault, not the file's.
        raise
    except _MISFITS as error:
        # Where no hash is known, the first file seen is remembered as the right one. This is not.
        distrust(path)
        raise MissingWeightsError(
            f"weights {name!r}: {path} is no {network} ({_reason(error)}); "
            f"fetch it again from {origin_of(name)}"
        ) from error


def fill(network: nn.Module, state: Mapping[str, Tensor], *, assign: bool = False) -> None:
    """Puts all tensors of ``state`` into ``network``, which must have them all and no others.

    Args:
        network: on any device; ``meta`` with ``assign``.
        state: key -> tensor.
        assign: take the tensors themselves, in their own dtype, instead of copying their values.

    Raises:
        ValueError: keys or shapes differ, or a value is not finite; in a few words.
    """
    own = network.state_dict()
    # Counters of training, which some files lack; torch fills them in.
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(f"it lacks {_some(missing)}")
    extra = [key for key in state if key not in own]
    if extra:
        raise ValueError(f"it has {_some(extra)} too many")
    for key, tensor in state.items():
        if tensor.shape != own[key].shape:
            raise ValueError(f"{key!r} is {tuple(tensor.shape)}, not {tuple(own[key].shape)}")
    network.load_state_dict(state, strict=True, assign=assign)
    loaded = network.state_dict()
    check_finite({key: loaded[key] for key in state})


def check_finite(state: Mapping[str, Tensor]) -> None:
    """Refuses weights that would make every feature NaN.

    Raises:
        ValueError: a tensor holds NaN or an infinity.
    """
    for key, tensor in state.items():
        # The sum alone, which is quick: any such value is in it. Large ones may exceed it too.
        if (
            tensor.is_floating_point()
            and not torch.isfinite(tensor.sum())
            and not torch.isfinite(tensor).all()
        ):
            raise ValueError(f"{key!r} holds values that are not finite")


def read_file(source: Path | BinaryIO) -> object:
    """What a file holds: tensors by key, or whatever torch's restricted unpickler builds.

    Args:
        source: a path, or an open file of which all is read.

    Raises:
        UnreadableWeightsError: it cannot be read; the message is the reason in few words.
    """
    suffix = source.suffix if isinstance(source, Path) else ""
    try:
        if suffix == ".safetensors" or _looks_like_safetensors(source):
            data = source.read_bytes() if isinstance(source, Path) else source.read()
            return safetensors.torch.load(data)
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(source, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        # EOFError above all must not get out: the command line would take it for the end of its own
        # input.
        raise UnreadableWeightsError(_reason(error)) from error


def tensors_of(content: object, *, under: str | None = None) -> dict[str, Tensor]:
    """The tensors by key of what a file holds; see :func:`load_state_dict`.

    Raises:
        UnreadableWeightsError: there is anything but tensors, or no tensor.
    """
    if under is not None and isinstance(content, Mapping) and under in content:
        content = content[under]
    if not isinstance(content, Mapping) or not content:
        raise UnreadableWeightsError(
            "it holds no tensors by name"
            + ("" if isinstance(content, Mapping) else f" but one {type(content).__name__}")
        )
    strangers = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if strangers or not all(isinstance(key, str) for key in content):
        key = (strangers or [key for key in content if not isinstance(key, str)])[0]
        raise UnreadableWeightsError(f"under {_short(repr(key))} it holds no tensor")
    state: dict[str, Tensor] = dict(content)
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def _looks_like_safetensors(source: Path | BinaryIO) -> bool:
    """Eight bytes of a length, then the opening of a JSON object, whatever the file's name says."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            start = file.read(9)
    else:
        start = source.read(9)
        source.seek(0)
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 100_000_000


def _reason(error: BaseException) -> str:
    """The error in few words, and never torch's advice to run what a file brings along."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError):
        stranger = re.search(r"(?:GLOBAL|global|class|function) ([\w.]+\.\w+)", text)
        return f"it names {stranger[1]}, no tensor" if stranger else "its pickle is damaged"
    if isinstance(error, EOFError):
        return "it ends too early"
    if "PytorchStreamReader" in text or "central directory" in text:
        return "its archive is damaged or cut off"
    if "TorchScript" in text and "weights_only" in text:
        return "it is TorchScript, no file of tensors"
    first = (text.strip().splitlines() or [""])[0].strip()
    if isinstance(error, OSError) and error.filename:
        return _short(f"{error.strerror}: {error.filename}")
    if isinstance(error, SafetensorError):
        return _short(f"no safetensors: {first}")
    if isinstance(error, ValueError | RuntimeError) and first and "weights_only" not in first:
        return _short(first)
    return _short(f"{type(error).__name__}: {first}" if first else type(error).__name__)


def _some(keys: list[str]) -> str:
    rest = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{_short(repr(keys[0]))}{rest}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 3]}..."
