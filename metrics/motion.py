"""VBench's three numbers on motion: flickering, smoothness, dynamic degree.

VBench (arXiv 2311.17982, section 4.1 and its code); I2V-Bench (arXiv 2402.04324, appendix C) takes
over all three. Read them together: a frozen clip is the smoothest and flickers least.
"""

# Shapes: T frames, H, W pixels, P pairs of frames.

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2vbench.clip import Frames
from i2vbench.metric import ClipMetric, Example

from .consistency import require_frames
from .features.flow import frame_step

MOVING_PX_AT_256 = 6.0
"""VBench: a pair moves if its fastest pixels go further than this, for a shorter side of 256."""
MOVING_PAIRS_OF_16 = 4
"""VBench: this many pairs of a 16-frame clip must move; the count grows with the length."""


def temporal_flickering(frames_THWC: Frames) -> float:
    """(255 - m) / 255 with m the mean absolute difference of neighbouring frames.

    Args:
        frames_THWC: uint8 RGB, in 0 to 255.

    Returns:
        In [0, 1]; 1 for a frozen clip.

    Raises:
        ValueError: fewer than 2 frames.

    >>> temporal_flickering(np.array([0, 51, 0], np.uint8).reshape(3, 1, 1, 1))
    0.8
    """
    return float((255.0 - np.mean(_pair_errors(frames_THWC))) / 255.0)


def _pair_errors(frames_THWC: Frames) -> NDArray[np.float64]:
    """(T - 1,): mean absolute difference of each frame i >= 1 and the one before, in 0 to 255."""
    require_frames(len(frames_THWC), 2)
    # int16 holds every difference of two bytes; one pair at a time keeps memory at one frame.
    return np.array(
        [
            np.mean(np.abs(now.astype(np.int16) - before), dtype=np.float64)
            for before, now in pairwise(frames_THWC)
        ]
    )


def smoothness_from_errors(errors_P: NDArray[np.floating]) -> float:
    """(255 - m) / 255 with m the mean of the interpolation errors.

    Args:
        errors_P: mean absolute difference, in 0 to 255, between each odd frame and its
            interpolation from the even frames beside it.

    Returns:
        In [0, 1].

    Raises:
        ValueError: no error is given.

    >>> smoothness_from_errors(np.array([0.0, 102.0]))
    0.8
    """
    if not len(errors_P):
        raise ValueError("smoothness needs at least one interpolated frame, got 0")
    return float((255.0 - np.mean(errors_P, dtype=np.float64)) / 255.0)


def is_dynamic(top5_magnitude_P: NDArray[np.floating], *, height: int, width: int) -> bool:
    """Whether enough pairs of frames move fast enough.

    A pair moves if the mean flow of its fastest 5 % pixels is over 6 * min(H, W) / 256 px. The clip
    of n = P + 1 frames is dynamic if at least round(4 n / 16) pairs move, and at least one: VBench
    asks none of a clip of two frames and so calls every such clip dynamic.

    Args:
        top5_magnitude_P: in px of the clip, per pair of neighbours.
        height: of the clip, px.
        width: of the clip, px.

    Raises:
        ValueError: no pair is given.

    >>> is_dynamic(np.array([1.6, 0.0, 0.0]), height=64, width=64)
    True
    """
    require_frames(len(top5_magnitude_P) + 1, 2)
    moving_px = _moving_px(height, width)
    num_frames = len(top5_magnitude_P) + 1
    wanted = max(1, round(MOVING_PAIRS_OF_16 * num_frames / 16))
    return int(np.sum(top5_magnitude_P > moving_px)) >= wanted


def _moving_px(height: int, width: int) -> float:
    return MOVING_PX_AT_256 * min(height, width) / 256.0


class TemporalFlickering(ClipMetric):
    """How alike neighbouring frames are, pixel by pixel.

    (255 - m) / 255, m the mean absolute difference of neighbouring frames over all pixels and
    colours in 0 to 255. Range [0, 1], not times 100; higher flickers less.

    Source: VBench ``temporal_flickering``, which means it for scenes at rest; neither VBench's I2V
    suite nor I2V-Bench filters them, and nor is it done here.

    Caveat: any motion lowers it, and a frozen clip scores 1.
    """

    name = "temporal_flickering"
    title = "Temporal flickering"
    version = "1"
    higher_is_better = True

    def score_clip(self, example: Example) -> float:
        """The flickering of one clip, in [0, 1].

        Raises:
            ValueError: the clip has one frame.
        """
        return temporal_flickering(example.clip.frames)

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """How alike the frame and the one before are, in [0, 1]; NaN for the first."""
        return np.append(np.nan, (255.0 - _pair_errors(example.clip.frames)) / 255.0)


