"""Pictures on disk as uint8 RGB."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from i2vbench.clip import Picture
from i2vbench.errors import UnreadableClipError
from i2vbench.video_io import check_readable

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
# Not all that Pillow opens: for EPS, for one, it starts another program.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
MAX_PIXELS = 89_478_485
"""Pillow's own bound, at which it suspects a decompression bomb: 256 MiB of RGB."""

# Pillow documents OSError alone; damaged PNG and TIFF files also raise the others.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error)


def read_picture(path: Path | str) -> Picture:
    """The picture, uint8 (H, W, 3) RGB, upright.

    The EXIF orientation is applied, transparency is laid over white (as a page shows it), 16-bit
    grey is scaled to 8 bit, and palette, grey and CMYK become RGB. Colour profiles are not applied:
    video models are trained on pictures read without. Of an animation, the first picture.

    Args:
        path: JPEG, PNG, WebP, BMP, TIFF, GIF or PPM, by content.

    Raises:
        UnreadableClipError: no such file, empty, no picture, truncated, damaged, too large, or of
            32-bit grey, whose range no one states.
    """
    path = Path(path)
    check_readable(path, "picture")
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata and of large pictures; the pixels decide here.
            warnings.simplefilter("ignore")
            # Without this Pillow knows five formats only, and names the others by a KeyError.
            Image.init()
            with Image.open(path, formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableClipError(
                        f"{path}: {image.width}x{image.height}; accepted are at most "
                        f"{MAX_PIXELS:,} pixels"
                    )
                return _to_rgb(ImageOps.exif_transpose(image), path)
    except UnreadableClipError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableClipError(
            f"{path}: more than {2 * MAX_PIXELS:,} pixels; accepted are at most {MAX_PIXELS:,}"
        ) from error
    except UnidentifiedImageError as error:
        raise UnreadableClipError(
            f"{path}: no picture; accepted: JPEG, PNG, WebP, BMP, TIFF, GIF, PPM"
        ) from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableClipError(f"{path}: truncated or damaged ({reason})") from error


def _to_rgb(image: Image.Image, path: Path) -> Picture:
    if image.mode in ("I", "F"):
        raise UnreadableClipError(
            f"{path}: 32-bit grey, of which no range is stated; save it with 8 or 16 bits"
        )
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float64) / 257
        return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"), dtype=np.uint8)
