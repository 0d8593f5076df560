"""Small adapters and metrics for the tests, loadable as ``tests/adapters.py:Name``."""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from i2vbench.clip import Clip, Geometry
from i2vbench.metric import ClipMetric, Example
from i2vbench.model import Card, Model, Options, Request


@dataclass(frozen=True, kw_only=True)
class DriftOptions(Options):
    step: int = 1
    """Pixels per frame."""

    def __post_init__(self) -> None:
        if self.step < 0:
            raise ValueError(f"step must not be negative, got {self.step}")


class Drift(Model):
    """The first frame, moved and made noisy; each clip depends on its own request alone."""

    options_type = DriftOptions

    @property
    def geometry(self) -> Geometry:
        return Geometry(num_frames=4, height=32, width=32, fps=8)

    def describe(self) -> Card:
        return Card(name="drift", version="1", options={"step": self.options.step})

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        import torch

        for request in requests:
            asked = request.geometry
            picture = np.resize(request.first_frame, (asked.height, asked.width, 3))
            noise = torch.randint(0, 9, picture.shape, generator=request.generator())
            noisy = (picture // 2 + noise.numpy()).astype(np.uint8)
            frames = [np.roll(noisy, i * self.options.step, 1) for i in range(asked.num_frames)]
            yield Clip(frames=np.stack(frames), fps=asked.fps)


class Killed(Drift):
    """Dies by SIGKILL at its third batch as long as the file that $KILL_FILE names exists."""

    calls = 0

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        type(self).calls += 1
        if type(self).calls == 3 and Path(os.environ["KILL_FILE"]).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().generate(requests)


class Brightness(ClipMetric):
    """Mean level; dies by SIGKILL at its fourth clip while the file of $KILL_FILE exists."""

    name = "brightness"
    version = "1"
    higher_is_better = None
    unit = "level"
    calls = 0

    def score_clip(self, example: Example) -> float:
        type(self).calls += 1
        if type(self).calls == 4 and Path(os.environ.get("KILL_FILE", "-")).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return float(example.clip.frames.mean())


class Fragile(Drift):
    """Fails on sample ``bad``, and on a batch of more than two for want of memory."""

    sizes: ClassVar[list[int]] = []

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        type(self).sizes.append(len(requests))
        if len(requests) > 2:
            raise MemoryError("no room")
        if any(request.sample.id == "bad" for request in requests):
            raise RuntimeError("this sample\nis cursed")
        return super().generate(requests)


class WrongSize(Drift):
    """Makes clips that nobody asked for."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        for request in requests:
            yield Clip(frames=np.zeros((2, 8, 8, 3), np.uint8), fps=request.geometry.fps)
