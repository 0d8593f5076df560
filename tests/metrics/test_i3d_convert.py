"""The script that made the vendored weights: hashes, the unpickler, names and axes."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from i2vbench.errors import UserError
from i2vbench.metrics.features import convert


class Evil:
    def __reduce__(self):
        return print, ("run",)


def packed(member, data):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def test_arrays_are_read():
    tree = {"a": {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    read = convert.load_arrays(pickle.dumps(tree))
    assert np.array_equal(read["a"]["b"], tree["a"]["b"])


def test_anything_else_is_refused(capsys):
    with pytest.raises(UserError, match=r"holds builtins\.print; only numpy arrays"):
        convert.load_arrays(pickle.dumps({"a": Evil()}))
    assert capsys.readouterr().out == ""


def test_another_archive_is_refused(tmp_path):
    data = pickle.dumps({"a": np.zeros(2)})
    archive = packed("inner.ckpt", data)
    (tmp_path / "x.tar.gz").write_bytes(archive)
    pin = convert.Pin(
        archive="x.tar.gz",
        archive_sha256=hashlib.sha256(archive).hexdigest(),
        member="inner.ckpt",
        member_sha256=hashlib.sha256(data).hexdigest(),
    )
    assert np.array_equal(convert.read_pinned(tmp_path, pin)["a"], np.zeros(2))
    for field in ("archive_sha256", "member_sha256"):
        with pytest.raises(UserError, match="not the pinned file"):
            convert.read_pinned(tmp_path, replace(pin, **{field: "0" * 64}))


def test_i3d_names_and_axes():
    kernel = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.float32).reshape(2, 3, 4, 5, 6)

    def unit(name, value):
        return {name: {"Conv_0": {"kernel": value}, "BatchNorm_0": {"bias": np.zeros(6)}}}

    statistics = {
        "BatchNorm_0": {"mean": np.zeros((1, 1, 1, 1, 6)), "var": np.ones((1, 1, 1, 1, 6))}
    }
    tree = {
        "params": {
            **unit("Conv3d_1a_7x7", kernel),
            "Mixed_3b": {
                "Branch_0": unit("Conv3d_0a_1x1", kernel),
                "Branch_1": {**unit("Conv3d_0a_1x1", kernel), **unit("Conv3d_0b_3x3", kernel)},
                "Branch_3": unit("Conv3d_0b_1x1", kernel),
            },
            "Logits": {"Conv3d_0c_1x1": {"Conv_0": {"kernel": kernel, "bias": np.zeros(6)}}},
        },
        "batch_stats": {"Mixed_3b": {"Branch_1": {"Conv3d_0b_3x3": statistics}}},
    }
    arrays = convert.i3d_arrays(tree)
    assert sorted(key for key in arrays if key.endswith("weight")) == [
        "Conv3d_1a_7x7.conv3d.weight",
        "Mixed_3b.b0.conv3d.weight",
        "Mixed_3b.b1a.conv3d.weight",
        "Mixed_3b.b1b.conv3d.weight",
        "Mixed_3b.b3b.conv3d.weight",
        "logits.conv3d.weight",
    ]
    assert arrays["Mixed_3b.b1b.bn.running_var"].shape == (6,)
    assert "logits.conv3d.bias" in arrays
    found = arrays["logits.conv3d.weight"]
    assert found.shape == (6, 5, 2, 3, 4)
    assert found[1, 2, 1, 0, 3] == kernel[1, 0, 3, 2, 1]
