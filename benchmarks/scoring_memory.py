"""Peak memory of a scoring by its number of clips: flat, or not.

    PYTHONPATH=. python benchmarks/scoring_memory.py [--clips 100 1000 10000]

Each number is a process of its own. Clips are drawn instead of decoded, and the network is a
projection: what is measured is what the engine and the metrics keep. Two metrics as FVD and FID,
with 400 features a clip and 16 rows of 256 features a clip, and one per clip. The peak is taken
before the intervals and after: they read the stored features back, up to a bound.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np

from i2vbench import registry, scoring
from i2vbench.clip import Clip, Geometry
from i2vbench.generation import open_run_of, plan_run
from i2vbench.metric import Extractor
from i2vbench.metrics.frechet import FrechetMetric
from i2vbench.model import Card
from i2vbench.rundir import RunDir, Take
from i2vbench.sample import Sample, Suite
from i2vbench.scoring import score_run

NUM_FRAMES = 16
GEOMETRY = Geometry(num_frames=NUM_FRAMES, height=16, width=16, fps=8)


def drawn_clip(name: str) -> Clip:
    """A clip of noise from its name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    shape = (GEOMETRY.num_frames, GEOMETRY.height, GEOMETRY.width, 3)
    return Clip(frames=random.integers(0, 256, shape, dtype=np.uint8), fps=GEOMETRY.fps)


class Projection(Extractor):
    """Random projections of the pixels: ``clip`` (400,) and ``frames`` (T, 256)."""

    name = "projection"
    version = "1"
    _weights: ClassVar[np.ndarray] = np.random.default_rng(0).standard_normal((768, 656))

    @property
    def label(self) -> str:
        """The name."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """Nothing changes it."""
        return {}

    def extract(self, clips: Sequence[Clip], prompts: Sequence[str]) -> list[dict[str, np.ndarray]]:
        """The projections of each clip."""
        rows = [clip.frames.reshape(len(clip.frames), -1) @ self._weights for clip in clips]
        return [
            {"clip": r[:, :400].mean(0).astype("f4"), "frames": r[:, 400:].astype("f4")}
            for r in rows
        ]


class OfClips(FrechetMetric):
    """A row per clip, as FVD."""

    name = "of_clips"
    version = "1"
    max_resamples = 50
    extractors = ("projection",)
    array = "clip"
    row = "clip"


class OfFrames(OfClips):
    """A row per frame, as FID."""

    name = "of_frames"
    array = "frames"
    row = "frame"


def peak_mib() -> float:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(num_clips: int) -> dict[str, float]:
    """Seconds and peaks of one scoring."""
    suite = Suite(
        name="drawn",
        version="1",
        samples=[
            Sample(
                id=f"{number:05d}",
                prompt="noise",
                load_reference=lambda _, number=number: drawn_clip(f"real {number}"),
            )
            for number in range(num_clips)
        ],
        content_sha256="",
    )
    at_end: list[float] = []

    def noted(metric: FrechetMetric, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        at_end.append(peak_mib())
        return FrechetMetric.interval(metric, *args, **options)

    entries = {
        registry.EXTRACTORS: {"projection": Projection},
        registry.METRICS: {"of_clips": OfClips, "of_frames": OfFrames},
    }
    with tempfile.TemporaryDirectory() as folder:
        card, plan = Card(name="drawn", version="1"), plan_run(suite, GEOMETRY, num_takes=1)
        run = open_run_of(card, plan, Path(folder), dtype="default")
        with run.lock():
            run.add_takes(
                [
                    Take(id=r.sample.id, take=0, seed=0, status="ok", file=r.sample.id, sha256="0")
                    for r in plan.requests
                ]
            )
        with (
            patch.object(scoring, "read_video", lambda path: drawn_clip(path.name)),
            patch.object(RunDir, "resolve", lambda self, take: Path(take.file)),
            patch.object(OfClips, "interval", noted),
            patch.object(registry.EXTRACTORS, "_builtin", builtin(entries, registry.EXTRACTORS)),
            patch.object(registry.METRICS, "_builtin", builtin(entries, registry.METRICS)),
        ):
            before, started = peak_mib(), time.perf_counter()
            names = ["of_clips", "of_frames", "temporal_flickering"]
            results = score_run(run, plan, card, metrics=names)
            seconds = time.perf_counter() - started
    assert all(score.n_scored == num_clips for score in results.scores)
    return {
        "clips": num_clips,
        "seconds": seconds,
        "peak_mib_at_start": before,
        "peak_mib_before_intervals": at_end[0],
        "peak_mib": peak_mib(),
    }


def builtin(entries: dict[Any, dict[str, type]], kind: Any) -> dict[str, Any]:  # noqa: ANN401
    """The registry's table with the classes above in it."""
    added = {name: (f"{__name__}:{each.__name__}", "") for name, each in entries[kind].items()}
    return {**kind._builtin, **added}


def main() -> None:
    """Each number of clips in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--here", action="store_true", help="In this process; one number.")
    given = parser.parse_args()
    if given.here:
        print(json.dumps(measure(given.clips[0])))
        return
    for number in given.clips:
        command = [sys.executable, __file__, "--here", "--clips", str(number)]
        subprocess.run(command, check=True)  # noqa: S603 (this very script)


if __name__ == "__main__":
    main()
