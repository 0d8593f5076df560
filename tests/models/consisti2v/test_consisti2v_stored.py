"""Stored tensors: what a damaged file is told, and how much memory loading takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from i2vbench.errors import UserError
from i2vbench.models.consisti2v.networks import load_text_encoder, load_unet, load_vae
from i2vbench.models.consisti2v.stored import StoredWeights, load_strictly

WEIGHTS = "diffusion_pytorch_model.safetensors"


def damage_of(folder, content):
    path = folder / WEIGHTS
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_unet(folder)
    start, end = f"{path} is damaged: ", "; copy or download it again"
    message = str(caught.value)
    assert message.startswith(start)
    assert message.endswith(end)
    assert "\n" not in message
    return message.removeprefix(start).removesuffix(end)


def test_truncated_files_are_named_with_both_sizes(checkpoint):
    folder = checkpoint / "unet"
    whole = (folder / WEIGHTS).read_bytes()
    size, header = len(whole), 8 + int.from_bytes(whole[:8], "little")
    assert damage_of(folder, b"") == "0 bytes found, at least 8 expected"
    assert damage_of(folder, whole[:7]) == "7 bytes found, at least 8 expected"
    for_header = f"1000 bytes found, at least {header} expected for its header alone"
    assert damage_of(folder, whole[:1000]) == for_header
    for left in (header, size - 1):
        assert damage_of(folder, whole[:left]) == f"{left} bytes found, {size} expected"
    assert damage_of(folder, whole + b"x") == f"{size + 1} bytes found, {size} expected"


def test_files_of_another_kind_are_named(checkpoint):
    folder = checkpoint / "unet"
    assert "announce a header of" in damage_of(folder, b"<!DOCTYPE html><html></html>")
    assert "Git LFS pointer" in damage_of(folder, b"version https://git-lfs.github.com/spec/v1\n")
    for header in (b"{not json", b"[1, 2]", b'{"a": {"data_offsets": 1}}', b'{"a": 1}'):
        content = len(header).to_bytes(8, "little") + header
        assert damage_of(folder, content).startswith("its header cannot be read (")
    # Whole by its size: the library says what is wrong.
    header = b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}}'
    said = damage_of(folder, len(header).to_bytes(8, "little") + header + bytes(4))
    assert "expected" not in said


def test_filling_keeps_what_a_parameter_is(tmp_path):
    module = nn.BatchNorm1d(3)
    module.weight.requires_grad = False
    state = {key: tensor + 2 for key, tensor in module.state_dict().items()}
    load_strictly(module, state, where=tmp_path, dtype=torch.bfloat16)
    assert not module.weight.requires_grad
    assert module.bias.requires_grad
    assert module.running_mean.dtype == torch.bfloat16
    assert module.num_batches_tracked.dtype == torch.int64
    assert module.running_mean.tolist() == [2, 2, 2]
    assert not module.weight.is_meta


def test_each_tensor_is_read_once(checkpoint, monkeypatch):
    read = []
    plain = StoredWeights.__getitem__

    def counted(self, key):
        read.append(key)
        return plain(self, key)

    monkeypatch.setattr(StoredWeights, "__getitem__", counted)
    for load, part in ((load_unet, "unet"), (load_vae, "vae"), (load_text_encoder, "text_encoder")):
        read.clear()
        keys = load(checkpoint / part).state_dict()
        assert len(read) == len(set(read)) <= len(keys)


# Peaks are those of this process since the reset: ru_maxrss would count the parent's.
MEASURE = """
import os, pathlib, sys
import torch
from torch import nn
from i2vbench.models.consisti2v.stored import StoredWeights, load_strictly

def memory(key):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

def measure(path, dtype, num_layers=6):
    with torch.device("meta"):
        module = nn.ModuleList(nn.Linear(2304, 4096, bias=False) for _ in range(num_layers))
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    load_strictly(module, StoredWeights([path], dtype), where=path, dtype=dtype)
    return module, memory("VmHWM") - before

torch.set_num_threads(1)
folder = pathlib.Path(sys.argv[1])
# The first load of a process brings code into memory.
measure(folder / "one", torch.float32, 1)
measure(folder / "one", torch.bfloat16, 1)
for name, dtype in (("fp32", "float32"), ("fp16", "float32"), ("fp32", "bfloat16")):
    # A process for each: memory that one freed would hide what the next takes.
    if os.fork() == 0:
        print(name, dtype, measure(folder / name, getattr(torch, dtype))[1], flush=True)
        os._exit(0)
    os.wait()
module, _ = measure(folder / "fp32", torch.float32)
(folder / "fp32").write_bytes(b"")
print(sum(parameter.sum().item() for parameter in module.parameters()))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks as Linux counts them")
def test_loading_takes_the_memory_of_the_weights_once(tmp_path):
    # Above 32 MiB a tensor gets pages of its own, and gives them back.
    state = {f"{i}.weight": torch.ones(4096, 2304) for i in range(6)}
    save_file(state, tmp_path / "fp32")
    save_file({"0.weight": state["0.weight"].half()}, tmp_path / "one")
    save_file({key: tensor.half() for key, tensor in state.items()}, tmp_path / "fp16")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    *rows, total = done.stdout.splitlines()
    fp32 = 6 * 4096 * 2304 * 4
    # The larger of stored and loaded, and one tensor; two copies would be one and a half.
    allowed = {"fp32 float32": fp32, "fp16 float32": fp32, "fp32 bfloat16": fp32}
    assert len(rows) == 3
    for row in rows:
        case, _, peak = row.rpartition(" ")
        assert int(peak) <= 1.3 * allowed[case], row
    # The file has gone, the tensors have not: no memory of theirs is the file's.
    assert float(total) == 6 * 4096 * 2304
