"""Where each place of a frame was in the first frame, known since the scene is."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from i2vbench.suites.playground.rendering import on_screen, placed_outline
from i2vbench.suites.playground.scenes import REFERENCE_STRIDE, Pose, Scene, carried, frame_time

_SUBCELLS = 5
"""Of a cell's side, odd, so that one of them lies around its centre."""


def backward_flow(
    scene: Scene,
    num_frames: int,
    height: int,
    width: int,
    frame_stride: float = REFERENCE_STRIDE,
) -> npt.NDArray[np.float32]:
    """Returns what leads from a cell's centre to the place it shows, in the first frame.

    Args:
        scene: Whose shapes and camera move.
        num_frames: T.
        height: H in cells, which need not be pixels.
        width: W in cells.
        frame_stride: Speed, as in `render`.

    Returns:
        (T, H, W, 2) float32, x and y in sides of the frame (the shorter one), y down. Of what the
        first frame does not show, because it lay outside or behind a shape, it tells the place all
        the same.
    """
    unit = min(width, height)
    x = (np.arange(width) + 0.5 - width / 2) / unit
    y = (np.arange(height) + 0.5 - height / 2) / unit
    place_HW2 = np.stack(np.broadcast_arrays(x, y[:, None]), axis=-1)
    flow_THW2 = np.empty((num_frames, height, width, 2), np.float32)
    for index in range(num_frames):
        time = frame_time(index, frame_stride)
        x_now, y_now, zoom = view = scene.view(time)
        # The world is the first frame: the view of time 0 neither moves nor magnifies.
        origin_HW2 = place_HW2 / zoom + (x_now, y_now)
        for shape in reversed(scene.shapes):
            now = on_screen(shape.pose(time), view)
            inside_HW = _inside(shape.kind, now, height, width)
            origin_HW2[inside_HW] = carried(place_HW2[inside_HW], now, shape.start)
        flow_THW2[index] = origin_HW2 - place_HW2
    return flow_THW2


def _inside(kind: str, pose: Pose, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Returns (H, W): whether the centre of a cell lies in the shape."""
    subcells = min(width, height) * _SUBCELLS
    # OpenCV puts pixel centres at whole numbers.
    centre = np.array([pose.x, pose.y]) * subcells + np.array([width, height]) * _SUBCELLS / 2 - 0.5
    corners = [
        np.round(points).astype(np.int32)
        for points in placed_outline(kind, pose.radius * subcells, pose.angle, centre)
    ]
    mask = np.zeros((height * _SUBCELLS, width * _SUBCELLS), np.uint8)
    cv2.fillPoly(mask, corners, 1)
    centres = slice(_SUBCELLS // 2, None, _SUBCELLS)
    inside: npt.NDArray[np.bool_] = mask[centres, centres] > 0
    return inside
