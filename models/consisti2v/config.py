"""The UNet's configuration: the keys of ``unet/config.json`` with the video arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from i2vbench.errors import UserError, did_you_mean

FIRST_FRAME_MODES: Final = ("none", "concat", "input_only", "conv2d")
TEMPORAL_POSITIONS: Final = ("rotary", "sinusoidal")

# Keys that Stable Diffusion configurations carry and that this network implements at one value.
_FIXED: Final[Mapping[str, tuple[object, ...]]] = {
    "act_fn": ("silu",),
    "addition_embed_type": (None,),
    "addition_embed_type_num_heads": (64, None),
    "addition_time_embed_dim": (None,),
    "attention_type": ("default",),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "class_embeddings_concat": (False,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "cross_attention_norm": (None,),
    "downsample_padding": (1,),
    "dropout": (0, None),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_only_cross_attention": (None, False),
    "mid_block_scale_factor": (1,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "num_attention_heads": (None,),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "projection_class_embeddings_input_dim": (None,),
    "resnet_out_scale_factor": (1,),
    "resnet_skip_time_act": (False,),
    "resnet_time_scale_shift": ("default",),
    "reverse_transformer_layers_per_block": (None,),
    "time_cond_proj_dim": (None,),
    "time_embedding_act_fn": (None,),
    "time_embedding_dim": (None,),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None,),
    "transformer_layers_per_block": (1,),
    # Softmax is accumulated in float32 by every attention kernel used here, so both are honoured.
    "upcast_attention": (False, True, None),
    "use_linear_projection": (True,),
}

DOWN_BLOCKS: Final = ("CrossAttnDownBlock2D", "DownBlock2D")
UP_BLOCKS: Final = ("CrossAttnUpBlock2D", "UpBlock2D")


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Architecture of the UNet; the field names are those of ``unet/config.json``."""

    sample_size: int = 64
    """Latent size it was trained at, pixels; informative."""
    in_channels: int = 4
    out_channels: int = 4
    down_block_types: tuple[str, ...] = (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D")
    up_block_types: tuple[str, ...] = ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3)
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    """Of the down path; the up path has one more."""
    attention_head_dim: tuple[int, ...] = (5, 10, 20, 20)
    """Number of heads per level (a misnomer of the file format, T7)."""
    cross_attention_dim: int = 1024
    """Text width."""
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    use_temporal: bool = True
    """False: a plain image UNet, without temporal convolution and attention."""
    n_frames: int = 8
    """Frames of a clip, the condition frame included."""
    n_temp_heads: int = 8
    first_frame_condition_mode: str = "none"
    """``concat`` is the published mode."""
    augment_temporal_attention: bool = False
    """Temporal attention also sees a 3x3 window of the first frame."""
    temp_pos_embedding: str = "sinusoidal"
    use_frame_stride_condition: bool = False

    def __post_init__(self) -> None:
        levels = len(self.block_out_channels)
        for name in ("down_block_types", "up_block_types", "attention_head_dim"):
            if len(getattr(self, name)) != levels:
                raise UserError(
                    f"unet config: {name} has {len(getattr(self, name))} entries, "
                    f"block_out_channels has {levels}; they must agree"
                )
        for name, accepted in (("down_block_types", DOWN_BLOCKS), ("up_block_types", UP_BLOCKS)):
            for value in getattr(self, name):
                if value not in accepted:
                    raise UserError(f"unet config: {name}: {did_you_mean(str(value), accepted)}")
        _one_of("first_frame_condition_mode", self.first_frame_condition_mode, FIRST_FRAME_MODES)
        _one_of("temp_pos_embedding", self.temp_pos_embedding, TEMPORAL_POSITIONS)
        for name in ("layers_per_block", "n_frames", "n_temp_heads", "norm_num_groups"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"unet config: {name}={value!r}; accepted: a positive integer")
        for channels, heads in zip(self.block_out_channels, self.attention_head_dim, strict=True):
            self._check_level(channels, heads)

    def _check_level(self, channels: int, heads: int) -> None:
        if channels % self.norm_num_groups or channels % heads:
            raise UserError(
                f"unet config: block_out_channels has {channels}, which must be a multiple of "
                f"norm_num_groups={self.norm_num_groups} and of {heads} heads"
            )
        # 32: the temporal convolution's GroupNorm ignores norm_num_groups (T3).
        if self.use_temporal and (channels % 32 or channels % self.n_temp_heads):
            raise UserError(
                f"unet config: block_out_channels has {channels}, which must be a multiple of 32 "
                f"and of n_temp_heads={self.n_temp_heads} when use_temporal is on"
            )

    @property
    def has_condition_frame(self) -> bool:
        """Whether the clean first frame is prepended to the sample."""
        return self.first_frame_condition_mode != "none"

    @property
    def has_first_frame_keys(self) -> bool:
        """Whether spatial attention also sees the first frame."""
        return self.first_frame_condition_mode in ("concat", "conv2d")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UNetConfig:
        """The configuration in ``values``; keys that start with ``_`` are ignored.

        Raises:
            UserError: an unknown key, or a value that this network does not implement.
        """
        names = {field.name for field in fields(cls)}
        known: dict[str, Any] = {}
        for key, value in values.items():
            if key.startswith("_"):
                continue
            if key in names:
                known[key] = tuple(value) if isinstance(value, list) else value
            elif key not in _FIXED:
                raise UserError(
                    f"unet config: unknown key {key!r}: {did_you_mean(key, [*names, *_FIXED])}"
                )
            else:
                _fixed(key, value)
        levels = len(known.get("block_out_channels", cls.block_out_channels))
        heads = known.get("attention_head_dim", cls.attention_head_dim)
        if isinstance(heads, int):
            known["attention_head_dim"] = (heads,) * levels
        return cls(**known)


def _one_of(name: str, value: str, accepted: Sequence[str]) -> None:
    if value not in accepted:
        raise UserError(f"unet config: {name}={value!r}: {did_you_mean(str(value), accepted)}")


def _fixed(key: str, value: object) -> None:
    accepted = _FIXED[key]
    values = value if isinstance(value, list | tuple) else (value,)
    for item in values:
        if item not in accepted:
            names = " or ".join(repr(a) for a in accepted)
            raise UserError(f"unet config: {key}={value!r} is not implemented; accepted: {names}")
