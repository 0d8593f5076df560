"""Videos on disk: lossless in what is written, every frame accounted for in what is read.

PyAV reads, unless decord is asked for. On the same files decord gave, without an error, 20 frames
and 5 copies where an edit list hides 5; wrong pictures for 20 of 20 damaged files that PyAV
refuses; other colours (by up to 17 of 255) for YUV 4:2:0 of odd size. On the files written here it
is no faster, and the tests hold that it reads those to the same pixels. Published code that reads
with decord saw decord's pixels: to compare with its numbers takes ``reader="decord"``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from i2vbench.clip import Clip
from i2vbench.errors import MissingPackageError, UnreadableClipError, UserError, did_you_mean
from i2vbench.files import write_atomic
from i2vbench.video_pyav import Walk, read_clip, video_stream

if TYPE_CHECKING:
    import av
    import av.container

READERS = ("pyav", "decord")
VIDEO_SUFFIXES = (
    *(".mp4", ".webm", ".mkv", ".mov", ".avi", ".gif", ".m4v", ".3gp", ".mpg", ".mpeg", ".vob"),
    *(".ts", ".mts", ".m2ts", ".flv", ".wmv", ".asf", ".ogv"),
)
MAX_MIB = 4096
"""Of decoded frames, at the peak: 690 frames of 1080p. Beyond, one file could take the machine
down."""

_MIN_FPS, _MAX_FPS = 0.001, 10_000.0
_MAX_DENOMINATOR = 1_000_000
_MAX_NUMERATOR = 2**31 - 1
"""Of the rate that mp4 stores. NTSC's are n/1001; others are stored as the nearest fraction."""

_DAMAGE = (OSError, ValueError, LookupError, ArithmeticError, RuntimeError, EOFError)
"""What PyAV raises of damaged files beside its own errors (texts and numbers that it converts)."""


def write_video(path: Path | str, clip: Clip) -> None:
    """Stores a clip so that reading gives the same pixels: H.264 of RGB at crf 0, in mp4.

    Any size works, odd ones too. The same clip gives the same bytes with the same PyAV. The file is
    replaced atomically. Players built on FFmpeg show it (mpv, VLC); browsers do not know RGB H.264.

    Args:
        path: the file; its folder is made where it does not exist.
        clip: frames and fps; fractions such as 24000/1001 are kept exactly, any other rate to six
            digits.

    Raises:
        ValueError: the fps cannot be stored.
    """
    import av

    if not _MIN_FPS <= clip.fps <= _MAX_FPS:
        raise ValueError(
            f"fps {clip.fps!r} cannot be stored; accepted: {_MIN_FPS:g} to {_MAX_FPS:g}"
        )
    denominator = min(_MAX_DENOMINATOR, int(_MAX_NUMERATOR / clip.fps))
    rate = Fraction(clip.fps).limit_denominator(denominator)
    _, height, width, _ = clip.frames.shape
    buffer = io.BytesIO()
    # bitexact leaves the muxer's version out of the file.
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264rgb", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        # ultrafast: a fifth of the time of veryfast for files 15 % larger, and lossless all the
        # same. One thread, since the slices of several would change the bytes.
        stream.options = {"crf": "0", "preset": "ultrafast"}
        stream.thread_count = 1
        for picture in clip.frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    write_atomic(Path(path), buffer.getvalue())


