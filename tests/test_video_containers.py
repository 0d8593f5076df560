from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from i2vbench.errors import UnreadableClipError
from i2vbench.video_containers import ebml_size, is_cut, num_empty_at_end
from i2vbench.video_io import count_frames, read_video

KINDS = {
    "mp4": ("a.mp4", "libx264", {}),
    "mov": ("a.mov", "libx264", {}),
    "m4v": ("a.m4v", "libx264", {}),
    "mp4 with its index first": ("a.mp4", "libx264", {"movflags": "faststart"}),
    "mp4 in fragments": ("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "3gp": ("a.3gp", "h263", {}),
    "mkv": ("a.mkv", "libx264", {}),
    "live mkv": ("a.mkv", "libx264", {"live": "1"}),
    "webm": ("a.webm", "libvpx-vp9", {}),
    "webm of VP8": ("a.webm", "libvpx", {}),
    "avi": ("a.avi", "mpeg4", {}),
    "gif": ("a.gif", "gif", {}),
    "flv": ("a.flv", "flv", {}),
    "wmv": ("a.wmv", "wmv2", {}),
    "ts": ("a.ts", "mpeg2video", {}),
    "m2ts": ("a.m2ts", "libx264", {}),
    "mpg": ("a.mpg", "mpeg1video", {}),
    "vob": ("a.vob", "mpeg2video", {}),
    "mxf": ("a.mxf", "mpeg2video", {}),
}


def made(folder: Path, kind: str) -> Path:
    name, codec, muxer = KINDS[kind]
    generator = np.random.default_rng(0)
    with av.open(str(folder / name), "w", options=muxer) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 176, 144
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for index in range(12):
            pixels = np.full((144, 176, 3), 15 * index, np.uint8)
            pixels[40:80, 8 * index : 8 * index + 40] = generator.integers(0, 256, (40, 40, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return folder / name


@pytest.mark.parametrize("kind", KINDS)
def test_counting_and_reading_agree(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind)
    assert not is_cut(path)
    assert count_frames(path) == read_video(path).geometry.num_frames == 12


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    path = made(tmp_path, kind)
    content = path.read_bytes()
    generator = random.Random(0)
    places = [len(content) - 1, len(content) - 9]
    places += [generator.randrange(1, len(content)) for _ in range(18)]
    # Between two packets of these, nothing is stated.
    free = {"ts": 188, "m2ts": 192, "mpg": 2048, "vob": 2048}.get(kind, len(content))
    for place in places:
        if place % free == 0:
            continue
        path.write_bytes(content[:place])
        for read in (read_video, count_frames):
            with pytest.raises(UnreadableClipError):
                read(path)


def test_a_frame_of_mpeg2_that_is_cut_between_packets_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, "ts")
    content = path.read_bytes()
    whole = read_video(path).frames
    refused = 0
    for place in range(188 * 4, len(content), 188):
        path.write_bytes(content[:place])
        try:
            frames = read_video(path).frames
        except UnreadableClipError:
            refused += 1
        else:
            np.testing.assert_array_equal(frames, whole[: len(frames)])
    assert refused


@pytest.mark.parametrize("length", range(1, 9))
def test_ebml_sizes_of_every_length(length: int) -> None:
    marker = 1 << (7 * length)
    largest = marker - 2
    for value in (0, 1, largest):
        data = (marker | value).to_bytes(length, "big")
        assert ebml_size(data + b"more") == (value, length)
        with pytest.raises(struct.error):
            ebml_size(data[:-1])
    assert ebml_size((2 * marker - 1).to_bytes(length, "big")) == (None, length)


def test_no_ebml_size_begins_with_zero() -> None:
    with pytest.raises(struct.error):
        ebml_size(bytes(9))


def element(identifier: str, content: bytes, width: int = 8) -> bytes:
    size = (1 << (7 * width) | len(content)).to_bytes(width, "big")
    return bytes.fromhex(identifier) + size + content


UNKNOWN = b"\x01" + b"\xff" * 7
BLOCK = element("a3", bytes(300), 2)


@pytest.mark.parametrize("header", [40, 5000])
@pytest.mark.parametrize(
    "segment",
    [
        element("18538067", element("1f43b675", BLOCK * 3)),
        bytes.fromhex("18538067") + UNKNOWN + element("1f43b675", BLOCK * 3) * 2,
        bytes.fromhex("18538067") + UNKNOWN + (bytes.fromhex("1f43b675") + UNKNOWN + BLOCK * 3) * 2,
    ],
)
def test_matroska_of_known_and_unknown_sizes(tmp_path: Path, header: int, segment: bytes) -> None:
    content = element("1a45dfa3", bytes(header), 2) + segment
    path = tmp_path / "a.mkv"
    path.write_bytes(content)
    assert not is_cut(path)
    for missing in (1, 150, 299, 301):
        path.write_bytes(content[:-missing])
        assert is_cut(path)


def box(kind: bytes, content: bytes, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">I4s", len(content) + 8, kind) + content


@pytest.mark.parametrize("wide", [False, True])
def test_boxes_with_sizes_of_32_and_64_bits(tmp_path: Path, wide: bool) -> None:
    content = box(b"ftyp", b"isom") + box(b"moov", bytes(90)) + box(b"mdat", bytes(500), wide)
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert not is_cut(path)
    path.write_bytes(content + bytes(4))
    assert not is_cut(path)
    for missing in (1, 499, 503):
        path.write_bytes(content[:-missing])
        assert is_cut(path)
    open_end = box(b"ftyp", b"isom") + struct.pack(">I4s", 0, b"mdat") + bytes(99)
    path.write_bytes(open_end)
    assert not is_cut(path)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def test_riff_sizes_and_the_slips_of_writers(tmp_path: Path) -> None:
    inner = b"AVI " + chunk(b"LIST", b"movi" + chunk(b"00dc", bytes(51)) + chunk(b"00dc", b""))
    path = tmp_path / "a.avi"
    variants: list[Callable[[], bytes]] = [
        lambda: chunk(b"RIFF", inner),
        lambda: b"RIFF" + struct.pack("<I", len(inner) + 8) + inner,
        lambda: b"RIFF" + struct.pack("<I", 0) + inner,
        lambda: chunk(b"RIFF", inner) + chunk(b"RIFF", b"AVIX" + inner[4:]),
    ]
    for variant in variants:
        path.write_bytes(variant())
        assert not is_cut(path)
        assert num_empty_at_end(path, 0) == 1
        assert num_empty_at_end(path, 1) == 0
        path.write_bytes(variant()[:-20])
        assert is_cut(path)


def test_a_gif_is_walked_to_its_trailer(tmp_path: Path) -> None:
    path = made(tmp_path, "gif")
    content = path.read_bytes()
    path.write_bytes(content + bytes(7))
    assert not is_cut(path)
    # A picture's data may hold the trailer's byte.
    place = content.rindex(b";", 0, -1) + 1
    path.write_bytes(content[:place])
    assert is_cut(path)


def test_ogg_ends_with_a_marked_page(tmp_path: Path) -> None:
    def page(flags: int, serial: int) -> bytes:
        header = struct.pack("<4sBBQIIIB", b"OggS", 0, flags, 0, serial, 0, 0, 1)
        return header + b"\x64" + bytes(100)

    path = tmp_path / "a.ogv"
    content = page(2, 1) + page(2, 2) + page(4, 2) + page(4, 1)
    path.write_bytes(content)
    assert not is_cut(path)
    for missing in (1, 100, 110, 128):
        path.write_bytes(content[:-missing])
        assert is_cut(path)


def test_ivf_states_the_sizes_of_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.ivf"
    content = struct.pack("<4sHH24x", b"DKIF", 0, 32) + struct.pack("<IQ", 40, 0) + bytes(40)
    path.write_bytes(content)
    assert not is_cut(path)
    path.write_bytes(content[:-1])
    assert is_cut(path)


def test_an_flv_says_how_long_it_is(tmp_path: Path) -> None:
    path = made(tmp_path, "flv")
    content = path.read_bytes()
    (last,) = struct.unpack(">I", content[-4:])
    path.write_bytes(content[: -last - 4])
    assert is_cut(path)
    # The last tag's length, once more, is left out by some writers.
    without = content.replace(b"filesize", b"filesizf")
    path.write_bytes(without[:-4])
    assert not is_cut(path)
