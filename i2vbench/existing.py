"""Videos that exist already: a folder or manifest as a run whose takes were made elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from i2vbench.clip import Geometry
from i2vbench.errors import UnreadableClipError, UserError
from i2vbench.files import file_sha256
from i2vbench.generation import Plan, open_run_of, plan_run
from i2vbench.model import Card
from i2vbench.rundir import RunDir, Take
from i2vbench.sample import Suite
from i2vbench.suites.manifest import videos_of
from i2vbench.suites.video_names import takes_of_suite
from i2vbench.video_io import read_video

EXISTING = "existing videos"
"""The version on the card of a model whose videos were made elsewhere."""


def open_existing(
    target: Path, output_dir: Path, name: str | None = None, suite: Suite | None = None
) -> tuple[RunDir, Plan, Card]:
    """A run whose takes are the videos of ``target``; the files stay where they are.

    Args:
        target: a folder of videos, one with a manifest, or the manifest itself.
        output_dir: the run lies in ``output_dir/<suite>/<name>-<fingerprint>``.
        name: of the model on boards; the folder's name where None.
        suite: whose samples the videos answer, by their names ``<prompt or id>-<take>.mp4``; None
            for samples made of the videos or the manifest themselves.

    Raises:
        UserError: no videos, a malformed manifest, names that fit no sample, or not one readable
            video.
    """
    source = str(target.resolve())
    if suite is None:
        suite, videos = videos_of(target)
    elif target.is_dir():
        videos, source = takes_of_suite(target, suite), suite.source
    else:
        raise UserError(f"{target} is no folder; with --suite a folder of videos is accepted")
    folder = target if target.is_dir() else target.parent
    digests = {path: _digest(path) for paths in videos.values() for path in paths}
    everything = hashlib.sha256("\n".join(sorted(digests.values())).encode()).hexdigest()
    card = Card(name=name or folder.resolve().name, version=EXISTING, weights=everything)
    num_takes = max(len(paths) for paths in videos.values())
    plan = plan_run(suite, _geometry_of(videos, target), num_takes=num_takes)
    run = open_run_of(card, plan, output_dir, dtype="default")
    rows = []
    for request in plan.requests:
        paths = videos.get(request.sample.id, [])
        if request.take >= len(paths):
            rows.append(_missing(request.sample.id, request.take, "no such video was given"))
        elif not digests[paths[request.take]]:
            path = paths[request.take]
            rows.append(_missing(request.sample.id, request.take, f"{path} does not exist"))
        else:
            path = paths[request.take].resolve()
            rows.append(
                Take(
                    id=request.sample.id,
                    take=request.take,
                    seed=0,
                    status="ok",
                    file=str(path),
                    sha256=digests[paths[request.take]],
                )
            )
    if run.status == "started":
        with run.lock():
            run.add_takes(rows)
            run.set_status("generated", suite_source=source)
    return run, plan, card


def _digest(path: Path) -> str:
    return file_sha256(path) if path.is_file() else ""


def _missing(sample_id: str, take: int, why: str) -> Take:
    return Take(id=sample_id, take=take, seed=0, status="failed", error=why)


def _geometry_of(videos: Mapping[str, list[Path]], target: Path) -> Geometry:
    """That of the first readable video: what a drawn reference would be asked for."""
    problem = ""
    for paths in videos.values():
        for path in paths:
            try:
                return read_video(path).geometry
            except (UnreadableClipError, OSError) as error:
                problem = problem or str(error)
    raise UserError(f"{target} has no readable video; the first error: {problem}")
