"""3x3 convolutions with 2.25 times fewer products: Winograd's F(2x2, 3x3) (arXiv:1509.09308).

Each 4x4 window of the padded picture gives 2x2 pixels. In the transformed space the convolution is
one product per place of the window, 16 of them, where the direct way has 36 for the same pixels.
Transforms are additions and halves, so that float32 keeps its digits; bf16 would not.

Shape letters: N images, H, W size (even), C channels in, D out, R = H / 2, Q = W / 2 windows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .linear import linear, takes_onednn

# Values of the widest picture that pass through at a time: a piece's transform stays in the cache.
_PIECE = 2**20
# Fewer channels, or fewer pixels for each kernel's transform, and the direct way is as fast.
_MIN_CHANNELS = 256
_MIN_PIXELS = 512


def takes_winograd(x_NCHW: Tensor, weight_DC33: Tensor) -> bool:
    """Whether :func:`winograd_conv` is the faster way: wide layers in float32 on the CPU."""
    num, _, height, width = x_NCHW.shape
    return (
        x_NCHW.dtype == torch.float32
        and min(weight_DC33.shape[:2]) >= _MIN_CHANNELS
        and num * height * width >= _MIN_PIXELS
        and height % 2 == width % 2 == 0
        and takes_onednn(x_NCHW, weight_DC33)
    )


def winograd_conv(x_NCHW: Tensor, weight_DC33: Tensor, bias_D: Tensor | None) -> Tensor:
    """The zero-padded convolution of stride 1: channels-last (N, D, H, W).

    Args:
        x_NCHW: float32, channels-last, of even height and width.
        weight_DC33: best stored channels-last too.
        bias_D: added at the end.
    """
    num, _, height, width = x_NCHW.shape
    kernels = _transformed_kernel(weight_DC33)
    out_NHWD = x_NCHW.new_empty(num, height, width, len(weight_DC33))
    per_image = height * width * max(weight_DC33.shape[:2])
    for first in range(0, num, at_a_time := max(1, _PIECE // per_image)):
        images_NHWC = x_NCHW[first : first + at_a_time].permute(0, 2, 3, 1)
        _convolve(images_NHWC, kernels, bias_D, out_NHWD[first : first + at_a_time])
    return out_NHWD.permute(0, 3, 1, 2)


def _transformed_kernel(weight_DC33: Tensor) -> list[list[Tensor]]:
    """G g G^T: 4x4 matrices (D, C)."""
    rows = _kernel_lines([weight_DC33[:, :, k] for k in range(3)])
    # Contiguous: oneDNN multiplies by matrices with gaps a hundred times more slowly.
    return [
        [u.contiguous() for u in _kernel_lines([row[..., k] for k in range(3)])] for row in rows
    ]


def _kernel_lines(g: list[Tensor]) -> list[Tensor]:
    """G of three values: four."""
    ends = g[0] + g[2]
    return [g[0], (ends + g[1]).mul_(0.5), (ends - g[1]).mul_(0.5), g[2]]


def _convolve(
    x_NHWC: Tensor, kernels: list[list[Tensor]], bias_D: Tensor | None, out_NHWD: Tensor
) -> None:
    """Writes the convolution of a few images into ``out``."""
    height, width = x_NHWC.shape[1:3]
    padded_NHWC = F.pad(x_NHWC, (0, 0, 1, 1, 1, 1))
    # B^T d B, rows first: lists of what belongs to each line of the window.
    rows = _input_lines([padded_NHWC[:, k : k + height : 2] for k in range(4)])
    sums: list[list[Tensor]] = []
    for row, kernel_line in zip(rows, kernels, strict=True):
        columns = _input_lines([row[:, :, k : k + width : 2] for k in range(4)])
        products = [linear(v, u, None) for v, u in zip(columns, kernel_line, strict=True)]
        # A^T m A, columns first: each row of products shrinks to two before the next is made.
        sums.append(_output_lines(products))
    for x in range(2):
        for y, pixels in enumerate(_output_lines([line[x] for line in sums])):
            out_NHWD[:, y::2, x::2] = pixels if bias_D is None else pixels.add_(bias_D)


def _input_lines(d: list[Tensor]) -> list[Tensor]:
    """B^T of four values: four."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _output_lines(m: list[Tensor]) -> list[Tensor]:
    """A^T of four values: two."""
    return [(m[0] + m[1]).add_(m[2]), (m[1] - m[2]).sub_(m[3])]
