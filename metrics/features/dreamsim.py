"""DreamSim (S. Fu et al., NeurIPS 2023, arXiv 2306.09344): what people call alike.

Three vision transformers, DINO's and two of CLIP, each changed by a low-rank adapter; their
embeddings one behind the other. Written anew on timm's transformer: the authors' package takes
DINO's program from the network when it loads.

Letters: T frames, C channels, H, W pixels, D features, R rank.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.transformer import QuickGELU
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import normalize

from i2vbench.weight_loading import (
    check_finite,
    fill,
    fitting,
    load_state_dict,
    read_file,
    tensors_of,
)
from i2vbench.weights import digest, resolve, sha256_of

from .dino import WEIGHTS as DINO_WEIGHTS
from .dino import vision_transformer
from .pooled import PooledExtractor
from .preparation import Preparation

WEIGHTS = "dreamsim-ensemble"
CLIP_NORM_EPS = 1e-5

State = dict[str, Tensor]


class Tower(nn.Module):
    """One transformer, its mean and deviation, and how its class token is read."""

    projection: Tensor | None

    def __init__(
        self,
        vit: VisionTransformer,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        projection: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.vit = vit
        self._mean, self._std = list(mean), list(std)
        self.register_buffer("projection", projection)

    def forward(self, frames_TCHW: Tensor) -> Tensor:
        """The class token's embedding (T, D) of frames in [0, 1]."""
        tokens = self.vit.forward_features(normalize(frames_TCHW, self._mean, self._std))
        class_token_TD: Tensor = tokens[:, 0]
        return class_token_TD if self.projection is None else class_token_TD @ self.projection


class DreamSim(nn.Module):
    """The ensemble."""

    def __init__(self, towers: list[Tower]) -> None:
        super().__init__()
        self.towers = nn.ModuleList(towers)

    def forward(self, frames_TCHW: Tensor) -> Tensor:
        """Embeddings (T, D), each of mean 0 and length 1, of frames (T, 3, 224, 224) in [0, 1]."""
        towers_TD = torch.cat([tower(frames_TCHW) for tower in self.towers], dim=1)
        centred_TD = towers_TD - towers_TD.mean(dim=1, keepdim=True)
        embedding_TD: Tensor = centred_TD / centred_TD.norm(dim=1, keepdim=True)
        return embedding_TD


def load_dreamsim(dino: Path, ensemble: Path) -> DreamSim:
    """The network with the published weights, its adapters merged, in eval mode.

    Args:
        dino: DINO's own file.
        ensemble: DreamSim's archive, which is read where it lies.

    Raises:
        MissingWeightsError: the archive lacks a file, or one of them is not this network's.
    """
    states = [load_state_dict(dino, name=DINO_WEIGHTS, network="DINO ViT")]
    with fitting(ensemble, name=WEIGHTS, network="ensemble of DreamSim's"):
        with _opened(ensemble) as archive:
            for name in ("clip", "open_clip"):
                content = io.BytesIO(archive.read(f"{name}_vitb16_pretrain.pth.tar"))
                states.append(tensors_of(read_file(content), under="state_dict"))
            config = json.loads(archive.read("ensemble_lora/adapter_config.json"))
            adapter = _adapter(archive)
        merge_adapter(states, adapter, scale=config["lora_alpha"] / config["r"])
        towers = [_dino_tower(states[0]), *map(_clip_tower, states[1:], (QuickGELU, nn.GELU))]
    return DreamSim(towers).eval().requires_grad_(False)


def merge_adapter(states: list[State], adapter: Mapping[str, Tensor], *, scale: float) -> None:
    """Adds each pair's product to the weight that it adapts, in place.

    Args:
        states: of the towers, in the order of the ensemble.
        adapter: under the names that the package peft gives them.
        scale: of the products.

    Raises:
        LookupError: a tower or a weight that is not there.
        ValueError: no pair, or what is no half of one.
    """
    down, up = ".lora_A.weight", ".lora_B.weight"
    names = [name.removesuffix(down) for name in adapter if name.endswith(down)]
    if not names or len(adapter) != 2 * len(names):
        raise ValueError(f"{len(adapter)} tensors of an adapter, of them {len(names)} with {down}")
    for name in names:
        number, _, layer = name.removeprefix("base_model.model.extractor_list.").partition(
            ".model."
        )
        low_RD, high_DR = adapter[name + down].float(), adapter[name + up].float()
        state, weight = states[int(number)], f"{layer}.weight"
        state[weight] = state[weight].float() + scale * (high_DR @ low_RD)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError("its archive is damaged or cut off") from error


def _adapter(archive: zipfile.ZipFile) -> State:
    name = "ensemble_lora/adapter_model"
    ending = "safetensors" if f"{name}.safetensors" in archive.namelist() else "bin"
    return tensors_of(read_file(io.BytesIO(archive.read(f"{name}.{ending}"))))


def _dino_tower(state: State) -> Tower:
    vit = vision_transformer(state)
    # DreamSim reads what the last block gives, before the norm.
    vit.norm = nn.Identity()
    return Tower(vit, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


def _clip_tower(state: State, activation: Callable[[], nn.Module]) -> Tower:
    """CLIP under the names of DINO, but for its norm before the blocks and its projection."""
    state = dict(state)
    projection = state.pop("proj").float()
    before = {part: state.pop(f"pos_drop.{part}").float() for part in ("weight", "bias")}
    vit = vision_transformer(state)
    vit.norm_pre = nn.LayerNorm(vit.embed_dim)
    fill(vit.norm_pre, before)
    check_finite({"proj": projection})
    for module in vit.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = CLIP_NORM_EPS
        elif isinstance(module, Mlp):
            module.act = activation()
    return Tower(vit, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD, projection)


class DreamSimExtractor(PooledExtractor):
    """Array ``pooled`` (T, 1792), float32, unit length: the ensemble's embedding of each frame.

    As VBench-I2V's ``i2v_background`` prepares them (commit 45e79ec): squashed to 224 px squares,
    bicubic. Frames are resized as floats, with antialiasing, which is what torchvision has done
    since 0.17 where nobody says otherwise; the picture is resized by Pillow.
    """

    name = "dreamsim"
    version = "1"
    preparation = Preparation(
        shorter_side_px=224,
        squash=True,
        crop_px=None,
        interpolation=InterpolationMode.BICUBIC,
        antialias=True,
        # Each tower has its own.
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    picture_preparation = dataclasses.replace(preparation, pillow=True)

    def _load(self) -> DreamSim:
        dino, ensemble = resolve(DINO_WEIGHTS), resolve(WEIGHTS)
        self._weights_sha256 = digest(ensemble)
        return load_dreamsim(dino, ensemble)

    def spec(self) -> dict[str, Any]:
        """Both files and both preparations."""
        return {
            "weights_sha256": self._weights_sha256,
            "dino_sha256": sha256_of(DINO_WEIGHTS),
            **super().spec(),
        }
