"""Pictures of 16 bits a channel as 8 bits: value / 257, rounded.

Pillow has no 16-bit colour: it keeps the high byte, which is up to 1 too low, and of grey it leaves
out transparency and TIFF's "white is zero". OpenCV reads the 16 bits; Pillow still opens the file,
decodes it once (it notices damage that OpenCV does not) and says what the numbers mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageFile

from i2vbench.clip import Picture

_PHOTOMETRIC = 262
_ORIENTATION = 0x0112
_TURNS: dict[int, Any] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""By EXIF orientation, what brings the pixels upright."""


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether a picture that Pillow has opened, not yet decoded, has 16 bits a channel."""
    # PNG and PPM of 16-bit grey are "I" in some versions; in other formats "I" may be 32 bits.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return True
    raw = str(image.tile[0][3]) if image.tile else ""
    return image.format in ("PNG", "TIFF") and image.mode in ("RGB", "RGBA") and ";16" in raw


def read_deep(path: Path, image: ImageFile.ImageFile) -> Picture:
    """The picture, uint8 (H, W, 3) RGB, upright, transparency laid over white.

    Args:
        path: the file.
        image: what Pillow opened, for which :func:`is_deep`.

    Raises:
        OSError: truncated or damaged, or not readable by OpenCV either.
    """
    raw = str(image.tile[0][3])
    transparent = image.info.get("transparency")
    white_is_zero = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    image.load()
    orientation = image.getexif().get(_ORIENTATION, 1)
    if image.mode.startswith("I"):
        pixels = np.asarray(image).astype(np.float32)[..., None]
        if white_is_zero:
            pixels = 65535 - pixels
    else:
        pixels = _sixteen_bits(path, image.size)
    colours, alpha = pixels[..., :-1], pixels[..., -1:] / 65535
    if pixels.shape[2] in (1, 3) or "RGBX" in raw:
        colours, alpha = pixels[..., :3], np.ones((*pixels.shape[:2], 1), np.float32)
        if transparent is not None and image.format == "PNG":
            alpha = (
                (colours != np.atleast_1d(transparent))
                .any(axis=2, keepdims=True)
                .astype(np.float32)
            )
    premultiplied = "RGBa" in raw
    over_white = (colours if premultiplied else colours * alpha) / 257 + 255 * (1 - alpha)
    upright = _TURNS.get(orientation, lambda same: same)(over_white)
    picture = np.rint(np.clip(upright, 0, 255)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3)))


def _sixteen_bits(path: Path, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The channels RGB or RGBA of a colour picture, or grey and alpha as RGBA: (H, W, C)."""
    import cv2

    decoded = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if (
        decoded is None
        or decoded.dtype != np.uint16
        or decoded.shape[:2] != size[::-1]
        or decoded.ndim != 3
    ):
        raise OSError("16 bits a channel that neither Pillow nor OpenCV reads; save it with 8")
    order = [2, 1, 0, 3][: decoded.shape[2]]
    return decoded[..., order].astype(np.float32)
