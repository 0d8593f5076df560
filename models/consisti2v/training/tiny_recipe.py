"""The tiny UNet and the options of its training, beside what the paper did (arXiv:2402.04324)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from i2vbench.device import has_arithmetic
from i2vbench.models.consisti2v.training.data import STRIDES

UNET_CONFIG: dict[str, Any] = {
    "sample_size": 16,
    # Three levels: at 4x4 cells the zero padding tells a convolution where it is, and without that
    # nothing can be moved to a place. What is moved there is copied from the first frame by
    # attention, to the latent only at the top level: there on the way up alone, for its cost.
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "block_out_channels": [64, 128, 128],
    "layers_per_block": 1,
    "attention_head_dim": [2, 4, 4],
    "cross_attention_dim": 128,
    "norm_num_groups": 16,
    "use_temporal": True,
    "n_temp_heads": 4,
    "first_frame_condition_mode": "concat",
    "augment_temporal_attention": True,
    "temp_pos_embedding": "rotary",
    "use_frame_stride_condition": True,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetTraining:
    """Options of the UNet's training; the comments name the published values that differ."""

    steps: int = 4500
    batch_size: int = 4
    peak_rate: float = 8e-4  # published: 5e-5, constant, on pretrained weights
    warmup_steps: int = 150  # published: 0
    fall: float = 1 / 3
    """Share of the steps, the last ones, in which the rate falls; published: 0."""
    optimizer: str = "adamw"
    """"adamw" as published, or "muon"."""
    weight_decay: float = 1e-2
    max_grad_norm: float = 0.5
    ema_decay: float = 0.998  # published: no EMA
    text_dropout: float = 0.1
    image_dropout: float = 0.1
    noise_alpha: float = 1.0
    """Share of noise that frames have in common: alpha^2 / (1 + alpha^2)."""
    initial_alpha: float = 0.5  # published: 1
    prediction: str = "epsilon"
    """What is predicted: "epsilon" as published, or "v_prediction" (arXiv:2202.00512).

    At high noise an epsilon network has to return its input to three digits before the first frame
    makes a difference; a network of this size does not get there and its frames drift in colour.
    Velocity at high noise is the negative of the clip itself, which attention can copy from the
    first frame.
    """
    zero_snr: bool = False
    """The last timestep holds no signal (arXiv:2305.08891); asks for "v_prediction".

    The published schedule leaves some, in which a network sees whether a clip moves; sampling
    starts from noise, in which nothing moves, and a network that looks there lets clips stand.
    """
    high_noise_share: float = 0.0
    """Share of the clips whose timestep is `high_noise_from` or more; the rest's is uniform."""
    high_noise_from: int = 600
    pixel_weights: bool = False
    """Latent channels count by what their errors do to the pixels; published: all the same."""
    flow_weight: float = 0.0
    """Weight of the flow's loss (`flow.py`) beside that of what is predicted; published: 0."""
    strides: tuple[float, float] = STRIDES
    """Range of the frame stride, both ends included."""
    stride_step: float = 1
    """Between the strides that are drawn; published: 1."""
    size_px: int = 64
    scene_sides: int = 1
    """Clips are windows of `size_px` in scenes whose side is so many times as long."""
    num_frames: int = 16
    seed: int = 0
    save_every: int = 100
    bf16: bool = field(default_factory=lambda: has_arithmetic("bf16"))
    """Where the CPU multiplies it; float32 is ten and more times as quick where it does not."""

    def __post_init__(self) -> None:
        if self.prediction not in ("epsilon", "v_prediction"):
            raise ValueError(f"prediction={self.prediction!r}; accepted: 'epsilon', 'v_prediction'")
        if self.zero_snr and self.prediction != "v_prediction":
            raise ValueError("zero_snr=True needs prediction='v_prediction'")
        if self.strides[0] > self.strides[1]:
            raise ValueError(f"strides={self.strides}; accepted: the smaller one first")
        if not self.stride_step > 0:
            raise ValueError(f"stride_step={self.stride_step}; accepted: more than 0")
        if not 0 <= self.fall <= 1:
            raise ValueError(f"fall={self.fall}; accepted: 0 to 1")
