"""Resizes that published scores are defined on; which one it is decides FID and FVD.

Letters: T frames, C channels, H height, W width; I pixels of the source along a side, O of the
result.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from i2vbench.clip import Frames

BICUBIC_A = -0.5
"""Keys' parameter of Pillow; OpenCV and PyTorch without antialiasing have -0.75."""


def as_float(frames: Frames) -> Tensor:
    """uint8 (T, H, W, 3) -> float32 (T, 3, H, W) in [0, 255]."""
    return torch.from_numpy(frames.astype(np.float32)).permute(0, 3, 1, 2)


def squash(frames_TCHW: Tensor, size: int, *, antialias: bool = False) -> Tensor:
    """The whole frame on a square: bilinear, half-pixel centres.

    Args:
        frames_TCHW: float, any range.
        size: side of the square, pixels.
        antialias: whether the kernel widens when it shrinks the frame.
    """
    return F.interpolate(
        frames_TCHW, size=(size, size), mode="bilinear", align_corners=False, antialias=antialias
    )


def shorter_side(frames_TCHW: Tensor, size: int, *, antialias: bool = False) -> Tensor:
    """The centred square of the frame whose shorter side was brought to ``size``.

    The longer side is rounded up and the odd pixel of the crop is cut behind, as in the loaders of
    VideoGPT and cd-fvd. Bilinear, half-pixel centres.
    """
    height, width = frames_TCHW.shape[2:]
    scale = size / min(height, width)
    if height < width:
        scaled = (size, math.ceil(width * scale))
    else:
        scaled = (math.ceil(height * scale), size)
    resized_TCHW = F.interpolate(
        frames_TCHW, size=scaled, mode="bilinear", align_corners=False, antialias=antialias
    )
    top, left = (scaled[0] - size) // 2, (scaled[1] - size) // 2
    return resized_TCHW[:, :, top : top + size, left : left + size]


def squash_tf1(frames_TCHW: Tensor, size: int) -> Tensor:
    """The whole frame on a square as TensorFlow 1 does it: bilinear, source pixel o * I / O.

    The corner of the first pixel is its centre, so the picture moves by up to half a pixel. That
    is the resize of the original FID, and of torch-fidelity.
    """
    height, width = frames_TCHW.shape[2:]
    return _separable(frames_TCHW, tf1_weights(height, size), tf1_weights(width, size))


def squash_pillow(frames_TCHW: Tensor, size: int) -> Tensor:
    """The whole frame on a square as Pillow's BICUBIC does it on float pictures: antialiased.

    Clipped to [0, 255], where the kernel overshoots, but not rounded: clean-fid's resize.
    PyTorch's own antialiased bicubic places its kernel in single precision and is 1e-5 away.
    """
    height, width = frames_TCHW.shape[2:]
    square_TCHW = _separable(
        frames_TCHW, bicubic_weights(height, size), bicubic_weights(width, size)
    )
    return square_TCHW.clamp_(0.0, 255.0)


@functools.lru_cache(maxsize=16)
def tf1_weights(source: int, target: int) -> Tensor:
    """Matrix (O, I), float32, of TensorFlow 1's bilinear resize along one side."""
    # In single precision, as TensorFlow places its samples.
    position_O = np.arange(target, dtype=np.float32) * np.float32(source / target)
    low_O = position_O.astype(np.int64)
    high_O = np.minimum(low_O + 1, source - 1)
    fraction_O = position_O - low_O
    matrix_OI = np.zeros((target, source), np.float32)
    rows_O = np.arange(target)
    matrix_OI[rows_O, low_O] += 1 - fraction_O
    matrix_OI[rows_O, high_O] += fraction_O
    return torch.from_numpy(matrix_OI)


@functools.lru_cache(maxsize=16)
def bicubic_weights(source: int, target: int) -> Tensor:
    """Matrix (O, I), float32, of Pillow's antialiased bicubic resize along one side."""
    scale = source / target
    widening = max(scale, 1.0)
    centre_O = (np.arange(target) + 0.5) * scale
    # Pillow rounds the ends of the window and does not count what lies beyond the picture.
    first_O = np.maximum((centre_O - 2 * widening + 0.5).astype(np.int64), 0)
    last_O = np.minimum((centre_O + 2 * widening + 0.5).astype(np.int64), source)
    pixel_I = np.arange(source)
    distance_OI = np.abs(pixel_I + 0.5 - centre_O[:, None]) / widening
    near_OI = ((BICUBIC_A + 2) * distance_OI - (BICUBIC_A + 3)) * distance_OI**2 + 1
    far_OI = BICUBIC_A * (((distance_OI - 5) * distance_OI + 8) * distance_OI - 4)
    matrix_OI = np.where(distance_OI < 1, near_OI, np.where(distance_OI < 2, far_OI, 0.0))
    matrix_OI[(pixel_I < first_O[:, None]) | (pixel_I >= last_O[:, None])] = 0.0
    matrix_OI /= matrix_OI.sum(axis=1, keepdims=True)
    return torch.from_numpy(matrix_OI.astype(np.float32))


def _separable(frames_TCHW: Tensor, rows_OH: Tensor, columns_OW: Tensor) -> Tensor:
    """Two matrix products: several times as fast as gathering the four neighbours."""
    rows_OH, columns_OW = rows_OH.to(frames_TCHW.device), columns_OW.to(frames_TCHW.device)
    return rows_OH @ (frames_TCHW @ columns_OW.T)
