"""LPIPS of a clip: against the first frame it was given, or against the real clip.

LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924) with AlexNet and the heads v0.1 of the package
``lpips``. This is the published metric: backbone and heads are the authors'.
"""

# Shapes: T frames, C channels, H, W pixels, N 1 or T.

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from i2vbench import weights
from i2vbench.clip import Frames, Picture
from i2vbench.fit import fit_frames
from i2vbench.metric import ClipMetric, Example

from .consistency import require_frames

BACKBONE = "lpips-alexnet"
MIN_SIDE_PX = 32
"""AlexNet's third stage has no pixel left below 31 px."""
CHUNK_PX = 4_000_000
"""Pixels of one pass of the network: 16 frames of 512x512. It bounds memory, at about 1 GiB."""


def lpips_distances(
    frames_THWC: Frames, others_NHWC: Frames, *, device: str = "cpu"
) -> NDArray[np.float64]:
    """LPIPS of each frame with its counterpart; lower is more alike.

    The sum over AlexNet's five stages of the mean over the pixels of w · (a - b)², with a and b the
    channels' unit vectors at a pixel and w >= 0 the learned head. Pixels enter in [-1, 1].

    Args:
        frames_THWC: uint8 RGB.
        others_NHWC: uint8 RGB of the same size; N = T, or N = 1 to compare all with one.
        device: where the network runs.

    Returns:
        (T,), >= 0; 0 for equal frames, around 0.1 for a near copy, 0.7 for another picture.

    Raises:
        ValueError: sizes or counts differ, or a side is below 32 px. Frames are never scaled up:
            LPIPS depends on the scale, and the number would be another.
        MissingWeightsError: AlexNet's weights are not here.
    """
    num_frames, height, width, _ = frames_THWC.shape
    if others_NHWC.shape[1:] != frames_THWC.shape[1:] or len(others_NHWC) not in (1, num_frames):
        raise ValueError(
            f"LPIPS compares frames of one size and count, got {frames_THWC.shape} and "
            f"{others_NHWC.shape}"
        )
    if min(height, width) < MIN_SIDE_PX:
        raise ValueError(f"LPIPS needs frames of at least 32x32, got {width}x{height}")
    network = _network(device)
    at_once = max(1, CHUNK_PX // (height * width))
    parts = []
    for start in range(0, num_frames, at_once):
        chunk = slice(start, start + at_once)
        others = others_NHWC if len(others_NHWC) == 1 else others_NHWC[chunk]
        with torch.inference_mode():
            # Two batches of sizes n and 1 broadcast: a first frame passes the network once.
            distance = network(_signed(frames_THWC[chunk], device), _signed(others, device))
        parts.append(distance.flatten().double().cpu().numpy())
    return np.concatenate(parts)


def _signed(frames_THWC: Frames, device: str) -> torch.Tensor:
    """uint8 in 0 to 255 -> float32 (T, C, H, W) in [-1, 1]."""
    frames = torch.from_numpy(np.ascontiguousarray(frames_THWC)).to(device)
    return frames.permute(0, 3, 1, 2) / 127.5 - 1.0


@cache
def _network(device: str) -> lpips.LPIPS:
    """LPIPS with both halves of its weights read from files here; nothing is downloaded."""
    path = weights.resolve(BACKBONE)
    # The package asks torchvision for a random AlexNet in a deprecated way, and drawing it must not
    # move the caller's random state.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        network = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    # lpips spreads torchvision's one sequence over slices and keeps the numbers: slice2.3 is
    # features.3.
    convolutions = load_file(path)
    network.net.load_state_dict(
        {key: convolutions[f"features.{key.partition('.')[2]}"] for key in network.net.state_dict()}
    )
    heads_file = Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth"
    heads = torch.load(heads_file, map_location="cpu", weights_only=True)
    for stage, head in enumerate(network.lins):
        head.load_state_dict({"model.1.weight": heads[f"lin{stage}.model.1.weight"]})
    return network.eval().requires_grad_(False).to(device)


class _LPIPS(ClipMetric):
    """What both share: the network, and where it runs."""

    version = "1"
    higher_is_better = False

    def __init__(self, *, device: str = "cpu") -> None:
        """Takes the device of the network, which is loaded with the first clip."""
        super().__init__()
        self._device = device

    def spec(self) -> dict[str, Any]:
        """The weights, and how a picture of another size is fitted."""
        return {
            "backbone_sha256": weights.sha256_of(BACKBONE),
            "heads": "lpips v0.1 alex",
            "fit": "PIL bicubic, centre crop",
        }


class LPIPSFirstFrame(_LPIPS):
    """Mean LPIPS between the frames and the first frame that the model was given.

    Per clip: the mean of LPIPS(frame i, first frame) over i = 1 to T - 1. Frame 0 is left out: it
    is meant to be the first frame itself, and would measure a model's image codec and make longer
    clips look worse. Range >= 0, some 0.7 between unrelated pictures; lower is more faithful.

    A first frame of another size than the clip's is resized (bicubic, antialiased) until it covers
    the clip's frame, and cropped at the centre. Frames below 32 px are refused.

    Caveat: any motion raises it, and a frozen clip has the lowest. Read it beside the dynamic
    degree, or beside the number of the real clips.
    """

    name = "lpips_first_frame"
    title = "LPIPS to first frame"
    needs = frozenset({"first_frame"})

    def score_clip(self, example: Example) -> float:
        """The mean distance of one clip.

        Raises:
            ValueError: no first frame, a single frame, or frames below 32 px.
        """
        return float(self._distances(example).mean())

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """The distance of each frame; NaN for frame 0."""
        return np.append(np.nan, self._distances(example)).astype(np.float64)

    def _distances(self, example: Example) -> NDArray[np.floating]:
        frames_THWC = example.clip.frames
        first: Picture | None = example.first_frame
        if first is None:
            raise ValueError(f"{example.sample_id}: lpips_first_frame needs a first frame")
        require_frames(len(frames_THWC), 2)
        first_1HWC = fit_frames(first[None], *frames_THWC.shape[1:3])
        return lpips_distances(frames_THWC[1:], first_1HWC, device=self._device)


class LPIPSReference(_LPIPS):
    """Mean LPIPS between each frame and the real clip's frame of the same index.

    Per clip: the mean over all T frames, the first one included. Range >= 0; lower is closer. A
    reference of another size than the clip's is resized and cropped as a first frame is; one with
    more frames is cut, one with fewer is refused.

    Caveat: there are many good videos of one first frame and one prompt, and this asks for the real
    one. It is fair where the prompt says the motion.
    """

    name = "lpips_reference"
    title = "LPIPS to reference"
    needs = frozenset({"reference"})

    def score_clip(self, example: Example) -> float:
        """The mean distance of one clip.

        Raises:
            ValueError: no reference, one with fewer frames, or frames below 32 px.
        """
        return float(self._distances(example).mean())

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """The distance of each frame."""
        return self._distances(example).astype(np.float64)

    def _distances(self, example: Example) -> NDArray[np.floating]:
        frames_THWC = example.clip.frames
        if example.reference is None:
            raise ValueError(f"{example.sample_id}: lpips_reference needs a reference clip")
        if len(example.reference.frames) < len(frames_THWC):
            raise ValueError(
                f"the reference has {len(example.reference.frames)} frames, "
                f"the clip {len(frames_THWC)}"
            )
        reference = example.reference.frames[: len(frames_THWC)]
        fitted_THWC = fit_frames(reference, *frames_THWC.shape[1:3])
        return lpips_distances(frames_THWC, fitted_THWC, device=self._device)