class MotionSmoothness(ClipMetric):
    """How well the odd frames can be told from the even ones.

    The odd frames are dropped and made anew half way between their neighbours;
    (255 - m) / 255, m the mean absolute difference to the real ones in 0 to 255. Range [0, 1];
    higher is smoother. The last frame of a clip of even length has no right neighbour and does not
    count.

    Source: VBench ``motion_smoothness``. There AMT-S interpolates and its frames are cut to whole
    levels, as the extractor ``amt-s`` does; with ``flow`` both even frames are warped half way
    along the optical flow and blended, unrounded, and the numbers do not compare with published
    ones.

    Caveat: a frozen clip scores 1; noise lowers it as jerky motion does.
    """

    name = "motion_smoothness"
    title = "Motion smoothness"
    version = "1"
    higher_is_better = True
    extractors = ("flow",)

    def score_clip(self, example: Example) -> float:
        """The smoothness of one clip, in [0, 1].

        Raises:
            ValueError: the clip has fewer than 3 frames.
        """
        require_frames(len(example.clip.frames), 3)
        return smoothness_from_errors(example.features_of(self)["interpolation_error"])

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """How well the frame can be told from its neighbours, in [0, 1]; NaN for even frames."""
        require_frames(len(example.clip.frames), 3)
        errors_P = example.features_of(self)["interpolation_error"]
        values_T = np.full(len(example.clip.frames), np.nan)
        values_T[1 : 2 * len(errors_P) : 2] = (255.0 - errors_P.astype(np.float64)) / 255.0
        return values_T


class DynamicDegree(ClipMetric):
    """The share of clips that move: 1 for a clip with large optical flow, else 0.

    Every max(1, round(fps / 8))-th frame is kept. A pair of kept neighbours moves if the mean flow
    of its fastest 5 % pixels is over 6 px, for a shorter side of 256 px; a clip of n kept frames is
    dynamic if round(4 n / 16) pairs move, at least one. Neither end is better: it says how much a
    model dares, and consistency and smoothness must be read beside it.

    Source: VBench ``dynamic_degree`` with RAFT-things, 20 iterations. Which flow is used here
    stands in the brackets of the label. With ``raft`` the network is torchvision's RAFT, trained
    on FlyingChairs and FlyingThings as that one was. With ``dis`` it is OpenCV's DIS, on which the
    threshold was never tuned. VBench also counts the pixels of RAFT's padding, here they are cut.

    Caveat: one number of two values a clip; with few clips its steps are coarse.
    """

    name = "dynamic_degree"
    title = "Dynamic degree"
    version = "1"
    higher_is_better = None
    interval_kind = "share"
    extractors = ("flow",)

    def spec(self) -> dict[str, Any]:
        """The two thresholds."""
        return {
            "moving_px_at_256": MOVING_PX_AT_256,
            "moving_pairs_of_16": MOVING_PAIRS_OF_16,
        }

    def score_clip(self, example: Example) -> float:
        """1.0 for a moving clip, 0.0 for another.

        Raises:
            ValueError: fewer than 2 frames, before or after every round(fps / 8)-th was kept; or
                the features were made at another frame rate.
        """
        geometry = example.clip.geometry
        magnitudes_P = self._magnitudes(example)
        return float(is_dynamic(magnitudes_P, height=geometry.height, width=geometry.width))

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """How far the fastest pixels have gone since the frame looked at before; above 1 it moves.

        NaN for the first frame and for those between. The score hangs on how many move, and is not
        the mean.
        """
        geometry = example.clip.geometry
        magnitudes_P, step = self._magnitudes(example), frame_step(geometry.fps)
        values_T = np.full(geometry.num_frames, np.nan)
        values_T[step : step * len(magnitudes_P) + 1 : step] = magnitudes_P / _moving_px(
            geometry.height, geometry.width
        )
        return values_T

    def _magnitudes(self, example: Example) -> NDArray[np.float64]:
        """(P,): flow of the fastest pixels between the frames looked at, in px."""
        geometry = example.clip.geometry
        require_frames(geometry.num_frames, 2)
        step = frame_step(geometry.fps)
        if geometry.num_frames <= step:
            raise ValueError(
                f"of {geometry.num_frames} frames at {geometry.fps:g} fps dynamic degree looks at "
                f"one in {step}, which leaves 1; needs at least 2"
            )
        features = example.features_of(self)
        made_at = int(features["frame_step"][0])
        if made_at != step:
            # Features are stored by pixels alone, and these pixels were seen at another rate.
            raise ValueError(
                f"the stored flow goes from frame to frame in steps of {made_at}, "
                f"{geometry.fps:g} fps asks for {step}; delete the run's features/flow-* and "
                "score again"
            )
        magnitudes_P: NDArray[np.float64] = features["top5_magnitude"]
        return magnitudes_P
