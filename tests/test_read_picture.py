from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

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


DEEP = np.random.default_rng(3).integers(0, 65536, (5, 7, 4), dtype=np.uint16)


def deep_png(path: Path, pixels: np.ndarray, colour_type: int, transparent: bytes = b"") -> Path:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"tRNS", transparent) if transparent else b""]
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def deep_tiff(path: Path, pixels: np.ndarray, order: str, photometric: int, extra: int = 0) -> Path:
    height, width, channels = pixels.shape
    content = pixels.astype(f"{order}u2").tobytes()
    after = 8 + len(content)
    entries = [(256, width), (257, height), (258, 16), (259, 1), (262, photometric), (273, 8)]
    entries += [(277, channels), (278, height), (279, len(content)), (284, 1)]
    entries += [(338, extra)] if channels == 4 else []
    # The bits of each channel stand behind the directory.
    bits_at = after + 2 + 12 * len(entries) + 4
    directory = struct.pack(order + "H", len(entries))
    for tag, value in entries:
        if tag == 258 and channels > 1:
            directory += struct.pack(order + "HHII", tag, 3, channels, bits_at)
            if channels == 2:
                directory = directory[:-4] + struct.pack(order + "HH", 16, 16)
        else:
            directory += struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(order + "I", after)
    path.write_bytes(head + content + directory + bytes(4) + bits)
    return path


def eight_bits(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels / 257).astype(np.uint8)


def over_white(pixels: np.ndarray) -> np.ndarray:
    alpha = pixels[..., 3:] / 65535
    return np.rint(pixels[..., :3] / 257 * alpha + 255 * (1 - alpha)).astype(np.uint8)


def test_png_of_sixteen_bits_in_all_its_forms(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    grey, colour = np.repeat(DEEP[..., :1], 3, axis=2), DEEP[..., :3]
    np.testing.assert_array_equal(read_picture(deep_png(path, grey[..., :1], 0)), eight_bits(grey))
    np.testing.assert_array_equal(read_picture(deep_png(path, colour, 2)), eight_bits(colour))
    np.testing.assert_array_equal(read_picture(deep_png(path, DEEP, 6)), over_white(DEEP))
    grey_alpha = np.dstack([grey, DEEP[..., 3:]])
    np.testing.assert_array_equal(
        read_picture(deep_png(path, DEEP[..., [0, 3]], 4)), over_white(grey_alpha)
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_sixteen_bits_is_white(tmp_path: Path, channels: int) -> None:
    pixels = DEEP[..., :channels].copy()
    pixels[1, 1] = pixels[0, 0] ^ 1
    key = pixels[0, 0].astype(">u2").tobytes()
    picture = read_picture(deep_png(tmp_path / "a.png", pixels, channels - 1, key))
    expected = eight_bits(np.broadcast_to(pixels, (5, 7, 3)))
    expected[0, 0] = 255
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_sixteen_bits_in_all_its_forms(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.tif"
    grey = eight_bits(np.repeat(DEEP[..., :1], 3, axis=2))
    np.testing.assert_array_equal(read_picture(deep_tiff(path, DEEP[..., :1], order, 1)), grey)
    white_is_zero = deep_tiff(path, 65535 - DEEP[..., :1], order, 0)
    if order == "<":
        np.testing.assert_array_equal(read_picture(white_is_zero), grey)
    else:
        assert "of a kind that Pillow does not read" in refusal(white_is_zero)
    colour = eight_bits(DEEP[..., :3])
    np.testing.assert_array_equal(read_picture(deep_tiff(path, DEEP[..., :3], order, 2)), colour)
    np.testing.assert_array_equal(
        read_picture(deep_tiff(path, DEEP, order, 2, extra=2)), over_white(DEEP)
    )
    # A fourth channel that is no alpha.
    np.testing.assert_array_equal(read_picture(deep_tiff(path, DEEP, order, 2, extra=0)), colour)


def test_a_tiff_that_pillow_does_not_know_is_refused(tmp_path: Path) -> None:
    path = deep_tiff(tmp_path / "a.tif", DEEP[..., :2], "<", 1)
    assert "TIFF" in refusal(path)
    assert "save it as PNG" in refusal(path)


@pytest.mark.parametrize(
    ("header", "largest"), [(b"P5 7 5 65535\n", 65535), (b"P5 7 5 1023\n", 1023)]
)
def test_pgm_of_more_than_eight_bits(tmp_path: Path, header: bytes, largest: int) -> None:
    grey = DEEP[..., 0] & largest
    (tmp_path / "a.ppm").write_bytes(header + grey.astype(">u2").tobytes())
    expected = np.rint(grey / largest * 255).astype(np.uint8)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.ppm")[..., 1], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_every_exif_orientation(tmp_path: Path, orientation: int, deep: bool) -> None:
    """Of 16 bits as of 8."""
    flat = np.arange(12, dtype=np.uint16).reshape(3, 4) * 20
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(flat * 257 if deep else flat.astype(np.uint8))
    picture = read_picture(saved(tmp_path / "a.png", image, exif=exif))[..., 0]
    expected = {
        1: flat,
        2: flat[:, ::-1],
        3: flat[::-1, ::-1],
        4: flat[::-1],
        5: flat.T,
        6: np.rot90(flat, -1),
        7: flat[::-1, ::-1].T,
        8: np.rot90(flat),
    }[orientation]
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize("mode", ["1", "LA", "PA"])
def test_one_bit_and_grey_with_alpha(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (255, 255, 255, 255))
    image.putpixel((1, 0), (0, 0, 0, 255 if mode == "1" else 51))
    path = saved(tmp_path / ("a.png" if mode != "PA" else "a.tif"), image.convert(mode))
    assert read_picture(path)[0, :, 0].tolist() == [255, 0 if mode == "1" else 204]


def test_a_cut_picture_of_sixteen_bits_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (64, 64, 3), dtype=np.uint16)
    for path in (
        deep_png(tmp_path / "a.png", noise, 2),
        deep_tiff(tmp_path / "a.tif", noise, "<", 2),
    ):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        refusal(path)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_avif_is_read(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 40, 90), np.uint8)
    picture = read_picture(saved(tmp_path / "a.avif", Image.fromarray(flat), quality=100))
    np.testing.assert_allclose(picture.astype(int), flat, atol=3)


def test_heic_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(struct.pack(">I4s4s", 24, b"ftyp", b"heic") + bytes(90))
    assert "save it as JPEG or PNG" in refusal(tmp_path / "a.heic")
