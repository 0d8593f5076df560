"""Records what the package dreamsim makes of seeded weights; see README.md.

From the root of the repository: ``PYTHONPATH=. python tests/data/dreamsim/record.py``.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import torch
from dreamsim import PerceptualModel, dreamsim
from dreamsim.feature_extraction import load_clip_as_dino, load_open_clip_as_dino
from dreamsim.feature_extraction.vision_transformer import VisionTransformer
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from tests.metrics.test_dreamsim import CLIPS, write_ensemble

HERE = Path(__file__).parent
PLACE = Path(tempfile.mkdtemp())
HEAD = {
    f"module.head.mlp.{i}.{part}": torch.zeros(1) for i in (0, 2, 4) for part in ("weight", "bias")
}

small_vit = functools.partial(
    VisionTransformer,
    embed_dim=64,
    depth=12,
    num_heads=1,
    qkv_bias=True,
    norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
)


def shapes_of(state: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    """Key -> shape."""
    return {key: list(tensor.shape) for key, tensor in state.items()}


def hub(*_: object) -> torch.nn.Module:
    """In the place of torch.hub: DINO's network, whose copy the package has."""
    network = small_vit(patch_size=16)
    network.load_state_dict(torch.load(PLACE / "dino.pth", weights_only=True))
    return network


# 1. The names of the files: what the package loads strictly, and what peft writes.
dino = shapes_of(small_vit(patch_size=16).state_dict())
clip = {**dino, "pos_drop.weight": [64], "pos_drop.bias": [64], "proj": [64, 32]}
keys = {"dino": dino, "clip": clip, "open_clip": clip, "adapter": {}}
torch.hub.load = hub
for module in (load_clip_as_dino, load_open_clip_as_dino):
    module.vit_base = small_vit


def unpack() -> None:
    """The archive as the package keeps it, beside what the package wants and does not read."""
    write_ensemble(PLACE, keys)
    with zipfile.ZipFile(PLACE / "ensemble.zip") as archive:
        archive.extractall(PLACE)
    head = {**HEAD, "module.head.last_layer.weight": torch.zeros(1)}
    torch.save({"student": head}, PLACE / "dino_vitb16_pretrain.pth")


unpack()
config = LoraConfig(r=4, lora_alpha=2, lora_dropout=0.3, bias="none", target_modules=["qkv"])
args = {"feat_type": "cls,embedding,embedding", "stride": "16,16,16", "lora": True}
types = "dino_vitb16,clip_vitb16,open_clip_vitb16"
plain = PerceptualModel(model_type=types, load_dir=str(PLACE), device="cpu", **args)
get_peft_model(plain, config).save_pretrained(PLACE / "lora")
keys["adapter"] = shapes_of(load_file(PLACE / "lora" / "adapter_model.safetensors"))
(HERE / "keys.json").write_text(json.dumps(keys) + "\n")
shutil.copy(PLACE / "lora" / "adapter_config.json", HERE / "adapter_config.json")

# 2. What it makes of frames and pictures as VBench-I2V prepares them.
unpack()
with contextlib.redirect_stdout(io.StringIO()):
    network, _ = dreamsim(pretrained=True, device="cpu", cache_dir=str(PLACE))
size = transforms.Resize((224, 224), interpolation=InterpolationMode.BICUBIC)
recorded = {}
for index, each in enumerate(CLIPS):
    frames = size(torch.Tensor(each.frames).permute(0, 3, 1, 2)).float().div(255.0)
    picture = transforms.ToTensor()(size(Image.fromarray(each.frames[0])))
    with torch.no_grad():
        recorded[f"{index}.frames"] = torch.cat([network.embed(frame[None]) for frame in frames])
        recorded[f"{index}.picture"] = network.embed(picture[None])
save_file(recorded, HERE / "embeddings.safetensors")
