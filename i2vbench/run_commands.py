"""``run``, ``generate`` and ``score``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from i2vbench.device import BACKENDS, check_scoring, resolve_device, slowness_note
from i2vbench.errors import UserError

if TYPE_CHECKING:
    from i2vbench.generation import Plan
    from i2vbench.model import Card, Model
    from i2vbench.progress import Progress
    from i2vbench.results import Results
    from i2vbench.rundir import RunDir

_BASELINES = ("static", "reference")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _options(*options: Decorator) -> Decorator:
    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return apply


def _use_weights_dir(_: click.Context, __: click.Parameter, folder: Path | None) -> None:
    if folder is not None:
        # The way to worker processes as well.
        os.environ["I2VBENCH_WEIGHTS"] = os.fspath(folder.resolve())


suite_arg_option = click.option(
    "-S",
    "--suite-arg",
    "suite_args",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the suite, the value as YAML; repeat for more.",
)
_generation_options = _options(
    click.option("-m", "--model", required=True, help="Name, or path/to/file.py:Class."),
    click.option(
        "-s", "--suite", default="playground", help="Name, NAME:PLACE, folder or manifest."
    ),
    suite_arg_option,
    click.option(
        "-a",
        "--model-arg",
        "model_args",
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the model, the value as YAML; repeat for more.",
    ),
    click.option("--limit", type=int, help="The first so many samples alone."),
    click.option("--num-takes", type=int, help="Clips per sample; the suite's own if left out."),
    click.option("--seed", type=int, default=0, help="Seed of the run."),
    click.option("--batch-size", type=int, default=4, help="Clips made together."),
    click.option(
        "--dtype", type=click.Choice(["fp32", "bf16", "fp16"]), help="The model's own if left out."
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be done, and stop."),
)
_common_options = _options(
    click.option(
        "-o",
        "--output-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("runs"),
        help="Runs lie in OUTPUT_DIR/SUITE/MODEL-FINGERPRINT.",
    ),
    click.option("--device", default="auto", help="auto, cpu or cuda[:i]."),
    click.option(
        "--weights-dir",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        callback=_use_weights_dir,
        expose_value=False,
        help="Folder of weights looked at first; $I2VBENCH_WEIGHTS otherwise.",
    ),
    click.option("--max-failures", type=int, default=0, help="Failed takes that are forgiven."),
    click.option("--quiet", is_flag=True, help="No progress bars, the board's path alone."),
)
arithmetic_options = _options(
    click.option(
        "--scoring-dtype",
        type=click.Choice(["fp32", "bf16"]),
        default="fp32",
        help="Of the metrics' networks; bf16 is quicker, and a column of its own on boards.",
    ),
    click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        default="torch",
        help="What runs the metrics' networks; openvino is quicker on a CPU, and a column of its "
        "own on boards.",
    ),
)
_scoring_options = _options(
    click.option("--metrics", help="Names, separated by commas; all of the protocol if left out."),
    click.option("--protocol", help="The suite's own if left out."),
    arithmetic_options,
)


@click.command()
@_generation_options
@_scoring_options
@_common_options
@click.option(
    "--baselines/--no-baselines",
    default=True,
    help="Also score a frozen first frame and the real clips, where the suite has them.",
)
def run(
    model: str,
    suite: str,
    suite_args: Sequence[str],
    model_args: Sequence[str],
    limit: int | None,
    num_takes: int | None,
    seed: int,
    batch_size: int,
    dtype: str | None,
    dry_run: bool,
    metrics: str | None,
    protocol: str | None,
    scoring_dtype: str,
    backend: str,
    output_dir: Path,
    device: str,
    max_failures: int,
    quiet: bool,
    baselines: bool,
) -> None:
    """Make the videos of a suite, score them, and show the board.

    Repeat the command to go on after an interruption.
    """
    from i2vbench.generation import open_run
    from i2vbench.protocol import load_protocol

    check_scoring(backend, scoring_dtype, resolve_device(device))
    adapter, plan = _prepare(
        model, suite, suite_args, model_args, limit, num_takes, seed, batch_size, dtype, device
    )
    chosen = load_protocol(protocol or plan.suite.protocol)
    # Before hours of generation, not only beside the scores.
    _announce(adapter, plan, dry_run, chosen.sampling_note(plan.suite, plan.geometry))
    names = _metric_names(metrics)
    entrants: list[tuple[Model, Plan]] = [(adapter, plan)]
    if baselines:
        entrants += _baselines(model, plan, batch_size)
    if dry_run:
        return
    directory = open_run(adapter, plan, output_dir)
    if all(
        _is_done(open_run(a, p, output_dir), p, protocol, names, scoring_dtype, backend)
        for a, p in entrants
    ):
        click.echo(f"All is done: {directory.path}")
        if not quiet:
            click.echo((directory.path / "board.txt").read_text(encoding="utf-8"), nl=False)
        _leave(directory, plan, max_failures)
    table: list[Results] = []
    for entrant, its_plan in entrants:
        name = entrant.describe().name
        its_run = _generate(entrant, its_plan, output_dir, _progress(quiet, name))
        card = entrant.describe()
        results = _score(
            its_run,
            its_plan,
            card,
            names,
            protocol,
            device,
            scoring_dtype,
            backend,
            _progress(quiet, name),
        )
        table.append(results)
    board = _render(table, directory.path)
    if not quiet:
        click.echo()
        click.echo(board, nl=False)
    click.echo(f"Results: {directory.path}")
    _leave(directory, plan, max_failures)


@click.command()
@_generation_options
@_common_options
def generate(
    model: str,
    suite: str,
    suite_args: Sequence[str],
    model_args: Sequence[str],
    limit: int | None,
    num_takes: int | None,
    seed: int,
    batch_size: int,
    dtype: str | None,
    dry_run: bool,
    output_dir: Path,
    device: str,
    max_failures: int,
    quiet: bool,
) -> None:
    """Make the videos of a suite; score them later with `i2vbench score RUN`."""
    adapter, plan = _prepare(
        model, suite, suite_args, model_args, limit, num_takes, seed, batch_size, dtype, device
    )
    _announce(adapter, plan, dry_run)
    if dry_run:
        return
    directory = _generate(adapter, plan, output_dir, _progress(quiet, adapter.describe().name))
    click.echo(f"Videos: {directory.path / 'videos'}")
    _leave(directory, plan, max_failures)


@click.command()
@click.argument("target", type=click.Path(exists=True, path_type=Path))
@_scoring_options
@_common_options
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
    metrics: str | None,
    protocol: str | None,
    scoring_dtype: str,
    backend: str,
    output_dir: Path,
    device: str,
    max_failures: int,
    quiet: bool,
    suite: str | None,
    suite_args: Sequence[str],
    name: str | None,
) -> None:
    """Score TARGET: a run directory, a folder of videos, or a manifest (JSONL or CSV).

    A manifest has the columns id, prompt, image, video, reference; without one, ids are file names.
    Videos named '<prompt>-<take>.mp4' are scored against a suite with --suite.
    """
    from i2vbench.existing import open_existing
    from i2vbench.reopen import reopen_run
    from i2vbench.suites import load_suite

    check_scoring(backend, scoring_dtype, resolve_device(device))
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
        directory, plan, card = open_existing(target, output_dir, name, loaded)
    results = _score(
        directory,
        plan,
        card,
        _metric_names(metrics),
        protocol,
        device,
        scoring_dtype,
        backend,
        _progress(quiet, card.name),
    )
    board = _render([results], directory.path)
    if not quiet:
        click.echo()
        click.echo(board, nl=False)
    click.echo(f"Results: {directory.path}")
    _leave(directory, plan, max_failures)


def _prepare(
    model: str,
    suite: str,
    suite_args: Sequence[str],
    model_args: Sequence[str],
    limit: int | None,
    num_takes: int | None,
    seed: int,
    batch_size: int,
    dtype: str | None,
    device: str,
) -> tuple[Model, Plan]:
    from i2vbench.generation import plan_run
    from i2vbench.model import load_model
    from i2vbench.suites import load_suite

    adapter = load_model(
        model, parse_model_args(model_args), device=resolve_device(device), dtype=dtype
    )
    loaded = load_suite(suite, parse_pairs(suite_args, "-S"))
    plan = plan_run(
        loaded,
        adapter.geometry,
        num_takes=loaded.num_takes if num_takes is None else num_takes,
        seed=seed,
        limit=limit,
        batch_size=batch_size,
    )
    return adapter, plan


def parse_model_args(pairs: Sequence[str]) -> dict[str, Any]:
    """The options of a model; see :func:`parse_pairs`."""
    return parse_pairs(pairs, "-a")


def parse_pairs(pairs: Sequence[str], flag: str) -> dict[str, Any]:
    """``key=value`` pairs, the values as YAML; ``flag`` is what errors call them.

    Raises:
        UserError: a pair without '=', a key given twice, or a value that is no YAML.
    """
    import yaml

    values: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not separator or not key:
            example = {"-a": "num_inference_steps=20", "-S": "num_clips=512"}[flag]
            raise UserError(f"{flag} {pair!r}: accepted is KEY=VALUE, e.g. {flag} {example}")
        if key in values:
            raise UserError(f"{flag} {pair!r}: {key} is given twice")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"{flag} {pair!r}: the value is not YAML") from error
    return values


def _metric_names(metrics: str | None) -> list[str] | None:
    """The wanted metrics; each name is checked before hours are spent."""
    if metrics is None:
        return None
    from i2vbench.errors import did_you_mean
    from i2vbench.registry import METRICS

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    known = [entry.name for entry in METRICS.entries()]
    for name in names:
        if name not in known and ".py:" not in name:
            raise UserError(f"metric {name!r} is unknown: {did_you_mean(name, known)}")
    if not names:
        raise UserError(f"--metrics {metrics!r} names no metric")
    return list(dict.fromkeys(names))


def _announce(adapter: Model, plan: Plan, dry_run: bool, note: str = "") -> None:
    card = adapter.describe()
    number = sum(len(batch) for batch in plan.batches)
    click.echo(
        f"{card.name} on {plan.suite.name} {plan.suite.version}: "
        f"{number} clips, {plan.geometry}, on {adapter.device}"
    )
    slow = slowness_note(adapter.dtype, adapter.device)
    for line in filter(None, [*card.notes, *plan.suite.notes, note, slow]):
        click.echo(f"  {line}")
    if dry_run:
        from i2vbench.fingerprint import canonical_json
        from i2vbench.generation import run_spec

        click.echo(canonical_json(run_spec(card, plan, adapter.dtype or "default")))


def _baselines(model: str, plan: Plan, batch_size: int) -> list[tuple[Model, Plan]]:
    """The baselines that the suite allows, on the samples that have a real clip."""
    from i2vbench.generation import plan_run
    from i2vbench.model import load_model

    if model in _BASELINES or not any(r.sample.load_reference for r in plan.requests):
        return []
    its_plan = plan_run(
        plan.suite, plan.geometry, seed=plan.seed, limit=plan.limit, batch_size=batch_size
    )
    return [(load_model(name), its_plan) for name in _BASELINES]


def _progress(quiet: bool, name: str) -> Progress:
    from i2vbench.progress import BarProgress, SilentProgress

    return SilentProgress() if quiet else BarProgress(name)


def _is_done(
    directory: RunDir,
    plan: Plan,
    protocol: str | None,
    metrics: Sequence[str] | None,
    dtype: str,
    backend: str,
) -> bool:
    from i2vbench.generation import pending_batches
    from i2vbench.protocol import load_protocol
    from i2vbench.scoring import score_key

    chosen = load_protocol(protocol or plan.suite.protocol)
    return (
        directory.status == "scored"
        and directory.score_key == score_key(chosen, metrics, dtype, backend)
        and directory.results_file.is_file()
        and not pending_batches(directory, plan)
    )


def _generate(adapter: Model, plan: Plan, output_dir: Path, progress: Progress) -> RunDir:
    from i2vbench.generation import carry_out

    return carry_out(adapter, plan, output_dir, progress)


def _score(
    directory: RunDir,
    plan: Plan,
    card: Card,
    metrics: Sequence[str] | None,
    protocol: str | None,
    device: str,
    dtype: str,
    backend: str,
    progress: Progress,
) -> Results:
    from i2vbench.scoring import score_run
    from i2vbench.weights import cache_root

    return score_run(
        directory,
        plan,
        card,
        metrics=metrics,
        protocol=protocol,
        device=resolve_device(device),
        dtype=dtype,
        backend=backend,
        cache_dir=cache_root() / "features",
        progress=progress,
    )


def _render(table: Sequence[Results], directory: Path) -> str:
    """Writes board.txt, .md, .csv and .html; the core knows the boards by name alone."""
    render_all = importlib.import_module("i2vbench.leaderboards.commands").render_all
    text: str = render_all(list(table), directory)
    return text


def _leave(directory: RunDir, plan: Plan, max_failures: int) -> None:
    """Names the failed takes; exit code 1 where they are more than forgiven, else 0."""
    from i2vbench.generation import takes_in_order

    failed = [take for take in takes_in_order(directory, plan) if take.status == "failed"]
    for take in failed[:5]:
        click.echo(f"failed: {take.id}, take {take.take}: {take.error}", err=True)
    if len(failed) > 5:
        click.echo(f"... and {len(failed) - 5} more in {directory.path}/takes.*.jsonl", err=True)
    sys.exit(1 if len(failed) > max_failures else 0)
