"""A run directory as a plan again, for scoring it later."""

from __future__ import annotations

from pathlib import Path

from i2vbench.clip import Geometry
from i2vbench.errors import UserError
from i2vbench.existing import EXISTING
from i2vbench.generation import Plan, plan_run
from i2vbench.model import Card
from i2vbench.rundir import RunDir
from i2vbench.sample import Suite
from i2vbench.suites import load_suite
from i2vbench.suites.importer import split_source
from i2vbench.suites.manifest import is_made_of_videos, videos_of


def reopen_run(path: Path, suite: Suite | str | None = None) -> tuple[RunDir, Plan, Card]:
    """The run at ``path`` with the plan and the card it was made from.

    Args:
        path: a run directory.
        suite: its suite, or where that lies now; None to look where it was.

    Raises:
        UserError: no run, generation not ended, or the suite is not what it was.
    """
    run = RunDir.open(path)
    if run.status == "started":
        raise UserError(f"{path} is not generated to its end; repeat the command that made it")
    spec = run.spec
    loaded = suite if isinstance(suite, Suite) else _load(run, suite)
    if loaded.content_sha256 != spec["suite"]["content_sha256"]:
        raise UserError(
            f"suite {loaded.name!r} has changed since {path} was made "
            f"({loaded.content_sha256[:8]} now, {spec['suite']['content_sha256'][:8]} then)"
        )
    plan = plan_run(
        loaded,
        Geometry(**spec["geometry"]),
        num_takes=spec["num_takes"],
        seed=spec["seed"],
        limit=spec["suite"]["limit"],
    )
    model = spec["model"]
    card = Card(
        name=model["name"],
        version=model["version"],
        weights=model["weights"],
        options=model["options"],
        num_parameters=run.card.get("num_parameters", 0),
        notes=tuple(run.card.get("notes", ())),
    )
    return run, plan, card


def _load(run: RunDir, source: str | None) -> Suite:
    place = source or run.suite_source
    if not place:
        raise UserError(f"{run.path} was made from a suite in Python; give that suite to score")
    if run.spec["model"]["version"] == EXISTING and is_made_of_videos(run.spec["suite"]["name"]):
        return videos_of(Path(place))[0]
    return load_suite(place, _options_of(run.suite_source, place))


def _options_of(recorded: str, place: str) -> dict[str, object] | None:
    """The options that the run's data set was read with, where ``place`` is the same one, moved."""
    name, _, options = split_source(recorded)
    moved, _, given = split_source(place)
    return options if name == moved and place != recorded and not given else None
