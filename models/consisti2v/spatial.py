"""Per-frame layers: resnet, resampling and the spatial transformer with first-frame keys.

Shape letters: B clips, T frames, N = B*T images (clip-major), C channels, H, W latent size,
S = H*W pixels, L text tokens, D text width, R rows of the embedding (a divisor of N).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .attention import Projections, TextAttention, attend, to_image, to_tokens
from .convolution import Conv3x3, channels_last
from .linear import FeedForward, Linear
from .pieces import images_at_a_time
from .upsample import UpsamplingConv


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions with the time embedding added between them."""

    def __init__(
        self, in_channels: int, out_channels: int, emb_channels: int, num_groups: int, eps: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(num_groups, in_channels, eps=eps)
        self.conv1 = Conv3x3(in_channels, out_channels)
        self.time_emb_proj = Linear(emb_channels, out_channels)
        self.norm2 = nn.GroupNorm(num_groups, out_channels, eps=eps)
        self.conv2 = Conv3x3(out_channels, out_channels)
        self.conv_shortcut = (
            nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None
        )

    def forward(
        self, x_NCHW: Tensor, act_emb_RD: Tensor, skip_NCHW: Tensor | None = None
    ) -> Tensor:
        """(N, C_out, H, W); ``act_emb`` is SiLU(embedding), each row for N/R images in turn.

        The input is ``x`` and, behind its channels, those of ``skip``.
        """
        num_images = x_NCHW.shape[0]
        emb_RC = self.time_emb_proj(act_emb_RD)
        emb_NC = emb_RC.repeat_interleave(num_images // emb_RC.shape[0], dim=0)
        channels = max(self.norm1.num_channels, self.norm2.num_channels)
        size = images_at_a_time(x_NCHW, channels)
        if size >= num_images:
            return self._run(x_NCHW, emb_NC, skip_NCHW)
        out_NCHW = channels_last(x_NCHW.new_empty(num_images, emb_NC.shape[1], *x_NCHW.shape[2:]))
        for start in range(0, num_images, size):
            part = slice(start, start + size)
            skip = None if skip_NCHW is None else skip_NCHW[part]
            out_NCHW[part] = self._run(x_NCHW[part], emb_NC[part], skip)
        return out_NCHW

    def _run(self, x_NCHW: Tensor, emb_NC: Tensor, skip_NCHW: Tensor | None) -> Tensor:
        if skip_NCHW is not None:
            x_NCHW = torch.cat([x_NCHW, skip_NCHW], dim=1)
        h_NCHW = self.conv1(F.silu(self.norm1(x_NCHW)))
        h_NCHW = self.norm2(h_NCHW + emb_NC[:, :, None, None])
        h_NCHW = self.conv2(F.silu(h_NCHW))
        if self.conv_shortcut is not None:
            x_NCHW = self.conv_shortcut(x_NCHW)
        out_NCHW: Tensor = x_NCHW + h_NCHW
        return out_NCHW


class Downsample(nn.Module):
    """Halves the size by a strided 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, ceil(H/2), ceil(W/2))."""
        out: Tensor = self.conv(x_NCHW)
        return out


class Upsample(nn.Module):
    """Nearest-neighbour upsampling to a given size, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = UpsamplingConv(channels)

    def forward(self, x_NCHW: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, C, *size)."""
        out: Tensor = self.conv(x_NCHW, size)
        return out


class SpatialSelfAttention(Projections):
    """Self-attention within each frame; with first-frame keys, also to the clip's frame 0."""

    def __init__(self, channels: int, num_heads: int, *, first_frame_keys: bool) -> None:
        super().__init__(channels, channels, num_heads)
        self.first_frame_keys = first_frame_keys

    def forward(self, x_NSC: Tensor, num_frames: int) -> Tensor:
        """(N, S, C)."""
        q_NSC, k_NSC, v_NSC = self.to_q(x_NSC), self.to_k(x_NSC), self.to_v(x_NSC)
        if self.first_frame_keys:
            out_NSC = _attend_to_first_frame(q_NSC, k_NSC, v_NSC, num_frames, self.num_heads)
        else:
            out_NSC = attend(q_NSC, k_NSC, v_NSC, self.num_heads)
        return self.project_out(out_NSC)


def _attend_to_first_frame(
    q_NSC: Tensor, k_NSC: Tensor, v_NSC: Tensor, num_frames: int, num_heads: int
) -> Tensor:
    """(N, S, C): each frame attends to its own tokens, then to those of its clip's frame 0.

    Frame 0 meets its own tokens twice, which leaves its softmax average unchanged.
    """
    size = images_at_a_time(to_image(k_NSC, 1, k_NSC.shape[1]), 2 * k_NSC.shape[2])
    if size >= len(q_NSC):
        keys, values = (_append_first_frame(t, num_frames) for t in (k_NSC, v_NSC))
        return attend(q_NSC, keys, values, num_heads)
    out_NSC = torch.empty_like(q_NSC)
    clips = [t.split(num_frames) for t in (q_NSC, k_NSC, v_NSC, out_NSC)]
    for q_TSC, k_TSC, v_TSC, out_TSC in zip(*clips, strict=True):
        for start in range(0, num_frames, size):
            part = slice(start, start + size)
            keys, values = (
                torch.cat([t[part], t[:1].expand_as(t[part])], dim=1) for t in (k_TSC, v_TSC)
            )
            out_TSC[part] = attend(q_TSC[part], keys, values, num_heads)
    return out_NSC


def _append_first_frame(x_NSC: Tensor, num_frames: int) -> Tensor:
    """(N, 2S, C): the tokens of each frame, then those of its clip's frame 0."""
    x_BTSC = torch.unflatten(x_NSC, 0, (-1, num_frames))
    first_BTSC = x_BTSC[:, :1].expand_as(x_BTSC)
    return torch.cat([x_BTSC, first_BTSC], dim=2).flatten(0, 1)


class SpatialBlock(nn.Module):
    """Self-attention, text attention and feed-forward, each on a LayerNorm and with a residual."""

    def __init__(
        self, channels: int, num_heads: int, text_channels: int, *, first_frame_keys: bool
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = SpatialSelfAttention(channels, num_heads, first_frame_keys=first_frame_keys)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = TextAttention(channels, text_channels, num_heads)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, x_NSC: Tensor, text_BLD: Tensor, num_frames: int) -> Tensor:
        """(N, S, C)."""
        x_NSC = x_NSC + self.attn1(self.norm1(x_NSC), num_frames)
        clip_BQC = self.norm2(x_NSC).reshape(text_BLD.shape[0], -1, x_NSC.shape[-1])
        x_NSC = x_NSC + self.attn2(clip_BQC, text_BLD).view_as(x_NSC)
        out_NSC: Tensor = self.ff(x_NSC, self.norm3)
        return out_NSC


class SpatialTransformer(nn.Module):
    """One :class:`SpatialBlock` between two linear maps, with a residual around all."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        text_channels: int,
        num_groups: int,
        *,
        first_frame_keys: bool,
    ) -> None:
        super().__init__()
        # eps 1e-6 here, unlike the resnets' norm_eps (T3).
        self.norm = nn.GroupNorm(num_groups, channels, eps=1e-6)
        self.proj_in = Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            [SpatialBlock(channels, num_heads, text_channels, first_frame_keys=first_frame_keys)]
        )
        self.proj_out = Linear(channels, channels)

    def forward(self, x_NCHW: Tensor, text_BLD: Tensor, num_frames: int) -> Tensor:
        """(N, C, H, W)."""
        height, width = x_NCHW.shape[2:]
        h_NSC = self.proj_in(to_tokens(self.norm(x_NCHW)))
        h_NSC = self.transformer_blocks[0](h_NSC, text_BLD, num_frames)
        return x_NCHW + to_image(self.proj_out(h_NSC), height, width)
