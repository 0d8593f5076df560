"""Data sets in small: the published layouts, with the files that downloads leave beside them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from i2vbench.clip import Clip
from i2vbench.errors import UserError
from i2vbench.suites import load_suite
from i2vbench.video_io import write_video


def put_video(path: Path, num_frames: int = 4, size: tuple[int, int] = (16, 24)) -> Path:
    """A video whose frame i is grey of brightness i; lossless, so that frames can be told apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    brightness = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    frames = np.broadcast_to(brightness, (num_frames, *size, 3))
    write_video(path, Clip(frames=np.ascontiguousarray(frames), fps=24))
    return path


def put_avi(path: Path, num_frames: int = 8) -> Path:
    """An MPEG-4 video in AVI, as those of UCF-101 are; frame i has brightness 10 i."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        stream.bit_rate = 2_000_000
        for number in range(num_frames):
            picture = np.full((24, 32, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def put_picture(path: Path, width: int = 16, height: int = 16, grey: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (grey, grey, grey)).save(path)
    return path


def litter(folder: Path) -> None:
    """What macOS and Windows leave in every folder of a data set, and unpackers beside it."""
    for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        (place / ".DS_Store").write_bytes(b"\x00")
        (place / "Thumbs.db").write_bytes(b"\x00")
        for path in [p for p in place.iterdir() if p.is_file() and not p.name.startswith(".")]:
            (place / f"._{path.name}").write_bytes(b"\x00\x05")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._x.avi").write_bytes(b"\x00\x05")


def refusal(name: str, options: dict[str, object] | None = None) -> str:
    """The one line with which a suite is refused."""
    with pytest.raises(UserError) as caught:
        load_suite(name, options)
    message = str(caught.value)
    assert "\n" not in message
    return message
