"""Checkpoints written: bit for bit, in the layout of Diffusers, whole or not at all."""

import json

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from transformers import CLIPTextModel

from i2vbench.errors import UserError
from i2vbench.models.consisti2v.checkpoint import (
    stored_parameters,
    weights_identity,
)
from i2vbench.models.consisti2v.networks import (
    load_tokenizer,
)
from i2vbench.models.consisti2v.pipeline import ConsistI2VPipeline
from i2vbench.models.consisti2v.saving import save_checkpoint


def parts_of(pipeline):
    return {
        "unet": pipeline.unet,
        "vae": pipeline.vae,
        "text_encoder": pipeline.text_encoder,
        "tokenizer": pipeline.tokenizer,
        "scheduler": pipeline.scheduler,
    }


@pytest.mark.parametrize("max_shard_bytes", [None, 300_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_saved_loads_bit_for_bit(checkpoint, tmp_path, dtype, max_shard_bytes):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint, dtype=dtype)
    folder = tmp_path / "new" / "saved"
    save_checkpoint(folder, **parts_of(pipeline), max_shard_bytes=max_shard_bytes)
    again = ConsistI2VPipeline.from_pretrained(folder, dtype=dtype)
    for name in ("unet", "vae", "text_encoder"):
        expected = getattr(pipeline, name).state_dict()
        loaded = getattr(again, name).state_dict()
        assert loaded.keys() == expected.keys()
        for key, tensor in expected.items():
            assert loaded[key].dtype == tensor.dtype
            assert torch.equal(loaded[key], tensor), key
    assert again.unet.config == pipeline.unet.config
    schedule = pipeline.scheduler.config
    assert {key: schedule[key] for key in again.scheduler.config} == dict(again.scheduler.config)
    text = "a sailing boat, at 3 o'clock"
    assert again.tokenizer(text).input_ids == pipeline.tokenizer(text).input_ids
    num_files = len(list((folder / "unet").glob("*.safetensors")))
    assert (num_files > 1) == (max_shard_bytes is not None)
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    assert index.is_file() == (max_shard_bytes is not None)
    assert stored_parameters(folder) == stored_parameters(checkpoint)
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


def test_what_is_saved_has_the_layout_of_diffusers(checkpoint, tmp_path):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    pipeline.text_encoder.config._name_or_path = str(checkpoint)
    folder = tmp_path / "saved"
    save_checkpoint(folder, **parts_of(pipeline))
    index = json.loads((folder / "model_index.json").read_text())
    assert {key for key in index if key[0] != "_"} == {
        p.name for p in folder.iterdir() if p.is_dir()
    }
    assert index["scheduler"] == ["diffusers", "DDIMScheduler"]
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    assert all(map(torch.equal, vae.state_dict().values(), pipeline.vae.state_dict().values()))
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    expected = pipeline.text_encoder.state_dict()
    assert all(torch.equal(expected[k], v) for k, v in text_encoder.state_dict().items())
    names = load_file(folder / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in names)
    # Without the file of newer releases: the two that older ones read.
    (folder / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)
    text = "a sailing boat, at 3 o'clock"
    tokenizer = load_tokenizer(folder / "tokenizer")
    assert tokenizer(text).input_ids == pipeline.tokenizer(text).input_ids
    for path in folder.rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o044 == 0o044
        assert path.suffix != ".json" or str(tmp_path) not in path.read_text()


def test_saving_never_writes_over_something(checkpoint, tmp_path):
    parts = parts_of(ConsistI2VPipeline.from_pretrained(checkpoint))
    before = weights_identity(checkpoint)
    with pytest.raises(UserError, match="is not an empty folder; give a new one to save to"):
        save_checkpoint(checkpoint, **parts)
    assert weights_identity(checkpoint) == before
    with pytest.raises(UserError, match="max_shard_bytes=0; accepted: a positive number"):
        save_checkpoint(tmp_path / "new", **parts, max_shard_bytes=0)
    empty = tmp_path / "empty"
    empty.mkdir()
    save_checkpoint(empty, **parts)
    assert (empty / "model_index.json").is_file()


def test_saving_leaves_nothing_half(checkpoint, tmp_path):
    parts = parts_of(ConsistI2VPipeline.from_pretrained(checkpoint))
    parts["tokenizer"] = None
    with pytest.raises(AttributeError):
        save_checkpoint(tmp_path / "new" / "saved", **parts)
    assert list((tmp_path / "new").iterdir()) == []
