"""DINO ViT-B/16 as VBench takes it: the class token of each frame.

M. Caron et al.: Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021,
arXiv 2104.14294. The blocks are timm's, the names those of the published file. Frames keep their
shape, so positions are interpolated, in the way of the original and not of timm.

Letters: T frames, C channels, H height, W width, P patches, D = 768 features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import normalize, resize

from i2vbench.clip import Clip, Frames
from i2vbench.metric import Extractor
from i2vbench.weights import resolve, sha256_of

from .resize import as_float

WEIGHTS = "dino-vit-b-16"
SIZE_PX = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH_FRAMES = 16
"""A clip's frames go through in batches of this many, whatever other clips there are."""


class DINO(nn.Module):
    """timm's ViT-B/16 with the positions of DINO's code."""

    def __init__(self, **changes: Any) -> None:  # noqa: ANN401
        """Takes changes of timm's configuration, for smaller networks."""
        super().__init__()
        self.vit: Any = timm.create_model(
            "vit_base_patch16_224.dino",
            pretrained=False,
            num_classes=0,
            dynamic_img_size=True,
            **changes,
        )

    def forward(self, frames_TCHW: Tensor) -> Tensor:
        """The class token behind the last norm, (T, D), of normalised frames of any shape."""
        vit = self.vit
        patches_TDHW = vit.patch_embed.proj(frames_TCHW)
        tokens_TPD = patches_TDHW.flatten(2).transpose(1, 2)
        tokens_TPD = torch.cat([vit.cls_token.expand(len(tokens_TPD), -1, -1), tokens_TPD], dim=1)
        tokens_TPD = tokens_TPD + positions(vit.pos_embed, *patches_TDHW.shape[2:])
        for block in vit.blocks:
            tokens_TPD = block(tokens_TPD)
        features_TD: Tensor = vit.norm(tokens_TPD)[:, 0]
        return features_TD


def positions(embedding_1PD: Tensor, height: int, width: int) -> Tensor:
    """The embeddings (1, 1 + height * width, D) of a grid of another shape.

    Bicubic by a scale to which DINO's code adds a tenth of a patch against rounding: the positions
    are off by that, and so are all published numbers.
    """
    side = round((embedding_1PD.shape[1] - 1) ** 0.5)
    if (height, width) == (side, side):
        return embedding_1PD
    grid_1DHW = embedding_1PD[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    scaled_1DHW = F.interpolate(
        grid_1DHW, scale_factor=((height + 0.1) / side, (width + 0.1) / side), mode="bicubic"
    )
    return torch.cat([embedding_1PD[:, :1], scaled_1DHW.flatten(2).transpose(1, 2)], dim=1)


def load_dino(path: Path) -> DINO:
    """The network with the weights of ``path``, a state dict of the published names."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    with torch.random.fork_rng(devices=[]):
        network = DINO()
    network.vit.load_state_dict(state, strict=True)
    return network.requires_grad_(False).eval()


def prepare_whole(frames: Frames) -> Tensor:
    """uint8 (T, H, W, 3) -> float32 (T, 3, h, w), the shorter side 224 px, nothing cut off.

    Bilinear without antialiasing, as VBench's ``dino_transform``.
    """
    small_TCHW = resize(as_float(frames), [SIZE_PX], InterpolationMode.BILINEAR, antialias=False)
    prepared_TCHW: Tensor = normalize(small_TCHW / 255.0, list(MEAN), list(STD))
    return prepared_TCHW


class DINOExtractor(Extractor):
    """``pooled`` (T, 768) float32: the class token of each frame, as VBench prepares them."""

    name = "dino-vit-b16"
    version = "1"

    def __init__(self, *, device: str = "cpu") -> None:
        super().__init__(device=device)
        self._network = load_dino(resolve(WEIGHTS)).to(device)

    @property
    def label(self) -> str:
        """The name."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """The weights and how a frame becomes the network's input."""
        return {
            "weights_sha256": sha256_of(WEIGHTS),
            "size_px": SIZE_PX,
            "resize": "shorter side, bilinear on floats without antialias, no crop",
            "mean": list(MEAN),
            "std": list(STD),
        }

    @torch.inference_mode()
    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """``pooled`` of each clip; the prompts are not read."""
        return [{"pooled": self._pooled(clip.frames).cpu().numpy()} for clip in clips]

    def _pooled(self, frames: Frames) -> Tensor:
        starts = range(0, len(frames), BATCH_FRAMES)
        batches = (prepare_whole(frames[start : start + BATCH_FRAMES]) for start in starts)
        return torch.cat([self._network(batch.to(self.device)) for batch in batches])
