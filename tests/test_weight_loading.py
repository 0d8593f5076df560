from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from i2vbench.errors import MissingWeightsError
from i2vbench.weight_loading import fill, fitting, load_state_dict

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


def load(path: Path, under: str | None = None) -> dict[str, torch.Tensor]:
    return load_state_dict(path, name="amt-s", network="AMT-S", under=under)


def same(found: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(STATE) and all(torch.equal(found[k], STATE[k]) for k in STATE)


@pytest.mark.parametrize("module", ["numpy._core.multiarray", "numpy.core.multiarray"])
@pytest.mark.parametrize("number", [np.float64(1e-4), np.float32(0.5), np.int64(3)])
def test_numbers_of_numpy_beside_the_tensors_are_read(tmp_path, module, number):
    """As numpy 2 and numpy 1 name what makes them."""
    file = io.BytesIO()
    content = {"state_dict": STATE, "lr": number}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    data = file.getvalue()
    assert b"cnumpy._core.multiarray\nscalar\n" in data
    path = tmp_path / "amt-s.pth"
    path.write_bytes(data.replace(b"numpy._core.multiarray", module.encode()))
    assert same(load(path, "state_dict"))


def test_the_format_is_told_by_the_content_not_by_the_name(tmp_path):
    save_file(STATE, tmp_path / "net.pth")
    assert sorted(load(tmp_path / "net.pth")) == sorted(STATE)
    torch.save(STATE, tmp_path / "net.bin")
    assert same(load(tmp_path / "net.bin"))
    torch.save(STATE, tmp_path / "net.safetensors")
    with pytest.raises(MissingWeightsError, match="no safetensors"):
        load(tmp_path / "net.safetensors")


def test_the_prefix_of_data_parallel_is_taken_away_where_every_key_has_it(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"model": {f"module.{key}": value for key, value in STATE.items()}}, path)
    assert same(load(path, "model"))
    torch.save({"module.weight": STATE["weight"], "bias": STATE["bias"]}, path)
    assert list(load(path)) == ["module.weight", "bias"]


def test_a_loaded_tensor_does_not_follow_its_file(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(STATE, path)
    found = load(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(found["weight"], STATE["weight"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bias": None}, "it lacks 'bias'"),
        ({"more": torch.ones(1), "most": torch.ones(1)}, "it has 'more' and 1 more too many"),
        ({"weight": torch.ones(3, 2)}, r"'weight' is \(3, 2\), not \(2, 3\)"),
        ({"bias": torch.tensor([1.0, torch.nan])}, "'bias' holds values that are not finite"),
        ({"bias": torch.tensor([torch.inf, -torch.inf])}, "'bias' holds values that are not"),
    ],
)
def test_a_network_is_filled_wholly_or_not_at_all(tmp_path, change, reason):
    state = {key: value for key, value in {**STATE, **change}.items() if value is not None}
    with (
        pytest.raises(MissingWeightsError, match=rf"is no AMT-S \({reason}.*\); fetch it again"),
        fitting(tmp_path / "net.pth", name="amt-s", network="AMT-S"),
    ):
        fill(nn.Linear(3, 2), state)


def test_large_values_are_finite():
    network = nn.Linear(3, 2)
    fill(network, {**STATE, "bias": torch.full((2,), 3e38)})
    assert network.bias.tolist() == pytest.approx([3e38, 3e38])


def test_counters_of_training_may_be_missing():
    state = {k: v for k, v in nn.BatchNorm1d(2).state_dict().items() if "num_batches" not in k}
    fill(nn.BatchNorm1d(2), state)


def test_the_memory_of_a_device_is_not_the_files_fault(tmp_path):
    with (
        pytest.raises(torch.OutOfMemoryError),
        fitting(tmp_path / "net.pth", name="amt-s", network="AMT-S"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
