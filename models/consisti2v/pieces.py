"""How many images a layer takes at a time on the CPU.

The C library hands memory of more than 32 MB back to the system when a tensor dies, and the next
tensor of that size is paid for page by page: a resnet of 960 channels took 209 ms at once and 168
ms eight images at a time (bf16, best of twelve). Layers that treat images one by one therefore take
a few at a time, with the same result.

Shape letters: N images, C channels, H, W size.
"""

from __future__ import annotations

import torch
from torch import Tensor

_PIECE_BYTES = 2**24


def images_at_a_time(x_NCHW: Tensor, channels: int) -> int:
    """How many images of ``x``'s size, with ``channels`` channels, make a piece; all off the CPU.

    All as well where a graph is built, which keeps every piece alive.
    """
    num, _, height, width = x_NCHW.shape
    if x_NCHW.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return num
    image_bytes = channels * height * width * x_NCHW.element_size()
    return min(num, max(1, _PIECE_BYTES // image_bytes))
