"""FrameInit: initial noise whose low frequencies come from the still video of the first frame.

Ren et al., ConsistI2V, TMLR 2024, section 3.3; the filters follow FreeInit (Wu et al.,
arXiv:2312.07537) with the quirks noted below.

Shape letters: B clips, C latent channels, T frames, H, W latent size.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

FILTERS: Final = ("gaussian", "butterworth", "ideal", "box")
_BUTTERWORTH_ORDER: Final = 4


@lru_cache(maxsize=16)
def low_pass_filter(
    method: str, size: tuple[int, int, int], spatial_cutoff: float, temporal_cutoff: float
) -> Tensor:
    """The filter (T, H, W), float32 in [0, 1], with frequency 0 in the middle (index size // 2).

    With n running over 2k/size - 1 on each axis and d2 = (ds/dt * nT)^2 + nH^2 + nW^2: ``gaussian``
    is exp(-d2 / (2 ds^2)), ``butterworth`` 1 / (1 + (d2 / ds^2)^4), ``ideal`` d2 <= 2 ds (not ds^2:
    parity, T14), ``box`` a half-open block around the middle. A cutoff of 0 gives zeros.

    Args:
        method: of :data:`FILTERS`.
        size: frames, height, width.
        spatial_cutoff: ds, as a share of the Nyquist frequency.
        temporal_cutoff: dt, likewise.
    """
    # The cached tensor must serve training steps too, so it may not be an inference tensor.
    with torch.inference_mode(False):
        if spatial_cutoff == 0 or temporal_cutoff == 0:
            return torch.zeros(size)
        if method == "box":
            return _box(size, spatial_cutoff, temporal_cutoff)
        t, h, w = (torch.arange(n, dtype=torch.float64) * 2 / n - 1 for n in size)
        t = t * (spatial_cutoff / temporal_cutoff)
        d2_THW = t[:, None, None] ** 2 + h[:, None] ** 2 + w**2
        if method == "gaussian":
            return torch.exp(-d2_THW / (2 * spatial_cutoff**2)).float()
        if method == "butterworth":
            return (1 / (1 + (d2_THW / spatial_cutoff**2) ** _BUTTERWORTH_ORDER)).float()
        assert method == "ideal", method
        return (d2_THW <= spatial_cutoff * 2).float()


def _box(size: tuple[int, int, int], spatial_cutoff: float, temporal_cutoff: float) -> Tensor:
    frames, height, width = size
    # The half height serves for the width too, and the block is half-open (parity, T14).
    radius_s = round(height // 2 * spatial_cutoff)
    radius_t = round(frames // 2 * temporal_cutoff)
    box_THW = torch.zeros(size)
    box_THW[
        frames // 2 - radius_t : frames // 2 + radius_t,
        height // 2 - radius_s : height // 2 + radius_s,
        width // 2 - radius_s : width // 2 + radius_s,
    ] = 1.0
    return box_THW


def mix_frequencies(low_BCTHW: Tensor, high_BCTHW: Tensor, filter_THW: Tensor) -> Tensor:
    """The low frequencies of one video with the high ones of another: (B, C, T, H, W), float32.

    Args:
        low_BCTHW: where the filter is 1.
        high_BCTHW: where the filter is 0.
        filter_THW: from :func:`low_pass_filter`, with its middle at index size // 2.
    """
    axes = (-3, -2, -1)
    # F^-1(L X + (1-L) N) = N + F^-1(L (X - N)): one transform less. FFT needs float32.
    filter_THW = torch.fft.ifftshift(filter_THW.to(low_BCTHW.device), dim=axes)
    high = high_BCTHW.float()
    spectrum = torch.fft.fftn(low_BCTHW.float() - high, dim=axes)
    mixed: Tensor = high + torch.fft.ifftn(spectrum * filter_THW, dim=axes).real
    return mixed


def frame_init(
    video_BCTHW: Tensor,
    noise_BCTHW: Tensor,
    alpha_bar: float,
    filter_THW: Tensor,
    high_BCTHW: Tensor | None = None,
) -> Tensor:
    """Initial latents (B, C, T, H, W): low frequencies of the noised video, high ones random.

    As published, both halves use the same noise and there is one round. FreeInit's further rounds
    take the clip of the round before as the video, noised by the first round's noise, and fresh
    noise for the high frequencies.

    Args:
        video_BCTHW: first-frame latents repeated in time (or the latents of a camera motion).
        noise_BCTHW: initial noise.
        alpha_bar: cumulative product of the schedule at the FrameInit level.
        filter_THW: from :func:`low_pass_filter`.
        high_BCTHW: what gives the high frequencies; None for ``noise``.
    """
    video = video_BCTHW.float() * math.sqrt(alpha_bar)
    noised = video + noise_BCTHW.float() * math.sqrt(1 - alpha_bar)
    high = noise_BCTHW if high_BCTHW is None else high_BCTHW
    return mix_frequencies(noised, high, filter_THW).to(noise_BCTHW.dtype)
