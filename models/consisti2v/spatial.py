"""Per-frame layers: resnet, resampling and the spatial transformer with first-frame keys.

Shape letters: B clips, T frames, N = B*T images (clip-major), C channels, H, W latent size,
S = H*W pixels, L text tokens, D text width, R rows of the embedding (a divisor of N).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import Projections, TextAttention, attend, to_image, to_tokens
from .convolution import Conv3x3
from .linear import FeedForward, Linear
from .norm import GroupNorm
from .pieces import images_at_a_time, tokens_at_a_time
from .upsample import UpsamplingConv

FirstFrame = tuple[Tensor, Tensor]
"""Keys and values of the frames 0 of clips, each (B, S, C)."""


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions with the time embedding added between them."""

    def __init__(
        self, in_channels: int, out_channels: int, emb_channels: int, num_groups: int, eps: float
    ) -> None:
        super().__init__()
        self.norm1 = GroupNorm(num_groups, in_channels, eps=eps)
        self.conv1 = Conv3x3(in_channels, out_channels)
        self.time_emb_proj = Linear(emb_channels, out_channels)
        self.norm2 = GroupNorm(num_groups, out_channels, eps=eps)
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
        out_NCHW = torch.empty(
            (num_images, emb_NC.shape[1], *x_NCHW.shape[2:]),
            dtype=x_NCHW.dtype,
            device=x_NCHW.device,
            memory_format=torch.channels_last,
        )
        for start in range(0, num_images, size):
            part = slice(start, start + size)
            skip = None if skip_NCHW is None else skip_NCHW[part]
            self._run(x_NCHW[part], emb_NC[part], skip, out_NCHW[part])
        return out_NCHW

    def _run(
        self,
        x_NCHW: Tensor,
        emb_NC: Tensor,
        skip_NCHW: Tensor | None,
        out_NCHW: Tensor | None = None,
    ) -> Tensor:
        if skip_NCHW is not None:
            x_NCHW = torch.cat([x_NCHW, skip_NCHW], dim=1)
        h_NCHW = self.conv1(self.norm1.activate(x_NCHW))
        h_NCHW = self.conv2(self.norm2.activate(h_NCHW + emb_NC[:, :, None, None]))
        if self.conv_shortcut is not None:
            x_NCHW = self.conv_shortcut(x_NCHW)
        return torch.add(x_NCHW, h_NCHW, out=out_NCHW)


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

    def forward(
        self, x_NSC: Tensor, num_clips: int, first: FirstFrame | None
    ) -> tuple[Tensor, FirstFrame]:
        """(N, S, C), and the keys and values of frame 0.

        ``first`` are those of an earlier call; None where ``x`` begins with frame 0.
        """
        q_NSC, k_NSC, v_NSC = self.to_q(x_NSC), self.to_k(x_NSC), self.to_v(x_NSC)
        if first is None:
            k_BSC, v_BSC = (torch.unflatten(t, 0, (num_clips, -1))[:, 0] for t in (k_NSC, v_NSC))
            first = k_BSC, v_BSC
        if self.first_frame_keys:
            k_NSC, v_NSC = _append(k_NSC, first[0]), _append(v_NSC, first[1])
        return self.project_out(attend(q_NSC, k_NSC, v_NSC, self.num_heads)), first


def _append(x_NSC: Tensor, first_BSC: Tensor) -> Tensor:
    """(N, 2S, C): the tokens of each frame, then those of its clip's frame 0.

    Frame 0 meets its own tokens twice, which leaves its softmax average unchanged.
    """
    x_BTSC = torch.unflatten(x_NSC, 0, (len(first_BSC), -1))
    return torch.cat([x_BTSC, first_BSC[:, None].expand_as(x_BTSC)], dim=2).flatten(0, 1)


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

    def forward(
        self, x_NSC: Tensor, text: tuple[Tensor, Tensor], first: FirstFrame | None
    ) -> tuple[Tensor, FirstFrame]:
        """(N, S, C), and what the next frames need; ``text`` is what ``attn2`` read."""
        num_clips = len(text[0])
        attended_NSC, first = self.attn1(self.norm1(x_NSC), num_clips, first)
        x_NSC = x_NSC + attended_NSC
        clip_BQC = self.norm2(x_NSC).reshape(num_clips, -1, x_NSC.shape[-1])
        x_NSC = x_NSC + self.attn2(clip_BQC, text).view_as(x_NSC)
        return self.ff(x_NSC, self.norm3), first


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
        self.norm = GroupNorm(num_groups, channels, eps=1e-6)
        self.proj_in = Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            [SpatialBlock(channels, num_heads, text_channels, first_frame_keys=first_frame_keys)]
        )
        self.proj_out = Linear(channels, channels)

    def forward(self, x_NCHW: Tensor, text_BLD: Tensor, num_frames: int) -> Tensor:
        """(N, C, H, W)."""
        block = self.transformer_blocks[0]
        assert isinstance(block, SpatialBlock)
        keys_BLC, values_BLC = block.attn2.read(text_BLD)
        size = max(1, tokens_at_a_time(x_NCHW) // x_NCHW[0, 0].numel())
        if size >= len(x_NCHW):
            return self._run(x_NCHW, (keys_BLC, values_BLC), None)[0]
        out_NCHW = torch.empty_like(x_NCHW)
        for clip in range(len(text_BLD)):
            text = keys_BLC[clip : clip + 1], values_BLC[clip : clip + 1]
            first = None
            for start in range(0, num_frames, size):
                frames = slice(start, min(start + size, num_frames))
                x_TCHW = torch.unflatten(x_NCHW, 0, (-1, num_frames))[clip, frames]
                out_TCHW = torch.unflatten(out_NCHW, 0, (-1, num_frames))[clip, frames]
                first = self._run(x_TCHW, text, first, out_TCHW)[1]
        return out_NCHW

    def _run(
        self,
        x_NCHW: Tensor,
        text: tuple[Tensor, Tensor],
        first: FirstFrame | None,
        out_NCHW: Tensor | None = None,
    ) -> tuple[Tensor, FirstFrame]:
        height, width = x_NCHW.shape[2:]
        h_NSC = self.proj_in(to_tokens(self.norm(x_NCHW)))
        h_NSC, first = self.transformer_blocks[0](h_NSC, text, first)
        h_NCHW = to_image(self.proj_out(h_NSC), height, width)
        return torch.add(x_NCHW, h_NCHW, out=out_NCHW), first
