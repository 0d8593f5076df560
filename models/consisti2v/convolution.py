"""Convolutions of channels-last images, without copies on the CPU.

Shape letters: N images, C channels in, D channels out, H, W size, I = 9*C.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .linear import linear, takes_onednn

# Up to this many pixels in all images, a convolution spends most of its time on reordering its
# kernel; as a matrix product it need not (1.7 to 2.2 times as fast).
_FEW_PIXELS = 1024


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


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution, zero-padded, of stride 1."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """(N, D, H, W)."""
        num, _, height, width = input.shape
        if num * height * width > _FEW_PIXELS or not takes_onednn(input, self.weight):
            return super().forward(input)
        padded_NHWC = F.pad(input.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        windows = [
            padded_NHWC[:, row : row + height, column : column + width]
            for row in range(3)
            for column in range(3)
        ]
        kernel_DI = self.weight.permute(0, 2, 3, 1).flatten(1)
        return linear(torch.cat(windows, dim=-1), kernel_DI, self.bias).permute(0, 3, 1, 2)
