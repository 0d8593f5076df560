"""DreamSim at seeded weights: against what its authors' package made of them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.numpy import load_file

from i2vbench.errors import MissingWeightsError
from i2vbench.files import file_sha256
from i2vbench.fingerprint import canonical_json
from i2vbench.metrics.features import dreamsim
from i2vbench.metrics.features.dreamsim import DreamSimExtractor, load_dreamsim

from .seeded_weights import seeded_clips, seeded_state

DATA = Path(__file__).parents[1] / "data" / "dreamsim"
CLIPS = [*seeded_clips(1, 3, 240, 400, seed=1), *seeded_clips(1, 2, 150, 96, seed=2)]


def seeded_towers(keys):
    """States of all files by name: no two towers alike, norms near one."""
    states = {}
    for name, shapes in keys.items():
        drawn = seeded_state({f"{name}/{key}": shape for key, shape in shapes.items()})
        states[name] = {key.partition("/")[2]: tensor for key, tensor in drawn.items()}
        for key, tensor in states[name].items():
            if key.endswith(("norm.weight", "norm1.weight", "norm2.weight", "pos_drop.weight")):
                tensor += 1
            elif key in ("pos_embed", "cls_token"):
                tensor *= 10
    return states


def write_ensemble(folder, keys, *, adapter_file="adapter_model.safetensors"):
    """DINO's file and DreamSim's archive, as they are published, with seeded weights."""
    states = seeded_towers(keys)
    torch.save(states["dino"], folder / "dino.pth")
    with zipfile.ZipFile(folder / "ensemble.zip", "w") as archive:
        for name in ("clip", "open_clip"):
            content = io.BytesIO()
            torch.save({"state_dict": states[name]}, content)
            archive.writestr(f"{name}_vitb16_pretrain.pth.tar", content.getvalue())
        if adapter_file.endswith(".safetensors"):
            adapter = safetensors.torch.save(states["adapter"])
        else:
            content = io.BytesIO()
            torch.save(states["adapter"], content)
            adapter = content.getvalue()
        archive.writestr(f"ensemble_lora/{adapter_file}", adapter)
        if (DATA / "adapter_config.json").exists():
            config = (DATA / "adapter_config.json").read_text()
            archive.writestr("ensemble_lora/adapter_config.json", config)


@pytest.fixture(scope="module")
def keys():
    return json.loads((DATA / "keys.json").read_text())


@pytest.fixture(scope="module")
def published(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("weights")
    write_ensemble(folder, keys)
    return {"dino-vit-b-16": folder / "dino.pth", "dreamsim-ensemble": folder / "ensemble.zip"}


@pytest.fixture(scope="module")
def extractor(published):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dreamsim, "resolve", published.__getitem__)
        return DreamSimExtractor()


@pytest.mark.parametrize("index", [0, 1])
def test_embeddings_of_frames_and_pictures_are_the_packages(extractor, index):
    recorded = load_file(DATA / "embeddings.safetensors")
    (found,) = extractor.extract([CLIPS[index]], [""])
    of_picture = extractor.extract_picture(CLIPS[index].frames[0])
    assert found["pooled"].dtype == np.float32
    assert np.linalg.norm(found["pooled"] - recorded[f"{index}.frames"], axis=1).max() <= 1e-5
    assert np.linalg.norm(of_picture["pooled"] - recorded[f"{index}.picture"]) <= 1e-5
    # Not by chance: frames, and a frame and its picture, are further apart than that.
    assert np.linalg.norm(found["pooled"][0] - found["pooled"][1]) > 1e-2
    assert np.linalg.norm(found["pooled"][0] - of_picture["pooled"][0]) > 1e-4


def test_the_adapter_matters_and_may_come_as_a_pickle(tmp_path, published, keys):
    write_ensemble(tmp_path, keys, adapter_file="adapter_model.bin")
    frames = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    whole, pickled = (
        load_dreamsim(published["dino-vit-b-16"], path)
        for path in (published["dreamsim-ensemble"], tmp_path / "ensemble.zip")
    )
    assert torch.equal(whole(frames), pickled(frames))
    plain = torch.load(published["dino-vit-b-16"], weights_only=True)["blocks.3.attn.qkv.weight"]
    merged = whole.towers[0].vit.blocks[3].attn.qkv.weight
    assert (merged - plain).abs().mean() > 0.01


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ("open_clip_vitb16_pretrain.pth.tar", "no item named"),
        ("ensemble_lora/adapter_config.json", "no item named"),
        ("adapter", "no tensors by name"),
        ("archive", "damaged or cut off"),
    ],
)
def test_another_archive_is_refused_in_one_line(tmp_path, published, lost, reason):
    path = tmp_path / "other.zip"
    if lost == "archive":
        path.write_bytes(b"PK of another kind")
    else:
        with (
            zipfile.ZipFile(published["dreamsim-ensemble"]) as source,
            zipfile.ZipFile(path, "w") as target,
        ):
            for name in source.namelist():
                if name == "ensemble_lora/adapter_model.safetensors" and lost == "adapter":
                    target.writestr(name, safetensors.torch.save({}))
                elif name != lost:
                    target.writestr(name, source.read(name))
    with pytest.raises(MissingWeightsError, match=rf"{reason}.*; fetch it again") as caught:
        load_dreamsim(published["dino-vit-b-16"], path)
    assert "\n" not in str(caught.value)


def test_loading_leaves_the_random_state_alone(published):
    before = torch.get_rng_state()
    load_dreamsim(published["dino-vit-b-16"], published["dreamsim-ensemble"])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_fingerprint_names_both_files_and_both_preparations(extractor, published, monkeypatch):
    monkeypatch.setattr(dreamsim, "sha256_of", lambda name: f"hash of {name}")
    spec = extractor.spec()
    assert spec["weights_sha256"] == file_sha256(published["dreamsim-ensemble"])
    assert spec["dino_sha256"] == "hash of dino-vit-b-16"
    assert spec["squash"]
    assert spec["picture"]["of"] != spec["of"]
    canonical_json(spec)