def read_video(
    path: Path | str,
    *,
    max_frames: int | None = None,
    keep: range | None = None,
    reader: str = "pyav",
) -> Clip:
    """The frames of a video file, or an error: never fewer frames than the file holds.

    All frames are kept, in order, whatever their times; ``fps`` is the file's nominal rate, or
    where the times contradict it, their mean rate. Frames that an edit list hides are left out, one
    that the file says to show again (an empty chunk of an AVI, a picture that is not coded) comes
    again, rotations by quarters and mirrors are applied, and transparency is dropped. Colours are
    converted as FFmpeg does by default. Damage that a codec cannot notice (a flipped bit in VP9,
    say) and cuts that no container can notice (:mod:`i2vbench.video_containers`) pass.

    Args:
        path: a file that FFmpeg reads, e.g. with a suffix of :data:`VIDEO_SUFFIXES`.
        max_frames: stop after so many; what follows is then not checked.
        keep: indices of the frames wanted, ascending; the others are decoded and dropped, what
            follows the last one is not checked. ``fps`` stays that of the file.
        reader: one of :data:`READERS`; decord gives what :mod:`i2vbench.video_decord` says.

    Raises:
        UnreadableClipError: no such file, empty, no video in it, truncated, damaged, too large, or
            a frame of ``keep`` is not there.
        MissingPackageError: the reader is not installed.
        UserError: there is no such reader.
    """
    path = Path(path)
    require_reader(reader)
    check_readable(path, "video")
    last = keep[-1] + 1 if keep else max_frames
    if reader == "decord":
        from i2vbench.video_decord import read_clip_decord

        if last is None:
            with _opened(path) as (container, walk):
                for _ in walk.frames(container, video_stream(container, path)):
                    pass
        return read_clip_decord(path, last, keep, MAX_MIB)
    with _opened(path) as (container, walk):
        return read_clip(container, walk, last, keep, MAX_MIB)


def count_frames(path: Path | str) -> int:
    """The frames that :func:`read_video` gives, of an undamaged file.

    Packets are counted and nothing is decoded, except for codecs and containers where a packet is
    not a frame (VP8, MPEG-TS, MPEG-PS).

    Raises:
        UnreadableClipError: no such file, empty, no video in it, or truncated.
    """
    path = Path(path)
    check_readable(path, "video")
    with _opened(path) as (container, walk):
        count = walk.count(container, video_stream(container, path))
    if not count:
        raise UnreadableClipError(f"{path}: its video stream has no frames")
    return count


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, Walk]]:
    """An open file; whatever PyAV raises about it is one line of the file's."""
    import av

    # A title in another encoding does not spoil the frames. PyAV 19 reads every one, and takes no
    # such argument.
    version = int(av.__version__.split(".")[0])
    lenient: Any = {"metadata_errors": "ignore"} if version < 19 else {}
    walk = Walk(path=path)
    try:
        # An absolute path, since FFmpeg takes "a:b.mp4" for a protocol.
        with av.open(str(path.absolute()), **lenient) as container:
            yield container, walk
    except UnreadableClipError:
        raise
    except MemoryError as error:
        raise UnreadableClipError(f"{path}: its frames do not fit into memory") from error
    except (av.FFmpegError, *_DAMAGE) as error:
        after = f" after {walk.progress}" if walk.num_frames else ""
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UnreadableClipError(f"{path}: truncated or damaged{after} ({reason})") from error


def require_reader(name: str) -> None:
    """Checks that a reader of :data:`READERS` can be used.

    Raises:
        UserError: there is no such reader.
        MissingPackageError: decord is not installed, or does not load.
    """
    if name not in READERS:
        raise UserError(f"reader {name!r}: {did_you_mean(name, READERS)}")
    if name == "decord":
        # decord's zlib takes the place of that of every library loaded after it; OpenCV then reads
        # no PNG any more.
        importlib.import_module("cv2")
        try:
            importlib.import_module("decord")
        except (ImportError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise MissingPackageError(
                f"the reader 'decord' is not installed ({reason}): pip install decord on Linux "
                "x86_64, Windows or an Intel Mac; elsewhere there are no wheels: build it from "
                "https://github.com/dmlc/decord, or use a protocol whose reader is 'pyav'"
            ) from error


def check_readable(path: Path, kind: str) -> None:
    """Refuses what is no file or an empty one.

    Raises:
        UnreadableClipError: in one line with ``kind``, the word for what was expected.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise UnreadableClipError(f"{path}: {what}; a {kind} file was expected")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise UnreadableClipError(f"{path}: cannot be opened ({error.strerror})") from error
    if empty:
        raise UnreadableClipError(f"{path}: empty, 0 bytes; a {kind} was expected")
