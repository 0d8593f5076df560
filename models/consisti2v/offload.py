"""Where the networks are while a clip is made: all on the device, or there only while they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

from i2vbench.errors import UserError

OFFLOADS: Final = ("none", "model", "sequential")


class Placement:
    """Moves networks to the device and back.

    ``none`` keeps all there. ``model`` brings one network at a time, whole. ``sequential`` brings
    one layer at a time, which needs least memory and waits for each copy (by accelerate).
    """

    def __init__(
        self, networks: Sequence[nn.Module], device: torch.device | str, offload: str = "none"
    ) -> None:
        """Places the networks.

        Args:
            networks: all of the pipeline's; with an offload they stay on the CPU.
            device: where they run.
            offload: of :data:`OFFLOADS`.

        Raises:
            UserError: ``sequential`` without accelerate.
        """
        self.device = torch.device(device)
        self.offload = offload
        if offload == "none":
            for network in networks:
                network.to(self.device)
        elif offload == "sequential":
            try:
                from accelerate import cpu_offload
            except ImportError as error:
                raise UserError(
                    "offload='sequential' needs accelerate: pip install 'i2vbench[offload]'"
                ) from error
            for network in networks:
                cpu_offload(network, self.device)

    @contextmanager
    def running(self, network: nn.Module) -> Iterator[None]:
        """``network`` is on the device inside."""
        if self.offload != "model":
            yield
            return
        network.to(self.device)
        try:
            yield
        finally:
            network.to("cpu")
