"""Pictures on disk as uint8 RGB."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from i2vbench.clip import Picture
from i2vbench.deep_pictures import is_deep, read_deep
from i2vbench.errors import UnreadableClipError
from i2vbench.video_io import check_readable

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".ppm"),
)
# Not all that Pillow opens: for EPS, for one, it starts another program.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")
_ACCEPTED = "accepted: JPEG, PNG, WebP, AVIF, BMP, TIFF, GIF, PPM"
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
MAX_PIXELS = 89_478_485
"""Pillow's own bound, at which it suspects a decompression bomb: 256 MiB of RGB."""

# Pillow documents OSError alone; damaged PNG and TIFF files also raise the others.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error)


def read_picture(path: Path | str) -> Picture:
    """The picture, uint8 (H, W, 3) RGB, upright.

    The EXIF orientation is applied, transparency is laid over white (as a page shows it), 16 bits
    become 8 by rounding value / 257 (:mod:`i2vbench.deep_pictures`; CMYK's by their high byte), and
    palette, grey and CMYK become RGB. Colour profiles are not applied: video models are trained on
    pictures read without. Of an animation, the first picture.

    Args:
        path: JPEG, PNG, WebP, BMP, TIFF, GIF, PPM or, where Pillow was built with it, AVIF, by
            content. HEIC is not read.

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
            formats = [name for name in _FORMATS if name in Image.OPEN]
            with Image.open(path, formats=formats) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableClipError(
                        f"{path}: {image.width}x{image.height}; accepted are at most "
                        f"{MAX_PIXELS:,} pixels"
                    )
                if is_deep(image):
                    return read_deep(path, image)
                return _to_rgb(ImageOps.exif_transpose(image), path)
    except UnreadableClipError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableClipError(
            f"{path}: more than {2 * MAX_PIXELS:,} pixels; accepted are at most {MAX_PIXELS:,}"
        ) from error
    except UnidentifiedImageError as error:
        raise UnreadableClipError(f"{path}: {_unidentified(path)}") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableClipError(f"{path}: truncated or damaged ({reason})") from error


def _unidentified(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:] in _HEIC_BRANDS:
        return "HEIC is not read; save it as JPEG or PNG (heif-convert IN.heic OUT.png does it)"
    if head[4:8] == b"ftyp" and head[8:] in (b"avif", b"avis"):
        return "AVIF is damaged, or this Pillow cannot read it (11.3 and later can)"
    if head[:4] in (b"II*\0", b"MM\0*"):
        return "a TIFF that is damaged or of a kind that Pillow does not read; save it as PNG"
    return f"no picture; {_ACCEPTED}"


def _to_rgb(image: Image.Image, path: Path) -> Picture:
    if image.mode in ("I", "F"):
        raise UnreadableClipError(
            f"{path}: 32-bit grey, of which no range is stated; save it with 8 or 16 bits"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"), dtype=np.uint8)
