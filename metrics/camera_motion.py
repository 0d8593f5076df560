"""VBench-I2V's camera motion: whether the camera moves as the prompt asks."""

# Shapes: G points along a side of the grid.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from i2vbench.metric import ClipMetric, Example
from i2vbench.suites.vbench_i2v import CAMERA_MOTIONS

from .consistency import require_frames

MOVING_SHARE: Final = 0.005
"""Of the shorter side: what moves no further along an axis stands still along it."""

_BOTH: Final = {
    ("left", "left"): "pan_right",
    ("right", "right"): "pan_left",
    ("down", "down"): "tilt_up",
    ("up", "up"): "tilt_down",
    ("static", "static"): "static",
}
TOP_BOTTOM: Final = _BOTH | {("up", "down"): "zoom_in", ("down", "up"): "zoom_out"}
LEFT_RIGHT: Final = _BOTH | {("left", "right"): "zoom_in", ("right", "left"): "zoom_out"}
"""Where a point of either edge goes -> what the camera does."""


def camera_motions(
    first_GG2: NDArray[np.floating], last_GG2: NDArray[np.floating], *, height: int, width: int
) -> frozenset[str]:
    """What the camera does between two frames, of :data:`CAMERA_MOTIONS`' values.

    Four points of the grid are looked at, one in the middle of each edge, their places cut to whole
    px. Top and bottom tell one motion or more, left and right as well; all are given. ``static`` is
    given only where all four points stand still, and nothing where no rule fits. A grid of even
    size has no middle: the points lie half a cell beyond it, and a strong zoom reads as a pan too.

    Args:
        first_GG2: x and y in px of a grid of points in the first frame, row by row.
        last_GG2: where they are in the last frame.
        height: of the frames, px.
        width: of the frames, px.

    Raises:
        ValueError: shapes that are no grid's, or differ.

    >>> grid = np.stack(np.meshgrid(np.arange(10) * 25, np.arange(10) * 25), axis=-1)
    >>> sorted(camera_motions(grid, grid - (8, 0), height=256, width=256))
    ['pan_right']
    """
    size = len(first_GG2)
    if first_GG2.shape != (size, size, 2) or last_GG2.shape != first_GG2.shape:
        raise ValueError(f"grids must be (G, G, 2), got {first_GG2.shape} and {last_GG2.shape}")
    threshold_px = MOVING_SHARE * min(height, width)
    moved_GG2 = last_GG2.astype(np.int64) - first_GG2.astype(np.int64)
    middle, end = size // 2, size - 1
    top, bottom, left, right = (
        _directions(moved_GG2[place], threshold_px)
        for place in ((0, middle), (end, middle), (middle, 0), (middle, end))
    )
    of_pairs = [_rules(top, bottom, TOP_BOTTOM), _rules(left, right, LEFT_RIGHT)]
    moving = (of_pairs[0] | of_pairs[1]) - {"static"}
    if not moving and all("static" in pair for pair in of_pairs):
        return frozenset({"static"})
    return frozenset(moving)


def _directions(moved_2: NDArray[np.int64], threshold_px: float) -> list[str]:
    x, y = moved_2
    seen = {
        "right": x > threshold_px,
        "left": x < -threshold_px,
        "down": y > threshold_px,
        "up": y < -threshold_px,
    }
    return [name for name, is_seen in seen.items() if is_seen] or ["static"]


def _rules(one: list[str], other: list[str], rules: Mapping[tuple[str, str], str]) -> set[str]:
    pairs = ((a, b) for a in one for b in other)
    return {rules[pair] for pair in pairs if pair in rules}


class CameraMotion(ClipMetric):
    """Share of clips whose camera moves as it was asked to, by CoTracker2.

    Of a clip 1 if the motion of the sample's column ``camera_motion`` is among those that
    :func:`camera_motions` reads from its first and last frame, else 0; then the mean over the
    clips. Range [0, 1]; higher is better.

    Source: VBench++ (arXiv 2411.13503), ``camera_motion`` of its code (commit 45e79ec). There the
    motion is looked for in the video's file name; here the suite says it, and no name is read.

    Caveats: four tracks decide; a subject that covers a point, or a point that is lost, decides as
    well. How far the camera goes is not judged. A frozen clip is right where ``static`` is asked.
    """

    name = "camera_motion"
    title = "Camera motion"
    version = "1"
    higher_is_better = True
    unit = "share"
    interval_kind = "share"
    needs = frozenset({"extra.camera_motion"})
    extractors = ("cotracker",)

    def spec(self) -> dict[str, Any]:
        """The threshold."""
        return {"moving_share": MOVING_SHARE}

    def score_clip(self, example: Example) -> float:
        """1.0 where the motion asked for is seen, else 0.0.

        Raises:
            ValueError: a motion of another name is asked for, or the clip is too short.
        """
        asked = example.extra["camera_motion"]
        if asked not in CAMERA_MOTIONS.values():
            accepted = ", ".join(CAMERA_MOTIONS.values())
            raise ValueError(
                f"sample {example.sample_id!r}: camera_motion is {asked!r}; accepted: {accepted}"
            )
        require_frames(len(example.clip.frames), 2)
        tracks_TGG2 = example.features_of(self)["tracks"]
        height, width = example.clip.frames.shape[1:3]
        seen = camera_motions(tracks_TGG2[0], tracks_TGG2[-1], height=height, width=width)
        return float(asked in seen)
