"""A run directory as a plan again, for scoring it later.

A run directory is data, and may come from somebody else: nothing in it is imported.
"""

from __future__ import annotations

from pathlib import Path

from i2vbench.clip import Geometry
from i2vbench.errors import DamagedRunError, UnreadableClipError, UserError
from i2vbench.generation import Plan, card_of_run, plan_run
from i2vbench.model import Card
from i2vbench.plain_text import error_line, one_line, short_repr
from i2vbench.rundir import EXISTING, RunDir
from i2vbench.sample import Suite
from i2vbench.suites import load_suite
from i2vbench.suites.importer import split_source
from i2vbench.suites.manifest import is_made_of_videos, videos_of
from i2vbench.video_io import read_video


def reopen_run(path: Path, suite: Suite | str | None = None) -> tuple[RunDir, Plan, Card]:
    """The run at ``path`` with the view that it was last made with, and its card.

    Args:
        path: a run directory.
        suite: its suite, or where that lies now; None to look where it was.

    Raises:
        UserError: no run, generation not ended, the suite is not what it was, or it is Python code
            that only the run names.
    """
    run = RunDir.open(path)
    if run.status == "started":
        raise UserError(f"{path} is not generated to its end; repeat the command that made it")
    loaded = suite if isinstance(suite, Suite) else _load(run, suite)
    try:
        return run, _plan(run, loaded), _card(run)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise DamagedRunError(
            f"{path / 'run.json'} does not say what a run is ({error_line(error)})"
        ) from error


def _card(run: RunDir) -> Card:
    if not run.is_existing:
        return card_of_run(run)
    name = run.spec["model"]["name"] or run.card.get("name") or run.path.name.rpartition("-")[0]
    return Card(name=str(name), version=EXISTING, weights=str(run.spec["model"]["weights"]))


def _plan(run: RunDir, suite: Suite) -> Plan:
    view = run.view
    then = view["suite"]["content_sha256"]
    if suite.content_sha256 != then:
        raise UserError(
            f"suite {suite.name!r} has changed since {run.path} was made "
            f"({suite.content_sha256[:8]} now, {one_line(then)[:8]} then); repeat the command that "
            "made it: it makes only what has changed"
        )
    if run.is_existing:
        counts: dict[str, int] = {sample.id: 1 for sample in suite}
        for sample_id, take in run.takes():
            if sample_id in counts:
                counts[sample_id] = max(counts[sample_id], take + 1)
        return plan_run(suite, _first_geometry(run), num_takes=counts)
    return plan_run(
        suite,
        Geometry(**run.spec["geometry"]),
        num_takes=view["num_takes"],
        seed=run.spec["seed"],
        limit=view["suite"]["limit"],
        samples=view["suite"].get("samples"),
    )


def _first_geometry(run: RunDir) -> Geometry:
    for take in run.takes().values():
        if take.status == "ok" and not run.check(take):
            try:
                return read_video(run.resolve(take)).geometry
            except (UnreadableClipError, OSError):
                continue
    raise UserError(f"{run.path} has no readable video any more")


def _load(run: RunDir, source: str | None) -> Suite:
    place = source or run.suite_source
    if not place:
        raise UserError(f"{run.path} was made from a suite in Python; give that suite to score")
    if source is None and ".py:" in place:
        raise UserError(
            f"the suite of this run is Python code ({short_repr(place)}); name it with --suite if "
            "you trust it"
        )
    name = run.spec.get("suite", {}).get("name", "")
    if run.is_existing and is_made_of_videos(str(name)):
        return videos_of(Path(place))[0]
    return load_suite(place, _options_of(run.suite_source, place))


def _options_of(recorded: str, place: str) -> dict[str, object] | None:
    """The options that the run's data set was read with, where ``place`` is the same one, moved."""
    name, _, options = split_source(recorded)
    moved, _, given = split_source(place)
    return options if name == moved and place != recorded and not given else None
