"""Which frames of a real video are a suite's reference clip, and its first frame the condition.

The choice hangs on the suite's seed and the sample's id alone: neither order, nor number of
workers, nor which half is read first changes it.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from i2vbench.clip import Clip, Frames, Geometry, Picture
from i2vbench.errors import UnreadableClipError
from i2vbench.fit import fit_frames
from i2vbench.suites.importer import SuiteOptions, check_choice, check_count
from i2vbench.video_io import count_frames, read_video

logger = logging.getLogger(__name__)

PLACES = ("random", "first", "middle")
MODEL = "model"
NATIVE = "native"


@dataclass(frozen=True, kw_only=True)
class ClipSampling(SuiteOptions):
    """How a clip is cut out of a video.

    The defaults are those that the authors of ConsistI2V were told by those of DynamiCrafter
    (issue 6 of Doubiiu/DynamiCrafter: a random clip of 16 frames, stride 3); the ConsistI2V paper
    itself does not state how its real clips were cut.
    """

    clip: str = "random"
    """Where the clip starts: ``random``, ``first`` or ``middle``."""
    num_frames: int | str = 16
    """Frames of the clip; ``model`` for as many as the model makes."""
    stride: int = 3
    """Every so many-th frame of the video."""
    size: int | str = 256
    """Pixels of a square that the clip is resized to (short side) and cropped at the centre;
    ``model`` for the model's height and width, ``native`` for the file's."""
    seed: int = 0
    """Of all that is drawn: the start of the clips, and what the suite itself draws."""

    def __post_init__(self) -> None:
        check_choice("clip", self.clip, PLACES)
        check_count("stride", self.stride)
        check_count("seed", self.seed, least=0)
        if self.num_frames != MODEL:
            check_count("num_frames (or 'model')", self.num_frames)
        if self.size not in (MODEL, NATIVE):
            check_count("size (or 'model' or 'native')", self.size)

    def spec(self) -> dict[str, object]:
        """All that changes a clip."""
        names = ("clip", "num_frames", "stride", "size", "seed")
        return {name: getattr(self, name) for name in names}

    @property
    def drawn(self) -> bool:
        """Whether the model's size changes the reference clips."""
        return self.size == MODEL

    def frames_of(self, available: int, sample_id: str, geometry: Geometry) -> range:
        """The indices of the frames, of a video that has ``available``.

        A video too short for the stride is sampled with the largest one that fits (UCF-101 has
        clips of 29 frames, where 16 with stride 3 take 46).

        Raises:
            UnreadableClipError: it has fewer frames than are asked for.
        """
        wanted = geometry.num_frames if self.num_frames == MODEL else int(self.num_frames)
        if available < wanted:
            raise UnreadableClipError(f"has {available} frames, {wanted} are asked for")
        stride = self.stride if wanted == 1 else min(self.stride, (available - 1) // (wanted - 1))
        span = (wanted - 1) * stride + 1
        start = 0
        if self.clip == "middle":
            start = (available - span) // 2
        elif self.clip == "random":
            start = draw(self.seed, f"{sample_id}\x00clip", available - span + 1)
        return range(start, start + span, stride)

    def fit(self, frames: Frames, geometry: Geometry) -> Frames:
        """Frames uint8 (T, H, W, 3) at the chosen size."""
        if self.size == NATIVE:
            return frames
        if self.size == MODEL:
            return fit_frames(frames, geometry.height, geometry.width)
        return fit_frames(frames, int(self.size), int(self.size))


def draw(seed: int, key: str, number: int) -> int:
    """One of ``range(number)``, the same for the same seed and key on every machine.

    >>> draw(0, "v_Archery_g01_c01", 10) == draw(0, "v_Archery_g01_c01", 10)
    True
    """
    digest = hashlib.sha256(f"{seed}\x00{key}".encode()).digest()
    # 128 of 256 bits: the bias of the remainder is beyond all measure.
    return int.from_bytes(digest[:16], "big") % number


class _Sampled:
    """Pickles, so that samples travel to workers."""

    def __init__(self, path: Path, sample_id: str, sampling: ClipSampling) -> None:
        self.path = path.absolute()
        self.sample_id = sample_id
        self.sampling = sampling

    def _indices(self, geometry: Geometry) -> range:
        available = count_frames(self.path)
        try:
            return self.sampling.frames_of(available, self.sample_id, geometry)
        except UnreadableClipError as error:
            raise UnreadableClipError(f"{self.path}: {error}") from error


class SampledClip(_Sampled):
    """The reference clip; its fps is the file's divided by the stride."""

    def __call__(self, geometry: Geometry) -> Clip:
        """Reads and cuts it."""
        indices = self._indices(geometry)
        if len(indices) > 1 and indices.step != self.sampling.stride:
            logger.warning(
                "%s is too short for stride %d; it is sampled with stride %d",
                self.path.name,
                self.sampling.stride,
                indices.step,
            )
        clip = read_video(self.path, keep=indices)
        return Clip(
            frames=self.sampling.fit(clip.frames, geometry), fps=clip.fps / max(1, indices.step)
        )


class SampledFirstFrame(_Sampled):
    """The first frame of the reference clip: the condition."""

    def __call__(self, geometry: Geometry) -> Picture:
        """Reads it."""
        start = self._indices(geometry).start
        clip = read_video(self.path, keep=range(start, start + 1))
        picture: Picture = self.sampling.fit(clip.frames, geometry)[0]
        return picture
