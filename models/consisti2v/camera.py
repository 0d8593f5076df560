"""Camera motion: a moving crop of the first frame, for FrameInit to take its low frequencies from.

Shape letters: T frames, C = 3 channels, H, W pixels.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .preprocess import resize_shorter

CAMERA_MOTIONS: Final = ("pan_left", "pan_right", "zoom_in", "zoom_out")


def moving_crops(
    image_CHW: Tensor, motion: str, num_frames: int, height: int, width: int
) -> Tensor:
    """The crops of all frames, (T, 3, height, width), in the range of the input.

    Args:
        image_CHW: the whole picture.
        motion: of :data:`CAMERA_MOTIONS`.
        num_frames: T.
        height: of the crops, pixels.
        width: of the crops, pixels.

    Raises:
        ValueError: a picture too narrow to pan, or a zoom into a frame that is not square.
    """
    if motion.startswith("pan"):
        return _pan(resize_shorter(image_CHW, height), motion, num_frames, height, width)
    if height != width:
        raise ValueError(f"{motion} makes square frames, got {width}x{height}; ask for a square")
    return _zoom(resize_shorter(image_CHW, 2 * height), motion, num_frames, height)


def _pan(image_CHW: Tensor, motion: str, num_frames: int, height: int, width: int) -> Tensor:
    full = image_CHW.shape[2]
    if image_CHW.shape[1] != height or full < width:
        raise ValueError(
            f"{motion} needs a picture wider than {width}x{height}, got "
            f"{full}x{image_CHW.shape[1]} after resizing; take a landscape picture"
        )
    shares = [i / num_frames for i in range(num_frames)]
    if motion == "pan_left":
        shares = [1 - share for share in shares]
    lefts = [int((full - width) * share) for share in shares]
    return torch.stack([image_CHW[:, :, left : left + width] for left in lefts])


def _zoom(image_CHW: Tensor, motion: str, num_frames: int, size: int) -> Tensor:
    crops = []
    for top, left, side in zoom_boxes(motion, num_frames, *image_CHW.shape[1:]):
        crop = image_CHW[None, :, top : top + side, left : left + side]
        crops.append(F.interpolate(crop, size=(size, size), mode="bilinear", align_corners=False))
    return torch.cat(crops)


def zoom_boxes(motion: str, num_frames: int, height: int, width: int) -> list[tuple[int, int, int]]:
    """Top, left and side of each frame's square, pixels of a picture of this size."""
    largest = min(height, width)
    # A float, cut to an integer as late as the original does; it cuts too late for zoom_out (T12).
    smallest = largest // 1.5
    boxes = []
    for i in range(num_frames):
        grown = int((largest - smallest) * (i / num_frames))
        side = largest - grown if motion == "zoom_in" else int(smallest) + grown
        boxes.append(((height - side) // 2, (width - side) // 2, side))
    return boxes
