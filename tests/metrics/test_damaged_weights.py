"""Every extractor that reads a file of weights, given one that is damaged or not its own."""

from __future__ import annotations

import io
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from i2vbench import weights
from i2vbench.errors import MissingPackageError, MissingWeightsError
from i2vbench.registry import EXTRACTORS
from i2vbench.weight_files import WEIGHT_FILES

PAIRS = [
    (extractor, entry.name) for entry in WEIGHT_FILES.values() for extractor in entry.loaded_by
]


def a_torch_file(**more: object) -> bytes:
    file = io.BytesIO()
    torch.save({"layer.weight": torch.ones(4, 4), "layer.bias": torch.zeros(4), **more}, file)
    return file.getvalue()


def legacy_torch_file() -> bytes:
    file = io.BytesIO()
    torch.save({"layer.weight": torch.ones(9)}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


DAMAGES = {
    "empty": b"",
    "web page": b"<!DOCTYPE html><html><body>404</body></html>",
    "one byte": b"\x80",
    "cut off": a_torch_file()[:-30],
    "cut off, of the old format": legacy_torch_file()[:-20],
    "noise": np.random.default_rng(0).bytes(5000),
    "zip of noise": a_torch_file().replace(b"archive/data.pkl", b"archive/xxxx.pkl"),
    "another network": a_torch_file(),
    "another network under a key": a_torch_file(state_dict={"w": torch.ones(1)}),
    "of numpy": a_torch_file(lr=np.float64(0.1)),
    "a program": a_torch_file(path=Path("x")),
    "a list": (lambda file: (torch.save([1, 2], file), file.getvalue())[1])(io.BytesIO()),
}


def refusal(extractor: str) -> str:
    try:
        EXTRACTORS.load(extractor)()
    except MissingPackageError:
        pytest.skip("its package is not installed")
    except MissingWeightsError as error:
        message = str(error)
    else:
        pytest.fail("it was taken")
    assert "\n" not in message
    assert len(message) < 900
    # torch says how to run what a file brings along.
    assert "weights_only" not in message
    return message


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("I2VBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("I2VBENCH_OFFLINE", "1")
    monkeypatch.delenv("I2VBENCH_TRUST", raising=False)
    return tmp_path


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / WEIGHT_FILES[name].file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("extractor", "name"), PAIRS)
def test_the_register_knows_another_file_by_its_hash(extractor, name, folder):
    path = put(folder, name, b"")
    for other in ("laion-aesthetic", "dino-vit-b-16"):
        if other != name and extractor in WEIGHT_FILES[other].loaded_by:
            pytest.skip("another file of this extractor is missing and named first")
    message = refusal(extractor)
    assert repr(name) in message
    assert str(path) in message


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("extractor", "name"), PAIRS)
def test_a_file_whose_hash_nobody_states_is_refused_in_one_line(
    extractor, name, damage, folder, monkeypatch
):
    """The register's knowledge taken away, so that the loader is all that is left."""
    whole = weights.locate("tiny-clip")
    assert whole is not None
    for entry in WEIGHT_FILES.values():
        if extractor in entry.loaded_by:
            monkeypatch.setitem(WEIGHT_FILES, entry.name, replace(entry, sha256="", size=None))
            path = put(folder, entry.name, DAMAGES[damage])
            for part in whole.path.parent.glob("*.json"):
                shutil.copy(part, path.parent)
            # Even where a user trusts the file.
            monkeypatch.setenv("I2VBENCH_TRUST", weights.digest(path))
    assert "fetch it again from" in refusal(extractor)
    # What was refused is not remembered as the right file.
    if extractor not in ("dreamsim", "laion-aesthetic"):  # these stop at the first of two files
        assert not path.with_name(f"{path.name}.sha256").exists()


def test_no_import_of_a_stranger_is_made(folder, monkeypatch):
    """What a pickle names is not even imported."""
    (folder / "stranger_of_a_pickle.py").write_text("class Number(float): pass\n")
    monkeypatch.syspath_prepend(folder)
    module = __import__("stranger_of_a_pickle")
    put(folder, "amt-s", a_torch_file(lr=module.Number(1.0)))
    del sys.modules["stranger_of_a_pickle"]
    assert "it names stranger_of_a_pickle.Number" in refusal("amt-s")
    assert "stranger_of_a_pickle" not in sys.modules
