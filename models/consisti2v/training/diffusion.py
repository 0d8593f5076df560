"""The step that all trainings of the video UNet share: noise, timestep, dropouts, loss.

Shapes: B clips, C latent channels, T frames, H, W latent size, L tokens, D text width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

NUM_TIMESTEPS: Final = 1000
BETAS: Final = (0.00085, 0.012)
SCHEDULER_FILE: Final = "scheduler.json"
"""In a run directory of the tiny UNet: what its sampling has to know of the training."""


def sampling_values(prediction: str, *, zero_snr: bool) -> dict[str, Any]:
    """What `scheduler_config.json` has to say of a training, besides betas and steps."""
    values: dict[str, Any] = {"prediction_type": prediction}
    if zero_snr:
        # Sampling has to start at the very last step, the only one without signal.
        values |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return values


class NoiseSchedule:
    """Linear betas, as the published scheduler configuration has them."""

    def __init__(self, *, zero_snr: bool = False) -> None:
        """With `zero_snr`, rescaled until the last step holds no signal (arXiv:2305.08891)."""
        self.alpha_bar = torch.cumprod(1.0 - torch.linspace(*BETAS, NUM_TIMESTEPS), dim=0)
        if zero_snr:
            root = self.alpha_bar.sqrt()
            first, last = root[0].clone(), root[-1].clone()
            self.alpha_bar = ((root - last) * first / (first - last)).square()

    def add_noise(
        self, clean: torch.Tensor, noise: torch.Tensor, t_B: torch.Tensor
    ) -> torch.Tensor:
        """Returns sqrt(a_t) * clean + sqrt(1 - a_t) * noise, one t per clip."""
        a = self._of(t_B, clean)
        return a.sqrt() * clean + (1.0 - a).sqrt() * noise

    def velocity(self, clean: torch.Tensor, noise: torch.Tensor, t_B: torch.Tensor) -> torch.Tensor:
        """Returns sqrt(a_t) * noise - sqrt(1 - a_t) * clean, one t per clip."""
        a = self._of(t_B, clean)
        return a.sqrt() * noise - (1.0 - a).sqrt() * clean

    def clean(self, noisy: torch.Tensor, velocity: torch.Tensor, t_B: torch.Tensor) -> torch.Tensor:
        """Returns sqrt(a_t) * noisy - sqrt(1 - a_t) * velocity, which `velocity` came from."""
        a = self._of(t_B, noisy)
        return a.sqrt() * noisy - (1.0 - a).sqrt() * velocity

    def _of(self, t_B: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return self.alpha_bar[t_B.cpu()].to(like.device).view(-1, *[1] * (like.dim() - 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class StepDraws:
    """All that is random in the step of a batch, apart from the data."""

    noise_BCTHW: torch.Tensor  # noqa: N815
    t_B: torch.Tensor  # noqa: N815
    no_text_B: torch.Tensor  # noqa: N815
    """bool: the clip's text is replaced by the empty one."""
    no_image_B: torch.Tensor  # noqa: N815
    """bool: the clip's first frame is replaced by its noisy self."""


def predicted_and_target(
    unet: nn.Module,
    latents_BCTHW: torch.Tensor,
    text_BLD: torch.Tensor,
    stride_B: torch.Tensor | None,
    empty_text_LD: torch.Tensor,
    draws: StepDraws,
    schedule: NoiseSchedule,
    *,
    prediction: str,
    first_frame_given: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the network's output and what it should be.

    Both have the frames 1..T-1, since frame 0 is given; all T in mode `none`, where
    `first_frame_given` is false.
    """
    noise_BCTHW, t_B = draws.noise_BCTHW, draws.t_B
    noisy_BCTHW = schedule.add_noise(latents_BCTHW, noise_BCTHW, t_B)
    text_BLD = torch.where(draws.no_text_B[:, None, None], empty_text_LD, text_BLD)
    target_BCTHW = noise_BCTHW
    if prediction == "v_prediction":
        target_BCTHW = schedule.velocity(latents_BCTHW, noise_BCTHW, t_B)
    if not first_frame_given:
        return unet(noisy_BCTHW, t_B, text_BLD, frame_stride=stride_B), target_BCTHW
    no_image_B1111 = draws.no_image_B.view(-1, 1, 1, 1, 1)
    first_BC1HW = torch.where(no_image_B1111, noisy_BCTHW[:, :, :1], latents_BCTHW[:, :, :1])
    predicted = unet(
        noisy_BCTHW[:, :, 1:],
        t_B,
        text_BLD,
        first_frame_latents=first_BC1HW,
        frame_stride=stride_B,
    )
    return predicted, target_BCTHW[:, :, 1:]


def losses_per_clip(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Returns the mean squared error of each clip, (B,) float32."""
    return (predicted.float() - target.float()).square().mean(dim=(1, 2, 3, 4))
