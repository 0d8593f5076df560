"""Two rows that every board should have: the frozen first frame, and the real clip.

A model that does not beat ``static`` makes no motion worth having; none can be expected to beat
``reference``, whose distances show what the networks themselves add.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from i2vbench.clip import Clip, Geometry
from i2vbench.errors import UnreadableClipError
from i2vbench.fit import fit_frames, fit_picture
from i2vbench.model import Card, Model, Options, Request


@dataclass(frozen=True, kw_only=True)
class BaselineOptions(Options):
    """The geometry of the clips, where no other model's is asked for."""

    num_frames: int = 16
    """Frames, the first one included."""
    height: int = 64
    """Pixels."""
    width: int = 64
    """Pixels."""
    fps: float = 8.0
    """Frames per second."""

    def __post_init__(self) -> None:
        self.geometry()

    def geometry(self) -> Geometry:
        """The fields as a :class:`Geometry`."""
        return Geometry(
            num_frames=self.num_frames, height=self.height, width=self.width, fps=self.fps
        )


class _Baseline(Model):
    options_type = BaselineOptions
    options: BaselineOptions

    @property
    def geometry(self) -> Geometry:
        """As the options say."""
        return self.options.geometry()


class Static(_Baseline):
    """The first frame, repeated."""

    def describe(self) -> Card:
        """A card without weights."""
        return Card(name="static", version="1", notes=("baseline: the first frame, repeated",))

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        """Yields the frozen clips."""
        for request in requests:
            asked = request.geometry
            assert request.first_frame is not None
            frame = fit_picture(request.first_frame, asked.height, asked.width)
            yield Clip(frames=np.repeat(frame[None], asked.num_frames, axis=0), fps=asked.fps)


class Reference(_Baseline):
    """The real clip; samples without one are skipped."""

    modes = frozenset({"reference"})

    def describe(self) -> Card:
        """A card without weights."""
        return Card(name="reference", version="1", notes=("baseline: the real clips",))

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        """Yields the first frames of the real clips, resized and cropped to the asked size.

        Raises:
            UnreadableClipError: a real clip has too few frames.
        """
        for request in requests:
            asked = request.geometry
            assert request.sample.load_reference is not None
            real = request.sample.load_reference(asked).frames
            if len(real) < asked.num_frames:
                raise UnreadableClipError(
                    f"the real clip of {request.sample.id} has {len(real)} frames, "
                    f"{asked.num_frames} are asked"
                )
            frames = fit_frames(real[: asked.num_frames], asked.height, asked.width)
            yield Clip(frames=frames, fps=asked.fps)
