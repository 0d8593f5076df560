"""``run``, ``generate`` and ``score``."""

from __future__ import annotations

import hashlib
import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from i2vbench.command_options import (
    CommonOptions,
    MakingOptions,
    ScoringOptions,
    allow_missing_option,
    common_options,
    making_options,
    parse_pairs,
    scoring_options,
    suite_arg_option,
)
from i2vbench.console import echo, shown
from i2vbench.device import check_scoring, resolve_device, slowness_note
from i2vbench.errors import UserError
from i2vbench.files import file_sha256

if TYPE_CHECKING:
    from i2vbench.generation import GenerationOptions, Plan
    from i2vbench.model import Card, Model
    from i2vbench.progress import Progress
    from i2vbench.protocol import Protocol
    from i2vbench.results import Results
    from i2vbench.rundir import RunDir

logger = logging.getLogger(__name__)

_BASELINES = ("static", "reference")
_BOARDS = ("board.txt", "board.md", "board.csv", "board.html")


@click.command()
@making_options
@scoring_options
@allow_missing_option
@common_options
@click.option(
    "--baselines/--no-baselines",
    default=True,
    help="Also score a frozen first frame and the real clips, where the suite has them.",
)
def run(baselines: bool, **values: Any) -> None:  # noqa: ANN401
    """Make the videos of a suite, score them, and show the board.

    Repeat the command to go on after an interruption.
    """
    from i2vbench.generation import open_run
    from i2vbench.protocol import load_protocol

    making, common = MakingOptions.of(values), CommonOptions.of(values)
    scoring = ScoringOptions.of(values)
    # Absolute from here on: an adapter may change the current folder.
    output_dir = common.output_dir.absolute()
    check_scoring(scoring.backend, scoring.scoring_dtype, resolve_device(common.device))
    asked = scoring.metric_names
    adapter, plan = _prepare(making, common)
    protocol = load_protocol(scoring.protocol or plan.suite.protocol)
    names = asked or list(protocol.metrics_on(plan.suite.name))
    # Before hours of generation, not only beside the scores.
    _announce(adapter, plan, making, protocol.sampling_note(plan.suite, plan.geometry))
    _check_readiness(names, protocol, scoring, dry_run=making.dry_run)
    if making.dry_run:
        return
    entrants = [_Entrant(model=adapter, plan=plan)]
    if baselines:
        entrants += _baselines(making.model, plan, making.batch_size)
    directory = open_run(adapter, plan, output_dir)
    table: list[RunDir] = []
    is_done = not making.redo and all(
        each.is_done(output_dir, protocol, names, scoring) for each in entrants
    )
    if is_done:
        table = [open_run(e.model, e.plan, output_dir) for e in entrants]
    else:
        for number, entrant in enumerate(entrants):
            name = entrant.model.card.name
            its_run = _generate(
                entrant, output_dir, _progress(common.quiet, name), making, is_first=number == 0
            )
            _score(its_run, entrant.plan, entrant.model.card, scoring, common)
            table.append(its_run)
    # Its record as generation and scoring left it, not as it was opened.
    directory = table[0]
    board, is_new = _draw(table, directory)
    if is_done and not is_new:
        echo(f"All is done: {shown(directory.path)}")
    if not common.quiet:
        echo()
        echo(board, newline=False)
    echo(f"Results: {shown(directory.path)}")
    _leave(directory, plan, common, names, protocol.title)


@click.command()
@making_options
@common_options
def generate(**values: Any) -> None:  # noqa: ANN401
    """Make the videos of a suite; score them later with `i2vbench score RUN`."""
    making, common = MakingOptions.of(values), CommonOptions.of(values)
    output_dir = common.output_dir.absolute()
    adapter, plan = _prepare(making, common)
    _announce(adapter, plan, making)
    if making.dry_run:
        return
    directory = _generate(
        _Entrant(model=adapter, plan=plan),
        output_dir,
        _progress(common.quiet, adapter.card.name),
        making,
    )
    echo(f"Videos: {shown(directory.path / 'videos')}")
    _leave(directory, plan, common)


