"""FLOPs of ConsistI2V's networks, counted from their shapes.

FLOPs are counted on the meta device, so the published network can be counted on a laptop without
its weights; the count equals that of a run, which a test holds.

One pass of the published UNet (16 frames of 256x256, one guidance row) takes 4.175 TFLOP here. The
original's own code takes 5.438 for the same output, and 5.387 without temporal augmentation: it
projects 0.960 TFLOP of text keys and values anew for each pixel (temporal layers, 0.901) and each
frame (spatial layers, 0.059), 0.102 of first-frame keys and values anew for each frame, and 0.050
of first-frame neighbours anew for each pixel, where here each is projected once per clip; and it
spends 0.151 on the equal pixels of doubled pictures.
:func:`original_extra_flops` has the formulas. The paper's Table 3 has 5.168 and does not say what
its counter includes; the differences between its rows (0.102, 0.051) are those above.

Shape letters: C channels, D text width, L text tokens, S pixels, T frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel

from i2vbench.profile_measure import count_flops

from .checkpoint import read_config
from .config import UNetConfig
from .networks import PUBLISHED_VIDEO
from .unet import ConsistI2VUNet
from .upsample import speed_up_vae

# The shapes of Stable Diffusion 2.1, which the published checkpoint has.
PUBLISHED_UNET: Final = UNetConfig.from_dict(PUBLISHED_VIDEO)
PUBLISHED_VAE: Final[Mapping[str, Any]] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
PUBLISHED_TEXT: Final[Mapping[str, Any]] = {
    "vocab_size": 49408,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "max_position_embeddings": 77,
}

_NEIGHBOURS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """The configurations of a checkpoint's networks; the published ones by default."""

    unet: UNetConfig = PUBLISHED_UNET
    vae: Mapping[str, Any] = dataclasses.field(default_factory=lambda: PUBLISHED_VAE)
    text: Mapping[str, Any] = dataclasses.field(default_factory=lambda: PUBLISHED_TEXT)

    @classmethod
    def read(cls, folder: Path) -> Shapes:
        """Those of a checkpoint folder; weights are not needed.

        Raises:
            UserError: a configuration is missing or does not fit.
        """
        return cls(
            unet=UNetConfig.from_dict({**PUBLISHED_VIDEO, **read_config(folder / "unet")}),
            vae=read_config(folder / "vae"),
            text=read_config(folder / "text_encoder"),
        )

    @property
    def num_tokens(self) -> int:
        """L of each text."""
        return int(self.text.get("max_position_embeddings", 77))

    @property
    def vae_factor(self) -> int:
        """Pixels per latent, per side."""
        return int(2 ** (len(self.vae["block_out_channels"]) - 1))

    def build_vae(self) -> Any:  # noqa: ANN401
        """The VAE without values."""
        build: Any = AutoencoderKL.from_config
        with torch.device("meta"):
            vae = build(self.vae)
        speed_up_vae(vae)
        return vae

    def build_text_encoder(self) -> Any:  # noqa: ANN401
        """The text encoder without values."""
        with torch.device("meta"):
            return CLIPTextModel(CLIPTextConfig.from_dict(dict(self.text)))


@lru_cache(maxsize=16)
@torch.inference_mode()
def count_unet_flops(
    config: UNetConfig, *, height: int, width: int, num_rows: int = 1, num_tokens: int = 77
) -> int:
    """FLOPs of one UNet pass, counted on the meta device: no weights, no time.

    Args:
        config: of the network.
        height: of the latents: a clip's height over the VAE's factor.
        width: likewise.
        num_rows: clips times guidance rows.
        num_tokens: of each text.
    """
    with torch.device("meta"):
        unet = ConsistI2VUNet(config).eval()
        frames = config.n_frames - config.has_condition_frame
        latents = torch.empty(num_rows, config.in_channels, frames, height, width)
        first = torch.empty(num_rows, config.in_channels, 1, height, width)
        text = torch.empty(num_rows, num_tokens, config.cross_attention_dim)
    return count_flops(
        lambda: unet(
            latents,
            500,
            text,
            first_frame_latents=first if config.has_condition_frame else None,
            frame_stride=3 if config.use_frame_stride_condition else None,
        )
    )


@dataclass(frozen=True, kw_only=True)
class ExtraFlops:
    """What the original's code computes again and again in one UNet pass of one row, as FLOPs."""

    text_per_pixel: int
    """Text keys and values of the temporal layers, for each pixel."""
    text_per_frame: int
    """Text keys and values of the spatial layers, for each frame."""
    first_frame_per_frame: int
    """Keys and values of the first frame in the spatial layers, for each frame."""
    neighbours_per_pixel: int
    """Keys and values of eight first-frame neighbours in the temporal layers, for each pixel."""
    doubled_pictures: int
    """Convolutions of pictures whose pixels are equal in fours."""

    @property
    def total(self) -> int:
        """Of all five."""
        return sum(dataclasses.astuple(self))


def original_extra_flops(
    config: UNetConfig, *, height: int, width: int, num_tokens: int = 77
) -> ExtraFlops:
    """FLOPs per pass and row that are saved here; arguments as for the count.

    A pair of projections (keys and values) of n tokens costs 4 n D C FLOPs. The temporal layers of
    the original treat each of S pixels as a sequence with a text and neighbours of its own, the
    spatial ones each of T frames with a text and a first frame. A convolution of a doubled picture
    takes 36 products per pixel and pair of channels, of which 16 differ.
    """
    temporal = list(_attention_layers(config, height, width, temporal=True))
    spatial = list(_attention_layers(config, height, width, temporal=False))
    frames, text = config.n_frames, 4 * config.cross_attention_dim * num_tokens
    first, neighbours = config.has_first_frame_keys, config.augment_temporal_attention
    return ExtraFlops(
        text_per_pixel=sum(text * c * (s - 1) for s, c in temporal),
        text_per_frame=sum(text * c * (frames - 1) for _, c in spatial),
        first_frame_per_frame=sum(4 * c * c * s * frames for s, c in spatial) if first else 0,
        neighbours_per_pixel=(
            sum(4 * c * c * s * _NEIGHBOURS for s, c in temporal) if neighbours else 0
        ),
        doubled_pictures=sum(
            2 * (36 - 16) * c * c * s * frames for s, c in _doublings(config, height, width)
        ),
    )


def _doublings(config: UNetConfig, height: int, width: int) -> Iterator[tuple[int, int]]:
    """S before and C of each upsampling to exactly twice the size."""
    for level, channels in enumerate(config.block_out_channels[1:], start=1):
        sizes = [(-(-height // 2**n), -(-width // 2**n)) for n in (level - 1, level)]
        if sizes[0] == (2 * sizes[1][0], 2 * sizes[1][1]):
            yield sizes[1][0] * sizes[1][1], channels


def _attention_layers(
    config: UNetConfig, height: int, width: int, *, temporal: bool
) -> Iterator[tuple[int, int]]:
    """S and C of each transformer; the middle block has a spatial one alone."""
    if temporal and not config.use_temporal:
        return
    for level, channels in enumerate(config.block_out_channels):
        down = "Cross" in config.down_block_types[level]
        up = "Cross" in config.up_block_types[-1 - level]
        num_layers = config.layers_per_block * down + (config.layers_per_block + 1) * up
        num_pixels = -(-height // 2**level) * -(-width // 2**level)
        yield from [(num_pixels, channels)] * num_layers
    if not temporal:
        yield num_pixels, channels
