"""Group normalisation of channels-last images, without torch's slow path for small ones.

Below 32x32 pixels torch reads bf16 channels-last images group by group, which takes three times as
long as the sums of whole pixels do.

Shape letters: N images, C channels, H, W size, S = H*W pixels, G groups.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

# From this many pixels on, torch sums whole pixels as well.
_MANY_PIXELS = 1024


class GroupNorm(nn.GroupNorm):
    """:class:`torch.nn.GroupNorm`, the same function."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W)."""
        if (
            input.device.type != "cpu"
            or input.dtype != torch.bfloat16
            or self.weight.dtype != torch.bfloat16
            or torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or input.shape[2] * input.shape[3] >= _MANY_PIXELS
            or not input.is_contiguous(memory_format=torch.channels_last)
        ):
            return super().forward(input)
        return _normalise(input, self.num_groups, self.weight, self.bias, self.eps)

    def activate(self, input: Tensor) -> Tensor:
        """(N, C, H, W): SiLU of the normalised input."""
        return F.silu(self(input), inplace=not torch.is_grad_enabled())


def _normalise(
    x_NCHW: Tensor, num_groups: int, weight_C: Tensor, bias_C: Tensor, eps: float
) -> Tensor:
    """Group normalisation, statistics in float32, image by image: one stays in the cache."""
    out_NCHW = torch.empty_like(x_NCHW)
    weight_C, bias_C = weight_C.float(), bias_C.float()
    channels = len(weight_C)
    for image_CHW, out_CHW in zip(x_NCHW, out_NCHW, strict=True):
        pixels_SC = image_CHW.permute(1, 2, 0).flatten(0, 1).float()
        sums_2C = torch.stack([pixels_SC.sum(0), pixels_SC.square().sum(0)])
        means_2G = sums_2C.view(2, num_groups, -1).mean(-1) / len(pixels_SC)
        mean_G = means_2G[0]
        variance_G = (means_2G[1] - mean_G.square()).clamp_(min=0)
        repeats = channels // num_groups
        mean_C, variance_C = (t.repeat_interleave(repeats) for t in (mean_G, variance_G))
        # The same affine map as group normalisation, the statistics being given.
        normalised = F.batch_norm(
            image_CHW[None], mean_C, variance_C, weight_C, bias_C, False, 0.0, eps
        )
        out_CHW.copy_(normalised[0])
    return out_NCHW
