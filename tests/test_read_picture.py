from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2vbench.errors import UnreadableClipError
from i2vbench.pictures import read_picture

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 99, 199]]], dtype=np.uint8)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableClipError) as caught:
        read_picture(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_rgb_is_kept(tmp_path: Path) -> None:
    picture = read_picture(saved(tmp_path / "a.png", Image.fromarray(COLOURS)))
    np.testing.assert_array_equal(picture, COLOURS)
    assert picture.dtype == np.uint8
    assert picture.flags.writeable


@pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK"])
def test_other_colour_modes_give_the_same_colours(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(COLOURS)
    palette = {"palette": Image.Palette.ADAPTIVE} if mode == "P" else {}
    path = saved(tmp_path / "a.tif", image.convert(mode, **palette))
    np.testing.assert_array_equal(read_picture(path), COLOURS)


def test_grey_becomes_three_channels(tmp_path: Path) -> None:
    grey = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    picture = read_picture(saved(tmp_path / "a.png", Image.fromarray(grey)))
    np.testing.assert_array_equal(picture, np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bits_are_scaled_not_cut(tmp_path: Path) -> None:
    """Pillow alone would clip everything above 255 to white."""
    deep = np.array([[0, 257, 128], [65535, 32896, 300]], dtype=np.uint16)
    picture = read_picture(saved(tmp_path / "a.png", Image.fromarray(deep)))
    assert picture[..., 1].tolist() == [[0, 1, 0], [255, 128, 1]]


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    picture = read_picture(saved(tmp_path / "a.png", Image.fromarray(pixels)))
    assert picture.tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]


def test_a_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS).convert("P", palette=Image.Palette.ADAPTIVE)
    path = saved(tmp_path / "a.gif", image, transparency=image.getpixel((0, 0)))
    assert read_picture(path)[0, 0].tolist() == [255, 255, 255]
    assert read_picture(path)[0, 1].tolist() == [0, 255, 0]


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", Image.fromarray(COLOURS[:1]), exif=exif)
    np.testing.assert_array_equal(read_picture(path), np.rot90(COLOURS[:1], -1))


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    picture = read_picture(saved(tmp_path / "a.jpg", image, quality=95))
    assert picture.shape == (8, 8, 3)
    np.testing.assert_allclose(picture[4, 4].astype(int), [255, 0, 0], atol=4)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp", "gif"])
def test_a_cut_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "truncated or damaged" in refusal(path)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "drawing.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert "empty" in refusal(tmp_path / "empty.png")
    assert "no such file" in refusal(tmp_path / "absent.png")
    assert "accepted: JPEG, PNG" in refusal(tmp_path / "text.jpg")
    # Pillow would start Ghostscript for this one.
    assert "accepted: JPEG, PNG" in refusal(tmp_path / "drawing.eps")


def test_grey_of_unknown_range_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))
    assert "32-bit grey" in refusal(path)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert "accepted are at most 89,478,485" in refusal(path)
