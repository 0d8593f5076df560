"""Videos on disk: lossless in what is written, every frame accounted for in what is read.

PyAV reads, not decord. On the same files decord gave, without an error, 20 frames and 5 copies
where an edit list hides 5; wrong pictures for 20 of 20 damaged files that PyAV refuses; other
colours (by up to 17 of 255) for YUV 4:2:0 of odd size. On the files written here it is no faster.
The tests hold that decord reads those to the same pixels.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from i2vbench.clip import Clip, Frames
from i2vbench.errors import UnreadableClipError
from i2vbench.files import write_atomic

if TYPE_CHECKING:
    import av
    import av.container
    import av.video.stream

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".gif")
MAX_MIB = 4096
"""Of decoded frames: 690 frames of 1080p. Beyond, one file could take the machine down."""

_MIN_FPS, _MAX_FPS = 0.001, 10_000.0
_MAX_DENOMINATOR = 1_000_000
_MAX_NUMERATOR = 2**31 - 1
"""Of the rate that mp4 stores. NTSC's are n/1001; others are stored as the nearest fraction."""

_SEGMENT_ID = bytes.fromhex("18538067")


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
    path: Path | str, *, max_frames: int | None = None, keep: range | None = None
) -> Clip:
    """The frames of a video file, or an error: never fewer frames than the file holds.

    All frames are kept, in order, whatever their times; ``fps`` is the file's nominal rate, or
    where the times contradict it, their mean rate. Frames that an edit list hides are left out, a
    rotation is applied, and transparency is dropped. Colours are converted as FFmpeg does by
    default. Damage that a codec cannot notice (a flipped bit in VP9, say) cannot be noticed here.

    Args:
        path: a file that FFmpeg reads, e.g. with a suffix of :data:`VIDEO_SUFFIXES`.
        max_frames: stop after so many; what follows is then not checked.
        keep: indices of the frames wanted, ascending; the others are decoded and dropped, what
            follows the last one is not checked. ``fps`` stays that of the file.

    Raises:
        UnreadableClipError: no such file, empty, no video in it, truncated, damaged, too large, or
            a frame of ``keep`` is not there.
    """
    import av
    from av.video.reformatter import VideoReformatter

    path = Path(path)
    check_readable(path, "video")
    last = keep[-1] + 1 if keep else max_frames
    version = int(av.__version__.split(".")[0])
    # From 17 on the conversion has threads of its own, made for each file: slower, two files at a
    # time twice so.
    one_thread: dict[str, Any] = {"threads": 1} if version >= 17 else {}
    convert = functools.partial(VideoReformatter().reformat, format="rgb24", **one_thread)
    reading = _Reading(path=path, max_frames=last, keep=keep, convert=convert)
    # A title in another encoding does not spoil the frames. PyAV 19 reads every one, and takes no
    # such argument.
    lenient: Any = {"metadata_errors": "ignore"} if version < 19 else {}
    try:
        # An absolute path, since FFmpeg takes "a:b.mp4" for a protocol.
        with av.open(str(path.absolute()), **lenient) as container:
            return reading.clip(container)
    except av.FFmpegError as error:
        after = f" after {reading.progress}" if reading.num_frames else ""
        reason = error.strerror or type(error).__name__
        raise UnreadableClipError(f"{path}: truncated or damaged{after} ({reason})") from error
    except MemoryError as error:
        raise UnreadableClipError(f"{path}: its frames do not fit into memory") from error


def count_frames(path: Path | str) -> int:
    """The frames that a file holds, counted by its packets: nothing is decoded.

    Raises:
        UnreadableClipError: no such file, empty, no video in it, or truncated.
    """
    import av

    path = Path(path)
    check_readable(path, "video")
    try:
        with av.open(str(path.absolute())) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise UnreadableClipError(f"{path}: holds no video stream")
            packets = [packet for packet in container.demux(stream) if packet.size]
            is_gif = container.format.name == "gif"
            if any(packet.is_corrupt for packet in packets) or (
                not is_gif and len(packets) < stream.frames
            ):
                raise UnreadableClipError(f"{path}: truncated after {len(packets)} frames")
    except av.FFmpegError as error:
        reason = error.strerror or type(error).__name__
        raise UnreadableClipError(f"{path}: truncated or damaged ({reason})") from error
    return sum(not packet.is_discard for packet in packets)


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


