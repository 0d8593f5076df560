"""Linear maps and the gated feed-forward, without a detour on the CPU.

torch gives float32 products to MKL, which runs at half speed on CPUs that are not Intel's; oneDNN,
which is in torch as well, does not, and applies an activation on the way. The same sums in another
order: results differ in the last bits.

Shape letters: X tokens (any leading axes), C channels in, D channels out, H hidden channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from i2vbench.device import has_arithmetic

# Tokens that pass through the feed-forward at a time: their hidden values stay in the cache.
_TOKENS = 4096


def takes_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether the plain operators of oneDNN serve: inference on the CPU, nothing to be cast."""
    return bool(
        x.device.type == "cpu"
        and x.dtype == weight.dtype
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and has_arithmetic("bf16")))
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    )


def linear(x_XC: Tensor, weight_DC: Tensor, bias_D: Tensor | None) -> Tensor:
    """``x weight^T + bias``: (X, D)."""
    if takes_onednn(x_XC, weight_DC):
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x_XC, weight_DC, bias_D, "none", [], "")
        return out
    return F.linear(x_XC, weight_DC, bias_D)


class Linear(nn.Linear):
    """:class:`torch.nn.Linear` by way of :func:`linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """(X, D)."""
        return linear(input, self.weight, self.bias)


class GatedLinear(nn.Linear):
    """Values times the GELU (erf form) of gates, both linear in the input; values come first."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(channels, 2 * hidden)

    def forward(self, input: Tensor) -> Tensor:
        """(X, H)."""
        if not takes_onednn(input, self.weight):
            value_XH, gate_XH = super().forward(input).chunk(2, dim=-1)
            return value_XH * F.gelu(gate_XH)
        by_onednn = torch.ops.mkldnn._linear_pointwise
        (value_HC, gate_HC), (value_H, gate_H) = self.weight.chunk(2), self.bias.chunk(2)
        gate_XH = by_onednn(input, gate_HC, gate_H, "gelu", [], "none")
        gated_XH: Tensor = by_onednn.binary(input, gate_XH, value_HC, value_H, "mul")
        return gated_XH


class _GatedProjection(nn.Module):
    """For the name that the layout gives the map."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.proj = GatedLinear(channels, hidden)

    def forward(self, x_XC: Tensor) -> Tensor:
        out: Tensor = self.proj(x_XC)
        return out


class FeedForward(nn.Module):
    """Gated GELU, four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The identity keeps the index 2 of the layout's second linear map (1 was a dropout of 0).
        self.net = nn.Sequential(
            _GatedProjection(channels, 4 * channels),
            nn.Identity(),
            Linear(4 * channels, channels),
        )

    def forward(self, x_XC: Tensor, norm: nn.Module) -> Tensor:
        """``x + ff(norm(x))``, same shape; in ``x``'s memory on the CPU without gradients."""
        if x_XC.device.type != "cpu" or torch.is_grad_enabled():
            out: Tensor = x_XC + self.net(norm(x_XC))
            return out
        # Equal bit for bit to one piece, and a sixth of its memory or less.
        for part in x_XC.view(-1, x_XC.shape[-1]).split(_TOKENS):
            part += self.net(norm(part))
        return x_XC
