"""The frames of one open file, as PyAV decodes them: each accounted for, none without a picture."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from i2vbench.clip import Clip, Frames, Picture
from i2vbench.errors import UnreadableClipError
from i2vbench.video_containers import is_cut, num_empty_at_end
from i2vbench.video_orientation import display_matrix, turn_upright

if TYPE_CHECKING:
    import av
    import av.container
    import av.video.stream

SKIPPING_CODECS = frozenset(
    ("mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "h263", "h263p", "h263i")
)
"""They write "the frame before again" as a packet of a few bytes, for which FFmpeg's decoders give
no frame and no error. For other codecs a packet without a frame means that something is lost."""

ONE_FRAME_A_PACKET = SKIPPING_CODECS | {
    *("h264", "hevc", "av1", "vp9", "mjpeg", "ffv1", "prores", "rawvideo", "png", "gif", "flv1"),
    *("huffyuv", "ffvhuff", "dnxhd", "dvvideo", "qtrle", "utvideo"),
}
"""Their frames can be counted by their packets, except in :data:`STREAMS`. Not VP8: its packets of
reference frames show nothing."""

STREAMS = ("mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v", "obu")
"""Formats without packets of their own: FFmpeg cuts them, and each field of H.264 is a packet."""

_FIRST_ROOM_MIB = 512
"""Memory that a header's number of frames is given at once; more comes as the frames do."""


def video_stream(container: av.container.InputContainer, path: Path) -> av.video.stream.VideoStream:
    """The stream that FFmpeg's tool would take; a cover picture is none.

    Raises:
        UnreadableClipError: no video in it, or of a codec that this FFmpeg lacks.
    """
    from av.stream import Disposition
    from av.video.stream import VideoStream

    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise UnreadableClipError(f"{path}: holds no video stream")
    if stream.disposition & Disposition.attached_pic:
        raise UnreadableClipError(f"{path}: holds no video stream, only a cover picture")
    if stream.codec_context is None:
        raise UnreadableClipError(f"{path}: its video codec is not known to this FFmpeg")
    # Parallel work is by clip: threads inside one cost more than they bring.
    stream.thread_count = 1
    if container.format.name in STREAMS:
        # Nothing else tells of a frame that was cut, which decoders mend from its neighbours. So
        # all of MPEG-2's are noticed, and a quarter of H.264's (10 of 37 measured).
        stream.codec_context.options = {"err_detect": "explode"}
    return stream


