"""Pictures brought to a clip's size: resized until they cover it, cropped at the centre."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from i2vbench.clip import Frames, Picture


def fit_picture(picture: Picture, height: int, width: int) -> Picture:
    """The picture, uint8 (height, width, 3); unchanged where it has that size already.

    Resized by PIL (bicubic, antialiased) until it covers the frame, the rest cut off evenly.
    """
    if picture.shape[:2] == (height, width):
        return picture
    fitted = ImageOps.fit(Image.fromarray(picture), (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted)


def fit_frames(frames: Frames, height: int, width: int) -> Frames:
    """Each frame of (T, H, W, 3) by :func:`fit_picture`."""
    if frames.shape[1:3] == (height, width):
        return frames
    return np.stack([fit_picture(frame, height, width) for frame in frames])
