"""The down, middle and up blocks of the UNet: which layer follows which.

Shape letters: N = clips * frames images, C channels, H, W latent size, R rows of the embedding,
L text tokens, D text width, B clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .config import UNetConfig
from .convolution import channels_last
from .spatial import Downsample, ResnetBlock, SpatialTransformer, Upsample
from .temporal import TemporalConv, TemporalTransformer


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What every block sees besides the hidden state."""

    act_emb: Tensor
    """(R, D), SiLU of the time and stride embedding; R is 1, B or N."""
    text: Tensor
    """(B, L, D)."""
    num_frames: int
    first_frame: Tensor | None
    """(B, C, H, W), clean first-frame latents, in mode ``conv2d`` alone."""


class Block(nn.Module):
    """A stack of layers: resnet, temporal convolution and, with ``heads``, two transformers."""

    def __init__(
        self,
        config: UNetConfig,
        widths: list[tuple[int, int]],
        *,
        num_heads: int | None,
        first_frame_channels: int,
        temporal_attention: bool = True,
        num_transformers: int | None = None,
    ) -> None:
        """Builds the layers.

        Args:
            config: of the whole network.
            widths: (in, out) channels of each resnet.
            num_heads: of the spatial attention; None for a block without transformers.
            first_frame_channels: of the hidden state whose frame 0 mode ``conv2d`` replaces.
            temporal_attention: False in the middle block.
            num_transformers: fewer than resnets in the middle block.
        """
        super().__init__()
        emb_channels = 4 * config.block_out_channels[0]
        outs = [out for _, out in widths]
        self.resnets = nn.ModuleList(
            ResnetBlock(i, o, emb_channels, config.norm_num_groups, config.norm_eps)
            for i, o in widths
        )
        self.conv3ds = nn.ModuleList(TemporalConv(o) for o in outs if config.use_temporal)
        self.attentions = nn.ModuleList()
        self.tempo_attns = nn.ModuleList()
        if num_heads is not None:
            for channels in outs[:num_transformers]:
                self.attentions.append(
                    SpatialTransformer(
                        channels,
                        num_heads,
                        config.cross_attention_dim,
                        config.norm_num_groups,
                        first_frame_keys=config.has_first_frame_keys,
                    )
                )
                if config.use_temporal and temporal_attention:
                    self.tempo_attns.append(
                        TemporalTransformer(
                            channels,
                            config.n_temp_heads,
                            config.cross_attention_dim,
                            config.norm_num_groups,
                            config.temp_pos_embedding,
                            augment=config.augment_temporal_attention,
                        )
                    )
        self.first_frame_conv = (
            nn.Conv2d(config.in_channels, first_frame_channels, 1)
            if config.first_frame_condition_mode == "conv2d"
            else None
        )

    def inject_first_frame(self, x_NCHW: Tensor, condition: Condition) -> Tensor:
        """``x`` with frame 0 of each clip replaced, in mode ``conv2d``; else ``x`` itself."""
        if self.first_frame_conv is None:
            return x_NCHW
        assert condition.first_frame is not None
        first = self.first_frame_conv(
            F.interpolate(condition.first_frame, size=x_NCHW.shape[2:], mode="nearest")
        )
        x_BTCHW = torch.unflatten(x_NCHW, 0, (-1, condition.num_frames))
        replaced = torch.cat([first[:, None].to(x_NCHW.dtype), x_BTCHW[:, 1:]], dim=1)
        return channels_last(replaced.flatten(0, 1))

    def run_layer(
        self, index: int, x_NCHW: Tensor, condition: Condition, skip_NCHW: Tensor | None = None
    ) -> Tensor:
        """Resnet ``index``, which also takes ``skip``, and all that follows it up to the next."""
        num_frames = condition.num_frames
        x_NCHW = self.resnets[index](x_NCHW, condition.act_emb, skip_NCHW)
        if index < len(self.conv3ds):
            x_NCHW = self.conv3ds[index](x_NCHW, num_frames)
        if index < len(self.attentions):
            x_NCHW = self.attentions[index](x_NCHW, condition.text, num_frames)
        if index < len(self.tempo_attns):
            x_NCHW = self.tempo_attns[index](x_NCHW, condition.text, num_frames)
        return x_NCHW


class DownBlock(Block):
    """Layers, then a halving of the size; hands out each result as a skip."""

    def __init__(
        self,
        config: UNetConfig,
        in_channels: int,
        out_channels: int,
        *,
        num_heads: int | None,
        downsample: bool,
    ) -> None:
        widths = [(in_channels, out_channels)]
        widths += [(out_channels, out_channels)] * (config.layers_per_block - 1)
        super().__init__(config, widths, num_heads=num_heads, first_frame_channels=in_channels)
        self.downsamplers = nn.ModuleList([Downsample(out_channels)] if downsample else [])

    def forward(self, x_NCHW: Tensor, condition: Condition) -> tuple[Tensor, list[Tensor]]:
        """The hidden state and the skips, first to last."""
        skips = []
        x_NCHW = self.inject_first_frame(x_NCHW, condition)
        for index in range(len(self.resnets)):
            x_NCHW = self.run_layer(index, x_NCHW, condition)
            skips.append(x_NCHW)
        for downsampler in self.downsamplers:
            x_NCHW = downsampler(x_NCHW)
            skips.append(x_NCHW)
        return x_NCHW, skips


class MidBlock(Block):
    """Two resnets around one spatial transformer; no temporal attention."""

    def __init__(self, config: UNetConfig, channels: int, num_heads: int) -> None:
        super().__init__(
            config,
            [(channels, channels)] * 2,
            num_heads=num_heads,
            first_frame_channels=channels,
            temporal_attention=False,
            num_transformers=1,
        )

    def forward(self, x_NCHW: Tensor, condition: Condition) -> Tensor:
        """Same shape as ``x``."""
        x_NCHW = self.inject_first_frame(x_NCHW, condition)
        for index in range(len(self.resnets)):
            x_NCHW = self.run_layer(index, x_NCHW, condition)
        return x_NCHW


class UpBlock(Block):
    """Layers that each take one skip, then an upsampling."""

    def __init__(
        self,
        config: UNetConfig,
        in_channels: int,
        out_channels: int,
        skip_channels: list[int],
        *,
        num_heads: int | None,
        upsample: bool,
    ) -> None:
        """``skip_channels`` in the order in which the skips are consumed."""
        hidden = [in_channels] + [out_channels] * (len(skip_channels) - 1)
        widths = [(h + s, out_channels) for h, s in zip(hidden, skip_channels, strict=True)]
        super().__init__(config, widths, num_heads=num_heads, first_frame_channels=in_channels)
        self.upsamplers = nn.ModuleList([Upsample(out_channels)] if upsample else [])

    def forward(
        self, x_NCHW: Tensor, skips: list[Tensor], condition: Condition, size: tuple[int, int]
    ) -> Tensor:
        """The hidden state at ``size``; pops its skips from the end of the list."""
        x_NCHW = self.inject_first_frame(x_NCHW, condition)
        for index in range(len(self.resnets)):
            x_NCHW = self.run_layer(index, x_NCHW, condition, skips.pop())
        for upsampler in self.upsamplers:
            x_NCHW = upsampler(x_NCHW, size)
        return x_NCHW
