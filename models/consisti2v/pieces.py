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
# Tokens that pass through a transformer at a time: what they leave behind stays in the cache.
_PIECE_TOKENS = 4096


def takes_pieces(x: Tensor) -> bool:
    """Whether a layer should go piece by piece: on the CPU, and not where a graph is built.

    A graph keeps every piece alive, so that they would save nothing.
    """
    builds_graph = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return x.device.type == "cpu" and not builds_graph


def images_at_a_time(x_NCHW: Tensor, channels: int) -> int:
    """How many images of ``x``'s size, with ``channels`` channels, make a piece."""
    num, _, height, width = x_NCHW.shape
    if not takes_pieces(x_NCHW):
        return num
    image_bytes = channels * height * width * x_NCHW.element_size()
    return min(num, max(1, _PIECE_BYTES // image_bytes))


def tokens_at_a_time(x_NCHW: Tensor) -> int:
    """How many pixels of images make a piece of a transformer; all of them off the CPU."""
    num, _, height, width = x_NCHW.shape
    total = num * height * width
    return min(total, _PIECE_TOKENS) if takes_pieces(x_NCHW) else total
