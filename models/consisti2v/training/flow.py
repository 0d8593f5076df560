"""Flow, which a playground scene knows, as a second thing for the UNet to learn from.

A clip says in thousands of colours what its motion is; its flow says it in two numbers a cell. The
network is asked for the flow before its last block, which then has to copy from where it points;
the layer that reads it is left behind when the training ends. (Of the kind of REPA,
arXiv:2410.06940, which asks the hidden states of a diffusion network for those of an encoder.)

Shapes: B clips, T frames, N = B * T images, C channels, H, W latent size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from i2vbench.models.consisti2v.unet import ConsistI2VUNet

_TYPICAL = 0.07
"""Root mean square of the flow of scenes at stride 9 in four frames, in sides of the frame."""


class FlowHead(nn.Module):
    """Reads the flow from the hidden state that the last up block of a UNet is given."""

    def __init__(self, unet: ConsistI2VUNet) -> None:
        super().__init__()
        channels = unet.config.block_out_channels[1]
        self.norm = nn.GroupNorm(unet.config.norm_num_groups, channels)
        self.read = nn.Conv2d(channels, 2, 1)
        nn.init.zeros_(self.read.weight)
        assert self.read.bias is not None
        nn.init.zeros_(self.read.bias)
        self._hidden_NCHW: torch.Tensor | None = None
        self._hook = unet.up_blocks[-2].register_forward_hook(self._keep)

    def leave(self) -> None:
        """Lets go of the UNet, which else keeps what it computes for this layer."""
        self._hook.remove()

    def _keep(
        self, module: nn.Module, inputs: tuple[torch.Tensor, ...], hidden_NCHW: torch.Tensor
    ) -> None:
        del module, inputs
        self._hidden_NCHW = hidden_NCHW

    def losses_per_clip(self, flow_BT2HW: torch.Tensor) -> torch.Tensor:
        """Returns how far the flow of the last forward pass is off, (B,) float32.

        Args:
            flow_BT2HW: Of the clips that the network was given, in sides of the frame.
        """
        hidden_NCHW, self._hidden_NCHW = self._hidden_NCHW, None
        assert hidden_NCHW is not None, "the UNet has not been called"
        read_N2HW = self.read(self.norm(hidden_NCHW.float()))
        read_BT2HW = read_N2HW.unflatten(0, flow_BT2HW.shape[:2])
        loss = F.smooth_l1_loss(read_BT2HW, flow_BT2HW / _TYPICAL, reduction="none")
        return loss[:, 1:].mean(dim=(1, 2, 3, 4))
