"""Doubling the size by nearest neighbours and a 3x3 convolution, without the doubled picture.

Each output pixel sees only 2x2 different inputs: four convolutions of size 2, one for each place in
a doubled pixel, give the same sums with 16 products instead of 36.

Shape letters: N images, C channels in, D channels out, H, W size before.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .convolution import has_few_pixels, order_kernels, product_conv


def doubled_conv(x_NCHW: Tensor, weight_DC33: Tensor, bias_D: Tensor | None) -> Tensor:
    """conv3x3(nearest(x, 2)), zero-padded: (N, D, 2H, 2W) in channels-last memory."""
    num, _, height, width = x_NCHW.shape
    padded = F.pad(x_NCHW, (1, 1, 1, 1))
    out = x_NCHW.new_empty(num, height, 2, width, 2, weight_DC33.shape[0])
    for i, rows in enumerate(_pairs(weight_DC33.float(), 2)):
        for j, kernel in enumerate(_pairs(rows, 3)):
            window = padded[:, :, i : i + height + 1, j : j + width + 1]
            kernel = kernel.to(weight_DC33.dtype)
            if has_few_pixels(x_NCHW, kernel):
                part = product_conv(window.permute(0, 2, 3, 1), kernel, bias_D)
            else:
                part = F.conv2d(window, kernel, bias_D)
            out[:, :, i, :, j] = part.permute(0, 2, 3, 1)
    return out.view(num, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def _pairs(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Kernels of two along an axis of three, for even and for odd places."""
    first, second, third = weight.unbind(axis)
    return torch.stack([first, second + third], axis), torch.stack([first + second, third], axis)


class UpsamplingConv(nn.Conv2d):
    """A 3x3 convolution of the picture that nearest neighbours make larger."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x_NCHW: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(N, C, *size); twice the size if None."""
        doubled = (2 * x_NCHW.shape[2], 2 * x_NCHW.shape[3])
        if size in (None, doubled) and not torch.is_grad_enabled():
            return doubled_conv(x_NCHW, self.weight, self.bias)
        return super().forward(F.interpolate(x_NCHW, size=size or doubled, mode="nearest"))


class _VaeUpsample(nn.Module):
    """Diffusers' ``Upsample2D`` with a convolution, under the same keys."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        with torch.device("meta"):
            self.conv = UpsamplingConv(conv.in_channels)
        self.conv.weight, self.conv.bias = conv.weight, conv.bias

    def forward(self, hidden_states: Tensor) -> Tensor:
        out: Tensor = self.conv(hidden_states)
        return out


def speed_up_vae(vae: Any) -> None:  # noqa: ANN401
    """Gives an ``AutoencoderKL`` channels-last weights and the doubling above; same function."""
    order_kernels(vae)
    for block in vae.decoder.up_blocks:
        for number, upsampler in enumerate(block.upsamplers or ()):
            block.upsamplers[number] = _VaeUpsample(upsampler.conv)