@dataclass(kw_only=True)
class Walk:
    """One pass over a file's frames: what came so far, and what should come."""

    path: Path
    num_frames: int = 0
    """Frames so far, the repeated ones included."""
    num_packets: int = 0
    """Those with content, and the chunks of an AVI without."""
    num_hidden: int = 0
    """Packets that an edit list hides."""
    num_repeated: int = 0
    """Frames that the file said to show again."""
    promised: int = 0
    """Frames that the header counts; 0 where it does not."""
    repeats: bool = False
    """Whether the container may say "the frame before again" by an empty packet."""

    @property
    def progress(self) -> str:
        """The frames so far, of how many where that is known."""
        count = self.num_frames
        shown = self.promised - self.num_hidden
        return f"{count} of {shown} frames" if shown > 0 else f"{count} frames"

    def frames(
        self, container: av.container.InputContainer, stream: av.video.stream.VideoStream
    ) -> Iterator[Any]:
        """The decoded frames in order; one that the file says to show again comes again.

        Raises:
            UnreadableClipError: truncated, or a frame is missing or damaged.
        """
        skips = stream.codec_context.name in SKIPPING_CODECS
        decoded = sent = 0
        delay: int | None = None
        # (frames decoded before, how often the last of them comes again)
        again: deque[tuple[int, int]] = deque()
        last: Any = None
        for packet, num_empty in self.packets(container, stream):
            if num_empty:
                again.append((sent, num_empty))
            pictures = packet.decode()
            if packet.size:
                sent += not packet.is_discard
                if delay is None and pictures:
                    delay = max(0, sent - len(pictures))
                if skips and delay is not None and sent - decoded - len(pictures) > delay:
                    sent -= 1
                    again.append((decoded, 1))
            else:
                # At the end a decoder may itself give the last frame again.
                due = self.num_packets - self.num_hidden - self.num_frames - len(pictures)
                while again and sum(count for _, count in again) > max(0, due):
                    place, count = again.pop()
                    if count > 1:
                        again.append((place, count - 1))
            for picture in pictures:
                while again and again[0][0] <= decoded and last is not None:
                    for _ in range(again.popleft()[1]):
                        yield self._again(last)
                decoded += 1
                # Kept only where it may be needed: FFmpeg uses the memory of others again.
                last = picture if skips or self.repeats else None
                yield self._counted(picture)
        for _, count in again:
            for _ in range(count if last is not None else 0):
                yield self._again(last)
        self._check_all_came(container.format.name, stream.codec_context.name)

    def _counted(self, frame: av.VideoFrame) -> av.VideoFrame:
        if frame.is_corrupt:
            raise UnreadableClipError(
                f"{self.path}: damaged, frame {self.num_frames} cannot be decoded in full"
            )
        self.num_frames += 1
        return frame

    def _again(self, frame: av.VideoFrame) -> av.VideoFrame:
        self.num_repeated += 1
        return self._counted(frame)

    def _check_all_came(self, container_format: str, codec: str) -> None:
        due = self.num_packets - self.num_hidden
        by_packet = container_format not in STREAMS and codec in ONE_FRAME_A_PACKET
        if (by_packet or self.promised) and self.num_frames < due:
            raise UnreadableClipError(
                f"{self.path}: damaged, {due - self.num_frames} of {due} frames have no picture"
            )

    def count(
        self, container: av.container.InputContainer, stream: av.video.stream.VideoStream
    ) -> int:
        """The frames, by packets where the codec allows it; otherwise they are decoded.

        Raises:
            UnreadableClipError: truncated.
        """
        by_packet = stream.codec_context.name in ONE_FRAME_A_PACKET
        if not by_packet or container.format.name in STREAMS:
            return sum(1 for _ in self.frames(container, stream))
        for _ in self.packets(container, stream):
            pass
        return self.num_packets - self.num_hidden

    def packets(
        self, container: av.container.InputContainer, stream: av.video.stream.VideoStream
    ) -> Iterator[tuple[Any, int]]:
        """Packets, each with the number of empty ones before it; the last one ends the stream.

        A packet without content means "the frame before again". In an AVI FFmpeg passes over it,
        only the number of the chunk (``dts``) jumps. Those before the first frame repeat nothing
        and do not count.

        Raises:
            UnreadableClipError: the container ends before it should.
        """
        name = container.format.name
        # A GIF's header counts nothing: FFmpeg's number is that of the frames it found.
        self.promised = 0 if name == "gif" else stream.frames
        self.repeats = name == "avi" or "mp4" in name
        base, rate = stream.time_base, stream.average_rate
        step = base * rate if base and rate else 0
        following: int | None = None if name == "avi" and step == 1 else -1
        num_empty = 0
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise UnreadableClipError(f"{self.path}: truncated after {self.progress}")
            if packet.size:
                if following != -1 and packet.dts is not None:
                    gap = packet.dts - (following or 0)
                    num_empty += max(0, gap)
                    following = packet.dts + 1
            elif packet.dts is not None:
                # Only the packet that ends the stream has no time.
                num_empty += 1
                continue
            else:
                if following != -1 and self.num_packets < self.promised:
                    num_empty += num_empty_at_end(self.path, stream.index)
                if is_cut(self.path) or self.num_packets + num_empty < self.promised:
                    raise UnreadableClipError(f"{self.path}: truncated after {self.progress}")
            if not self.num_packets:
                self.promised -= num_empty if self.promised else 0
                num_empty = 0
            self.num_packets += num_empty + bool(packet.size)
            self.num_hidden += packet.is_discard
            yield packet, num_empty
            num_empty = 0


