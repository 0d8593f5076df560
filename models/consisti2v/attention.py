"""Attention parts that the spatial and the temporal transformer share.

Shape letters: X batch, Q queries, K keys, C channels, L text tokens, D text width, J heads,
E head width, N images, S pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .linear import Linear

# Up to this many keys, the plain formula beats the tiled CPU kernel: by 1.6 at 24 keys, and by 4 at
# 128 keys where there is a backward pass in bf16.
_FEW_KEYS = 32
_FEW_KEYS_IN_TRAINING = 128


def softmax_attention(q_XJQE: Tensor, k_XJKE: Tensor, v_XJKE: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(E)) v: (X, J, Q, E), J being heads of width E."""
    few = _FEW_KEYS_IN_TRAINING if q_XJQE.requires_grad else _FEW_KEYS
    if q_XJQE.device.type != "cpu" or k_XJKE.shape[2] > few:
        return F.scaled_dot_product_attention(q_XJQE, k_XJKE, v_XJKE)
    scores_XJQK = torch.matmul(q_XJQE * q_XJQE.shape[-1] ** -0.5, k_XJKE.transpose(-1, -2))
    return torch.matmul(scores_XJQK.softmax(dim=-1).to(v_XJKE.dtype), v_XJKE)


def attend(q_XQC: Tensor, k_XKC: Tensor, v_XKC: Tensor, num_heads: int) -> Tensor:
    """Multi-head attention: (X, Q, C), the heads being equal slices of the channels."""
    q_XJQE = torch.unflatten(q_XQC, -1, (num_heads, -1)).transpose(1, 2)
    k_XJKE = torch.unflatten(k_XKC, -1, (num_heads, -1)).transpose(1, 2)
    v_XJKE = torch.unflatten(v_XKC, -1, (num_heads, -1)).transpose(1, 2)
    out_XJQE = softmax_attention(q_XJQE, k_XJKE, v_XJKE)
    return out_XJQE.transpose(1, 2).flatten(2)


class Projections(nn.Module):
    """The four linear maps of an attention layer, under the names of the Diffusers layout."""

    def __init__(self, channels: int, context_channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = Linear(channels, channels, bias=False)
        self.to_k = Linear(context_channels, channels, bias=False)
        self.to_v = Linear(context_channels, channels, bias=False)
        self.to_out = nn.ModuleList([Linear(channels, channels)])

    def project_out(self, x_XQC: Tensor) -> Tensor:
        """The output projection: (X, Q, C)."""
        out: Tensor = self.to_out[0](x_XQC)
        return out


class TextAttention(Projections):
    """Attention from all pixels of all frames of a clip to the clip's text."""

    def forward(self, x_BQC: Tensor, text_BLD: Tensor) -> Tensor:
        """(B, Q, C); Q runs over frames and pixels, so keys and values are made once per clip."""
        out_BQC = attend(self.to_q(x_BQC), self.to_k(text_BLD), self.to_v(text_BLD), self.num_heads)
        return self.project_out(out_BQC)


def to_tokens(x_NCHW: Tensor) -> Tensor:
    """(N, H*W, C); a view when ``x`` is channels-last."""
    return x_NCHW.permute(0, 2, 3, 1).flatten(1, 2)


def to_image(x_NSC: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) in channels-last memory; a view."""
    return torch.unflatten(x_NSC, 1, (height, width)).permute(0, 3, 1, 2)


def channels_last(x_NCHW: Tensor) -> Tensor:
    """The same tensor in channels-last memory, where 2D and temporal layers need no copies."""
    return x_NCHW.contiguous(memory_format=torch.channels_last)
