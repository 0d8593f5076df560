"""The networks in `weights/`, from which the tiny checkpoint's training goes on."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from safetensors.torch import load_file

from i2vbench.models.consisti2v.adapter import TINY_FOLDER
from i2vbench.models.consisti2v.training.tiny_recipe import UNET_CONFIG
from i2vbench.models.consisti2v.training.unet import load_parts
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

WEIGHTS = Path(__file__).parents[3] / "weights"
STARTS = sorted(path for path in WEIGHTS.iterdir() if path.is_dir())


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.name)
def test_its_network_is_the_present_one(start):
    """Of today's configuration, or some attention layers would begin anew without a word."""
    stored = load_file(start / "unet" / "diffusion_pytorch_model.safetensors")
    config = json.loads((start / "unet" / "config.json").read_text())
    channels = {"in_channels": config["in_channels"], "out_channels": config["out_channels"]}
    unet = ConsistI2VUNet.from_config({**UNET_CONFIG, **channels, "n_frames": 16})
    assert {name: tensor.shape for name, tensor in stored.items()} == {
        name: tensor.shape for name, tensor in unet.state_dict().items()
    }
    parts = load_parts(TINY_FOLDER / "vae", TINY_FOLDER)
    assert parts.vae.config.latent_channels == config["in_channels"]
    assert parts.encode_text(["a star"]).shape[-1] == config["cross_attention_dim"]


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.name)
def test_its_page_speaks_of_these_files(start):
    """Weights that were replaced without their page would stand beside another network's error.

    So would a shipped text tower that is no longer the one which this network listens to.
    """
    listed = dict(re.findall(r"\| `(\S+)` \| ([0-9a-f]{64}) \|", (start / "README.md").read_text()))
    root = WEIGHTS.parent
    tower = TINY_FOLDER / "text_encoder" / "model.safetensors"
    found = {path.relative_to(root).as_posix(): path for path in start.rglob("*.safetensors")}
    found["models/consisti2v/tiny/text_encoder/model.safetensors"] = tower
    assert listed == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()
    }