@dataclass(kw_only=True)
class Kept:
    """The frames that are wanted, in one array with room for those to come.

    Each is copied here at once, so that FFmpeg's own buffer is used again: a new one per frame
    costs more than the conversion. The array never has more than ``max_mib``, and no second one of
    its size is made: it grows in place (``realloc``, which on Linux moves no bytes).
    """

    path: Path
    wanted: int
    """Frames that are expected; 0 for unknown. What is promised takes no memory before it comes."""
    max_mib: int
    array: Frames | None = None
    num_frames: int = 0

    def add(self, picture: Picture, index: int) -> None:
        """Appends a frame uint8 (H, W, 3), which is number ``index`` of the file.

        Raises:
            UnreadableClipError: it is of another size than the first, or too much for ``max_mib``.
        """
        if self.array is not None and picture.shape != self.array.shape[1:]:
            raise UnreadableClipError(
                f"{self.path}: frame {index} is {_size(picture)}, "
                f"the first one {_size(self.array[0])}; one size was expected"
            )
        most = self.max_mib * 2**20 // picture.nbytes
        if self.num_frames >= most:
            raise too_large(self.path, picture.shape, self.max_mib)
        if self.array is None:
            first = max(1, _FIRST_ROOM_MIB * 2**20 // picture.nbytes)
            self.array = np.empty((min(max(self.wanted, 1), first, most), *picture.shape), np.uint8)
        elif self.num_frames == len(self.array):
            room = min(most, len(self.array) + max(8, len(self.array) // 2))
            if self.wanted > len(self.array):
                room = min(room, self.wanted)
            self.array.resize((room, *picture.shape), refcheck=False)
        self.array[self.num_frames] = picture
        self.num_frames += 1

    def frames(self) -> Frames:
        """All of them, uint8 (T, H, W, 3); the room that is left is given back."""
        assert self.array is not None
        if len(self.array) > self.num_frames:
            self.array.resize((self.num_frames, *self.array.shape[1:]), refcheck=False)
        return self.array


def too_large(path: Path, shape: tuple[int, ...], max_mib: int) -> UnreadableClipError:
    """The error for frames of ``shape`` (H, W, 3) that take too much memory."""
    return UnreadableClipError(
        f"{path}: takes more than {max_mib} MiB once decoded ({shape[1]}x{shape[0]}); cut it into "
        "shorter clips"
    )


def read_clip(
    container: av.container.InputContainer,
    walk: Walk,
    max_frames: int | None,
    keep: range | None,
    max_mib: int,
) -> Clip:
    """The clip of an open file; see :func:`i2vbench.video_io.read_video`."""
    stream = video_stream(container, walk.path)
    wanted = len(keep) if keep is not None else max_frames or stream.frames
    kept = Kept(path=walk.path, wanted=wanted, max_mib=max_mib)
    convert = rgb_converter()
    upright: Callable[[Picture], Picture] | None = None

    def store(frame: av.VideoFrame, index: int) -> None:
        # In a function, so that the picture is let go before the next one is made.
        picture = np.asarray(convert(frame).to_ndarray(), dtype=np.uint8)
        kept.add(picture if upright is None else upright(picture), index)

    times_s: list[float | None] = []
    for index, frame in enumerate(walk.frames(container, stream)):
        if not index:
            upright = _upright(frame, walk.path)
        times_s.append(frame.time)
        if keep is None or index in keep:
            store(frame, index)
        if index + 1 == max_frames:
            break
    if not walk.num_frames:
        raise UnreadableClipError(f"{walk.path}: its video stream has no frames")
    if keep is not None and kept.num_frames < len(keep):
        raise missing_frame(walk.path, walk.num_frames, keep)
    return Clip(frames=kept.frames(), fps=_fps(walk, stream, times_s))


def missing_frame(path: Path, num_frames: int, keep: range) -> UnreadableClipError:
    """The error for a frame that was asked for and is not there."""
    return UnreadableClipError(f"{path}: has {num_frames} frames; frame {keep[-1]} was asked for")


def rgb_converter() -> Callable[[Any], Any]:
    """To RGB; for one file: one for each frame costs a third of the time of small ones."""
    import av
    from av.video.reformatter import VideoReformatter

    # From 17 on the conversion has threads of its own, made for each file: slower, two files at a
    # time twice so.
    one_thread: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
    return functools.partial(VideoReformatter().reformat, format="rgb24", **one_thread)


def _upright(frame: av.VideoFrame, path: Path) -> Callable[[Picture], Picture] | None:
    try:
        return turn_upright(display_matrix(frame))
    except ValueError as error:
        raise UnreadableClipError(
            f"{path}: is shown {error}; accepted are quarter turns and mirrors: store it upright"
        ) from error


def _fps(walk: Walk, stream: av.video.stream.VideoStream, times_s: list[float | None]) -> float:
    nominal = float(stream.average_rate or stream.guessed_rate or 0)
    times = [time for time in times_s if time is not None]
    span = max(times) - min(times) if len(times) == len(times_s) and not walk.num_repeated else 0.0
    steps = len(times_s) - 1
    # Containers with times in whole milliseconds round them.
    if nominal and (span <= 0 or abs(steps / nominal - span) <= 2e-3):
        return nominal
    if span > 0:
        return steps / span
    raise UnreadableClipError(f"{walk.path}: states no frame rate")


def _size(picture: Frames) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
