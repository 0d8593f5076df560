"""Layers across frames: temporal convolution and temporal transformer, each blended by a scalar.

Shape letters: B clips, T frames, N = B*T images (clip-major), C channels, H, W latent size,
S = H*W pixels, K keys along time, L text tokens, D text width, P positions, E head width,
G = S*heads (pixels and heads side by side, which is how memory has them).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .attention import Projections, attend, softmax_attention, to_image, to_tokens
from .convolution import has_few_pixels, product_conv
from .linear import FeedForward, Linear
from .norm import GroupNorm
from .pieces import images_at_a_time, tokens_at_a_time

# The class default of the original; its temporal convolution is built without norm_num_groups (T3).
_CONV_GROUPS = 32
# Width of an embedding that the original projects and never adds (T2).
_DEAD_EMBEDDING = 512


class Blend(nn.Module):
    """Base of the temporal layers: ``a * x + (1 - a) * y`` with a learned ``a`` in [0, 1].

    ``a`` is ``alpha`` clamped in the forward pass, with the gradient of the unclamped value: the
    projected gradient of the original, which overwrites the parameter instead (T6). A training loop
    calls :meth:`project` after each optimizer step to have the very same parameter values.
    """

    def __init__(self) -> None:
        super().__init__()
        # 1: at the start of training the video network equals the image network.
        self.alpha = nn.Parameter(torch.ones(1))

    def blend(self, x: Tensor, residual: Tensor) -> Tensor:
        """``a * x + (1 - a) * (x + residual)``, same shape and dtype as ``x``."""
        constant = self.alpha.detach()
        alpha = constant.clamp(0, 1) + (self.alpha - constant)
        return torch.addcmul(x, residual, (1 - alpha).to(x.dtype))

    @torch.no_grad()
    def project(self) -> None:
        """Clamps the parameter itself to [0, 1]."""
        self.alpha.clamp_(0, 1)


class TimeConv(nn.Conv3d):
    """A convolution of length 3 along time, zero-padded."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x_NCHW: Tensor, num_frames: int) -> Tensor:  # type: ignore[override]
        """(N, C, H, W); a 2D convolution over (T, S), which needs no copy in channels-last."""
        height, width = x_NCHW.shape[2:]
        x_BTSC = torch.unflatten(to_tokens(x_NCHW), 0, (-1, num_frames))
        x_BCTS = x_BTSC.permute(0, 3, 1, 2)
        weight_DC31 = self.weight.squeeze(-1)
        # In float32 the product is no faster here.
        if x_NCHW.dtype == torch.bfloat16 and has_few_pixels(x_BCTS, weight_DC31):
            padded_BTSC = F.pad(x_BTSC, (0, 0, 0, 0, 1, 1))
            y_BCTS = product_conv(padded_BTSC, weight_DC31, self.bias)
        else:
            y_BCTS = F.conv2d(x_BCTS, weight_DC31, self.bias, padding=(1, 0))
        return to_image(y_BCTS.permute(0, 2, 3, 1).flatten(0, 1), height, width)


