"""Sampling: first frames and prompts in, clips out.

Shape letters: B clips, C latent channels, T frames, H, W latent size (or pixels where said), L text
tokens, D text width, N images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from i2vbench.errors import UserError

from .camera import moving_crops
from .checkpoint import checkpoint_folder
from .convolution import channels_last, order_kernels
from .finite import all_finite, require_finite, require_finite_steps
from .frameinit import frame_init, low_pass_filter
from .networks import load_scheduler, load_text_encoder, load_tokenizer, load_unet, load_vae
from .noise import Draws, initial_noise
from .offload import Placement
from .preprocess import fit, normalise, to_tensor
from .sampling import Sampling
from .saving import save_checkpoint
from .schedulers import build_scheduler, draws_noise
from .unet import ConsistI2VUNet
from .upsample import speed_up_vae

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
ClipShape = tuple[int, int, int, int, int]  # B, C, T, H, W

# Pixels that the VAE takes at a time: on a GPU four frames of 256x256, about 2 GiB of activations;
# on a CPU one, which is faster than four (by 1.2 in fp32, 1.1 in bf16).
_VAE_PIXELS = {"cuda": 4 * 256 * 256, "cpu": 256 * 256}


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
        device: torch.device | str = "cpu",
        offload: str = "none",
        compile_unet: bool = False,
    ) -> None:
        """Places the networks; arguments as :meth:`from_pretrained`."""
        self.unet = unet
        order_kernels(unet)
        # Any: the two libraries type their classes in part only.
        self.vae: Any = vae
        speed_up_vae(vae)
        self.text_encoder: Any = text_encoder
        self.tokenizer: Any = tokenizer
        self.scheduler: Any = scheduler
        self._placement = Placement([self.unet, self.vae, self.text_encoder], device, offload)
        self._predict: Any = torch.compile(unet) if compile_unet else unet

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        offload: str = "none",
        compile_unet: bool = False,
        unet_overrides: Mapping[str, Any] | None = None,
        allow_pickle: bool = False,
    ) -> ConsistI2VPipeline:
        """The pipeline of a folder in the Diffusers layout, or of a Hugging Face repository.

        Args:
            checkpoint: folder or repository id.
            revision: of the repository; None for its main branch.
            local_files_only: never download.
            device: where the networks run.
            dtype: of UNet, text encoder and VAE, whatever the files store; latents stay float32,
                and so does the VAE for float16, in which Stable Diffusion's overflows.
            offload: of :data:`.offload.OFFLOADS`, for GPUs that do not hold all networks.
            compile_unet: by ``torch.compile``; the first step then takes minutes.
            unet_overrides: values that replace those of ``unet/config.json``.
            allow_pickle: also read ``.bin`` files, by torch's tensors-only loader.

        Raises:
            UserError: a checkpoint that is missing, damaged or of another model.
        """
        folder = checkpoint_folder(
            str(checkpoint),
            revision=revision,
            local_files_only=local_files_only,
            allow_pickle=allow_pickle,
        )
        pickles = {"allow_pickle": allow_pickle}
        vae_dtype = torch.float32 if dtype == torch.float16 else dtype
        return cls(
            unet=load_unet(folder / "unet", dtype=dtype, overrides=unet_overrides, **pickles),
            vae=load_vae(folder / "vae", dtype=vae_dtype, **pickles),
            text_encoder=load_text_encoder(folder / "text_encoder", dtype=dtype, **pickles),
            tokenizer=load_tokenizer(folder / "tokenizer"),
            scheduler=load_scheduler(folder / "scheduler"),
            device=device,
            offload=offload,
            compile_unet=compile_unet,
        )

    def save_pretrained(self, folder: Path, *, max_shard_bytes: int | None = None) -> None:
        """Writes the Diffusers layout that :meth:`from_pretrained` reads.

        Args:
            folder: must not exist yet, or be empty.
            max_shard_bytes: of a weight file; None for one file per network.

        Raises:
            UserError: a folder with files in it, or networks that an offload has taken apart.
        """
        if self._placement.offload == "sequential":
            raise UserError("offload='sequential' has no weights to save; load without it")
        save_checkpoint(
            folder,
            unet=self.unet,
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            scheduler=self.scheduler,
            max_shard_bytes=max_shard_bytes,
        )

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        return self._placement.device

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
        first_frames: Sequence[Picture] | None,
        draws: Draws,
        sampling: Sampling | None = None,
        *,
        height: int,
        width: int,
        num_segments: int = 1,
    ) -> NDArray[np.uint8]:
        """Clips, uint8 (B, T, H, W, 3) RGB; arguments as :meth:`sample`.

        Each segment of a long video is decoded before the next is made, so that memory does not
        grow with their number.
        """
        segments = self._segments(
            prompts, first_frames, draws, sampling or Sampling(), height, width, num_segments
        )
        return np.concatenate([to_uint8(self.decode(segment)) for segment in segments], axis=1)

    def sample(
        self,
        prompts: Sequence[str],
        first_frames: Sequence[Picture] | None,
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
            first_frames: one picture per clip, uint8 (H, W, 3) RGB of any size; None for a network
                of mode ``none``, which makes all frames from the text.
            draws: source of all random numbers.
            sampling: None for the published values.
            height: of the clip, pixels; a multiple of :attr:`vae_factor`.
            width: likewise.
            num_segments: S > 1 makes a long video of S(T-1)+1 frames; each segment starts from the
                last latent of the one before.

        Raises:
            ValueError: sizes, counts or options that do not fit.
            FloatingPointError: a network gave NaN or infinite numbers.
        """
        segments = self._segments(
            prompts, first_frames, draws, sampling or Sampling(), height, width, num_segments
        )
        return torch.cat(list(segments), dim=2)

    @torch.inference_mode()
    def _segments(
        self,
        prompts: Sequence[str],
        first_frames: Sequence[Picture] | None,
        draws: Draws,
        sampling: Sampling,
        height: int,
        width: int,
        num_segments: int,
    ) -> Iterator[Tensor]:
        """Latents of each segment in turn; the first has T frames, the others T-1."""
        self._check(prompts, first_frames, sampling, height, width, num_segments)
        still_BCTHW = None
        if first_frames is not None:
            still_BCTHW = self._encode_first_frames(first_frames, draws, sampling, height, width)
            require_finite(still_BCTHW, "encoder of the first frame")
        guidance = sampling.guidance
        text_RLD = guidance.text_rows(
            self.encode_text(prompts), self.encode_text([sampling.negative_prompt] * len(prompts))
        )
        require_finite(text_RLD, "text encoder")
        shape = (
            len(prompts),
            int(self.vae.config.latent_channels),
            self.num_frames,
            height // self.vae_factor,
            width // self.vae_factor,
        )
        for number in range(num_segments):
            noise_BCTHW = self._noise(shape, draws, sampling)
            latents_BCTHW = noise_BCTHW
            if sampling.frameinit:
                assert still_BCTHW is not None
                latents_BCTHW = self._frame_init(still_BCTHW, noise_BCTHW, noise_BCTHW, sampling)
            clip_BCTHW = self._sampled(latents_BCTHW, still_BCTHW, text_RLD, sampling, draws)
            for _ in range(sampling.frameinit_iterations - 1 if sampling.frameinit else 0):
                fresh_BCTHW = self._noise(shape, draws, sampling)
                latents_BCTHW = self._frame_init(clip_BCTHW, noise_BCTHW, fresh_BCTHW, sampling)
                clip_BCTHW = self._sampled(latents_BCTHW, still_BCTHW, text_RLD, sampling, draws)
            yield clip_BCTHW if number == 0 else clip_BCTHW[:, :, 1:]
            still_BCTHW = clip_BCTHW[:, :, -1:].expand(shape)

    def _check(
        self,
        prompts: Sequence[str],
        first_frames: Sequence[Picture] | None,
        sampling: Sampling,
        height: int,
        width: int,
        num_segments: int,
    ) -> None:
        if height % self.vae_factor or width % self.vae_factor:
            raise ValueError(
                f"clips of {width}x{height} pixels: both sides must be multiples of "
                f"{self.vae_factor}, the VAE's factor"
            )
        moves = sampling.camera_motion != "static"
        if num_segments < 1 or (num_segments > 1 and moves):
            raise ValueError(
                f"num_segments={num_segments} with camera_motion={sampling.camera_motion!r}; "
                "accepted: 1, or more without camera motion"
            )
        if self.needs_first_frame != (first_frames is not None):
            mode = self.unet.config.first_frame_condition_mode
            raise ValueError(
                f"first_frames are {'not ' if first_frames is None else ''}given to a network of "
                f"mode {mode!r}, which {'needs' if self.needs_first_frame else 'takes'} "
                f"{'them' if self.needs_first_frame else 'none'}"
            )
        if first_frames is None:
            for name, used in (
                ("frameinit=True", sampling.frameinit),
                (f"num_segments={num_segments}", num_segments > 1),
                (f"camera_motion={sampling.camera_motion!r}", moves),
                ("image guidance", sampling.guidance.on_image),
            ):
                if used:
                    raise ValueError(f"{name} needs a first frame; this network has none")
        if not prompts or (first_frames is not None and len(prompts) != len(first_frames)):
            number = 0 if first_frames is None else len(first_frames)
            raise ValueError(f"{len(prompts)} prompts for {number} first frames; give one for each")

    @property
    def needs_first_frame(self) -> bool:
        """False for a network of mode ``none``, which makes clips from text alone."""
        return bool(self.unet.config.has_condition_frame)

    def _noise(self, shape: ClipShape, draws: Draws, sampling: Sampling) -> Tensor:
        made = initial_noise(sampling.noise, sampling.noise_alpha, shape, draws)
        return made.to(self.device)

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
        with self._placement.running(self.text_encoder):
            encoded = self.text_encoder(tokens.input_ids.to(self.device)).last_hidden_state
        rows: Tensor = encoded[[unique.index(text) for text in texts]]
        return rows

    @torch.inference_mode()
    def encode_pixels(self, pixels_NCHW: Tensor, draws: Draws) -> Tensor:
        """Scaled latents (N, C, H, W) sampled from the VAE posterior; pixels in [-1, 1] (T9)."""
        batch = self._vae_batch(pixels_NCHW, 1)
        pixels_NCHW = pixels_NCHW.to(self.device, self.vae.dtype)
        chunks = torch.split(channels_last(pixels_NCHW), batch)
        with self._placement.running(self.vae):
            posteriors = [self.vae.encode(chunk).latent_dist for chunk in chunks]
        mean_NCHW = torch.cat([posterior.mean for posterior in posteriors]).float()
        std_NCHW = torch.cat([posterior.std for posterior in posteriors]).float()
        noise_NCHW = draws.posterior(mean_NCHW.shape).to(self.device)
        scaled: Tensor = (mean_NCHW + std_NCHW * noise_NCHW) * self.vae.config.scaling_factor
        return scaled

    @torch.inference_mode()
    def decode(self, latents_BCTHW: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W) float32 in [0, 1]; frame 0 is a reconstruction (T20).

        Raises:
            FloatingPointError: the decoder gave NaN or infinite numbers.
        """
        images_NCHW = latents_BCTHW.transpose(1, 2).flatten(0, 1)
        images_NCHW = images_NCHW / self.vae.config.scaling_factor
        batch = self._vae_batch(images_NCHW, self.vae_factor)
        images_NCHW = images_NCHW.to(self.device, self.vae.dtype)
        chunks = torch.split(channels_last(images_NCHW), batch)
        with self._placement.running(self.vae):
            pixels_NCHW = torch.cat([self.vae.decode(chunk).sample.float() for chunk in chunks])
        require_finite(pixels_NCHW, "decoder")
        frames_BTCHW = torch.unflatten(pixels_NCHW, 0, (latents_BCTHW.shape[0], -1))
        return (frames_BTCHW / 2 + 0.5).clamp(0, 1)

    def _vae_batch(self, images_NCHW: Tensor, factor: int) -> int:
        pixels = _VAE_PIXELS.get(self.device.type, _VAE_PIXELS["cuda"])
        return max(1, pixels // (images_NCHW.shape[2] * images_NCHW.shape[3] * factor**2))

    def _encode_first_frames(
        self, pictures: Sequence[Picture], draws: Draws, sampling: Sampling, height: int, width: int
    ) -> Tensor:
        """The still (or moving) video that FrameInit starts from: (B, C, T, H, W)."""
        images = [to_tensor(picture) for picture in pictures]
        if sampling.camera_motion == "static":
            pixels = torch.stack([fit(image, height, width) for image in images])
            latents_BCHW = self.encode_pixels(normalise(pixels), draws)
            return latents_BCHW[:, :, None].expand(-1, -1, self.num_frames, -1, -1)
        motion = (sampling.camera_motion, self.num_frames, height, width)
        pixels = torch.cat([moving_crops(image, *motion) for image in images])
        latents_NCHW = self.encode_pixels(normalise(pixels), draws)
        return torch.unflatten(latents_NCHW, 0, (len(images), -1)).transpose(1, 2)

    def _frame_init(
        self, video_BCTHW: Tensor, noise_BCTHW: Tensor, high_BCTHW: Tensor, sampling: Sampling
    ) -> Tensor:
        _, _, frames, height, width = noise_BCTHW.shape
        filter_THW = low_pass_filter(
            sampling.frameinit_filter,
            (frames, height, width),
            sampling.frameinit_d_s,
            sampling.frameinit_d_t,
        )
        alpha_bar = float(self.scheduler.alphas_cumprod[sampling.frameinit_noise_level])
        return frame_init(video_BCTHW, noise_BCTHW, alpha_bar, filter_THW, high_BCTHW)

    def _sampled(
        self,
        latents_BCTHW: Tensor,
        still_BCTHW: Tensor | None,
        text_RLD: Tensor,
        sampling: Sampling,
        draws: Draws,
    ) -> Tensor:
        """The clip of :meth:`_denoise`, once all steps are known to be finite."""
        clip_BCTHW, finite = self._denoise(latents_BCTHW, still_BCTHW, text_RLD, sampling, draws)
        require_finite_steps(finite)
        require_finite(clip_BCTHW, "UNet, after guidance and the last step")
        return clip_BCTHW

    def _denoise(
        self,
        latents_BCTHW: Tensor,
        still_BCTHW: Tensor | None,
        text_RLD: Tensor,
        sampling: Sampling,
        draws: Draws,
    ) -> tuple[Tensor, list[Tensor]]:
        """The clip (B, C, T, H, W); its frame 0 is that of ``still``, if there is one.

        Beside it, for each step, whether all that the UNet gave was finite: bool () on the device.

        What the steps need is made before the first one: on a GPU the loop neither waits for the
        device nor copies to it.
        """
        guidance = sampling.guidance
        device, dtype = self.device, self.unet.conv_in.weight.dtype
        x_BCTHW: Tensor = latents_BCTHW
        given: dict[str, Tensor] = {}
        if still_BCTHW is not None:
            x_BCTHW = latents_BCTHW[:, :, 1:]
            first = guidance.first_frame_rows(still_BCTHW[:, :, :1], latents_BCTHW[:, :, :1])
            given["first_frame_latents"] = first.to(dtype)
        if self.unet.config.use_frame_stride_condition:
            given["frame_stride"] = torch.tensor([sampling.frame_stride], device=device)
        text_RLD = text_RLD.to(dtype)
        scheduler = build_scheduler(sampling.scheduler, self.scheduler)
        scheduler.set_timesteps(sampling.num_inference_steps)
        extra = {"generator": draws.generators} if draws_noise(scheduler) else {}
        x_BCTHW = x_BCTHW * scheduler.init_noise_sigma
        steps = scheduler.timesteps.tolist()
        steps_S1 = scheduler.timesteps.to(device)[:, None]
        finite = []
        with self._placement.running(self.unet):
            for step, step_1 in zip(steps, steps_S1, strict=True):
                # Also tells some schedulers where they are.
                scaled_BCTHW = scheduler.scale_model_input(x_BCTHW, step)
                rows_RCTHW = self._predict(
                    torch.cat([scaled_BCTHW] * guidance.num_rows).to(dtype),
                    step_1,
                    text_RLD,
                    **given,
                )
                finite.append(all_finite(rows_RCTHW))
                noise_BCTHW = guidance.combine(rows_RCTHW.float())
                x_BCTHW = scheduler.step(noise_BCTHW, step, x_BCTHW, **extra).prev_sample
        if still_BCTHW is None:
            return x_BCTHW, finite
        return torch.cat([still_BCTHW[:, :, :1], x_BCTHW], dim=2), finite


def to_uint8(frames_BTCHW: Tensor) -> NDArray[np.uint8]:
    """(B, T, H, W, 3) from float frames in [0, 1]; cut off, not rounded, as published (T20).

    :meth:`ConsistI2VPipeline.decode` has looked for NaN, which would become 0 here.
    """
    scaled = (frames_BTCHW * 255).to(torch.uint8).permute(0, 1, 3, 4, 2)
    array: NDArray[np.uint8] = scaled.contiguous().cpu().numpy()
    return array
