"""Videos that exist already: a folder or manifest as a run whose takes were made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from i2vbench.clip import Geometry
from i2vbench.errors import DamagedRunError, UnreadableClipError, UserError
from i2vbench.files import file_sha256
from i2vbench.fingerprint import fingerprint
from i2vbench.generation import Plan, file_name, plan_run
from i2vbench.model import Card
from i2vbench.rundir import EXISTING, RunDir, Take
from i2vbench.sample import Suite
from i2vbench.suites.manifest import videos_of
from i2vbench.suites.video_names import takes_of_suite
from i2vbench.video_io import read_video

Videos = Mapping[str, list[Path]]
"""Sample id -> its videos, take 0 first; samples may differ in how many they have."""


def open_existing(
    target: Path, output_dir: Path, name: str | None = None, suite: Suite | None = None
) -> tuple[RunDir, Plan, Card]:
    """A run whose takes are the videos of ``target``; the files stay where they are.

    The run is known by which video (sha256) answers which sample and take, so that exchanged videos
    are another run and a renamed folder is the same one.

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
    takes = _takes(suite, videos)
    folder = target if target.is_dir() else target.parent
    shown = name or folder.resolve().name
    mapping = fingerprint(
        {"videos": {f"{take.id}\x00{take.take}": take.sha256 for take in takes.values()}}
    )
    card = Card(name=shown, version=EXISTING, weights=mapping)
    plan = plan_run(
        suite,
        _geometry_of(videos, target),
        num_takes={s.id: max(1, len(videos.get(s.id, []))) for s in suite},
    )
    spec = {
        "suite": {"name": suite.name, "content_sha256": suite.content_sha256},
        # A name that was asked for is another entry on the board; that of a folder may change.
        "model": {"name": name or "", "version": EXISTING, "weights": mapping, "options": {}},
        "seed": 0,
    }
    run = RunDir.create(_run_path(output_dir / file_name(suite.name), shown, spec), spec)
    with run.lock():
        run.add_takes(list(takes.values()))
        run.tidy_takes([sample.id for sample in suite])
        is_scored = run.status == "scored" and run.view == plan.view()
        run.set_status(
            "scored" if is_scored else "generated",
            suite_source=source,
            view=plan.view(),
            card={"name": shown, "num_parameters": 0, "notes": []},
        )
    return run, plan, card


def _run_path(parent: Path, name: str, spec: Mapping[str, object]) -> Path:
    """Where the run of ``spec`` lies, under whatever name it was made; else where it will lie."""
    digest = fingerprint(spec)
    for found in sorted(parent.glob(f"*-{digest[:8]}")):
        try:
            if RunDir.open(found).fingerprint == digest:
                return found
        except DamagedRunError:
            return found  # made again under its name
        except UserError:
            continue
    return parent / f"{file_name(name)}-{digest[:8]}"


def _takes(suite: Suite, videos: Videos) -> dict[tuple[str, int], Take]:
    """A row for each video of each sample; one for a sample that has none."""
    takes = {}
    for sample in suite:
        paths = videos.get(sample.id, [])
        for number, path in enumerate(paths):
            takes[sample.id, number] = _take(sample.id, number, path.absolute())
        if not paths:
            takes[sample.id, 0] = _no_video(sample.id, 0, "no such video was given")
    return takes


def _take(sample_id: str, number: int, path: Path) -> Take:
    if not path.is_file():
        return _no_video(sample_id, number, f"{path} does not exist")
    try:
        digest = file_sha256(path)
    except OSError as error:
        return _no_video(sample_id, number, f"{path} cannot be read ({error.strerror})")
    return Take(
        id=sample_id, take=number, seed=0, status="ok", file=str(path.resolve()), sha256=digest
    )


def _no_video(sample_id: str, number: int, why: str) -> Take:
    return Take(id=sample_id, take=number, seed=0, status="failed", error=why)


def _geometry_of(videos: Videos, target: Path) -> Geometry:
    """That of the first readable video: what a drawn reference would be asked for."""
    problem = ""
    for paths in videos.values():
        for path in paths:
            try:
                return read_video(path).geometry
            except (UnreadableClipError, OSError) as error:
                problem = problem or str(error)
    raise UserError(f"{target} has no readable video; the first error: {problem}")
