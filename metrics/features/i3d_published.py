"""I3D as papers took it: the file of TATS behind three resizes, and StyleGAN-V's TorchScript.

All are the same Kinetics-400 network. The file of TATS (S. Ge et al., ECCV 2022) is also that of
cd-fvd 0.1.1 and of VideoGPT's evaluation code; what differs is what happens to a frame before it.

Letters: B batch, C channels, T frames, H height, W width, K = 400 classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from i2vbench.clip import Clip, Frames
from i2vbench.metric import Extractor

from .i3d import MIN_NUM_FRAMES, SIZE_PX, I3DExtractor, as_video
from .resize import as_float, shorter_side, squash
from .torchscript import exact, load_torchscript

CD_FVD_SIZE_PX = 256
"""What cd-fvd's loader brings videos to before anything else."""


def preprocess_cropped(frames: Frames) -> Tensor:
    """uint8 (T, H, W, 3) -> float32 (1, 3, T, 224, 224) in [-1, 1], as VideoGPT does it.

    The shorter side is brought to 224, bilinear without antialiasing, and the centre cut out.
    """
    return as_video(shorter_side(as_float(frames), SIZE_PX))


def preprocess_cd_fvd(frames: Frames) -> Tensor:
    """uint8 (T, H, W, 3) -> float32 (1, 3, T, 224, 224) in [-1, 1], as cd-fvd's loader does it.

    The shorter side is brought to 256, bilinear with antialiasing, the centre cut out and the
    levels cut down to whole ones; then the square is squashed without antialiasing.
    """
    # The loader's order of operations, since truncation turns a rounding error into a level.
    unit_TCHW = shorter_side(as_float(frames) / 255.0, CD_FVD_SIZE_PX, antialias=True)
    levels_TCHW = (unit_TCHW * 255.0).to(torch.uint8).float()
    return as_video(squash(levels_TCHW, SIZE_PX))


class TATSExtractor(I3DExtractor):
    """``logits`` (400,) float32 of each clip of 9 frames or more, as TATS computes FVD."""

    name = "i3d-tats"
    weights = "i3d-tats"
    bn_epsilon = 1e-5

    @property
    def label(self) -> str:
        """The name: a resize is another number."""
        return self.name


class CdFVDExtractor(TATSExtractor):
    """The same on videos as cd-fvd's loader prepares them; at 256 x 256 it changes nothing."""

    name = "i3d-cd-fvd"
    resize = (
        "shorter side to 256, bilinear, antialias, centre crop, truncated to uint8; "
        "then squash, bilinear, no antialias, half-pixel centres"
    )
    preprocess = staticmethod(preprocess_cd_fvd)


class VideoGPTExtractor(TATSExtractor):
    """The same on frames that are cropped instead of squashed, as VideoGPT computes FVD."""

    name = "i3d-videogpt"
    resize = "shorter side, bilinear, no antialias, half-pixel centres, centre crop"
    preprocess = staticmethod(preprocess_cropped)


class StyleGANVExtractor(Extractor):
    """``logits`` (400,) float32 of each clip of 9 frames or more, from StyleGAN-V's TorchScript.

    I. Skorokhodov et al., CVPR 2022. The file gets the uint8 video and does the rest itself
    (``rescale=True, resize=True``).
    """

    name = "i3d-styleganv"
    version = "1"

    def __init__(self, *, device: str = "cpu") -> None:
        super().__init__(device=device)
        self._network, self._weights_sha256 = load_torchscript("i3d-torchscript", device)

    @property
    def label(self) -> str:
        """The name: a resize is another number."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """The weights and how they are called."""
        return {
            "weights_sha256": self._weights_sha256,
            "input": "uint8 frames at their own size",
            "arguments": {"rescale": True, "resize": True, "return_features": True},
        }

    @torch.inference_mode()
    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """One pass per clip.

        Raises:
            ValueError: a clip has fewer than 9 frames.
        """
        return [{"logits": self._logits(clip)} for clip in clips]

    def _logits(self, clip: Clip) -> NDArray[np.float32]:
        num_frames = clip.geometry.num_frames
        if num_frames < MIN_NUM_FRAMES:
            raise ValueError(
                f"{self.name} needs clips of at least {MIN_NUM_FRAMES} frames, "
                f"this one has {num_frames}"
            )
        with exact():
            logits_K = self._run(clip.frames)[0]
        result: NDArray[np.float32] = logits_K.float().cpu().numpy()
        return result

    def _run(self, frames: Frames) -> Tensor:
        video_BCTHW = as_batch(frames).to(self.device)
        logits_BK: Tensor = self._network(
            video_BCTHW, rescale=True, resize=True, return_features=True
        )
        return logits_BK


class StyleGANVCroppedExtractor(StyleGANVExtractor):
    """The same file on cropped frames, as common_metrics_on_video_quality calls it."""

    name = "i3d-styleganv-cropped"

    def spec(self) -> dict[str, Any]:
        """The weights and how they are called."""
        return {
            **super().spec(),
            "input": "shorter side to 224, bilinear, no antialias, centre crop; [-1, 1]",
            "arguments": {"rescale": False, "resize": False, "return_features": True},
        }

    def _run(self, frames: Frames) -> Tensor:
        video_BCTHW = preprocess_cropped(frames).contiguous().to(self.device)
        logits_BK: Tensor = self._network(
            video_BCTHW, rescale=False, resize=False, return_features=True
        )
        return logits_BK


def as_batch(frames: Frames) -> Tensor:
    """uint8 (T, H, W, 3) -> uint8 (1, 3, T, H, W), what StyleGAN-V gives its networks."""
    return torch.from_numpy(frames).permute(3, 0, 1, 2)[None].contiguous()
