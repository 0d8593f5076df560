"""Features on disk, keyed by the pixels of the clip and the fingerprint of the extractor.

A clip's features are one safetensors file; mappings read it when a metric asks, so that memory does
not grow with the number of clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2vbench.clip import Clip
from i2vbench.files import write_atomic
from i2vbench.fingerprint import fingerprint
from i2vbench.metric import Extractor, Features


def extractor_fingerprint(extractor: Extractor) -> str:
    """sha256 of all that changes the extractor's arrays."""
    # The defaults are left out: what was stored before there was a choice is still found.
    spec = {**extractor.spec(), **chosen_arithmetic(extractor)}
    return fingerprint({"extractor": extractor.name, "version": extractor.version, "spec": spec})


def chosen_arithmetic(extractor: Extractor) -> dict[str, str]:
    """``dtype`` and ``backend`` where they are not the default ones: another number.

    An extractor that does not call our constructor has neither, and runs as it always did.
    """
    defaults = {"dtype": "fp32", "backend": "torch"}
    found = {name: str(getattr(extractor, name, value)) for name, value in defaults.items()}
    return {name: value for name, value in found.items() if value != defaults[name]}


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
        return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]

    def has(self, key: str) -> bool:
        """Whether the features of ``key`` are on disk."""
        return self._file(key).is_file()

    def put(self, key: str, features: Features) -> None:
        """Stores the features of ``key``."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(array) for name, array in features.items()}
        write_atomic(self._file(key), save(arrays))

    def get(self, key: str) -> dict[str, NDArray[Any]]:
        """Reads the features of ``key``."""
        from safetensors.numpy import load_file

        arrays: dict[str, NDArray[Any]] = load_file(self._file(key))
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
