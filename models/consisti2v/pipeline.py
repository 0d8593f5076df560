"""Sampling: first frames and prompts in, clips out.

Shape letters: B clips, C latent channels, T frames, H, W latent size (or pixels where said), L text
tokens, D text width, N images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from .camera import moving_crops
from .checkpoint import checkpoint_folder
from .frameinit import frame_init, low_pass_filter
from .networks import load_scheduler, load_text_encoder, load_tokenizer, load_unet, load_vae
from .noise import Draws, initial_noise
from .preprocess import fit, normalise, to_tensor
from .sampling import Sampling
from .unet import ConsistI2VUNet

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

# Pixels that the VAE takes at a time: four frames of 256x256, about 2 GiB of activations.
_VAE_PIXELS = 4 * 256 * 256


class ConsistI2VPipeline:
    """The networks of a checkpoint, and the loop that samples with them."""

    def __init__(
        self,
        *,
        unet: ConsistI2VUNet,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        scheduler: DDIMScheduler,
    ) -> None:
        self.unet = unet
        # Any: the two libraries type their classes in part only.
        self.vae: Any = vae
        self.text_encoder: Any = text_encoder
        self.tokenizer: Any = tokenizer
        self.scheduler: Any = scheduler

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        unet_overrides: Mapping[str, Any] | None = None,
        allow_pickle_format: bool = False,
    ) -> ConsistI2VPipeline:
        """The pipeline of a folder in the Diffusers layout, or of a Hugging Face repository.

        Args:
            checkpoint: folder or repository id.
            revision: of the repository; None for its main branch.
            local_files_only: never download.
            device: where the networks go.
            dtype: of UNet and text encoder, whatever the files store. The VAE and the latents stay
                float32: half-precision Stable Diffusion VAEs overflow.
            unet_overrides: values that replace those of ``unet/config.json``.
            allow_pickle_format: also read ``.bin`` files, by torch's tensors-only loader.

        Raises:
            UserError: a checkpoint that is missing, damaged or of another model.
        """
        folder = checkpoint_folder(
            str(checkpoint), revision=revision, local_files_only=local_files_only
        )
        pickles = {"allow_pickle_format": allow_pickle_format}
        pipeline = cls(
            unet=load_unet(folder / "unet", dtype=dtype, overrides=unet_overrides, **pickles),
            vae=load_vae(folder / "vae", **pickles),
            text_encoder=load_text_encoder(folder / "text_encoder", dtype=dtype, **pickles),
            tokenizer=load_tokenizer(folder / "tokenizer"),
            scheduler=load_scheduler(folder / "scheduler"),
        )
        return pipeline.to(device)

    def to(self, device: torch.device | str) -> ConsistI2VPipeline:
        """Moves the networks; returns itself."""
        self.unet.to(device)
        self.vae.to(device)
        self.text_encoder.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        return self.unet.conv_in.weight.device

    @property
    def vae_factor(self) -> int:
        """Pixels per latent, per side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def num_frames(self) -> int:
        """Of a clip, the first frame included."""
        return self.unet.config.n_frames

    def __call__(
        self,
        prompts: Sequence[str],
        first_frames: Sequence[Picture],
        draws: Draws,
        sampling: Sampling | None = None,
        *,
        height: int,
        width: int,
        num_segments: int = 1,
    ) -> NDArray[np.uint8]:
        """Clips, uint8 (B, T, H, W, 3) RGB; arguments as :meth:`sample`."""
        latents_BCTHW = self.sample(
            prompts,
            first_frames,
            draws,
            sampling,
            height=height,
            width=width,
            num_segments=num_segments,
        )
        return to_uint8(self.decode(latents_BCTHW))

    @torch.inference_mode()
    def sample(
        self,
        prompts: Sequence[str],
        first_frames: Sequence[Picture],
        draws: Draws,
        sampling: Sampling | None = None,
        *,
        height: int,
        width: int,
        num_segments: int = 1,
    ) -> Tensor:
        """Latents (B, C, T, H, W), float32; frame 0 is the encoded first frame.

        Args:
            prompts: one text per clip.
            first_frames: one picture per clip, uint8 (H, W, 3) RGB of any size.
            draws: source of all random numbers.
            sampling: None for the published values.
            height: of the clip, pixels; a multiple of :attr:`vae_factor`.
            width: likewise.
            num_segments: S > 1 makes a long video of S(T-1)+1 frames; each segment starts from the
                last latent of the one before.

        Raises:
            ValueError: sizes or counts that do not fit.
        """
        sampling = sampling or Sampling()
        if len(prompts) != len(first_frames) or not prompts:
            raise ValueError(
                f"{len(prompts)} prompts for {len(first_frames)} first frames; give one for each"
            )
        if num_segments < 1 or (num_segments > 1 and sampling.camera_motion):
            raise ValueError(
                f"num_segments={num_segments} with camera_motion={sampling.camera_motion!r}; "
                "accepted: 1, or more without camera motion"
            )
        still_BCTHW = self._encode_first_frames(first_frames, draws, sampling, height, width)
        first_BCTHW = still_BCTHW[:, :, :1]
        guidance = sampling.guidance
        text_RLD = guidance.text_rows(
            self.encode_text(prompts), self.encode_text([sampling.negative_prompt] * len(prompts))
        )
        parts = [first_BCTHW]
        for _ in range(num_segments):
            noise_BCTHW = initial_noise(
                sampling.noise, sampling.noise_alpha, self._clip_shape(first_BCTHW), draws
            )
            latents_BCTHW = noise_BCTHW.to(self.device)
            if sampling.frameinit:
                latents_BCTHW = self._frame_init(still_BCTHW, latents_BCTHW, sampling)
            new_BCTHW = self._denoise(latents_BCTHW, first_BCTHW, text_RLD, sampling)
            parts.append(new_BCTHW)
            first_BCTHW = new_BCTHW[:, :, -1:]
            still_BCTHW = first_BCTHW.expand(self._clip_shape(first_BCTHW))
        return torch.cat(parts, dim=2)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """(B, L, D) in the text encoder's dtype; equal texts are encoded once.

        Padding takes part in attention, as in the original.
        """
        unique = list(dict.fromkeys(texts))
        length = min(
            self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings
        )
        tokens = self.tokenizer(
            unique, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        encoded = self.text_encoder(tokens.input_ids.to(self.device)).last_hidden_state
        rows: Tensor = encoded[[unique.index(text) for text in texts]]
        return rows

    @torch.inference_mode()
    def encode_pixels(self, pixels_NCHW: Tensor, draws: Draws) -> Tensor:
        """Scaled latents (N, C, H, W) sampled from the VAE posterior; pixels in [-1, 1] (T9)."""
        batch = self._vae_batch(pixels_NCHW, 1)
        chunks = torch.split(pixels_NCHW.to(self.device, self.vae.dtype), batch)
        posteriors = [self.vae.encode(chunk).latent_dist for chunk in chunks]
        mean_NCHW = torch.cat([posterior.mean for posterior in posteriors]).float()
        std_NCHW = torch.cat([posterior.std for posterior in posteriors]).float()
        noise_NCHW = draws.posterior(mean_NCHW.shape).to(self.device)
        scaled: Tensor = (mean_NCHW + std_NCHW * noise_NCHW) * self.vae.config.scaling_factor
        return scaled

    @torch.inference_mode()
    def decode(self, latents_BCTHW: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W) float32 in [0, 1]; frame 0 is a reconstruction (T20)."""
        images_NCHW = latents_BCTHW.transpose(1, 2).flatten(0, 1)
        images_NCHW = images_NCHW / self.vae.config.scaling_factor
        batch = self._vae_batch(images_NCHW, self.vae_factor)
        chunks = torch.split(images_NCHW.to(self.device, self.vae.dtype), batch)
        pixels_NCHW = torch.cat([self.vae.decode(chunk).sample.float() for chunk in chunks])
        frames_BTCHW = torch.unflatten(pixels_NCHW, 0, (latents_BCTHW.shape[0], -1))
        return (frames_BTCHW / 2 + 0.5).clamp(0, 1)

    def _vae_batch(self, images_NCHW: Tensor, factor: int) -> int:
        return max(1, _VAE_PIXELS // (images_NCHW.shape[2] * images_NCHW.shape[3] * factor**2))

    def _clip_shape(self, first_BCTHW: Tensor) -> tuple[int, int, int, int, int]:
        clips, channels, _, height, width = first_BCTHW.shape
        return clips, channels, self.num_frames, height, width

    def _encode_first_frames(
        self, pictures: Sequence[Picture], draws: Draws, sampling: Sampling, height: int, width: int
    ) -> Tensor:
        """The still (or moving) video that FrameInit starts from: (B, C, T, H, W)."""
        if height % self.vae_factor or width % self.vae_factor:
            raise ValueError(
                f"clips of {width}x{height} pixels: both sides must be multiples of "
                f"{self.vae_factor}, the VAE's factor"
            )
        images = [to_tensor(picture) for picture in pictures]
        if sampling.camera_motion is None:
            pixels = torch.stack([fit(image, height, width) for image in images])
            latents_BCHW = self.encode_pixels(normalise(pixels), draws)
            return latents_BCHW[:, :, None].expand(-1, -1, self.num_frames, -1, -1)
        motion = (sampling.camera_motion, self.num_frames, height, width)
        pixels = torch.cat([moving_crops(image, *motion) for image in images])
        latents_NCHW = self.encode_pixels(normalise(pixels), draws)
        return torch.unflatten(latents_NCHW, 0, (len(images), -1)).transpose(1, 2)

    def _frame_init(self, still_BCTHW: Tensor, noise_BCTHW: Tensor, sampling: Sampling) -> Tensor:
        _, _, frames, height, width = noise_BCTHW.shape
        filter_THW = low_pass_filter(
            sampling.frameinit_filter,
            (frames, height, width),
            sampling.frameinit_d_s,
            sampling.frameinit_d_t,
        )
        alpha_bar = float(self.scheduler.alphas_cumprod[sampling.frameinit_noise_level])
        return frame_init(still_BCTHW, noise_BCTHW, alpha_bar, filter_THW)

    def _denoise(
        self, latents_BCTHW: Tensor, first_BCTHW: Tensor, text_RLD: Tensor, sampling: Sampling
    ) -> Tensor:
        """Frames 1..T-1 of the clip, (B, C, T-1, H, W)."""
        guidance = sampling.guidance
        dtype = self.unet.conv_in.weight.dtype
        first_RCTHW = guidance.first_frame_rows(first_BCTHW, latents_BCTHW[:, :, :1]).to(dtype)
        text_RLD = text_RLD.to(dtype)
        x_BCTHW = latents_BCTHW[:, :, 1:]
        self.scheduler.set_timesteps(sampling.num_inference_steps)
        for step in self.scheduler.timesteps.tolist():
            noise_RCTHW = self.unet(
                torch.cat([x_BCTHW] * guidance.num_rows).to(dtype),
                step,
                text_RLD,
                first_frame_latents=first_RCTHW,
                frame_stride=(
                    sampling.frame_stride if self.unet.config.use_frame_stride_condition else None
                ),
            )
            noise_BCTHW = guidance.combine(noise_RCTHW.float())
            x_BCTHW = self.scheduler.step(noise_BCTHW, step, x_BCTHW, eta=0.0).prev_sample
        return x_BCTHW


def to_uint8(frames_BTCHW: Tensor) -> NDArray[np.uint8]:
    """(B, T, H, W, 3) from float frames in [0, 1]; cut off, not rounded, as published (T20)."""
    scaled = (frames_BTCHW * 255).to(torch.uint8).permute(0, 1, 3, 4, 2)
    array: NDArray[np.uint8] = scaled.contiguous().cpu().numpy()
    return array
