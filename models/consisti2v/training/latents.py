"""Training clips as latents, each used once.

Drawing and encoding is a fifth of a step at most. With clips that were used sixteen times each
the network learned them by heart: the predicted clip's error was 0.42 of a still frame's on some
that it had seen, and 0.51 on others.

Shapes: B clips, T frames, C latent channels, H, W latent size, L tokens, D text width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextModel, CLIPTokenizer

from i2vbench.models.consisti2v.training.clip import tokenize
from i2vbench.models.consisti2v.training.data import SceneClips, to_unit_range

FRAMES_TOGETHER = 16
"""In one pass of the encoder: more no longer fit the cache."""
_SMALL_NOISE = 0.2


class LatentBatch(NamedTuple):
    """What one UNet step needs of the data."""

    latents_BCTHW: torch.Tensor  # noqa: N815
    """Scaled posterior means, float32."""
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
    def pixel_weights(self, frames_NCHW: torch.Tensor) -> torch.Tensor:
        """Returns what an error in each latent channel does to the pixels, squared, (C,); mean 1.

        Args:
            frames_NCHW: What to measure it on, uint8.
        """
        latents = self.vae.encode(to_unit_range(frames_NCHW)).latent_dist.mean
        clean = self.vae.decode(latents).sample
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        noise *= _SMALL_NOISE / float(self.vae.config.scaling_factor)
        weights = torch.empty(latents.shape[1])
        for channel in range(len(weights)):
            disturbed = latents.clone()
            disturbed[:, channel] += noise[:, channel]
            weights[channel] = (self.vae.decode(disturbed).sample - clean).square().mean()
        return weights / weights.mean()

    @torch.no_grad()
    def encode_clips(self, frames_BTCHW: torch.Tensor, *, bf16: bool) -> torch.Tensor:
        """Returns the mean of the posterior, (B, C, T, H, W) float32, unscaled.

        A sample would be as good but for a channel that the autoencoder does not use: its posterior
        is noise of unit deviation, which the UNet would be asked to predict.
        """
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            posterior = self.vae.encode(to_unit_range(frames_BTCHW.flatten(0, 1))).latent_dist
        mean_BTCHW: torch.Tensor = posterior.mean.float().unflatten(0, frames_BTCHW.shape[:2])
        return mean_BTCHW.transpose(1, 2)


def latent_batch(
    parts: FrozenParts,
    clips: SceneClips,
    numbers: range,
    *,
    bf16: bool,
) -> LatentBatch:
    """Draws and encodes the clips of these numbers, in bf16 or float32."""
    drawn = [clips[number] for number in numbers]
    frames_BTCHW = [frames for frames, _, _ in drawn]
    together = max(1, FRAMES_TOGETHER // len(frames_BTCHW[0]))
    latents_BCTHW = torch.cat(
        [
            parts.encode_clips(torch.stack(frames_BTCHW[at : at + together]), bf16=bf16)
            for at in range(0, len(drawn), together)
        ]
    )
    return LatentBatch(
        latents_BCTHW * float(parts.vae.config.scaling_factor),
        parts.encode_text([text for _, text, _ in drawn]),
        torch.tensor([stride for _, _, stride in drawn]),
    )
