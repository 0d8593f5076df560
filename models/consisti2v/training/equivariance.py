"""Latents that move as their picture does, which is what an image-to-video network has to make.

An autoencoder of single pictures is free to write a shape that has gone on by a pixel in quite
another way, and then a network has to learn the writing of each shape at each place. Here the
latents of a picture that is shifted, turned and scaled are held against its latents, shifted,
turned and scaled, and so is what is decoded from these (EQ-VAE, arXiv:2502.09509, asks for the
second alone). The decoder is given noisy latents, as a sampler leaves them (of the kind of
arXiv:2507.15856).

Shapes: B frames, C channels, H, W pixels or latent cells.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

FINER = 2
"""Frames are drawn so many times as large, that moved ones stay as sharp as the others."""

_LARGEST_ANGLE = 0.35  # radians
_LARGEST_LOG_SCALE = 0.25
_LARGEST_SHIFT = 0.125  # sides of the frame


def random_moves(size: int, generator: torch.Generator) -> torch.Tensor:
    """Returns affine maps (B, 2, 3) from a moved frame to where it comes from, sides being 2."""
    angle_B, log_scale_B, right_B, down_B = 2 * torch.rand(4, size, generator=generator) - 1
    scale_B = (log_scale_B * _LARGEST_LOG_SCALE).exp()
    cos_B = (angle_B * _LARGEST_ANGLE).cos() * scale_B
    sin_B = (angle_B * _LARGEST_ANGLE).sin() * scale_B
    shift_B2 = torch.stack([right_B, down_B], dim=1) * 2 * _LARGEST_SHIFT
    turn_B22 = torch.stack([cos_B, -sin_B, sin_B, cos_B], dim=1).unflatten(1, (2, 2))
    return torch.cat([turn_B22, shift_B2[:, :, None]], dim=2)


def moved(values_BCHW: torch.Tensor, moves_B23: torch.Tensor) -> torch.Tensor:
    """Returns frames or latents moved by cubic interpolation; beyond the edge they are mirrored."""
    grid_BHW2 = F.affine_grid(moves_B23, list(values_BCHW.shape), align_corners=False)
    return F.grid_sample(
        values_BCHW, grid_BHW2, mode="bicubic", padding_mode="reflection", align_corners=False
    )


def coarse(frames_BCHW: torch.Tensor) -> torch.Tensor:
    """Returns frames, drawn :data:`FINER` times as large, in their size and range [-1, 1]."""
    return F.avg_pool2d(frames_BCHW, FINER).clamp(-1.0, 1.0)


def small_noise(
    latents_BCHW: torch.Tensor, largest: float, generator: torch.Generator
) -> torch.Tensor:
    """Returns noise for latents: each frame's of a deviation of its own, up to `largest` of theirs.

    The deviation is taken of all latents together and bears no gradient: an encoder cannot write
    louder to be heard, but can give more of the voice to what matters.
    """
    noise_BCHW = torch.randn(latents_BCHW.shape, generator=generator)
    share_B = torch.rand(len(latents_BCHW), generator=generator) * largest
    return noise_BCHW * share_B.view(-1, 1, 1, 1) * latents_BCHW.detach().std()