@click.command()
@click.argument("target", type=click.Path(exists=True, path_type=Path))
@scoring_options
@common_options
@click.option(
    "-s",
    "--suite",
    help="Of a run: where its suite lies now. Of a folder: whose prompts its videos are named by.",
)
@suite_arg_option
@click.option(
    "--name", help="How boards call the model of a folder; the folder's name if left out."
)
def score(
    target: Path,
    suite: str | None,
    suite_args: Sequence[str],
    name: str | None,
    **values: Any,  # noqa: ANN401
) -> None:
    """Score TARGET: a run directory, a folder of videos, or a manifest (JSONL or CSV).

    A manifest has the columns id, prompt, image, video, reference; without one, ids are file names.
    Videos named '<prompt>-<take>.mp4' are scored against a suite with --suite.
    """
    from i2vbench.existing import open_existing
    from i2vbench.reopen import reopen_run
    from i2vbench.suites import load_suite

    scoring, common = ScoringOptions.of(values), CommonOptions.of(values)
    check_scoring(scoring.backend, scoring.scoring_dtype, resolve_device(common.device))
    options = parse_pairs(suite_args, "-S")
    if options and suite is None:
        raise UserError("-S: options of a suite need --suite")
    # Options not given are those that the run was made with.
    loaded = load_suite(suite, options) if suite is not None and options else None
    if (target / "run.json").is_file():
        directory, plan, card = reopen_run(target, loaded or suite)
    else:
        if suite is not None and loaded is None:
            loaded = load_suite(suite)
        directory, plan, card = open_existing(target, common.output_dir, name, loaded)
    results = _score(directory, plan, card, scoring, common)
    board, _ = _draw([directory], directory)
    if not common.quiet:
        echo()
        echo(board, newline=False)
    echo(f"Results: {shown(directory.path)}")
    names = scoring.metric_names or [score.source for score in results.scores]
    _leave(directory, plan, common, names, results.protocol)


@dataclass(frozen=True, kw_only=True)
class _Entrant:
    """A model with the clips that are wanted of it."""

    model: Model
    plan: Plan

    def is_done(
        self, output_dir: Path, protocol: Protocol, names: Sequence[str], scoring: ScoringOptions
    ) -> bool:
        """Whether every clip is there, as it was recorded, and every score is of these clips."""
        from i2vbench.generation import missing_clips, open_run
        from i2vbench.run_results import is_scored

        run = open_run(self.model, self.plan, output_dir)
        arithmetic = f"{scoring.scoring_dtype} {scoring.backend}"
        reads_reference = "reference" in self.model.modes
        return is_scored(run, self.plan, protocol, names, arithmetic) and not missing_clips(
            run, self.plan, reads_reference=reads_reference, names_damage=False
        )


def _prepare(making: MakingOptions, common: CommonOptions) -> tuple[Model, Plan]:
    from i2vbench.command_options import parse_model_args
    from i2vbench.generation import plan_run
    from i2vbench.model import load_model
    from i2vbench.suites import load_suite

    adapter = load_model(
        making.model,
        parse_model_args(making.model_args),
        device=resolve_device(common.device),
        dtype=making.dtype,
    )
    loaded = load_suite(making.suite, parse_pairs(making.suite_args, "-S"))
    plan = plan_run(
        loaded,
        adapter.geometry,
        num_takes=loaded.num_takes if making.num_takes is None else making.num_takes,
        seed=making.seed,
        limit=making.limit,
        batch_size=making.batch_size,
        samples=making.sample_ids,
    )
    return adapter, plan


def _announce(adapter: Model, plan: Plan, making: MakingOptions, note: str = "") -> None:
    card = adapter.card
    number = sum(len(batch) for batch in plan.batches)
    echo(
        f"{card.name} on {plan.suite.name} {plan.suite.version}: "
        f"{number} clips, {plan.geometry}, on {adapter.device}"
    )
    slow = slowness_note(adapter.dtype, adapter.device)
    for line in filter(None, [*card.notes, *plan.suite.notes, note, slow]):
        echo(f"  {line}")
    if making.dry_run:
        from i2vbench.fingerprint import canonical_json
        from i2vbench.generation import run_spec

        echo(canonical_json({**run_spec(adapter, plan), "view": plan.view()}))


def _check_readiness(
    names: Sequence[str], protocol: Protocol, scoring: ScoringOptions, *, dry_run: bool
) -> None:
    """Says which metrics cannot run, and stops where something is absent, unless allowed.

    A damaged file does not stop the run: it is named now, and its column says so.
    """
    from i2vbench.readiness import unready_metrics

    unready = unready_metrics(names, protocol, download=not dry_run)
    for each in unready:
        echo(f"  {each.metric} cannot run: {each.reason}", err=True)
    absent = [each for each in unready if not each.is_damaged]
    if not absent or scoring.allow_missing_metrics:
        return
    weights = " ".join(dict.fromkeys(each.weights for each in absent if each.weights))
    fetch = f"get the weights with `i2vbench weights fetch {weights}`, " if weights else ""
    metrics = len({each.metric for each in absent})
    raise UserError(
        f"protocol {protocol.name}: {metrics} of its {len(names)} metrics cannot run here; {fetch}"
        "choose others with --metrics, or leave their columns empty with --allow-missing-metrics"
    )


