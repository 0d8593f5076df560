"""LPIPS's AlexNet with its heads: extractor ``lpips-alexnet``, a distance of two pictures.

R. Zhang et al., CVPR 2018, arXiv 1801.03924, heads v0.1 of the package ``lpips``. Backbone and
heads are the authors'. The activations of five stages, a few MiB a frame, are not stored: the
metric asks for the distances themselves.
"""

# Shapes: T frames, C channels, H, W pixels, N 1 or T.

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import lpips
import numpy as np
import torch
from numpy.typing import NDArray

from i2vbench import weights
from i2vbench.clip import Clip, Frames
from i2vbench.metric import Extractor
from i2vbench.weight_loading import fill, fitting, load_state_dict

BACKBONE = "lpips-alexnet"
MIN_SIDE_PX = 32
"""AlexNet's third stage has no pixel left below 31 px."""
CHUNK_PX = 4_000_000
"""Pixels of one pass of the network: 16 frames of 512x512. It bounds memory, at about 1 GiB."""


class LPIPSExtractor(Extractor):
    """LPIPS of frame and frame; it runs in float32, where near copies still differ."""

    name = "lpips-alexnet"
    version = "1"
    stores_features: ClassVar[bool] = False

    def __init__(self, *, device: str = "cpu") -> None:
        """Loads the network onto ``device``.

        Raises:
            MissingWeightsError: AlexNet's weights are not here.
        """
        super().__init__(device=device)
        self.network = load_lpips(weights.resolve(BACKBONE)).to(device)

    @property
    def label(self) -> str:
        """Empty: there is one such network, and the metric's title names it."""
        return ""

    def spec(self) -> dict[str, Any]:
        """The weights."""
        return {"weights_sha256": weights.sha256_of(BACKBONE), "heads": "lpips v0.1 alex"}

    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """No arrays: a clip by itself has none."""
        return [{} for _ in clips]

    def distances(self, frames_THWC: Frames, others_NHWC: Frames) -> NDArray[np.float64]:
        """LPIPS of each frame with its counterpart; lower is more alike.

        The sum over AlexNet's five stages of the mean over the pixels of w · (a - b)², with a and b
        the channels' unit vectors at a pixel and w >= 0 the learned head. Pixels enter in [-1, 1].

        Args:
            frames_THWC: uint8 RGB.
            others_NHWC: uint8 RGB of the same size; N = T, or N = 1 to compare all with one.

        Returns:
            (T,), >= 0; 0 for equal frames, around 0.1 for a near copy, 0.7 for another picture.

        Raises:
            ValueError: sizes or counts differ, or a side is below 32 px. Frames are never scaled
                up: LPIPS depends on the scale, and the number would be another.
        """
        num_frames, height, width, _ = frames_THWC.shape
        one_or_all = len(others_NHWC) in (1, num_frames)
        if others_NHWC.shape[1:] != frames_THWC.shape[1:] or not one_or_all:
            raise ValueError(
                f"LPIPS compares frames of one size and count, got {frames_THWC.shape} and "
                f"{others_NHWC.shape}"
            )
        if min(height, width) < MIN_SIDE_PX:
            raise ValueError(f"LPIPS needs frames of at least 32x32, got {width}x{height}")
        at_once = max(1, CHUNK_PX // (height * width))
        parts = []
        for start in range(0, num_frames, at_once):
            chunk = slice(start, start + at_once)
            others = others_NHWC if len(others_NHWC) == 1 else others_NHWC[chunk]
            # TF32 would move the distances by 1e-3 on the GPUs that have it.
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                # Two batches of sizes n and 1 broadcast: a first frame passes the network once.
                distance = self.network(self._signed(frames_THWC[chunk]), self._signed(others))
            parts.append(distance.flatten().double().cpu().numpy())
        return np.concatenate(parts)

    def _signed(self, frames_THWC: Frames) -> torch.Tensor:
        """uint8 in 0 to 255 -> float32 (T, C, H, W) in [-1, 1]."""
        frames = torch.from_numpy(np.ascontiguousarray(frames_THWC)).to(self.device)
        return frames.permute(0, 3, 1, 2) / 127.5 - 1.0


def load_lpips(backbone_file: Path) -> lpips.LPIPS:
    """LPIPS with both halves of its weights read from files here; nothing is downloaded."""
    # The package asks torchvision for a random AlexNet in a deprecated way, and drawing it must not
    # move the caller's random state.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        network = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    # lpips spreads torchvision's one sequence over slices and keeps the numbers: slice2.3 is
    # features.3.
    what = {"name": BACKBONE, "network": "AlexNet of torchvision"}
    convolutions = load_state_dict(backbone_file, **what)
    with fitting(backbone_file, **what):
        names = {key: f"features.{key.partition('.')[2]}" for key in network.net.state_dict()}
        fill(
            network.net,
            {key: convolutions[name] for key, name in names.items() if name in convolutions},
        )
    heads_file = Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth"
    heads = torch.load(heads_file, map_location="cpu", weights_only=True)
    for stage, head in enumerate(network.lins):
        head.load_state_dict({"model.1.weight": heads[f"lin{stage}.model.1.weight"]})
    return network.eval().requires_grad_(False)
