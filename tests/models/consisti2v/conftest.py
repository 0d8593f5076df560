"""Recorded numbers and a small random checkpoint; tests/data/consisti2v/README.md says whence."""

import gzip
import json
import lzma
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load, load_file, save_file

from i2vbench.models.consisti2v.unet import ConsistI2VUNet

DATA = Path(__file__).resolve().parents[2] / "data" / "consisti2v"

SMALL_UNET = {
    "sample_size": 8,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [32, 32],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": [2, 2],
    "cross_attention_dim": 32,
    "n_frames": 4,
    "n_temp_heads": 4,
    "first_frame_condition_mode": "concat",
    "augment_temporal_attention": True,
    "temp_pos_embedding": "rotary",
    "use_frame_stride_condition": True,
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Networks this small only lose by a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def components() -> Path:
    return DATA / "components"


@pytest.fixture(scope="session")
def unet_cases() -> SimpleNamespace:
    index = json.loads((DATA / "unet_cases.json").read_text())
    packed = (DATA / "unet_weights.safetensors.xz").read_bytes()
    weights = {key: tensor.float() for key, tensor in load(lzma.decompress(packed)).items()}
    return SimpleNamespace(
        **index, tensors=load_file(DATA / "unet_cases.safetensors"), weights=weights
    )


@pytest.fixture(scope="session")
def full_unet() -> SimpleNamespace:
    return SimpleNamespace(**json.loads(gzip.decompress((DATA / "unet_full.json.gz").read_bytes())))


@pytest.fixture(scope="session")
def frameinit_cases() -> SimpleNamespace:
    index = json.loads((DATA / "frameinit.json").read_text())
    return SimpleNamespace(**index, tensors=load_file(DATA / "frameinit.safetensors"))


@pytest.fixture(scope="session")
def pipeline_cases() -> SimpleNamespace:
    index = json.loads((DATA / "pipeline_cases.json").read_text())
    return SimpleNamespace(cases=index, tensors=load_file(DATA / "pipeline_cases.safetensors"))


@pytest.fixture(scope="session")
def small_unet_config() -> dict[str, Any]:
    return SMALL_UNET


@pytest.fixture(scope="session")
def small_unet() -> ConsistI2VUNet:
    """Random, with every branch open."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = ConsistI2VUNet.from_config(SMALL_UNET)
        with torch.no_grad():
            for name, parameter in unet.named_parameters():
                if name.endswith("alpha"):
                    parameter.fill_(0.5)
                elif "frame_stride_embedding.linear_2" in name:
                    parameter.normal_(0, 0.05)
                parameter.copy_(parameter.half())
    return unet.eval()


@pytest.fixture(scope="session")
def _stored_checkpoint(tmp_path_factory, components, small_unet) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    for part in ("text_encoder", "tokenizer", "scheduler"):
        shutil.copytree(components / part, folder / part)
    (folder / "unet").mkdir()
    (folder / "unet" / "config.json").write_text(json.dumps(SMALL_UNET))
    half = {key: tensor.half() for key, tensor in small_unet.state_dict().items()}
    save_file(half, folder / "unet" / "diffusion_pytorch_model.safetensors")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
        )
    vae.save_pretrained(folder / "vae")
    return folder


@pytest.fixture
def checkpoint(tmp_path, _stored_checkpoint) -> Path:
    """A folder that the test may damage: UNet of 4 frames, VAE of factor 4, 32 pixels."""
    return Path(shutil.copytree(_stored_checkpoint, tmp_path / "checkpoint"))