def _baselines(model: str, plan: Plan, batch_size: int) -> list[_Entrant]:
    """The baselines that the suite allows, on the samples that have a real clip."""
    from i2vbench.generation import plan_run
    from i2vbench.model import load_model

    if model in _BASELINES or not any(r.sample.load_reference for r in plan.requests):
        return []
    its_plan = plan_run(
        plan.suite,
        plan.geometry,
        seed=plan.seed,
        limit=plan.limit,
        batch_size=batch_size,
        samples=plan.chosen,
    )
    return [_Entrant(model=load_model(name), plan=its_plan) for name in _BASELINES]


def _progress(quiet: bool, name: str) -> Progress:
    from i2vbench.progress import SilentProgress, on_stderr

    return SilentProgress() if quiet else on_stderr(name)


def _generate(
    entrant: _Entrant,
    output_dir: Path,
    progress: Progress,
    making: MakingOptions,
    *,
    is_first: bool = True,
) -> RunDir:
    from i2vbench.generation import GenerationOptions, carry_out

    options: GenerationOptions = GenerationOptions(
        timeout_s=making.timeout_s, redo=making.redo and is_first
    )
    return carry_out(entrant.model, entrant.plan, output_dir, progress, options)


def _score(
    directory: RunDir, plan: Plan, card: Card, scoring: ScoringOptions, common: CommonOptions
) -> Results:
    from i2vbench.scoring import score_run
    from i2vbench.weights import cache_root

    return score_run(
        directory,
        plan,
        card,
        metrics=scoring.metric_names,
        protocol=scoring.protocol,
        device=resolve_device(common.device),
        dtype=scoring.scoring_dtype,
        backend=scoring.backend,
        cache_dir=cache_root() / "features",
        progress=_progress(common.quiet, card.name),
    )


def _draw(table: Sequence[RunDir], directory: RunDir) -> tuple[str, bool]:
    """The board of the runs, and whether its files were not there and had to be written."""
    from i2vbench.results import load_results

    if _is_drawn(table, directory):
        return (directory.path / _BOARDS[0]).read_text(encoding="utf-8"), False
    # The core knows the boards only by name.
    render_all = importlib.import_module("i2vbench.leaderboards.commands").render_all
    board: str = render_all([load_results(run.path) for run in table], directory.path)
    with directory.lock():
        key = f"{_hash_of_results(table)} {_hash_of_boards(directory)}"
        directory.set_status(directory.status, board_key=key)
    return board, True


def _is_drawn(table: Sequence[RunDir], directory: RunDir) -> bool:
    """Whether the boards are those that were drawn of these results; damaged ones are named."""
    of_results, _, of_boards = directory.board_key.partition(" ")
    if of_results != _hash_of_results(table):
        return False
    if of_boards != _hash_of_boards(directory):
        boards = f"{directory.path}/{_BOARDS[0].partition('.')[0]}.*"
        logger.warning("%s: a board is missing or not as it was drawn; it is drawn again", boards)
        return False
    return True


def _hash_of_results(table: Sequence[RunDir]) -> str:
    digests = "".join(file_sha256(run.results_file) for run in table)
    return hashlib.sha256(digests.encode()).hexdigest()


def _hash_of_boards(directory: RunDir) -> str:
    """Of all boards together; empty where one is missing."""
    files = [directory.path / name for name in _BOARDS]
    if not all(file.is_file() for file in files):
        return ""
    return hashlib.sha256("".join(map(file_sha256, files)).encode()).hexdigest()


def _leave(
    directory: RunDir,
    plan: Plan,
    common: CommonOptions,
    names: Sequence[str] = (),
    protocol: str = "",
) -> None:
    """Names the clips that failed; exit code 1 where more are missing than forgiven, else 0.

    Args:
        directory: of the run.
        plan: the clips that were wanted.
        common: how many failures are forgiven.
        names: of the metrics that were asked for.
        protocol: title of the one that was scored.
    """
    from i2vbench.failures import failed_clips, num_without_score

    failed = failed_clips(directory, plan)
    for failure in failed[:5]:
        echo(f"failed: {failure}", err=True)
    if len(failed) > 5:
        echo(f"... and {len(failed) - 5} more in {shown(directory.path)}/takes.*.jsonl", err=True)
    number = max(len(failed), num_without_score(directory, names, protocol))
    sys.exit(1 if number > common.max_failures else 0)