class TemporalConv(Blend):
    """Two convolutions of length 3 along time, each on GroupNorm and SiLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(_CONV_GROUPS, channels, eps=1e-6)
        self.conv1 = TimeConv(channels)
        self.time_emb_proj = Linear(_DEAD_EMBEDDING, channels).requires_grad_(False)
        self.norm2 = GroupNorm(_CONV_GROUPS, channels, eps=1e-6)
        self.conv2 = TimeConv(channels)

    def forward(self, x_NCHW: Tensor, num_frames: int) -> Tensor:
        """(N, C, H, W)."""
        size = images_at_a_time(x_NCHW, x_NCHW.shape[1])
        if size >= len(x_NCHW) or len(x_NCHW) == num_frames:
            return self._run(x_NCHW, num_frames)
        out_NCHW = torch.empty_like(x_NCHW)
        for x_TCHW, out_TCHW in zip(
            x_NCHW.split(num_frames), out_NCHW.split(num_frames), strict=True
        ):
            out_TCHW.copy_(self._run(x_TCHW, num_frames))
        return out_NCHW

    def _run(self, x_NCHW: Tensor, num_frames: int) -> Tensor:
        h_NCHW = self.conv1(self.norm1.activate(x_NCHW), num_frames)
        h_NCHW = self.conv2(self.norm2.activate(h_NCHW), num_frames)
        return self.blend(x_NCHW, h_NCHW)


class Rotary(nn.Module):
    """Rotates the first half of the channels by learned frequencies times the frame index.

    The rotation acts before heads are split, so half of the heads carry no position (T4).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        exponents = torch.arange(0, channels // 2, 2).float() / (channels // 2)
        self.freqs = nn.Parameter(10000.0**-exponents)

    def forward(self, x_BTSC: Tensor) -> Tensor:
        """(B, T, S, C); pairs (2i, 2i+1) of the first C/2 channels turn by ``t * freqs[i]``.

        Overwrites ``x`` where no gradient is asked for.
        """
        # float32 whatever the dtype of x: bf16 angles of 15 rad would be off by 0.03 rad.
        dtype = torch.promote_types(x_BTSC.dtype, torch.float32)
        frames_T = torch.arange(x_BTSC.shape[1], device=x_BTSC.device, dtype=dtype)
        angles_TP = frames_T[:, None] * self.freqs.to(dtype)
        turns_TSP = torch.polar(torch.ones_like(angles_TP), angles_TP)[:, None]
        if torch.is_grad_enabled():
            turned, rest = x_BTSC.chunk(2, dim=-1)
            return torch.cat([_turn(turned, turns_TSP), rest], dim=-1)
        # On the CPU frame by frame: what passes in between stays in the cache.
        frames = 1 if x_BTSC.device.type == "cpu" else x_BTSC.shape[1]
        turned = x_BTSC[..., : x_BTSC.shape[-1] // 2]
        for part, turns in zip(turned.split(frames, 1), turns_TSP.split(frames), strict=True):
            if part.dtype == dtype:
                _pairs(part).mul_(turns)
            else:
                part.copy_(_turn(part, turns))
        return x_BTSC


def _pairs(x_BTSC: Tensor) -> Tensor:
    """(B, T, S, P) complex: the pairs of channels; a view."""
    return torch.view_as_complex(torch.unflatten(x_BTSC, -1, (-1, 2)))


def _turn(x_BTSC: Tensor, turns_TSP: Tensor) -> Tensor:
    """Each pair of channels times a complex number of modulus 1: same shape and dtype as ``x``."""
    real = torch.promote_types(x_BTSC.dtype, torch.float32)
    turned_BTSP = _pairs(x_BTSC.to(real)) * turns_TSP
    return torch.view_as_real(turned_BTSP).flatten(-2).to(x_BTSC.dtype)


class _DeadBias(nn.Module):
    """Carries a bias table that checkpoints hold and nothing reads (T2)."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(32, num_heads).requires_grad_(False)


class _DeadPosition(nn.Module):
    """Carries a scalar that checkpoints hold and nothing reads (T2)."""

    def __init__(self) -> None:
        super().__init__()
        self.dummy = nn.Parameter(torch.zeros(1), requires_grad=False)


@lru_cache(maxsize=32)
def _sinusoid(num_frames: int, channels: int) -> Tensor:
    """(T, 1, C): sin and cos of p / 10000^(j/C) at channels 2j and 2j+1 (not the usual 2j/C)."""
    # An inference tensor in the cache would break a training step that follows.
    with torch.inference_mode(False):
        frequencies = torch.exp(torch.arange(channels // 2) * (-math.log(10000.0) / channels))
        angles = torch.arange(num_frames)[:, None] * frequencies
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, None]


class TemporalAttention(Projections):
    """Positions for attention along time; the two subclasses choose the keys."""

    def __init__(self, channels: int, context_channels: int, num_heads: int, position: str) -> None:
        super().__init__(channels, context_channels, num_heads)
        self.rotary_emb = Rotary(channels) if position == "rotary" else None
        if position == "rotary":
            self.rotary_bias = _DeadBias(num_heads)
        else:
            self.pos_enc = _DeadPosition()

    def add_position(self, x_BTSC: Tensor) -> Tensor:
        """Sinusoidal positions, which precede the projections; unchanged for rotary ones."""
        if self.rotary_emb is not None:
            return x_BTSC
        return x_BTSC + _sinusoid(x_BTSC.shape[1], x_BTSC.shape[3]).to(x_BTSC)

    def rotate(self, x_BTSC: Tensor) -> Tensor:
        """Rotary positions, which follow the projections; unchanged for sinusoidal ones."""
        return x_BTSC if self.rotary_emb is None else self.rotary_emb(x_BTSC)


class TemporalSelfAttention(TemporalAttention):
    """Attention of each pixel along time; augmented, also to eight first-frame neighbours."""

    def __init__(self, channels: int, num_heads: int, position: str, *, augment: bool) -> None:
        super().__init__(channels, channels, num_heads, position)
        self.augment = augment

    def read_first_frame(self, x_BSC: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of frame 0, each (B, S, C); position 0 turns nothing."""
        x_BSC = self.add_position(x_BSC[:, None])[:, 0]
        return self.to_k(x_BSC), self.to_v(x_BSC)

    def forward(
        self, x_BTSC: Tensor, window_8S: Tensor, first: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """(B, T, S, C).

        ``window`` says which pixels of frame 0 are the neighbours of each pixel of ``x``; where
        ``x`` holds but some, ``first`` gives what :meth:`read_first_frame` made of all.
        """
        x_BTSC = self.add_position(x_BTSC)
        q_BTSC = self.rotate(self.to_q(x_BTSC))
        k_BKSC, v_BKSC = self.rotate(self.to_k(x_BTSC)), self.to_v(x_BTSC)
        if self.augment:
            # The neighbours stand at position 0, as frame 0 itself does: its keys serve for both.
            k_BSC, v_BSC = (k_BKSC[:, 0], v_BKSC[:, 0]) if first is None else first
            k_BKSC = torch.cat([k_BKSC, k_BSC[:, window_8S]], dim=1)
            v_BKSC = torch.cat([v_BKSC, v_BSC[:, window_8S]], dim=1)
        out_BTSC = _attend_along_time(q_BTSC, k_BKSC, v_BKSC, self.num_heads)
        return self.project_out(out_BTSC)


@lru_cache(maxsize=64)
def _window(height: int, width: int, device: torch.device) -> Tensor:
    """(8, S): the pixels of the 3x3 window around each pixel, centre left out, edges repeated."""
    with torch.inference_mode(False):
        rows = torch.arange(height, device=device)[:, None].expand(height, width)
        columns = torch.arange(width, device=device)[None].expand(height, width)
        offsets = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
        flat = [
            (rows + dy).clamp(0, height - 1) * width + (columns + dx).clamp(0, width - 1)
            for dy, dx in offsets
        ]
        return torch.stack([index.flatten() for index in flat])


def _attend_along_time(q_BTSC: Tensor, k_BKSC: Tensor, v_BKSC: Tensor, num_heads: int) -> Tensor:
    """(B, T, S, C): attention over the second axis, apart for each pixel and head."""

    def split(x_BTSC: Tensor) -> Tensor:
        return torch.unflatten(x_BTSC, -1, (num_heads, -1)).flatten(2, 3).transpose(1, 2)

    out_BGTE = softmax_attention(split(q_BTSC), split(k_BKSC), split(v_BKSC))
    return out_BGTE.transpose(1, 2).reshape(q_BTSC.shape)


class TemporalTextAttention(TemporalAttention):
    """Attention to the clip's text; queries know their frame, the text has no position."""

    def read(self, text_BLD: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the texts, each (B, L, C): made once per clip."""
        k_BLC, v_BLC = self.to_k(text_BLD), self.to_v(text_BLD)
        if text_BLD.shape[1] == num_frames:
            # Parity (T5): a text as long as the clip is taken for frames and rotated.
            k_BLC = self.rotate(k_BLC[:, :, None])[:, :, 0]
        return k_BLC, v_BLC

    def forward(self, x_BTSC: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
        """(B, T, S, C); ``text`` is what :meth:`read` gave."""
        q_BTSC = self.rotate(self.to_q(self.add_position(x_BTSC)))
        out_BQC = attend(q_BTSC.flatten(1, 2), *text, self.num_heads)
        return self.project_out(out_BQC).view_as(x_BTSC)


class TemporalBlock(nn.Module):
    """Attention along time, text attention and feed-forward, each on a LayerNorm, with residual."""

    def __init__(
        self, channels: int, num_heads: int, text_channels: int, position: str, *, augment: bool
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = TemporalSelfAttention(channels, num_heads, position, augment=augment)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = TemporalTextAttention(channels, text_channels, num_heads, position)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(
        self,
        x_BTSC: Tensor,
        text: tuple[Tensor, Tensor],
        window_8S: Tensor,
        first: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """(B, T, S, C); the other arguments are those of the two attentions."""
        x_BTSC = x_BTSC + self.attn1(self.norm1(x_BTSC), window_8S, first)
        x_BTSC = x_BTSC + self.attn2(self.norm2(x_BTSC), text)
        out_BTSC: Tensor = self.ff(x_BTSC, self.norm3)
        return out_BTSC


class TemporalTransformer(Blend):
    """One :class:`TemporalBlock` between two linear maps, residual, blended with its input."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        text_channels: int,
        num_groups: int,
        position: str,
        *,
        augment: bool,
    ) -> None:
        super().__init__()
        self.norm = GroupNorm(num_groups, channels, eps=1e-6)
        self.proj_in = Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            [TemporalBlock(channels, num_heads, text_channels, position, augment=augment)]
        )
        self.proj_out = Linear(channels, channels)

    def forward(self, x_NCHW: Tensor, text_BLD: Tensor, num_frames: int) -> Tensor:
        """(N, C, H, W)."""
        height, width = x_NCHW.shape[2:]
        block = self.transformer_blocks[0]
        assert isinstance(block, TemporalBlock)
        window_8S = _window(height, width, x_NCHW.device)
        k_BLC, v_BLC = block.attn2.read(text_BLD, num_frames)
        h_NSC = self.proj_in(to_tokens(self.norm(x_NCHW)))
        h_BTSC = torch.unflatten(h_NSC, 0, (-1, num_frames))
        size = max(1, tokens_at_a_time(x_NCHW) // num_frames)
        if size >= len(text_BLD) * height * width:
            h_BTSC = block(h_BTSC, (k_BLC, v_BLC), window_8S)
            h_NCHW = to_image(self.proj_out(h_BTSC.flatten(0, 1)), height, width)
            return self.blend(x_NCHW, h_NCHW)
        first = None
        if block.attn1.augment:
            first = block.attn1.read_first_frame(block.norm1(h_BTSC[:, 0]))
        out_NCHW = torch.empty_like(x_NCHW)
        x_BTSC, out_BTSC = (
            torch.unflatten(to_tokens(t), 0, (-1, num_frames)) for t in (x_NCHW, out_NCHW)
        )
        for number in range(len(text_BLD)):
            clip = slice(number, number + 1)
            text = k_BLC[clip], v_BLC[clip]
            its_first = None if first is None else (first[0][clip], first[1][clip])
            for start in range(0, height * width, size):
                some = slice(start, start + size)
                part_BTSC = block(h_BTSC[clip, :, some], text, window_8S[:, some], its_first)
                part_BTSC = self.blend(x_BTSC[clip, :, some], self.proj_out(part_BTSC))
                out_BTSC[clip, :, some] = part_BTSC
        return out_NCHW
