"""MUSIQ (J. Ke et al., ICCV 2021, arXiv 2108.05997) trained on SPAQ: marks of single frames.

The network is that of the package pyiqa, whose licence (PolyForm Noncommercial 1.0.0) binds who
installs it; the published weights are for non-commercial use as well (CC BY-NC-SA 4.0).
"""

# Shapes: T frames, C channels, H, W pixels.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchvision.transforms.functional as TF  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode

from i2vbench.clip import Clip, Frames
from i2vbench.metric import Extractor
from i2vbench.weight_loading import fill, fitting, load_state_dict
from i2vbench.weights import digest, resolve

from .optional import optional_module
from .resize import as_float
from .torchscript import exact

WEIGHTS = "musiq-spaq"
LONGER_SIDE_PX = 512
"""vbench/imaging_quality.py, mode ``longer`` (its default), commit 45e79ec."""


class MUSIQExtractor(Extractor):
    """Array ``marks`` (T,), float32: MUSIQ's mark of each frame, 0 to 100 on its training set.

    As VBench's ``imaging_quality`` prepares a frame: a longer side above 512 px is brought to
    512 px, bilinear without antialiasing; smaller frames stay as they are. MUSIQ itself looks at
    the frame and at two smaller copies, whole, whatever its shape.
    """

    name = "musiq"
    version = "1"
    package = "pyiqa"
    install = "pip install 'i2vbench[pyiqa]' (its licence: PolyForm Noncommercial)"

    def __init__(self, *, device: str = "cpu") -> None:
        """Loads the network onto ``device``.

        Raises:
            MissingPackageError: pyiqa is not installed.
            MissingWeightsError: the published file is not here, or holds another network.
        """
        super().__init__(device=device)
        network, self._weights_sha256 = load_musiq()
        self._network = network.to(device)

    @property
    def label(self) -> str:
        """``musiq``."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """The weights and how a frame becomes the network's input."""
        return {
            "weights_sha256": self._weights_sha256,
            "longer_side_px": LONGER_SIDE_PX,
            "interpolation": "bilinear",
            "antialias": False,
        }

    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The array of each clip; one frame a pass, as in VBench. Prompts are not read."""
        return [{"marks": self._marks(clip.frames)} for clip in clips]

    def _marks(self, frames_THWC: Frames) -> NDArray[np.float32]:
        with torch.inference_mode(), exact():
            marks = [
                self._network(prepare(frame_HWC[None]).to(self.device)).item()
                for frame_HWC in frames_THWC
            ]
        return np.array(marks, np.float32)


def prepare(frames_THWC: Frames) -> Tensor:
    """uint8 (T, H, W, 3) -> float32 (T, 3, h, w) in [0, 1], no side longer than 512 px."""
    frames_TCHW = as_float(frames_THWC)
    height, width = frames_TCHW.shape[2:]
    if max(height, width) > LONGER_SIDE_PX:
        scale = LONGER_SIDE_PX / max(height, width)
        # Cut, not rounded: from some lengths the longer side becomes 511 px.
        size = [int(scale * height), int(scale * width)]
        frames_TCHW = TF.resize(frames_TCHW, size, InterpolationMode.BILINEAR, antialias=False)
    return frames_TCHW / 255


def load_musiq() -> tuple[nn.Module, str]:
    """The network of pyiqa with the published weights, in eval mode, and their sha256.

    pyiqa itself downloads nothing.

    Raises:
        MissingPackageError: pyiqa is not installed.
        MissingWeightsError: the file is not here, or its tensors are not this network's.
    """
    # The package first: where it is missing there is nothing to download for.
    module = optional_module("pyiqa.archs.musiq_arch", MUSIQExtractor)
    path = resolve(WEIGHTS)
    # Drawing weights that are replaced at once must not move the caller's random state.
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = module.MUSIQ(pretrained=False)
    sha256 = digest(path)
    state = load_state_dict(path, name=WEIGHTS, network="MUSIQ")
    with fitting(path, name=WEIGHTS, network="MUSIQ"):
        fill(network, state)
    return network.eval().requires_grad_(False), sha256
