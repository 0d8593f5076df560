"""Stored tensors: read one at a time, with what is wrong with a file or a key in one line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from i2vbench.errors import UserError

# Of the format: a longer header is refused by the library.
_LONGEST_HEADER: Final = 100_000_000


class StoredWeights(Mapping[str, Tensor]):
    """The tensors of safetensors files, each read and cast when it is asked for.

    The library maps a file, and what was read of it counts as memory until the file is closed; one
    opening per tensor keeps that at one tensor, and leaves no tensor that dies with its file. The
    cast is from the map: a copy between would leave holes in the heap that the next cannot fill.
    """

    def __init__(self, files: Iterable[Path], dtype: torch.dtype | None = None) -> None:
        """Reads the headers.

        Args:
            files: safetensors files.
            dtype: of the floating-point tensors; None for that of the file.

        Raises:
            UserError: a damaged file, or a tensor that two files hold.
        """
        self._dtype = dtype
        self._files: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for path in files:
            with _opened(path) as stored:
                for key in list(stored.keys()):
                    if key in self._files:
                        raise UserError(
                            f"{path} holds {key!r}, and so does {self._files[key].name}; "
                            "accepted: each tensor in one file"
                        )
                    self._files[key] = path
                    self.shapes[key] = tuple(stored.get_slice(key).get_shape())

    def __getitem__(self, key: str) -> Tensor:
        with _opened(self._files[key]) as stored:
            tensor: Tensor = stored.get_tensor(key)
            dtype = self._dtype if tensor.is_floating_point() else None
            return tensor.to(dtype or tensor.dtype, copy=True)

    def __contains__(self, key: object) -> bool:
        # The inherited one reads the tensor.
        return key in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


class RenamedWeights(Mapping[str, Tensor]):
    """Other weights under new keys, each read and adapted when it is asked for."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        rename: Callable[[str], str],
        adapt: Callable[[str, Tensor], Tensor] = lambda key, tensor: tensor,
    ) -> None:
        self._weights = weights
        self._old_keys = {rename(key): key for key in weights}
        self._adapt = adapt

    def __getitem__(self, key: str) -> Tensor:
        return self._adapt(key, self._weights[self._old_keys[key]])

    def __contains__(self, key: object) -> bool:
        return key in self._old_keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._old_keys)

    def __len__(self) -> int:
        return len(self._old_keys)


def load_strictly(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    where: Path,
    dtype: torch.dtype = torch.float32,
    may_lack: Callable[[str], bool] = lambda key: False,
    may_have: Callable[[str], bool] = lambda key: False,
) -> None:
    """Fills ``module`` (on the meta device or not) and refuses any key that does not fit.

    Tensors are read, cast and put in one by one: memory never holds the weights twice. After an
    error the module is half filled, and of no use.

    Args:
        module: its tensors are replaced, and end on the CPU.
        weights: stored tensors by key.
        where: for messages.
        dtype: of the floating-point tensors.
        may_lack: keys of the module that the file need not have; on the meta device they become 0.
        may_have: keys of the file that the module need not have; they are dropped.

    Raises:
        UserError: a missing key, a key too many, or a shape that differs.
    """
    own = list(module.state_dict())
    _check_keys(own, weights, where=where, may_lack=may_lack, may_have=may_have)
    for key in own:
        parent_name, _, name = key.rpartition(".")
        parent = module.get_submodule(parent_name)
        old: Tensor = getattr(parent, name)
        if key in weights:
            new = weights[key]
        else:
            new = torch.zeros(old.shape) if old.is_meta else old.detach()
        if new.shape != old.shape:
            raise UserError(
                f"{where}: {key} has shape {tuple(new.shape)}, config.json asks for "
                f"{tuple(old.shape)}"
            )
        if new.is_floating_point():
            new = new.to(dtype)
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad)
        setattr(parent, name, new)


def _check_keys(
    own: Iterable[str],
    stored: Mapping[str, Tensor],
    *,
    where: Path,
    may_lack: Callable[[str], bool],
    may_have: Callable[[str], bool],
) -> None:
    known = set(own)
    missing = sorted(key for key in known if key not in stored and not may_lack(key))
    extra = sorted(key for key in stored if key not in known and not may_have(key))
    advice = "weights and config.json must be of one model"
    if missing:
        nearest = _nearest(missing[0], extra or stored)
        raise UserError(f"{where} lacks {_some(missing)}; nearest in the file: {nearest}; {advice}")
    if extra:
        nearest = _nearest(extra[0], known)
        raise UserError(
            f"{where} has {_some(extra)} that the network has not; "
            f"nearest in the network: {nearest}; {advice}"
        )


def _nearest(key: str, others: Iterable[str]) -> str:
    found = difflib.get_close_matches(key, sorted(others), n=1, cutoff=0.0)
    return repr(found[0]) if found else "(no key at all)"


def _some(keys: list[str]) -> str:
    rest = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{keys[0]!r}{rest}"


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as stored:
            yield stored
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or first_line(error)}; make it readable, or "
            "copy or download it again"
        ) from error
    except SafetensorError as error:
        raise UserError(
            f"{path} is damaged: {_damage(path, error)}; copy or download it again"
        ) from error


def _damage(path: Path, error: SafetensorError) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        header_length = int.from_bytes(start, "little")
        data_start = 8 + header_length
        if start == b"version ":
            return f"its {size} bytes are a Git LFS pointer, not weights (git lfs pull gets them)"
        if len(start) < 8:
            return f"{size} bytes found, at least 8 expected"
        if header_length > _LONGEST_HEADER:
            return (
                f"{size} bytes found, of which the first 8 announce a header of {header_length} "
                f"(accepted: at most {_LONGEST_HEADER}), so it is no safetensors file"
            )
        if data_start > size:
            return f"{size} bytes found, at least {data_start} expected for its header alone"
        header = file.read(header_length)
    try:
        entries = {key: value for key, value in json.loads(header).items() if key != "__metadata__"}
        expected = data_start + max(
            (entry["data_offsets"][1] for entry in entries.values()), default=0
        )
    except (ValueError, AttributeError, TypeError, LookupError):
        return f"its header cannot be read ({first_line(error)})"
    if size != expected:
        return f"{size} bytes found, {expected} expected"
    return first_line(error)


def first_line(error: BaseException) -> str:
    """Of the message, or the kind of error where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
