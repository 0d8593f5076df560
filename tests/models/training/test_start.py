"""Networks in `weights/`, from which the tiny checkpoint's training goes on."""

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
FOLDERS = pytest.mark.parametrize(
    "folder", sorted(WEIGHTS.iterdir()), ids=lambda folder: folder.name
)


@FOLDERS
def test_its_network_is_the_present_one(folder):
    """Of today's configuration, or some attention layers would begin anew without a word."""
    stored = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    config = json.loads((folder / "unet" / "config.json").read_text())
    channels = {"in_channels": config["in_channels"], "out_channels": config["out_channels"]}
    unet = ConsistI2VUNet.from_config({**UNET_CONFIG, **channels, "n_frames": 16})
    assert {name: tensor.shape for name, tensor in stored.items()} == {
        name: tensor.shape for name, tensor in unet.state_dict().items()
    }
    parts = load_parts(TINY_FOLDER / "vae", folder)
    assert parts.encode_text(["a star"]).shape[-1] == config["cross_attention_dim"]


@FOLDERS
def test_its_page_speaks_of_these_files(folder):
    """Weights that were replaced without their page would stand beside another network's error."""
    listed = re.findall(r"\| `(\S+)` \| ([0-9a-f]{64}) \|", (folder / "README.md").read_text())
    weights = {path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")}
    assert {name for name, _ in listed} == weights
    for name, sha256 in listed:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256
