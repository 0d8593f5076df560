"""A pool of encoded training clips in memory, renewed one clip at a time.

Encoding a clip costs about a fifth of a training step. The pool lets each clip be used several
times (with fresh noise, fresh posterior samples and a fresh dropout), while a steady trickle of new
clips keeps the network from learning the pool by heart. Its content is a function of the step, so
that a resumed run sees the same clips.

Shapes: B clips, T frames, C latent channels, H, W latent size, L tokens, D text width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel, CLIPTokenizer

from i2vbench.models.consisti2v.training.clip import tokenize
from i2vbench.models.consisti2v.training.data import SceneClips, to_unit_range


class LatentBatch(NamedTuple):
    """What one UNet step needs of the data."""

    latents_BCTHW: torch.Tensor  # noqa: N815
    """Scaled posterior samples, float32."""
    text_BLD: torch.Tensor  # noqa: N815
    stride_B: torch.Tensor  # noqa: N815


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenParts:
    """The autoencoder and the text tower, which the UNet's training leaves as they are."""

    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel

    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Returns the states of all tokens, (B, L, D) float32."""
        return self.text_encoder(tokenize(self.tokenizer, texts)).last_hidden_state.float()  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode_frames(self, frames_TCHW: torch.Tensor) -> torch.Tensor:
        """Returns mean and deviation of the posterior, (2, C, T, H, W) float32, unscaled."""
        with torch.autocast("cpu", torch.bfloat16):
            posterior = self.vae.encode(to_unit_range(frames_TCHW)).latent_dist
        return torch.stack([posterior.mean, posterior.std]).float().transpose(1, 2)


class LatentPool:
    """`size` clips; before step s, slot s % size holds clip size + s if s > 0."""

    def __init__(
        self, parts: FrozenParts, clips: SceneClips, size: int, renewals_per_step: int
    ) -> None:
        self._parts = parts
        self._clips = clips
        self._size = size
        self._renewals = renewals_per_step
        self._held = [-1] * size
        self._moments: torch.Tensor | None = None
        self._text: torch.Tensor | None = None
        self._stride = torch.zeros(size, dtype=torch.long)

    def batch(
        self, step: int, draw: int, batch_size: int, generator: torch.Generator
    ) -> LatentBatch:
        """Returns `batch_size` clips of the pool as it is before `step`, chosen by `draw`."""
        rng = np.random.Generator(np.random.PCG64((draw, 4)))
        slots = rng.choice(self._size, batch_size, replace=batch_size > self._size)
        for slot in slots:
            self._ensure(int(slot), step)
        assert self._moments is not None
        assert self._text is not None
        mean, std = self._moments[slots].float().unbind(1)
        latents_BCTHW = mean + std * torch.randn(mean.shape, generator=generator)
        factor = float(self._parts.vae.config.scaling_factor)
        return LatentBatch(latents_BCTHW * factor, self._text[slots].float(), self._stride[slots])

    def _ensure(self, slot: int, step: int) -> None:
        """Encodes the clip that belongs into `slot` before `step`, unless it is there."""
        # A slot is renewed once per round of the pool; clips that nobody draws are never encoded.
        rounds = (step * self._renewals + self._size - 1 - slot) // self._size
        wanted = slot + rounds * self._size
        if self._held[slot] == wanted:
            return
        frames_TCHW, text, stride = self._clips[wanted]
        moments = self._parts.encode_frames(frames_TCHW).half()
        states_LD = self._parts.encode_text([text])[0].half()
        if self._moments is None or self._text is None:
            self._moments = torch.zeros(self._size, *moments.shape, dtype=torch.float16)
            self._text = torch.zeros(self._size, *states_LD.shape, dtype=torch.float16)
        self._moments[slot], self._text[slot], self._stride[slot] = moments, states_LD, stride
        self._held[slot] = wanted
