"""Frames interpolated by AMT-S, as VBench's motion smoothness asks: extractor ``amt-s``."""

# Shapes: T frames, C channels, H, W pixels, P interpolated frames.

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from i2vbench import weights
from i2vbench.clip import Clip, Frames
from i2vbench.metric import Extractor
from i2vbench.weight_loading import fill, fitting, load_state_dict

from .amt_network import AMTS, DIVISOR, MIN_SIDE_PX

WEIGHTS = "amt-s"


class AMTExtractor(Extractor):
    """How far each odd frame is from the one that AMT-S puts between its neighbours.

    Arrays of a clip of T frames (float64):

    - ``interpolation_error`` ((T - 1) // 2,): of each odd frame between two even ones, the mean
      absolute difference in 0 to 255 to the interpolated frame, cut to whole levels.

    A clip of fewer than 3 frames gives an empty array; it is for the metrics to refuse it.

    As VBench's ``motion_smoothness`` computes it: frames in [0, 1], their rim repeated on all sides
    to multiples of 16 px and cut off again. VBench scales large frames down on a GPU of little
    memory where it is called from Python; its command line never does, nor is it done here. The
    weights are for non-commercial use (CC BY-NC 4.0).
    """

    name = "amt-s"
    version = "1"

    def __init__(self, *, device: str = "cpu") -> None:
        """Loads the network.

        Raises:
            MissingWeightsError: the file is not here, or is another network's.
        """
        super().__init__(device=device)
        path = weights.resolve(WEIGHTS)
        self._weights_sha256 = weights.digest(path)
        self._network = load_amt(path).to(device)

    @property
    def label(self) -> str:
        """``amt-s``."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """The weights, and how frames go in and out."""
        return {
            "weights_sha256": self._weights_sha256,
            "padding": f"replicated on all sides to multiples of {DIVISOR} px",
            "output": "cut to whole levels",
        }

    @torch.inference_mode()
    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The errors of each clip; the prompts are not read.

        Raises:
            ValueError: a frame of a clip is smaller than the network takes.
        """
        return [{"interpolation_error": self._errors(clip.frames)} for clip in clips]

    def _errors(self, frames_THWC: Frames) -> NDArray[np.float64]:
        errors = []
        for index in range(1, len(frames_THWC) - 1, 2):
            made_HWC = self.between(frames_THWC[index - 1], frames_THWC[index + 1])
            difference = np.abs(made_HWC.astype(np.int16) - frames_THWC[index])
            errors.append(np.mean(difference, dtype=np.float64))
        return np.array(errors, np.float64)

    @torch.inference_mode()
    def between(self, first_HWC: NDArray[np.uint8], second_HWC: NDArray[np.uint8]) -> Frames:
        """The uint8 (H, W, 3) RGB frame half way between two such frames.

        Raises:
            ValueError: a side is shorter than 113 px, which is less than 128 px after padding.
        """
        height, width = first_HWC.shape[:2]
        down, across = -height % DIVISOR, -width % DIVISOR
        if min(height + down, width + across) < MIN_SIDE_PX:
            raise ValueError(
                f"AMT-S needs frames of at least {MIN_SIDE_PX - DIVISOR + 1} px a side, "
                f"got {width}x{height}"
            )
        rim = (across // 2, across - across // 2, down // 2, down - down // 2)
        # TF32 would move the frame by whole levels on the GPUs that have it.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            made_1CHW = self._network(*(self._padded(f, rim) for f in (first_HWC, second_HWC)))
        if not bool(torch.isfinite(made_1CHW).all()):
            # Cast to uint8 they would pass for levels.
            raise ValueError("AMT-S gave NaN or infinite numbers for this clip")
        inner_CHW = made_1CHW[0, :, rim[2] : rim[2] + height, rim[0] : rim[0] + width]
        levels_HWC: Frames = (inner_CHW * 255.0).permute(1, 2, 0).to(torch.uint8).cpu().numpy()
        return levels_HWC

    def _padded(self, frame_HWC: NDArray[np.uint8], rim: tuple[int, ...]) -> Tensor:
        frame_HW3 = torch.from_numpy(np.ascontiguousarray(frame_HWC)).to(self.device)
        return F.pad(frame_HW3.permute(2, 0, 1)[None] / 255.0, rim, mode="replicate")


def load_amt(path: Path) -> AMTS:
    """The network with the weights of ``amt-s.pth``, in eval mode; every name must be there.

    The published file has them under ``state_dict``, beside what its training left.

    Raises:
        MissingWeightsError: the file's tensors are not this network's.
    """
    state = load_state_dict(path, name=WEIGHTS, network="AMT-S", under="state_dict")
    with torch.random.fork_rng(devices=[]):
        network = AMTS()
    with fitting(path, name=WEIGHTS, network="AMT-S"):
        fill(network, state)
    return network.eval().requires_grad_(False)
