"""Attention parts that the spatial and the temporal transformer share.

Shape letters: X batch, Q queries, K keys, C channels, L text tokens, D text width, J heads,
E head width, N images, S pixels.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .linear import Linear

# Up to this many keys, the plain formula beats the tiled CPU kernel: by 1.6 at 24 keys, and by 4 at
# 128 keys where there is a backward pass in bf16.
_FEW_KEYS = 32
_FEW_KEYS_IN_TRAINING = 128
# Numbers of keys that the fused kernel likes.
_KEYS_MULTIPLE = 16
# Scores held at a time by the tiled bf16 attention: 4 MB, which stay in the cache.
_TILE = 2**21


def softmax_attention(q_XJQE: Tensor, k_XJKE: Tensor, v_XJKE: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(E)) v: (X, J, Q, E), J being heads of width E."""
    few = _FEW_KEYS_IN_TRAINING if q_XJQE.requires_grad else _FEW_KEYS
    on_cpu = q_XJQE.device.type == "cpu"
    if not on_cpu or k_XJKE.shape[2] > few:
        graph = torch.is_grad_enabled() or torch.compiler.is_compiling()
        if on_cpu and q_XJQE.dtype == torch.bfloat16 and not graph and not has_amx():
            return _tiled_attention(q_XJQE, k_XJKE, v_XJKE)
        if not on_cpu or graph:
            return F.scaled_dot_product_attention(q_XJQE, k_XJKE, v_XJKE)
        return _padded_attention(q_XJQE, k_XJKE, v_XJKE)
    if not torch.is_grad_enabled():
        return _few_keys_attention(q_XJQE, k_XJKE, v_XJKE)
    scores_XJQK = torch.matmul(q_XJQE * q_XJQE.shape[-1] ** -0.5, k_XJKE.transpose(-1, -2))
    return torch.matmul(scores_XJQK.softmax(dim=-1).to(v_XJKE.dtype), v_XJKE)


@lru_cache(maxsize=1)
def has_amx() -> bool:
    """Whether the CPU has matrix units for bf16 (AMX), which the fused kernel uses."""
    # Not in every torch that is accepted; older ones have no kernel for it either.
    check = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(check is not None and check())


def _padded_attention(q_XJQE: Tensor, k_XJKE: Tensor, v_XJKE: Tensor) -> Tensor:
    """As :func:`softmax_attention`, by the fused kernel, which is slow for odd numbers of keys.

    With the 77 keys of a text it takes 1.4 to 1.9 times as long as with 80, three of them masked.
    """
    num_keys = k_XJKE.shape[2]
    missing = -num_keys % _KEYS_MULTIPLE
    if not missing:
        return F.scaled_dot_product_attention(q_XJQE, k_XJKE, v_XJKE)
    mask_K = q_XJQE.new_zeros(num_keys + missing)
    mask_K[num_keys:] = float("-inf")
    k_XJKE, v_XJKE = (F.pad(t, (0, 0, 0, missing)) for t in (k_XJKE, v_XJKE))
    mask_11QK = mask_K.expand(1, 1, q_XJQE.shape[2], -1)
    return F.scaled_dot_product_attention(q_XJQE, k_XJKE, v_XJKE, attn_mask=mask_11QK)


def _few_keys_attention(q_XJQE: Tensor, k_XJKE: Tensor, v_XJKE: Tensor) -> Tensor:
    """As :func:`softmax_attention`, by the plain formula without copies; softmax in float32.

    One entry of the batch at a time, for the two leading axes of a product must have one stride.
    torch's softmax over a few bf16 numbers takes three times as long as over float32 ones.
    """
    real = torch.promote_types(q_XJQE.dtype, torch.float32)
    outs = []
    for q_JQE, k_JKE, v_JKE in zip(q_XJQE, k_XJKE, v_XJKE, strict=True):
        scores_JQK = torch.bmm(q_JQE, k_JKE.transpose(1, 2)).to(real)
        weights_JQK = scores_JQK.mul_(q_JQE.shape[-1] ** -0.5).softmax(dim=-1)
        outs.append(torch.bmm(weights_JQK.to(v_JKE.dtype), v_JKE))
    return outs[0][None] if len(outs) == 1 else torch.stack(outs)


def _tiled_attention(q_XJQE: Tensor, k_XJKE: Tensor, v_XJKE: Tensor) -> Tensor:
    """As :func:`softmax_attention`, in matrix products of a few queries at a time.

    torch's fused kernel multiplies bf16 at the speed of float32 where there is no AMX; this one is
    1.3 to 2.2 times as fast there, and slower where there is. Scores are rounded to bf16, as
    the queries and keys were.
    """
    num_heads, num_queries, width = q_XJQE.shape[1:]
    rows = max(1, _TILE // (num_heads * k_XJKE.shape[2]))
    out_XQJE = q_XJQE.new_empty(q_XJQE.shape[0], num_queries, num_heads, width)
    q_XJQE = q_XJQE * width**-0.5
    for q_JQE, k_JKE, v_JKE, out_QJE in zip(q_XJQE, k_XJKE, v_XJKE, out_XQJE, strict=True):
        k_JEK, v_JKE = k_JKE.contiguous().transpose(1, 2), v_JKE.contiguous()
        for some_JQE, part_QJE in zip(q_JQE.split(rows, 1), out_QJE.split(rows), strict=True):
            weights_JQK = torch.bmm(some_JQE, k_JEK).softmax(dim=-1)
            part_QJE.copy_(torch.bmm(weights_JQK, v_JKE).transpose(0, 1))
    return out_XQJE.transpose(1, 2)


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

    def read(self, text_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the texts, each (B, L, C): made once per clip."""
        return self.to_k(text_BLD), self.to_v(text_BLD)

    def forward(self, x_BQC: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
        """(B, Q, C); Q runs over frames and pixels, ``text`` is what :meth:`read` gave."""
        return self.project_out(attend(self.to_q(x_BQC), *text, self.num_heads))


def to_tokens(x_NCHW: Tensor) -> Tensor:
    """(N, H*W, C); a view when ``x`` is channels-last."""
    return x_NCHW.permute(0, 2, 3, 1).flatten(1, 2)


def to_image(x_NSC: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) in channels-last memory; a view."""
    return torch.unflatten(x_NSC, 1, (height, width)).permute(0, 3, 1, 2)
