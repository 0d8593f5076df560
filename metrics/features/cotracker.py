"""CoTracker2 (N. Karaev et al., ECCV 2024, arXiv 2307.07635): points followed through a clip.

The network is that of the authors' package, which is on no index; package and weights are for
non-commercial use (CC BY-NC 4.0).
"""

# Shapes: T frames, C channels, H, W pixels, G points along a side of the grid.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from i2vbench.clip import Clip, Frames
from i2vbench.errors import MissingPackageError
from i2vbench.metric import Extractor
from i2vbench.weight_loading import fill, fitting, load_state_dict
from i2vbench.weights import digest, resolve

from .optional import optional_module
from .resize import as_float
from .torchscript import exact

WEIGHTS = "cotracker2"
WINDOW_FRAMES = 8
"""hubconf.py of facebookresearch/co-tracker: its ``cotracker2``, which VBench loads."""
GRID_SIZE = 10
"""vbench2_beta_i2v/camera_motion.py, commit 45e79ec."""
MIN_FRAMES = 5
"""Of half a window or less the package tracks nothing and answers zeros."""


class CoTrackerExtractor(Extractor):
    """Array ``tracks`` (T, G, G, 2), float32: where the points of a grid are in each frame.

    x and y in px of the clip, of the points that lie on a grid of 10 x 10 in the first frame, row
    by row from the top left. As VBench-I2V's ``camera_motion`` asks: all frames at once, 6 updates.
    """

    name = "cotracker"
    version = "1"
    package = "cotracker"
    install = (
        "pip install git+https://github.com/facebookresearch/co-tracker@82e02e8 (its licence: CC "
        "BY-NC)"
    )

    def __init__(self, *, device: str = "cpu") -> None:
        """Loads the network onto ``device``.

        Raises:
            MissingPackageError: the package cotracker is not installed, or is an old one.
            MissingWeightsError: the published file is not here, or holds another network.
        """
        super().__init__(device=device)
        predictor, self._weights_sha256 = load_cotracker()
        self._predictor = predictor.to(device)

    @property
    def label(self) -> str:
        """``cotracker``."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """The weights, the window and the grid."""
        return {
            "weights_sha256": self._weights_sha256,
            "window_frames": WINDOW_FRAMES,
            "grid_size": GRID_SIZE,
        }

    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The array of each clip; prompts are not read.

        Raises:
            ValueError: a clip of fewer than 5 frames.
        """
        return [{"tracks": self._tracks(clip.frames)} for clip in clips]

    def _tracks(self, frames_THWC: Frames) -> NDArray[np.float32]:
        if len(frames_THWC) < MIN_FRAMES:
            raise ValueError(f"CoTracker2 needs {MIN_FRAMES} frames, got {len(frames_THWC)}")
        video_1TCHW = as_float(frames_THWC)[None].to(self.device)
        with torch.inference_mode(), exact():
            tracks_1TN2, _ = self._predictor(video_1TCHW, grid_size=GRID_SIZE)
        tracks_TGG2 = tracks_1TN2[0].unflatten(1, (GRID_SIZE, GRID_SIZE))
        tracks: NDArray[np.float32] = tracks_TGG2.float().cpu().numpy()
        return tracks


def load_cotracker() -> tuple[nn.Module, str]:
    """The package's predictor with the published weights of CoTracker2, in eval mode; their sha256.

    Raises:
        MissingPackageError: the package is not installed, or is an old one.
        MissingWeightsError: the file is not here, or its tensors are not CoTracker2's.
    """
    # The package first: where it is missing there is nothing to download for.
    module = optional_module("cotracker.predictor", CoTrackerExtractor)
    path = resolve(WEIGHTS)
    # Drawing weights that are replaced at once must not move the caller's random state.
    with torch.random.fork_rng(devices=[]):
        try:
            predictor = module.CoTrackerPredictor(
                checkpoint=None, window_len=WINDOW_FRAMES, v2=True
            )
        except TypeError as error:
            raise MissingPackageError(
                f"extractor 'cotracker' needs another release of cotracker ({error}): "
                f"{CoTrackerExtractor.install}"
            ) from error
    sha256 = digest(path)
    # The package itself takes what lies under "model" where there is such a key.
    state = load_state_dict(path, name=WEIGHTS, network="CoTracker2", under="model")
    with fitting(path, name=WEIGHTS, network="CoTracker2"):
        fill(predictor.model, state)
    # The package forgoes gradients itself; parameters without would take other kernels on a CPU.
    loaded: nn.Module = predictor.eval()
    return loaded, sha256
