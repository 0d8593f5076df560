"""Stored features: what comes back is what was stored, or it is made again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from i2vbench.clip import Clip
from i2vbench.feature_store import (
    DamagedFeaturesError,
    FeatureStore,
    StoredFeatures,
    extractor_fingerprint,
    storable,
    writable_folder,
)
from i2vbench.metric import Extractor, Features


class Small(Extractor):
    name = "small"
    version = "1"
    label = "small"

    def spec(self) -> dict[str, Any]:
        return {"size": 4}

    def extract(self, clips: Sequence[Clip], prompts: Sequence[str]) -> Iterator[Features]:
        for clip in clips:
            yield {"mean": clip.frames.mean((1, 2, 3)), "count": np.array(len(clip.frames))}


def clip_of(value: int, fps: float = 8) -> Clip:
    return Clip(frames=np.full((2, 4, 4, 3), value, np.uint8), fps=fps)


FEATURES: dict[str, np.ndarray] = {
    "rows": np.arange(6, dtype=np.float32).reshape(2, 3),
    "is_cut": np.array([True, False]),
}


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path, Small(device="cpu"))


def file_of(store: FeatureStore) -> Path:
    (file,) = store._folder.iterdir()
    return file


@pytest.mark.parametrize(
    "array",
    [
        np.float64(0.1),
        np.zeros((0, 3), np.float32),
        np.arange(12).reshape(3, 4).T,
        np.arange(3, dtype=">f4"),
        np.arange(6, dtype=np.uint8)[::2],
        torch.arange(3),
        [1.5, 2.5],
    ],
    ids=("scalar", "empty", "transposed", "big-endian", "strided", "torch", "list"),
)
def test_arrays_of_each_form_come_back(store: FeatureStore, array: object) -> None:
    store.put("key", {"x": array})  # type: ignore[dict-item]
    assert store.has("key")
    back = store.get("key")["x"]
    np.testing.assert_array_equal(back, np.asarray(array))
    assert back.shape == np.shape(array)
    assert StoredFeatures({"small": (store, "key")})["small"]["x"].dtype == back.dtype


@pytest.mark.parametrize(
    "array",
    [np.zeros(2, complex), np.array(["a"]), np.array([None]), np.zeros(2, np.longdouble)],
    ids=("complex", "text", "object", "long"),
)
def test_what_has_no_place_in_a_file_is_refused(store: FeatureStore, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="feature 'x' is an array of"):
        storable({"x": array})
    with pytest.raises(ValueError, match="accepted are truth values and numbers"):
        store.put("key", {"x": array})
    assert not store.has("key")


def test_a_flipped_bit_anywhere_is_noticed(store: FeatureStore) -> None:
    store.put("key", FEATURES)
    file = file_of(store)
    whole = file.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 4, 32, 128):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            with pytest.raises(DamagedFeaturesError, match="are damaged"):
                store.get("key")
    file.write_bytes(whole)
    assert set(store.get("key")) == set(FEATURES)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"PK\x03\x04 another format, longer than its header",
        b"\x02\0\0\0\0\0\0\0{}",
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x15\0\0\0\0\0\0\0" + b'{"__metadata__":null}',
        b"\xff" * 8 + b"{}",
        save(FEATURES),
        save(FEATURES, metadata={"sha256": "0" * 64}),
        "half",
        "more",
        "folder",
    ],
    ids=str,
)
def test_what_is_damaged_is_named_and_made_again(
    store: FeatureStore, content: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("key", FEATURES)
    file = file_of(store)
    whole = file.read_bytes()
    if content == "folder":
        file.unlink()
        file.mkdir()
    elif isinstance(content, str):
        file.write_bytes(whole[: len(whole) // 2] if content == "half" else whole + b"\0")
    else:
        file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert not store.has("key")
    (message,) = caplog.messages
    assert str(file) in message
    assert message.endswith("; they are made again")
    if content == "folder":
        with pytest.raises(OSError, match=str(file)):
            store.put("key", FEATURES)
    else:
        store.put("key", FEATURES)
        assert file.read_bytes() == whole


def test_features_of_another_clip_are_not_taken(store: FeatureStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.get("key")
    assert not store.has("key")
    keys = {store.key(clip, prompt) for clip in (clip_of(0), clip_of(1)) for prompt in ("a", "b")}
    assert len(keys) == 2
    assert store.key(clip_of(0, 8), "a") == store.key(clip_of(0, 24), "a")


def test_prompt_and_rate_count_where_the_extractor_says_so(tmp_path: Path) -> None:
    class Reader(Small):
        uses_prompt = True
        uses_fps = True

    store = FeatureStore(tmp_path, Reader(device="cpu"))
    keys = {
        store.key(clip_of(0, fps), prompt) for fps in (8, 24) for prompt in ("a", "b", "\ud800", "")
    }
    assert len(keys) == 8


def test_the_identity_of_an_extractor() -> None:
    class Newer(Small):
        version = "2"

    class Resized(Small):
        def spec(self) -> dict[str, Any]:
            return {"size": 5}

    halved, plain = Small(device="cpu"), Small(device="cpu")
    halved.dtype = "bf16"
    others = [halved, Newer(device="cpu"), Resized(device="cpu")]
    assert len({extractor_fingerprint(each) for each in [plain, *others]}) == 4
    assert extractor_fingerprint(plain) == extractor_fingerprint(Small(device="cpu"))


def test_a_folder_that_cannot_be_written_is_told_before(tmp_path: Path) -> None:
    assert writable_folder(tmp_path / "new" / "deep")
    assert not list((tmp_path / "new" / "deep").iterdir())
    (tmp_path / "file").touch()
    assert not writable_folder(tmp_path / "file")
    assert not writable_folder(tmp_path / "file" / "below")
    assert not writable_folder(Path("/proc/none"))
