"""What the fast modes do to each score: the embedded networks on playground clips.

    PYTHONPATH=. python benchmarks/scoring_modes.py [--clips 32]

The clips are blends of each real clip with its frozen first frame, so that distances are neither
zero nor those of another world. Prints a row per mode: seconds and scores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.scoring import modes
from i2vbench.clip import Clip, Geometry
from i2vbench.generation import carry_out, plan_run
from i2vbench.model import Card, Model, Request
from i2vbench.progress import SilentProgress
from i2vbench.scoring import score_run
from i2vbench.suites import load_suite

METRICS = ("fvd", "fid", "is", "lpips_first_frame", "lpips_reference")


class Blend(Model):
    """The real clip, half way to its first frame."""

    @property
    def geometry(self) -> Geometry:
        """16 frames of 128x128."""
        return Geometry(num_frames=16, height=128, width=128, fps=8)

    def describe(self) -> Card:
        """Nothing to say."""
        return Card(name="blend", version="1")

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        """A clip of each request's reference."""
        for request in requests:
            load = request.sample.load_reference
            assert load is not None
            real = load(request.geometry)
            frames = real.frames.astype(np.uint16)
            yield Clip(frames=((frames + frames[:1]) // 2).astype(np.uint8), fps=real.fps)


def main() -> None:
    """Scores the same clips in each mode, features made anew."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=32)
    given = parser.parse_args()
    suite = load_suite("playground")
    with tempfile.TemporaryDirectory() as folder:
        model = Blend()
        plan = plan_run(suite, model.geometry, num_takes=1, limit=given.clips)
        run = carry_out(model, plan, Path(folder), SilentProgress())
        card: Card = model.describe()
        for backend, dtype in modes():
            started = time.perf_counter()
            results = score_run(run, plan, card, metrics=METRICS, backend=backend, dtype=dtype)
            scores = {score.metric: score.value for score in results.scores}
            seconds = time.perf_counter() - started
            print(json.dumps({"mode": f"{backend} {dtype}", "seconds": seconds, **scores}))


if __name__ == "__main__":
    main()
