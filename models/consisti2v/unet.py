"""The video UNet of ConsistI2V (Ren et al., TMLR 2024, arXiv:2402.04324).

A Stable Diffusion 2.1 image UNet with temporal convolution and temporal attention after each of its
layers. The clean first frame travels through the network as frame 0, and attention looks at it.

Shape letters: B clips, T frames, N = B*T images (clip-major), C channels, H, W latent size,
L text tokens, D text width or embedding width, R rows (1, B or N).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .blocks import Condition, DownBlock, MidBlock, UpBlock
from .config import UNetConfig
from .convolution import channels_last
from .temporal import Blend


class ScalarEmbedding(nn.Module):
    """The two-layer map from the sinusoid of a number to the embedding."""

    def __init__(self, channels: int, emb_channels: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(channels, emb_channels)
        self.linear_2 = nn.Linear(emb_channels, emb_channels)

    def forward(self, x_RC: Tensor) -> Tensor:
        """(R, D)."""
        out: Tensor = self.linear_2(F.silu(self.linear_1(x_RC)))
        return out


def sinusoid(values_R: Tensor, channels: int) -> Tensor:
    """(R, C) float32: cosines of ``value * 10000^(-i / (C/2))`` first, then the sines."""
    half = channels // 2
    exponents = torch.arange(half, device=values_R.device, dtype=torch.float32)
    frequencies = torch.exp(-math.log(10000.0) * exponents / half)
    angles_RP = values_R.float()[:, None] * frequencies
    return torch.cat([angles_RP.cos(), angles_RP.sin()], dim=-1)


class ConsistI2VUNet(nn.Module):
    """Predicts the noise in a clip's latents from first frame, text, step and frame stride."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, heads = config.block_out_channels, config.attention_head_dim
        last = len(widths) - 1
        emb_channels = 4 * widths[0]
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = ScalarEmbedding(widths[0], emb_channels)
        if config.use_frame_stride_condition:
            self.frame_stride_embedding = ScalarEmbedding(widths[0], emb_channels)
            nn.init.zeros_(self.frame_stride_embedding.linear_2.weight)
            nn.init.zeros_(self.frame_stride_embedding.linear_2.bias)

        self.down_blocks = nn.ModuleList()
        skips = [widths[0]]
        for level, kind in enumerate(config.down_block_types):
            self.down_blocks.append(
                DownBlock(
                    config,
                    widths[max(level - 1, 0)],
                    widths[level],
                    num_heads=heads[level] if kind == "CrossAttnDownBlock2D" else None,
                    downsample=level < last,
                )
            )
            skips += [widths[level]] * (config.layers_per_block + (level < last))

        self.mid_block = MidBlock(config, widths[-1], heads[-1])

        self.up_blocks = nn.ModuleList()
        in_channels = widths[-1]
        for index, kind in enumerate(config.up_block_types):
            level = last - index
            taken = [skips.pop() for _ in range(config.layers_per_block + 1)]
            self.up_blocks.append(
                UpBlock(
                    config,
                    in_channels,
                    widths[level],
                    taken,
                    num_heads=heads[level] if kind == "CrossAttnUpBlock2D" else None,
                    upsample=index < last,
                )
            )
            in_channels = widths[level]

        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, widths[0], eps=config.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> ConsistI2VUNet:
        """A network with fresh weights from the content of a ``unet/config.json``.

        Raises:
            UserError: an unknown key, or a value that is not implemented.
        """
        return cls(UNetConfig.from_dict(values))

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        first_frame_latents: Tensor | None = None,
        frame_stride: Tensor | float | None = None,
    ) -> Tensor:
        """The predicted noise, with the shape of ``sample``.

        Args:
            sample: noisy latents (B, C, T-1, H, W), T being ``config.n_frames``; (B, C, T, H, W) in
                mode ``none``.
            timestep: one number, or one per clip (B,), or one per frame (B*T,) clip-major with the
                condition frame counted.
            encoder_hidden_states: text (B, L, D).
            first_frame_latents: clean latents (B, C, 1, H, W); None in mode ``none`` alone.
            frame_stride: as ``timestep``; needed where the configuration conditions on it.

        Raises:
            ValueError: shapes that do not fit the configuration.
        """
        clip_BCTHW = self._prepend_first_frame(sample, first_frame_latents)
        num_clips, _, num_frames, height, width = clip_BCTHW.shape
        if encoder_hidden_states.shape[0] != num_clips:
            raise ValueError(
                f"encoder_hidden_states has {encoder_hidden_states.shape[0]} texts for "
                f"{num_clips} clips; give one text per clip"
            )
        emb_RD = self._embed(timestep, frame_stride, num_clips, num_frames, sample)
        condition = Condition(
            act_emb=F.silu(emb_RD),
            text=encoder_hidden_states.to(sample.dtype),
            num_frames=num_frames,
            first_frame=None if first_frame_latents is None else first_frame_latents[:, :, 0],
        )
        x_NCHW = channels_last(clip_BCTHW.transpose(1, 2).flatten(0, 1))
        x_NCHW = self.conv_in(x_NCHW)
        skips = [x_NCHW]
        for block in self.down_blocks:
            x_NCHW, new = block(x_NCHW, condition)
            skips += new
        x_NCHW = self.mid_block(x_NCHW, condition)
        for block in self.up_blocks:
            # Explicit sizes: latents that are no multiple of 8 would come back too large.
            rest = len(skips) - self.config.layers_per_block - 1
            size = tuple(skips[rest - 1].shape[2:]) if rest else (height, width)
            x_NCHW = block(x_NCHW, skips, condition, size)
        x_NCHW = self.conv_out(F.silu(self.conv_norm_out(x_NCHW)))
        x_BCTHW = torch.unflatten(x_NCHW, 0, (num_clips, num_frames)).transpose(1, 2)
        return x_BCTHW[:, :, num_frames - sample.shape[2] :].contiguous()

    @torch.no_grad()
    def project_alphas(self) -> None:
        """Clamps every blending scalar to [0, 1]; a training loop calls it after each step."""
        for module in self.modules():
            if isinstance(module, Blend):
                module.project()

    def _prepend_first_frame(self, sample: Tensor, first_frame: Tensor | None) -> Tensor:
        config = self.config
        if not config.has_condition_frame and first_frame is not None:
            raise ValueError(
                "first_frame_latents given, but first_frame_condition_mode is 'none'; leave it out"
            )
        if config.has_condition_frame:
            wanted = (sample.shape[0], sample.shape[1], 1, *sample.shape[3:])
            given = None if first_frame is None else tuple(first_frame.shape)
            if first_frame is None or given != wanted:
                raise ValueError(
                    f"first_frame_latents has shape {given}; mode "
                    f"{config.first_frame_condition_mode!r} with this sample needs {wanted}"
                )
            sample = torch.cat([first_frame.to(sample.dtype), sample], dim=2)
        if sample.shape[2] != config.n_frames:
            extra = 1 if config.has_condition_frame else 0
            raise ValueError(
                f"sample has {sample.shape[2] - extra} frames; n_frames={config.n_frames} and mode "
                f"{config.first_frame_condition_mode!r} needs {config.n_frames - extra}"
            )
        return sample

    def _embed(
        self,
        timestep: Tensor | float,
        frame_stride: Tensor | float | None,
        num_clips: int,
        num_frames: int,
        sample: Tensor,
    ) -> Tensor:
        """(R, D): one row for all, one per clip or one per image."""
        channels = self.config.block_out_channels[0]

        def embed(name: str, value: Tensor | float, module: nn.Module) -> Tensor:
            rows_R = torch.as_tensor(value, device=sample.device).reshape(-1)
            accepted = (1, num_clips, num_clips * num_frames)
            if len(rows_R) not in accepted:
                raise ValueError(
                    f"{name} has {len(rows_R)} values; accepted: one, one per clip "
                    f"({num_clips}) or one per frame ({num_clips * num_frames})"
                )
            out: Tensor = module(sinusoid(rows_R, channels).to(sample.dtype))
            return out

        emb_RD = embed("timestep", timestep, self.time_embedding)
        if not self.config.use_frame_stride_condition:
            return emb_RD
        if frame_stride is None:
            raise ValueError("frame_stride is None; this network is conditioned on it, e.g. 3")
        stride_RD = embed("frame_stride", frame_stride, self.frame_stride_embedding)
        rows = max(len(emb_RD), len(stride_RD))
        return emb_RD.repeat_interleave(rows // len(emb_RD), 0) + stride_RD.repeat_interleave(
            rows // len(stride_RD), 0
        )
