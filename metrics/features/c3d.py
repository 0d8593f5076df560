"""C3D fine-tuned on UCF-101: the network of the inception score of videos.

D. Tran et al.: Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015. The
score: M. Saito et al., TGANv2, IJCV 2020; the file is StyleGAN-V's TorchScript of their network,
called as StyleGAN-V's ``video_inception_score.py`` does. It scales, resizes and centres frames
itself (BGR in [-128, 128], 112 x 112, minus the mean clip).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from i2vbench.clip import Clip
from i2vbench.metric import Extractor

from .i3d_published import as_batch
from .torchscript import exact, load_torchscript

NUM_FRAMES = 16
"""The mean clip that the file subtracts has this many."""


class C3DExtractor(Extractor):
    """``probabilities`` and ``logits`` (1, 101) float32 of each clip of 16 frames.

    The file ends in a softmax. The logits are the logarithms of its probabilities: their softmax is
    the probabilities again, which is all that an inception score asks of logits.
    """

    name = "c3d-ucf101"
    version = "1"

    def __init__(self, *, device: str = "cpu") -> None:
        super().__init__(device=device)
        self._network, self._weights_sha256 = load_torchscript("c3d-ucf101", device)

    @property
    def label(self) -> str:
        """The name."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """The weights and how they are called."""
        return {
            "weights_sha256": self._weights_sha256,
            "input": "uint8 frames at their own size",
            "num_frames": NUM_FRAMES,
        }

    @torch.inference_mode()
    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """One pass per clip.

        Raises:
            ValueError: a clip has other than 16 frames.
        """
        return [self._arrays(clip) for clip in clips]

    def _arrays(self, clip: Clip) -> dict[str, NDArray[Any]]:
        num_frames = clip.geometry.num_frames
        if num_frames != NUM_FRAMES:
            raise ValueError(
                f"{self.name} needs clips of {NUM_FRAMES} frames, this one has {num_frames}"
            )
        with exact():
            found = self._network(as_batch(clip.frames).to(self.device))
        probabilities: NDArray[np.float32] = found.float().cpu().numpy()
        # A probability of zero in single precision counts as the smallest one: nothing.
        logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        return {"probabilities": probabilities, "logits": logits}
