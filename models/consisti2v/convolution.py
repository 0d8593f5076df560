"""Convolutions of channels-last images, without copies on the CPU.

Shape letters: N images, C channels in, D channels out, H, W size, I channels of a window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .linear import linear, takes_onednn
from .winograd import takes_winograd, winograd_conv

# Up to this many pixels in all images, a convolution spends much of its time on reordering its
# kernel; as a matrix product it need not (1.2 to 2.2 times as fast).
_FEW_PIXELS = 2048


def channels_last(x_NCHW: Tensor) -> Tensor:
    """The same tensor in channels-last memory, where 2D and temporal layers need no copies."""
    return x_NCHW.contiguous(memory_format=torch.channels_last)


def order_kernels(network: nn.Module) -> None:
    """Stores the kernels of convolutions channels-last, as images are: no call reorders them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = channels_last(module.weight.data)
        elif isinstance(module, nn.Conv3d):
            order = torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=order)


def has_few_pixels(x_NCHW: Tensor, weight_DC: Tensor) -> bool:
    """Whether :func:`product_conv` is the faster way to convolve ``x`` in inference on the CPU."""
    num, _, height, width = x_NCHW.shape
    return num * height * width <= _FEW_PIXELS and takes_onednn(x_NCHW, weight_DC)


def product_conv(x_NHWC: Tensor, weight_DCKL: Tensor, bias_D: Tensor | None) -> Tensor:
    """The convolution of ``x``, without padding, as a matrix product: channels-last (N, D, H', W').

    The kernel has K rows and L columns; where it is stored channels-last, it is not copied.
    """
    num_rows, num_columns = weight_DCKL.shape[2:]
    height, width = x_NHWC.shape[1] - num_rows + 1, x_NHWC.shape[2] - num_columns + 1
    windows = [
        x_NHWC[:, row : row + height, column : column + width]
        for row in range(num_rows)
        for column in range(num_columns)
    ]
    kernel_DI = weight_DCKL.permute(0, 2, 3, 1).flatten(1)
    return linear(torch.cat(windows, dim=-1), kernel_DI, bias_D).permute(0, 3, 1, 2)


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution, zero-padded, of stride 1."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """(N, D, H, W)."""
        if takes_winograd(input, self.weight):
            return winograd_conv(input, self.weight, self.bias)
        if not has_few_pixels(input, self.weight):
            return super().forward(input)
        padded_NHWC = F.pad(input.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        return product_conv(padded_NHWC, self.weight, self.bias)
