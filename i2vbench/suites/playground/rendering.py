"""Pixels of a scene at any size, frame count and stride.

Frames are drawn at twice the size and averaged down. The textures are laid out once per clip and
only warped from frame to frame, so that nothing flickers and a 16-frame clip of 64x64 costs a few
milliseconds.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from i2vbench.suites.playground.scenes import (
    COLORS,
    REFERENCE_STRIDE,
    Background,
    Pose,
    Scene,
    Shape,
    frame_time,
)

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[Any]
"""Values over the canvas, (H, W)."""
Colour = tuple[int, int, int]

_SUPERSAMPLE = 2
_CANVAS_SIDES = 2.2
"""Extent of the background canvas in frame sides; beyond it the texture is mirrored."""
_SHIFT = 6
"""Fractional bits of the polygon corners that OpenCV fills."""


def render(
    scene: Scene,
    num_frames: int = 16,
    height: int = 64,
    width: int = 64,
    frame_stride: float = REFERENCE_STRIDE,
    *,
    canvas: Image | None = None,
) -> Image:
    """Returns the clip of `scene`, uint8 (T, H, W, 3) RGB.

    Args:
        scene: What to draw.
        num_frames: T.
        height: H in pixels.
        width: W in pixels.
        frame_stride: Speed; 3 is the reference, 6 is twice as fast.
        canvas: Picture to take the place of the scene's background, uint8 RGB with sides of
            `canvas_side(height)` and `canvas_side(width)`; the frame begins in its middle.

    Raises:
        ValueError: If a size or count is not positive.
    """
    if min(num_frames, height, width) < 1 or frame_stride < 0:
        raise ValueError(
            "num_frames, height, width must be >= 1 and frame_stride >= 0, got "
            f"{num_frames}, {height}, {width}, {frame_stride}"
        )
    size = (width * _SUPERSAMPLE, height * _SUPERSAMPLE)
    unit = float(min(size))
    if canvas is None:
        canvas = _paint_background(scene.background, size, unit)
    skins = [_paint_skin(shape, unit) for shape in scene.shapes]
    video = np.empty((num_frames, height, width, 3), np.uint8)
    for index in range(num_frames):
        time = frame_time(index, frame_stride)
        frame = _view_background(canvas, scene.view(time), size, unit)
        for shape, skin in zip(reversed(scene.shapes), reversed(skins), strict=True):
            _draw_shape(frame, shape, skin, on_screen(shape.pose(time), scene.view(time)), unit)
        video[index] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return video


def canvas_side(side_px: int) -> int:
    """Returns how long the canvas of a background is, in pixels, behind frames of `side_px`."""
    return round(side_px * _SUPERSAMPLE * _CANVAS_SIDES)


def outline(kind: str) -> list[npt.NDArray[np.float64]]:
    """Returns the closed contours of a shape of radius 1, each (N, 2); a second one is a hole."""
    if kind == "circle":
        return [_ellipse(1.0)]
    if kind == "ring":
        return [_ellipse(1.0), _ellipse(0.52)]
    if kind == "square":
        return [_regular(4, 1.0, math.pi / 4)]
    if kind == "triangle":
        return [_regular(3, 1.08, -math.pi / 2)]
    if kind == "hexagon":
        return [_regular(6, 1.0, 0.0)]
    if kind == "star":
        points = _regular(10, 1.1, -math.pi / 2)
        points[1::2] *= 0.46
        return [points]
    if kind == "cross":
        a, b = 0.34, 0.98
        corners = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
        return [np.array([*corners, *((-x, -y) for x, y in corners)])]
    if kind == "heart":
        turn = np.linspace(0.0, 2 * math.pi, 48, endpoint=False)
        x = np.sin(turn) ** 3
        y = (
            -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn))
            / 16
        )
        return [np.stack([x, y - 0.1], axis=1)]
    raise ValueError(f"unknown shape {kind!r}")


def placed_outline(
    kind: str, radius: float, angle: float, centre: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.float64]]:
    """Returns the contours of a shape of any size, angle and place, as `outline` has them."""
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    return [points @ rotation * radius + centre for points in outline(kind)]


def _ellipse(radius: float) -> npt.NDArray[np.float64]:
    return _regular(40, radius, 0.0)


def _regular(corners: int, radius: float, phase: float) -> npt.NDArray[np.float64]:
    turn = phase + np.arange(corners) * (2 * math.pi / corners)
    return radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def on_screen(pose: Pose, view: tuple[float, float, float]) -> Pose:
    """Returns the pose in the frame of one in the world, seen by `Scene.view`."""
    x, y, zoom = view
    return Pose(
        x=(pose.x - x) * zoom, y=(pose.y - y) * zoom, radius=pose.radius * zoom, angle=pose.angle
    )


def _draw_shape(frame: Image, shape: Shape, skin: Image, pose: Pose, unit: float) -> None:
    height, width = frame.shape[:2]
    centre = np.array([width / 2 + pose.x * unit, height / 2 + pose.y * unit])
    radius = pose.radius * unit
    reach = math.ceil(radius * 1.45) + 2
    left, top = (max(math.floor(c) - reach, 0) for c in centre)
    right, bottom = min(int(centre[0]) + reach + 1, width), min(int(centre[1]) + reach + 1, height)
    if right <= left or bottom <= top:
        return
    # OpenCV puts pixel centres at whole numbers: half a pixel less than our corner-based
    # coordinates.
    local = centre - (left, top) - 0.5
    corners = [
        np.round(points * (1 << _SHIFT)).astype(np.int32)
        for points in placed_outline(shape.kind, radius, pose.angle, local)
    ]
    mask = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillPoly(mask, corners, 255, lineType=cv2.LINE_AA, shift=_SHIFT)
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    scale = radius * 2.9 / skin.shape[0]
    middle = (skin.shape[0] - 1) / 2
    matrix = np.array([[cos * scale, -sin * scale, 0.0], [sin * scale, cos * scale, 0.0]])
    matrix[:, 2] = local - matrix[:, :2] @ (middle, middle)
    colors = cv2.warpAffine(
        skin,
        matrix,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    patch = frame[top:bottom, left:right]
    weight = mask[..., None].astype(np.uint16)
    mixed = (patch * (255 - weight) + colors * weight + 127) // 255
    patch[:] = mixed.astype(np.uint8)


def _paint_skin(shape: Shape, unit: float) -> Image:
    """Returns the texture that the shape is cut out of; it covers 1.45 radii to each side."""
    side = max(round(2.9 * shape.start.radius * unit), 4)
    x, y = _grid(side, side, 1.45 / side * 2)
    if shape.pattern == "striped":
        amount = _wave(x, 0.62)
    elif shape.pattern == "dotted":
        amount = _dots(x, y, 0.66, 0.36)
    elif shape.pattern == "checkered":
        amount = _check(x, y, 0.6)
    else:
        amount = np.zeros_like(x)
    return _blend(COLORS[shape.color], COLORS[shape.second_color], amount)


def _view_background(
    canvas: Image, view: tuple[float, float, float], size: tuple[int, int], unit: float
) -> Image:
    x, y, zoom = view
    width, height = size
    matrix = np.array([[1 / zoom, 0.0, 0.0], [0.0, 1 / zoom, 0.0]])
    target = np.array([(width - 1) / 2, (height - 1) / 2])
    source = np.array([(canvas.shape[1] - 1) / 2 + x * unit, (canvas.shape[0] - 1) / 2 + y * unit])
    matrix[:, 2] = source - matrix[:, :2] @ target
    return cv2.warpAffine(
        canvas,
        matrix,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    ).astype(np.uint8, copy=False)


def _paint_background(background: Background, size: tuple[int, int], unit: float) -> Image:
    width, height = (canvas_side(side // _SUPERSAMPLE) for side in size)
    x, y = _grid(width, height, 1.0 / unit)
    x, y = x + np.float32(background.offset[0]), y + np.float32(background.offset[1])
    cell = background.cell
    cos, sin = math.cos(background.angle), math.sin(background.angle)
    u, v = x * np.float32(cos) + y * np.float32(sin), y * np.float32(cos) - x * np.float32(sin)
    first, second = COLORS[background.color], COLORS[background.second_color]
    noise = _noise(background.noise_seed, (height, width), unit, cell)
    if background.texture == "checkered":
        amount = _check(u, v, 2 * cell)
    elif background.texture == "striped":
        amount = _wave(u, 1.6 * cell)
    elif background.texture == "dotted":
        amount = _dots(u, v, 1.4 * cell, 0.34 * cell * 1.4)
    elif background.texture == "gradient":
        amount = np.clip(
            0.5 + (u - np.float32(background.offset[0] * cos + background.offset[1] * sin)) * 0.8,
            0,
            1,
        )
    elif background.texture == "brick":
        amount = _mortar(x, y, cell)
        second = (196, 190, 180)
    elif background.texture == "marble":
        amount = 0.5 + 0.5 * np.sin((u / (1.8 * cell) + 3.0 * noise) * (2 * math.pi))
    elif background.texture == "grass":
        blades = _noise(background.noise_seed + 1, (height, width), unit, 0.5 * cell)
        amount = np.clip(0.5 + 1.1 * (blades + 0.6 * noise), 0, 1)
        first, second = (30, 98, 34), (120, 190, 66)
    else:
        amount = np.clip(0.35 + 1.5 * noise, 0, 1)
    shade = 1.0 + (0.12 if background.texture in ("brick", "gradient") else 0.06) * noise
    return _blend(first, second, amount, shade)


def _grid(
    width: int, height: int, step: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    x = (np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)) * np.float32(step)
    y = (np.arange(height, dtype=np.float32) - np.float32((height - 1) / 2)) * np.float32(step)
    return np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))


def _blend(first: Colour, second: Colour, amount: Field, shade: Field | float = 1.0) -> Image:
    amount = np.asarray(amount, np.float32)
    channels = [(a + (b - a) * amount) * shade for a, b in zip(first, second, strict=True)]
    return np.clip(np.stack(channels, axis=-1) + 0.5, 0, 255).astype(np.uint8)


def _square_wave(value: Field) -> Field:
    """Returns a wave of period 1 between 0 and 1 whose edges are ramps of 12 % of the period."""
    wave: Field = np.clip(0.5 + (np.abs((value % 1.0) - 0.5) - 0.25) * 16.0, 0, 1)
    return wave


def _wave(x: Field, period: float) -> Field:
    return _square_wave(x / np.float32(period))


def _check(x: Field, y: Field, period: float) -> Field:
    a, b = _wave(x, period), _wave(y, period)
    check: Field = a + b - 2 * a * b
    return check


def _dots(x: Field, y: Field, period: float, radius: float) -> Field:
    u, v = ((c / np.float32(period)) % 1.0 - 0.5 for c in (x, y))
    distance = np.sqrt(u * u + v * v) * np.float32(period)
    inside: Field = np.clip(0.5 + (radius - distance) / (0.12 * period), 0, 1)
    return inside


def _mortar(x: Field, y: Field, cell: float) -> Field:
    row = np.floor(y / np.float32(0.55 * cell))
    along = np.abs(((x / np.float32(1.2 * cell) + 0.5 * (row % 2)) % 1.0) - 0.5) * (1.2 * cell)
    across = np.abs(((y / np.float32(0.55 * cell)) % 1.0) - 0.5) * (0.55 * cell)
    edge = np.minimum(0.6 * cell - along, 0.275 * cell - across)
    mortar: Field = np.clip(1.0 - (edge - 0.012) / 0.016, 0, 1)
    return mortar


def _noise(seed: int, shape: tuple[int, int], unit: float, cell: float) -> npt.NDArray[np.float32]:
    """Returns smooth noise of mean 0, within +-0.5, that is the same at every size."""
    rng = np.random.Generator(np.random.PCG64(seed))
    total = np.zeros(shape, np.float32)
    for octave, weight in ((1.0, 0.65), (0.5, 0.35)):
        step = cell * octave * unit
        # Drawn larger than needed and cut from the middle, so that wide frames extend square ones.
        lattice = rng.random((48, 48), dtype=np.float32) - np.float32(0.5)
        matrix = np.array([[1 / step, 0.0, 0.0], [0.0, 1 / step, 0.0]])
        matrix[:, 2] = 23.5 - np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2]) / step
        total += np.float32(weight) * cv2.warpAffine(
            lattice,
            matrix,
            (shape[1], shape[0]),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    return total
