"""Where each place of a frame was in the first frame, known since the scene is."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from i2vbench.suites.playground.rendering import on_screen, outline
from i2vbench.suites.playground.scenes import REFERENCE_STRIDE, Scene, frame_time

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
    unit = float(min(width, height))
    x = (np.arange(width) + 0.5 - width / 2) / unit
    y = (np.arange(height) + 0.5 - height / 2) / unit
    place_HW2 = np.stack(np.broadcast_arrays(x, y[:, None]), axis=-1)
    flow_THW2 = np.empty((num_frames, height, width, 2), np.float32)
    start_view = scene.view(0.0)
    for index in range(num_frames):
        time = frame_time(index, frame_stride)
        view_x, view_y, zoom = scene.view(time)
        world_HW2 = place_HW2 / zoom + (view_x, view_y)
        origin_HW2 = (world_HW2 - start_view[:2]) * start_view[2]
        for shape in reversed(scene.shapes):
            now = on_screen(shape.pose(time), scene.view(time))
            then = on_screen(shape.pose(0.0), start_view)
            turn = then.angle - now.angle
            cos, sin = math.cos(turn), math.sin(turn)
            # Row vectors: a turn by the angle of a shape is a product with this from the right.
            rotation = np.array([[cos, sin], [-sin, cos]]) * (then.radius / now.radius)
            inside_HW = _inside(shape.kind, now.x, now.y, now.radius, now.angle, height, width)
            of_shape = (place_HW2[inside_HW] - (now.x, now.y)) @ rotation + (then.x, then.y)
            origin_HW2[inside_HW] = of_shape
        flow_THW2[index] = origin_HW2 - place_HW2
    return flow_THW2


def _inside(
    kind: str, x: float, y: float, radius: float, angle: float, height: int, width: int
) -> npt.NDArray[np.bool_]:
    """Returns (H, W): whether the centre of a cell lies in the shape."""
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    unit = min(width, height)
    middle = np.array([width / 2 + x * unit, height / 2 + y * unit])
    corners = [
        np.round((points @ rotation * (radius * unit) + middle) * _SUBCELLS - 0.5).astype(np.int32)
        for points in outline(kind)
    ]
    mask = np.zeros((height * _SUBCELLS, width * _SUBCELLS), np.uint8)
    cv2.fillPoly(mask, corners, 1)
    centres = slice(_SUBCELLS // 2, None, _SUBCELLS)
    inside: npt.NDArray[np.bool_] = mask[centres, centres] > 0
    return inside
