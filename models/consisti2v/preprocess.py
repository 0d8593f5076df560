"""Pictures to the tensors that the VAE takes.

Shape letters: C = 3 channels, H, W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor


def to_tensor(picture: NDArray[np.uint8]) -> Tensor:
    """(3, H, W) float32 in [0, 1] from uint8 (H, W, 3) RGB."""
    return torch.tensor(picture).permute(2, 0, 1).float() / 255


def resize_shorter(image_CHW: Tensor, shorter: int) -> Tensor:
    """The picture with its shorter side ``shorter`` and the longer one rounded down.

    Bilinear on pixel centres without antialiasing, as the published numbers were made.
    """
    height, width = image_CHW.shape[1:]
    longer = int(shorter * max(height, width) / min(height, width))
    size = (shorter, longer) if height <= width else (longer, shorter)
    if size == (height, width):
        return image_CHW
    return F.interpolate(image_CHW[None], size=size, mode="bilinear", align_corners=False)[0]


def center_crop(image_CHW: Tensor, height: int, width: int) -> Tensor:
    """The middle (3, height, width); an odd margin is halved with ties to even."""
    top = round((image_CHW.shape[1] - height) / 2)
    left = round((image_CHW.shape[2] - width) / 2)
    return image_CHW[:, top : top + height, left : left + width]


def fit(image_CHW: Tensor, height: int, width: int) -> Tensor:
    """(3, height, width) in the range of the input: resized to cover the frame, centre-cropped.

    The original resizes the shorter side to ``height`` always, and pads with black where that
    leaves the picture too narrow; here it grows until it covers. Square frames come out the same.
    """
    short, long = sorted(image_CHW.shape[1:])
    landscape = image_CHW.shape[2] >= image_CHW.shape[1]
    shorter = height
    covered = int(shorter * long / short)
    across, along = (height, width) if landscape else (width, height)
    if shorter < across or covered < along:
        shorter = max(across, -(-along * short // long))
    return center_crop(resize_shorter(image_CHW, shorter), height, width)


def normalise(image: Tensor) -> Tensor:
    """[0, 1] to [-1, 1]."""
    return image * 2 - 1
