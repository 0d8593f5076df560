"""Features on disk, keyed by the pixels of the clip and the fingerprint of the extractor.

A clip's features are one safetensors file; mappings read it when a metric asks, so that memory does
not grow with the number of clips.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2vbench.clip import Clip
from i2vbench.files import write_atomic
from i2vbench.fingerprint import fingerprint
from i2vbench.metric import Extractor, Features
from i2vbench.plain_text import short_repr
from i2vbench.source_code import class_code_sha256

logger = logging.getLogger(__name__)

_STORED_KINDS = "biuf"
_MAX_ITEM_BYTES = 8
_MALFORMED = (AttributeError, TypeError, RecursionError)
"""Of a header that is JSON, but not of the form that safetensors has."""


def extractor_fingerprint(extractor: Extractor) -> str:
    """sha256 of all that changes the extractor's arrays."""
    # The defaults are left out: what was stored before there was a choice is still found.
    spec = {**extractor.spec(), **chosen_arithmetic(extractor)}
    code = class_code_sha256(type(extractor))
    return fingerprint(
        {
            "extractor": extractor.name,
            "version": extractor.version,
            "spec": spec,
            # Of a file of the user's own, whose version nobody raises.
            **({"code_sha256": code} if code else {}),
        }
    )


def chosen_arithmetic(extractor: Extractor) -> dict[str, str]:
    """``dtype`` and ``backend`` where they are not the default ones: another number.

    An extractor that does not call our constructor has neither, and runs as it always did.
    """
    defaults = {"dtype": "fp32", "backend": "torch"}
    found = {name: str(getattr(extractor, name, value)) for name, value in defaults.items()}
    return {name: value for name, value in found.items() if value != defaults[name]}


class DamagedFeaturesError(ValueError):
    """Stored features are not what was stored."""


def storable(features: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays as a file holds them: each in one block, in the byte order of this machine.

    Raises:
        ValueError: one is of a kind that has no place in the file, as texts or objects, or has no
            text for its name.
    """
    arrays = {}
    for name, given in features.items():
        if not isinstance(name, str):
            raise ValueError(f"a feature is named {short_repr(name)}; accepted is text")
        array = np.asarray(given, order="C")
        if array.dtype.kind not in _STORED_KINDS or array.dtype.itemsize > _MAX_ITEM_BYTES:
            raise ValueError(
                f"feature {name!r} is an array of {array.dtype}; accepted are truth values and "
                "numbers of at most 64 bits"
            )
        arrays[name] = array.astype(array.dtype.newbyteorder("="), copy=False)
    return arrays


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    """sha256 of names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}\x00{array.dtype.str}\x00{array.shape}\x00".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _stored_checksum(data: bytes) -> str:
    """What the header of a safetensors file says (its first 8 bytes are the header's length)."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return str(header.get("__metadata__", {}).get("sha256", ""))


def writable_folder(folder: Path) -> bool:
    """Whether files can be made in ``folder``, which is made where it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


class FeatureStore:
    """The features that one extractor made, in a folder of its own under ``root``."""

    def __init__(self, root: Path, extractor: Extractor) -> None:
        """Opens (without making it) the folder ``root/<extractor>-<fp8>``."""
        name = f"{extractor.name}-{extractor_fingerprint(extractor)[:8]}"
        self._folder = root / name
        self._uses_prompt = extractor.uses_prompt
        self._uses_fps = extractor.uses_fps

    def key(self, clip: Clip, prompt: str) -> str:
        """The file name of a clip's features; prompt and rate count where the extractor says so."""
        parts = [clip.sha256]
        if self._uses_prompt:
            parts.append(prompt)
        if self._uses_fps:
            parts.append(f"{clip.fps:g}")
        text = "\x00".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.sha256(text).hexdigest()[:32]

    def has(self, key: str) -> bool:
        """Whether the features of ``key`` are on disk, whole; damaged ones are named."""
        try:
            self.get(key)
        except FileNotFoundError:
            return False
        except DamagedFeaturesError as error:
            logger.warning("%s; they are made again", error)
            return False
        return True

    def put(self, key: str, features: Features) -> None:
        """Stores the features of ``key``, with their checksum.

        Raises:
            ValueError: see :func:`storable`.
            OSError: the disk is full, or the folder cannot be written.
        """
        from safetensors.numpy import save

        arrays = storable(features)
        write_atomic(self._file(key), save(arrays, metadata={"sha256": _checksum(arrays)}))

    def get(self, key: str) -> dict[str, NDArray[Any]]:
        """Reads the features of ``key``.

        Raises:
            FileNotFoundError: they are not here.
            DamagedFeaturesError: they are not what was stored.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self._file(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DamagedFeaturesError(f"features {path} cannot be read: {error}") from error
        try:
            arrays: dict[str, NDArray[Any]] = load(data)
            stored = _stored_checksum(data)
        except (SafetensorError, ValueError, LookupError, *_MALFORMED) as error:
            raise DamagedFeaturesError(f"features {path} are damaged") from error
        if stored != _checksum(arrays):
            raise DamagedFeaturesError(f"features {path} are damaged")
        return arrays

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"


class StoredFeatures(Mapping[str, Features]):
    """Extractor name -> features, read from the stores at each look-up."""

    def __init__(self, places: Mapping[str, tuple[FeatureStore, str]]) -> None:
        """Takes extractor name -> (store, key)."""
        self._places = dict(places)

    def __getitem__(self, extractor: str) -> Features:
        store, key = self._places[extractor]
        return store.get(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