@dataclass(kw_only=True)
class _Reading:
    """One file while it is read: what came so far, and what should come."""

    path: Path
    max_frames: int | None
    keep: range | None
    convert: Callable[[Any], Any]
    """To RGB; kept for the file: one for each frame costs a third of the time of small ones."""
    pictures: Frames | None = None
    """The frames kept, in one array with room for those to come. Each is copied here at once, so
    that FFmpeg's own buffer is used again: a new one per frame costs more than the conversion."""
    num_kept: int = 0
    num_frames: int = 0
    """Frames decoded so far, the dropped ones included."""
    times_s: list[float | None] = field(default_factory=list)
    num_packets: int = 0
    num_hidden: int = 0
    """Packets that an edit list hides."""
    promised: int = 0
    """Frames that the header counts; 0 where it does not."""

    @property
    def progress(self) -> str:
        count = self.num_frames
        shown = self.promised - self.num_hidden
        return f"{count} of {shown} frames" if shown > 0 else f"{count} frames"

    def clip(self, container: av.container.InputContainer) -> Clip:
        from av.video.stream import VideoStream

        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise UnreadableClipError(f"{self.path}: holds no video stream")
        # A GIF's header counts nothing: FFmpeg's number is that of the frames it found.
        self.promised = 0 if container.format.name == "gif" else stream.frames
        rotation = 0
        for frame in self._decode(container, stream):
            if not self.num_frames:
                rotation = frame.rotation
            self._add(frame)
            if self.num_frames == self.max_frames:
                break
        else:
            self._check_complete(container.format.name)
        if not self.num_frames:
            raise UnreadableClipError(f"{self.path}: its video stream has no frames")
        if self.keep is not None and self.num_kept < len(self.keep):
            raise UnreadableClipError(
                f"{self.path}: has {self.num_frames} frames; frame {self.keep[-1]} was asked for"
            )
        assert self.pictures is not None
        frames = self.pictures
        if len(frames) > self.num_kept:
            frames = frames[: self.num_kept].copy()
        quarters = round(rotation / 90) % 4
        if quarters:
            frames = np.ascontiguousarray(np.rot90(frames, quarters, axes=(1, 2)))
        return Clip(frames=frames, fps=self._fps(stream))

    def _decode(
        self, container: av.container.InputContainer, stream: av.video.stream.VideoStream
    ) -> Iterator[Any]:
        # Parallel work is by clip: threads inside one cost more than they bring.
        stream.thread_count = 1
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise UnreadableClipError(f"{self.path}: truncated after {self.progress}")
            if packet.size:
                self.num_packets += 1
                self.num_hidden += packet.is_discard
            yield from packet.decode()

    def _add(self, frame: av.VideoFrame) -> None:
        if frame.is_corrupt:
            raise UnreadableClipError(
                f"{self.path}: damaged, frame {self.num_frames} cannot be decoded in full"
            )
        self.num_frames += 1
        self.times_s.append(frame.time)
        if self.keep is not None and self.num_frames - 1 not in self.keep:
            return
        picture = np.asarray(self.convert(frame).to_ndarray(), dtype=np.uint8)
        if self.pictures is not None and picture.shape != self.pictures.shape[1:]:
            raise UnreadableClipError(
                f"{self.path}: frame {self.num_frames - 1} is {_size(picture)}, "
                f"the first one {_size(self.pictures[0])}; one size was expected"
            )
        if (self.num_kept + 1) * picture.nbytes > MAX_MIB * 2**20:
            raise UnreadableClipError(
                f"{self.path}: takes more than {MAX_MIB} MiB once decoded ({_size(picture)}, "
                f"{self.progress} so far); cut it into shorter clips"
            )
        self._room_for(picture)[self.num_kept] = picture
        self.num_kept += 1

    def _room_for(self, picture: Frames) -> Frames:
        """``pictures`` with a free place, made or doubled where there is none."""
        if self.pictures is None:
            # What a header promises takes no memory before it comes.
            wanted = len(self.keep) if self.keep is not None else self.max_frames or self.promised
            most = MAX_MIB * 2**20 // picture.nbytes
            self.pictures = np.empty((min(max(wanted, 1), most), *picture.shape), np.uint8)
        elif self.num_kept == len(self.pictures):
            self.pictures = np.concatenate([self.pictures, np.empty_like(self.pictures)])
        return self.pictures

    def _check_complete(self, container_format: str) -> None:
        """Compares what came with what the container promises, each kind in its own way."""
        if self.promised:
            shown = self.promised - self.num_hidden
            cut = self.num_packets < self.promised or self.num_frames < shown
        elif container_format == "gif":
            cut = not _has_gif_trailer(self.path)
        else:
            cut = container_format.startswith("matroska") and _is_cut_matroska(self.path)
        if cut:
            raise UnreadableClipError(f"{self.path}: truncated after {self.progress}")

    def _fps(self, stream: av.video.stream.VideoStream) -> float:
        nominal = float(stream.average_rate or stream.guessed_rate or 0)
        times = [time for time in self.times_s if time is not None]
        span = max(times) - min(times) if len(times) == self.num_frames else 0.0
        steps = self.num_frames - 1
        # Containers with times in whole milliseconds round them.
        if nominal and (span <= 0 or abs(steps / nominal - span) <= 2e-3):
            return nominal
        if span > 0:
            return steps / span
        raise UnreadableClipError(f"{self.path}: states no frame rate")


def _size(picture: Frames) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


def _has_gif_trailer(path: Path) -> bool:
    """Whether a GIF ends as it must; FFmpeg shows a cut one without a word."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return file.read().rstrip(b"\x00").endswith(b";")


def _is_cut_matroska(path: Path) -> bool:
    """Whether an mkv or webm ends before its segment does.

    It counts no frames, and its duration may end long after the last of them. A recording that was
    never closed states no size: nothing can be said of it.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    header_size, position = _ebml_size(head, 4)
    position += header_size or 0
    if header_size is None or head[position : position + 4] != _SEGMENT_ID:
        return False
    size, start = _ebml_size(head, position + 4)
    return size is not None and start + size > path.stat().st_size


def _ebml_size(data: bytes, position: int) -> tuple[int | None, int]:
    """The size field at ``position`` (None for unknown) and where it ends (RFC 8794, section 4)."""
    first = data[position] if position < len(data) else 0
    length = 9 - first.bit_length()
    bits = 7 * length
    value = int.from_bytes(data[position : position + length], "big") & ((1 << bits) - 1)
    return (None if length > 8 or value == (1 << bits) - 1 else value), position + length
