"""Data-parallel training by processes that average their gradients.

Two processes of one thread use two cores better than one process with two threads, which waits at
the end of each small operator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """The place of this process among those that train together."""

    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(
                f"rank={self.rank} with {self.size} processes; accepted: 0 to size - 1"
            )

    def join(self, meeting_point: Path) -> None:
        """Waits until all processes are there.

        Args:
            meeting_point: A file that does not exist yet, the same for all processes of one start.
        """
        if self.size > 1:
            dist.init_process_group(
                "gloo",
                init_method=f"file://{meeting_point.resolve()}",
                rank=self.rank,
                world_size=self.size,
            )

    def leave(self) -> None:
        """Waits until all are done; a process that ends without it may abort, or make others."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces each gradient by its mean over the processes."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
