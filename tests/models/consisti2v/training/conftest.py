"""Small videos, and an image model to start from."""

import json
import shutil

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import save_file

from i2vbench.clip import Clip
from i2vbench.models.consisti2v.training.network import TEMPORAL
from i2vbench.models.consisti2v.unet import ConsistI2VUNet
from i2vbench.video_io import write_video

NUM_VIDEOS = 5


@pytest.fixture(autouse=True)
def _fresh_accelerate():
    """Its settings are of the process: a test with another precision would find the last one's."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def image_model(tmp_path_factory, _stored_checkpoint, small_unet_config):
    """As Stable Diffusion 2.1: a UNet without a layer across frames."""
    folder = tmp_path_factory.mktemp("base")
    shutil.copytree(_stored_checkpoint, folder, dirs_exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = ConsistI2VUNet.from_config(small_unet_config).state_dict()
    image = {key: value for key, value in state.items() if not any(t in key for t in TEMPORAL)}
    save_file(image, folder / "unet" / "diffusion_pytorch_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """A folder with `list.jsonl` and five videos of 12 to 16 frames."""
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    rows = []
    for index in range(NUM_VIDEOS):
        frames = rng.integers(0, 255, (12 + index, 40, 48, 3), dtype=np.uint8)
        write_video(folder / f"{index}.mp4", Clip(frames=frames, fps=8))
        rows.append(json.dumps({"text": f"snow sky {index}", "file": f"/data/{index}.mp4"}))
    (folder / "list.jsonl").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def quick_recipe(image_model, videos):
    """Of a training that takes a second; not to be changed."""
    return {
        "pretrained": str(image_model),
        "webvid_json": str(videos / "list.jsonl"),
        "webvid_folder": str(videos),
        "num_frames": 4,
        "size_px": 32,
        "n_temp_heads": 4,
        "batch_size": 2,
        "steps": 5,
        "num_workers": 0,
        "mixed_precision": "fp32",
        "learning_rate": 1e-3,
        "save_every": 2,
        "ema": True,
    }


@pytest.fixture
def values(quick_recipe):
    """A copy of the quick recipe."""
    return dict(quick_recipe)
