"""Classifier-free guidance on text, or on text and first frame.

Shape letters: B clips, R guidance rows per clip, C latent channels, T frames, H, W latent size.
Rows are stacked block-wise: all clips of the first kind of row, then all of the second.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """Scales, and the rows of the network's batch that they ask for."""

    text_scale: float
    image_scale: float
    rescale: float
    """0 to 1: how far the guided noise gets the deviation of the conditioned one."""

    @property
    def on_image(self) -> bool:
        """Whether the image scale is above 1, whatever the text scale (parity, T11)."""
        return self.image_scale > 1

    @property
    def mode(self) -> str:
        """``both`` with image guidance, else ``text`` or ``none``.

        ``joint`` is ``both`` with equal scales: the row with the image alone would be added as
        often as it is taken off, and the network need not make it.
        """
        if self.on_image:
            return "joint" if self.image_scale == self.text_scale else "both"
        return "text" if self.text_scale > 1 else "none"

    @property
    def num_rows(self) -> int:
        """1, 2 or 3."""
        return {"none": 1, "text": 2, "joint": 2, "both": 3}[self.mode]

    def text_rows(self, text_BLD: Tensor, negative_BLD: Tensor) -> Tensor:
        """(R*B, L, D)."""
        rows = [negative_BLD] * (self.num_rows - 1)
        return torch.cat([*rows, text_BLD])

    def first_frame_rows(self, clean_BCTHW: Tensor, noisy_BCTHW: Tensor) -> Tensor:
        """(R*B, C, 1, H, W); the row without image sees frame 0 of the initial latents instead.

        That frame stays the same over all steps, whereas training noises it at the current step
        (parity, T10).
        """
        plain = noisy_BCTHW if self.on_image else clean_BCTHW
        return torch.cat([plain, *[clean_BCTHW] * (self.num_rows - 1)])

    def combine(self, rows: Tensor) -> Tensor:
        """The guided noise (B, C, T, H, W) from the network's rows (R*B, C, T, H, W)."""
        if self.mode == "none":
            return rows
        if self.num_rows == 2:
            plain, full = rows.chunk(2)
            guided = plain + self.text_scale * (full - plain)
        else:
            plain, image, full = rows.chunk(3)
            guided = plain + self.image_scale * (image - plain) + self.text_scale * (full - image)
        return rescale_noise(guided, full, self.rescale) if self.rescale > 0 else guided


def rescale_noise(guided_BCTHW: Tensor, full_BCTHW: Tensor, strength: float) -> Tensor:
    """``guided`` moved towards the deviation of ``full`` (Lin et al., arXiv:2305.08891)."""
    axes = tuple(range(1, guided_BCTHW.ndim))
    ratio = full_BCTHW.std(dim=axes, keepdim=True) / guided_BCTHW.std(dim=axes, keepdim=True)
    return strength * guided_BCTHW * ratio + (1 - strength) * guided_BCTHW
