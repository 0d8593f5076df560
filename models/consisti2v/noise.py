"""Initial noise of a clip, and where its random numbers come from.

Shape letters: B clips, C latent channels, T frames, H, W latent size, N images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Protocol

import torch
from torch import Tensor

NOISE_METHODS: Final = ("vanilla", "pyoco_mixed", "pyoco_progressive")


class Draws(Protocol):
    """A source of unit normal numbers on the CPU or the device, float32."""

    def posterior(self, shape: Sequence[int]) -> Tensor:
        """Numbers for the VAE posterior of the first frames, (N, C, H, W)."""
        ...

    def noise(self, shape: Sequence[int]) -> Tensor:
        """Numbers for the initial noise, first axis B."""
        ...

    @property
    def generators(self) -> list[torch.Generator] | torch.Generator | None:
        """For a scheduler that draws noise at each step; None is the global generator."""
        ...


class SampleDraws:
    """One CPU generator per clip, for all its draws.

    A clip's noise depends on its own generator alone: not on the batch it is in, nor on its place
    there, nor on the device.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self._generators = list(generators)

    @property
    def generators(self) -> list[torch.Generator]:
        """One per clip."""
        return self._generators

    def posterior(self, shape: Sequence[int]) -> Tensor:
        """Equal shares of the first axis for each clip, in order."""
        share = shape[0] // len(self._generators)
        assert share * len(self._generators) == shape[0], "rows must divide among the clips"
        parts = [torch.randn((share, *shape[1:]), generator=g) for g in self._generators]
        return torch.cat(parts)

    def noise(self, shape: Sequence[int]) -> Tensor:
        """As :meth:`posterior`."""
        return self.posterior(shape)


class ParityDraws:
    """The draws of the original, for comparing numbers with it.

    The posterior comes from the global generator of the device, the rest from ``generator`` (T9);
    with None all come from the global one, which the original's command line seeds.
    """

    def __init__(
        self, generator: torch.Generator | None = None, *, device: torch.device | str = "cpu"
    ) -> None:
        self._generator = generator
        self._device = device

    @property
    def generators(self) -> torch.Generator | None:
        """``generator``."""
        return self._generator

    def posterior(self, shape: Sequence[int]) -> Tensor:
        """From the global generator, whatever ``generator`` is."""
        return torch.randn(tuple(shape), device=self._device)

    def noise(self, shape: Sequence[int]) -> Tensor:
        """From ``generator``, on its device."""
        device = self._device if self._generator is None else self._generator.device
        return torch.randn(tuple(shape), generator=self._generator, device=device)


def initial_noise(method: str, alpha: float, shape: Sequence[int], draws: Draws) -> Tensor:
    """Unit-variance noise (B, C, T, H, W), float32; frames correlate unless ``vanilla``.

    ``pyoco_mixed`` adds one picture shared by all frames, ``pyoco_progressive`` lets each frame's
    noise follow from the one before (Ge et al., PYoCo, arXiv:2305.10474); ``alpha`` weighs what is
    shared, so that at 1 neighbouring frames correlate by 1/2 and by 1/sqrt(2).
    """
    shared_scale = math.sqrt(alpha**2 / (1 + alpha**2))
    own_scale = math.sqrt(1 / (1 + alpha**2))
    clips, channels, frames, height, width = shape
    if method == "vanilla":
        return draws.noise(shape)
    if method == "pyoco_mixed":
        shared_BC1HW = draws.noise((clips, channels, 1, height, width))
        return shared_BC1HW * shared_scale + draws.noise(shape) * own_scale
    assert method == "pyoco_progressive", method
    noise_BCTHW, own_BCTHW = draws.noise(shape), draws.noise(shape)
    for frame in range(1, frames):
        noise_BCTHW[:, :, frame] = (
            noise_BCTHW[:, :, frame - 1] * shared_scale + own_BCTHW[:, :, frame] * own_scale
        )
    return noise_BCTHW
