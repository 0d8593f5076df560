"""Frames that a file says to show again, and those that it has no picture for."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from i2vbench.errors import UnreadableClipError
from i2vbench.video_io import count_frames, read_video

SIZE = 64
NUM_CODED = 12
# A picture of MPEG-4 whose bit "coded" is 0; its time takes three bits at 8 fps.
NOT_CODED = b"\x00\x00\x01\xb6" + bytes([0b01011011, 0b00111111])


def coded(codec: str = "mpeg4", bframes: int = 0) -> list[bytes]:
    context = av.CodecContext.create(codec, "w")
    context.width = context.height = SIZE
    context.pix_fmt = "yuv420p"
    context.time_base, context.framerate = Fraction(1, 8), Fraction(8)
    context.options = {"bf": str(bframes)}
    packets = []
    for index in range(NUM_CODED):
        pixels = np.full((SIZE, SIZE, 3), 20 * index + 10, np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = index
        packets += context.encode(frame)
    packets += context.encode(None)
    return [bytes(packet) for packet in packets]


def avi(path: Path, chunks: list[bytes], fourcc: bytes = b"XVID") -> Path:
    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    number = len(chunks)
    main = struct.pack("<14I", 125_000, 0, 0, 16, number, 0, 1, 0, SIZE, SIZE, 0, 0, 0, 0)
    stream = struct.pack("<IHHIIIIIIIIhhhh", 0, 0, 0, 0, 1, 8, 0, number, 0, 0, 0, 0, 0, SIZE, SIZE)
    form = struct.pack("<IiiHH4sIiiII", 40, SIZE, SIZE, 1, 24, fourcc, 0, 0, 0, 0, 0)
    lists = chunk(b"strh", b"vids" + fourcc + stream) + chunk(b"strf", form)
    head = b"hdrl" + chunk(b"avih", main) + chunk(b"LIST", b"strl" + lists)
    body, index = b"movi", b""
    for place, content in enumerate(chunks):
        index += b"00dc" + struct.pack("<III", 0 if place else 16, len(body), len(content))
        body += chunk(b"00dc", content)
    parts = chunk(b"LIST", head) + chunk(b"LIST", body) + chunk(b"idx1", index)
    path.write_bytes(chunk(b"RIFF", b"AVI " + parts))
    return path


def steps(path: Path) -> list[int]:
    """Which of the coded pictures each frame shows."""
    clip = read_video(path)
    assert clip.fps == 8
    assert count_frames(path) == len(clip.frames)
    return [round((frame.mean() - 10) / 20) for frame in clip.frames.astype(float)]


ALL = list(range(NUM_CODED))


def test_an_empty_chunk_shows_the_frame_before_again(tmp_path: Path) -> None:
    packets = coded()
    path = avi(tmp_path / "a.avi", [*packets[:4], b"", b"", *packets[4:9], b"", *packets[9:]])
    assert steps(path) == [0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11]


def test_empty_chunks_at_the_ends(tmp_path: Path) -> None:
    """Before the first frame there is none to repeat."""
    assert steps(avi(tmp_path / "a.avi", [b"", b"", *coded(), b"", b""])) == [*ALL, 11, 11]


def test_empty_chunks_of_another_codec(tmp_path: Path) -> None:
    packets = coded("libx264")
    path = avi(tmp_path / "a.avi", [*packets[:5], b"", *packets[5:]], b"H264")
    assert steps(path) == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11]


def test_a_picture_that_is_not_coded_shows_the_frame_before_again(tmp_path: Path) -> None:
    packets = coded()
    path = avi(tmp_path / "a.avi", [*packets[:5], NOT_CODED, *packets[5:], NOT_CODED])
    assert steps(path) == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11, 11]


def test_frames_that_come_late_are_no_repeats(tmp_path: Path) -> None:
    """With B-frames a decoder gives its first frame after the second packet."""
    packets = coded(bframes=2)
    assert steps(avi(tmp_path / "a.avi", packets)) == ALL
    repeated = steps(avi(tmp_path / "b.avi", [*packets[:4], b"", b"", *packets[4:]]))
    assert len(repeated) == NUM_CODED + 2
    assert sorted(set(repeated)) == ALL


def test_packed_pictures_count_once(tmp_path: Path) -> None:
    """DivX packs a P and a B picture into one chunk and fills the next with one not coded."""
    first, *rest = coded(bframes=1)
    start = first.index(b"\x00\x00\x01\xb6")
    chunks = [first[:start] + b"\x00\x00\x01\xb2DivX503b1393p\x00" + first[start:]]
    while rest:
        picture = rest.pop(0)
        is_b = [packet[packet.index(b"\x00\x00\x01\xb6") + 4] >> 6 == 2 for packet in rest[:1]]
        chunks += [picture + rest.pop(0), NOT_CODED] if is_b == [True] else [picture]
    path = avi(tmp_path / "a.avi", chunks)
    assert len(steps(path)) == len(chunks) == NUM_CODED


def test_kept_frames_count_the_repeated_ones(tmp_path: Path) -> None:
    packets = coded()
    path = avi(tmp_path / "a.avi", [*packets[:4], b"", b"", *packets[4:]])
    whole = read_video(path).frames
    np.testing.assert_array_equal(read_video(path, keep=range(1, 14, 4)).frames, whole[1:14:4])
    np.testing.assert_array_equal(read_video(path, max_frames=5).frames, whole[:5])


def test_the_chunks_must_be_there(tmp_path: Path) -> None:
    """A header that counts more frames than there are chunks is no reason to repeat any."""
    path = avi(tmp_path / "a.avi", coded())
    content = path.read_bytes()
    head = content.index(b"strh") + 8 + 32
    path.write_bytes(content[:head] + struct.pack("<I", 15) + content[head + 4 :])
    for read in (read_video, count_frames):
        with pytest.raises(UnreadableClipError, match="truncated"):
            read(path)


def test_a_picture_not_coded_at_the_start_is_missing(tmp_path: Path) -> None:
    packets = coded()
    start = packets[0].index(b"\x00\x00\x01\xb6")
    path = avi(tmp_path / "a.avi", [packets[0][:start] + NOT_CODED, *packets])
    with pytest.raises(UnreadableClipError, match="1 of 13 frames have no picture"):
        read_video(path)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_not_coded_pictures_of_other_containers(tmp_path: Path, suffix: str) -> None:
    packets = coded()
    source = avi(tmp_path / "a.avi", [*packets[:5], NOT_CODED, *packets[5:]])
    target = tmp_path / f"a.{suffix}"
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        copied = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copied
                new.mux(packet)
    assert steps(target) == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 10, 11]
