"""What networks of pictures expect: frames resized by their shorter side, cropped, normalised.

Letters: T frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torchvision.transforms.functional as TF  # noqa: N812
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode

from i2vbench.clip import Frames

from .resize import as_float


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Resize by torchvision or by Pillow, crop, mean and deviation."""

    shorter_side_px: int
    """What the shorter side becomes; the longer one is rounded down, as torchvision does it."""
    squash: bool = False
    """Whether both sides become that long, whatever the frame's shape."""
    crop_px: int | None
    """Side of the centred square that is kept; None keeps the whole frame."""
    interpolation: InterpolationMode
    antialias: bool
    """Of float tensors; Pillow always does."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    pillow: bool = False
    """Resize 8-bit pictures, so that each pixel is rounded and clipped; else floats, neither."""
    rounded: bool = False
    """Clip and round the floats that were resized, as torchvision does with 8-bit tensors."""

    def __call__(self, frames: Frames) -> Tensor:
        """uint8 (T, H, W, 3) -> float32 (T, 3, h, w), normalised."""
        resized_TCHW = self._pillow(frames) if self.pillow else self._tensor(frames)
        if self.crop_px is not None:
            resized_TCHW = TF.center_crop(resized_TCHW, [self.crop_px, self.crop_px])
        normal_TCHW: Tensor = TF.normalize(resized_TCHW / 255, list(self.mean), list(self.std))
        return normal_TCHW

    def spec(self) -> dict[str, Any]:
        """The constants (JSON values)."""
        return {
            "shorter_side_px": self.shorter_side_px,
            "crop_px": self.crop_px,
            "interpolation": self.interpolation.value,
            "antialias": self.antialias or self.pillow,
            "mean": list(self.mean),
            "std": list(self.std),
            "of": self._resized(),
        } | ({"squash": True} if self.squash else {})

    @property
    def _size(self) -> list[int]:
        return [self.shorter_side_px] * (2 if self.squash else 1)

    def _resized(self) -> str:
        if self.pillow:
            return "8-bit pictures (Pillow)"
        return "8-bit tensors" if self.rounded else "floats in 0..255, not clipped"

    def _tensor(self, frames: Frames) -> Tensor:
        resized_TCHW: Tensor = TF.resize(
            as_float(frames), self._size, self.interpolation, antialias=self.antialias
        )
        return resized_TCHW.clamp(0, 255).round() if self.rounded else resized_TCHW

    def _pillow(self, frames: Frames) -> Tensor:
        pictures = (
            TF.resize(Image.fromarray(frame), self._size, self.interpolation) for frame in frames
        )
        return torch.stack([TF.pil_to_tensor(picture) for picture in pictures]).float()


def batches(frames: Frames, size: int) -> Iterator[Frames]:
    """The frames in runs of ``size``, the last one shorter; bounds memory on long clips."""
    for start in range(0, len(frames), size):
        yield frames[start : start + size]
