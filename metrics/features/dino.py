"""DINO ViT-B/16 (M. Caron et al., ICCV 2021, arXiv 2104.14294): what a frame shows.

The published file has the names of timm's vision transformer; the original differs from timm in
one thing, how it stretches the position embedding over frames that are not 224 px squares.

Letters: T frames, C channels, H, W pixels, P patches, D = 768 features.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torchvision.transforms import InterpolationMode

from i2vbench.weight_loading import fill, fitting, load_state_dict
from i2vbench.weights import resolve, sha256_of

from .pooled import PooledExtractor
from .preparation import Preparation

WEIGHTS = "dino-vit-b-16"
HEAD_WIDTH = 64


class DINO(torch.nn.Module):
    """The network of the published file, for inference alone."""

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, frames_TCHW: Tensor) -> Tensor:
        """The class token after the last norm.

        Args:
            frames_TCHW: float (T, 3, H, W), normalised; what is left of 16 px is not read.

        Returns:
            (T, D).
        """
        vit = self.vit
        patches_TDHW = vit.patch_embed.proj(frames_TCHW)
        rows, columns = patches_TDHW.shape[2:]
        tokens_TPD = patches_TDHW.flatten(2).transpose(1, 2)
        class_token_11D, positions_1PD = vit.cls_token, vit.pos_embed
        # timm has vision transformers without either; load_dino makes none.
        assert class_token_11D is not None
        assert positions_1PD is not None
        tokens_TPD = torch.cat([class_token_11D.expand(len(tokens_TPD), -1, -1), tokens_TPD], dim=1)
        tokens_TPD = tokens_TPD + stretched_positions(positions_1PD, rows, columns)
        features_TD: Tensor = vit.norm(vit.blocks(tokens_TPD))[:, 0]
        return features_TD


def stretched_positions(positions_1PD: Tensor, rows: int, columns: int) -> Tensor:
    """The position embedding of a square, stretched over ``rows`` x ``columns`` patches.

    Bicubic. The original adds 0.1 patch to either side against a rounding error, and samples with
    that factor; so an embedding of another length than the square's is a little too narrow.

    Args:
        positions_1PD: (1, 1 + side * side, D), the class token's first.
        rows: patches from top to bottom.
        columns: patches from left to right.

    Returns:
        (1, 1 + rows * columns, D).
    """
    side = math.isqrt(positions_1PD.shape[1] - 1)
    if (rows, columns) == (side, side):
        return positions_1PD
    square_1DHW = positions_1PD[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    stretched_1DHW = F.interpolate(
        square_1DHW,
        scale_factor=((rows + 0.1) / side, (columns + 0.1) / side),
        mode="bicubic",
    )
    return torch.cat([positions_1PD[:, :1], stretched_1DHW.flatten(2).transpose(1, 2)], dim=1)


def load_dino(path: Path) -> DINO:
    """The network with the weights of ``path``, a state dict with the names of the original.

    Raises:
        MissingWeightsError: the file's tensors are not this network's.
    """
    state = load_state_dict(path, name=WEIGHTS, network="DINO ViT")
    with fitting(path, name=WEIGHTS, network="DINO ViT"):
        vit = vision_transformer(state)
    return DINO(vit).requires_grad_(False).eval()


def vision_transformer(state: Mapping[str, Tensor]) -> VisionTransformer:
    """The transformer of timm with the weights of a state dict that has DINO's names.

    Raises:
        LookupError, RuntimeError, ValueError: names are missing, or there are others.
    """
    width = state["cls_token"].shape[-1]
    patch = state["patch_embed.proj.weight"].shape[-1]
    with torch.device("meta"):
        vit = VisionTransformer(
            img_size=patch * math.isqrt(state["pos_embed"].shape[1] - 1),
            patch_size=patch,
            num_classes=0,
            embed_dim=width,
            depth=sum(key.endswith(".norm1.weight") for key in state),
            num_heads=width // HEAD_WIDTH,
            weight_init="skip",
        )
    fill(vit, {key: tensor.float() for key, tensor in state.items()}, assign=True)
    return vit


class DINOExtractor(PooledExtractor):
    """Array ``pooled`` (T, 768), float32: the class token of each frame, not of unit length.

    The frame as VBench's subject consistency prepares it (``dino_transform``, commit 45e79ec): its
    shorter side brought to 224 px, bilinear without antialiasing, nothing cropped.
    """

    name = "dino-vit-b16"
    version = "1"
    dtypes = ("fp32", "bf16")
    backends = ("torch", "openvino")
    preparation = Preparation(
        shorter_side_px=224,
        crop_px=None,
        interpolation=InterpolationMode.BILINEAR,
        antialias=False,
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
    )

    def _load(self) -> DINO:
        return load_dino(resolve(WEIGHTS))

    def spec(self) -> dict[str, Any]:
        """The weights and how a frame becomes the network's input."""
        return {"weights_sha256": sha256_of(WEIGHTS), **super().spec()}


class I2VSubjectDINOExtractor(DINOExtractor):
    """The same array of the frames as VBench-I2V's ``i2v_subject`` prepares them.

    Shorter side to 256 px, bicubic, then the centred square of 224 px. Frames are resized as
    floats, with antialiasing, which is what torchvision has done since 0.17 where nobody says
    otherwise; the picture is resized by Pillow.
    """

    name = "dino-vit-b16-i2v"
    preparation = Preparation(
        shorter_side_px=256,
        crop_px=224,
        interpolation=InterpolationMode.BICUBIC,
        antialias=True,
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
    )
    picture_preparation = dataclasses.replace(preparation, pillow=True)
