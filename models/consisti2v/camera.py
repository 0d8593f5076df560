"""Camera motion: a moving crop of the first frame, for FrameInit to take its low frequencies from.

Named after what the camera does: with ``pan_right`` the picture moves left, with ``rotate_cw`` it
turns counter-clockwise. Where the original makes a motion (pans over landscape pictures, zooms into
squares) the crops are equal to its own; where it fails (T12) they are made in the same spirit.

Shape letters: T frames, C = 3 channels, H, W pixels.
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .preprocess import fit

CAMERA_MOTIONS: Final = (
    "static",
    "pan_left",
    "pan_right",
    "pan_up",
    "pan_down",
    "zoom_in",
    "zoom_out",
    "rotate_cw",
    "rotate_ccw",
)
# A pan travels over what the picture is wider than the frame. Less than an eighth of the frame
# would hardly be seen (a square picture has none): then the picture grows to leave a third.
_LEAST_ROOM: Final = 1 / 8
_MADE_ROOM: Final = 1 / 3
_ZOOM: Final = 1.5
_TURN: Final = math.radians(30)


def moving_crops(
    image_CHW: Tensor, motion: str, num_frames: int, height: int, width: int
) -> Tensor:
    """The crops of all frames, (T, 3, height, width), in the range of the input.

    Args:
        image_CHW: the whole picture, of any aspect.
        motion: of :data:`CAMERA_MOTIONS`.
        num_frames: T.
        height: of the crops, pixels.
        width: of the crops, pixels.
    """
    kind, _, direction = motion.partition("_")
    if kind == "pan":
        if direction in ("left", "right"):
            return _pan(image_CHW, direction == "left", num_frames, height, width)
        turned = _pan(image_CHW.transpose(1, 2), direction == "up", num_frames, width, height)
        return turned.transpose(2, 3)
    if kind == "zoom":
        return _zoom(image_CHW, motion, num_frames, height, width)
    if kind == "rotate":
        turn = _TURN if direction == "cw" else -_TURN
        return _rotate(image_CHW, turn, num_frames, height, width)
    assert motion == "static", motion
    return fit(image_CHW, height, width).expand(num_frames, -1, -1, -1)


def _pan(image_CHW: Tensor, backwards: bool, num_frames: int, height: int, width: int) -> Tensor:
    """Crops of full height that travel to the right, or ``backwards`` to the left."""
    high, wide = image_CHW.shape[1:]
    full = int(height * wide / high)
    if full >= width * (1 + _LEAST_ROOM):
        image_CHW = _resize(image_CHW, height, full)
    else:
        full = math.ceil(width * (1 + _MADE_ROOM))
        image_CHW = _resize(image_CHW, max(height, math.ceil(full * high / wide)), full)
    top = (image_CHW.shape[1] - height) // 2
    shares = [i / num_frames for i in range(num_frames)]
    lefts = [int((full - width) * (1 - share if backwards else share)) for share in shares]
    return torch.stack([image_CHW[:, top : top + height, x : x + width] for x in lefts])


def _zoom(image_CHW: Tensor, motion: str, num_frames: int, height: int, width: int) -> Tensor:
    """Centred crops of the frame's aspect, at twice the frame's size where they are largest."""
    high, wide = image_CHW.shape[1:]
    if wide * height >= high * width:
        size = (2 * height, int(2 * height * wide / high))
    else:
        size = (int(2 * width * high / wide), 2 * width)
    image_CHW = _resize(image_CHW, *size)
    crops = []
    for top, left, h, w in zoom_boxes(motion, num_frames, size, (height, width)):
        crops.append(_resize(image_CHW[:, top : top + h, left : left + w], height, width))
    return torch.stack(crops)


def zoom_boxes(
    motion: str, num_frames: int, picture: tuple[int, int], frame: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    """Top, left, height and width of each frame's box, pixels of the picture.

    Args:
        motion: ``zoom_in`` or ``zoom_out``.
        num_frames: T.
        picture: height and width.
        frame: height and width, whose ratio the boxes have.
    """
    high, wide = picture
    largest = (
        min(high, wide * frame[0] // frame[1]),
        min(wide, high * frame[1] // frame[0]),
    )
    boxes = []
    for i in range(num_frames):
        h, w = (_zoomed(side, i / num_frames, motion == "zoom_in") for side in largest)
        boxes.append(((high - h) // 2, (wide - w) // 2, h, w))
    return boxes


def _zoomed(side: int, share: float, inwards: bool) -> int:
    # A float, cut to an integer as late as the original does; it cuts too late for zoom_out (T12).
    smallest = side // _ZOOM
    change = int((side - smallest) * share)
    return side - change if inwards else int(smallest) + change


def _rotate(image_CHW: Tensor, turn: float, num_frames: int, height: int, width: int) -> Tensor:
    """Crops that turn about the middle of the picture, small enough to stay inside it."""
    angles = [turn * i / num_frames for i in range(num_frames)]
    spans = [(abs(math.sin(a)), math.cos(a)) for a in angles]
    across = max(height * cos + width * sin for sin, cos in spans)
    along = max(width * cos + height * sin for sin, cos in spans)
    high, wide = image_CHW.shape[1:]
    scale = max(across / high, along / wide)
    high, wide = math.ceil(high * scale), math.ceil(wide * scale)
    image_CHW = _resize(image_CHW, high, wide)
    y_HW, x_HW = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2,
        torch.arange(width) - (width - 1) / 2,
        indexing="ij",
    )
    grids = []
    for angle in angles:
        # Clockwise, for y points down.
        x = x_HW * math.cos(angle) - y_HW * math.sin(angle)
        y = x_HW * math.sin(angle) + y_HW * math.cos(angle)
        grids.append(torch.stack([x * 2 / wide, y * 2 / high], dim=-1))
    return F.grid_sample(
        image_CHW.expand(num_frames, -1, -1, -1),
        torch.stack(grids).to(image_CHW),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )


def _resize(image_CHW: Tensor, height: int, width: int) -> Tensor:
    """Bilinear on pixel centres without antialiasing, as the published numbers were made."""
    if tuple(image_CHW.shape[1:]) == (height, width):
        return image_CHW
    size = (height, width)
    return F.interpolate(image_CHW[None], size=size, mode="bilinear", align_corners=False)[0]
