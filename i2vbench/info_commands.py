"""``list``, ``show`` and ``check``."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from i2vbench.command_options import (
    ScoringOptions,
    allow_missing_option,
    arithmetic_options,
    device_option,
    dtype_option,
    metrics_option,
    model_arg_option,
    protocol_option,
    suite_arg_option,
    suite_option,
    weights_dir_option,
)
from i2vbench.console import echo

if TYPE_CHECKING:
    from i2vbench.rundir import RunDir


@click.command("list")
@click.argument(
    "kind", type=click.Choice(["models", "metrics", "extractors", "suites", "protocols"])
)
def list_names(kind: str) -> None:
    """List what can be named: models, metrics, extractors (networks), suites or protocols."""
    from i2vbench.registry import EXTRACTORS, METRICS, MODELS, PROTOCOLS, SUITES

    registries = {
        "models": MODELS,
        "metrics": METRICS,
        "extractors": EXTRACTORS,
        "suites": SUITES,
        "protocols": PROTOCOLS,
    }
    entries = registries[kind].entries()
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        source = "" if entry.source == "built in" else f" [{entry.source}]"
        echo(f"{entry.name:<{width}}  {entry.summary}{source}")


@click.command("explain")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("metric")
@click.argument("sample")
@click.option("--take", default=0, help="Which of the sample's clips.")
@click.option("--protocol", help="The suite's own if left out.")
@arithmetic_options
@click.option("-s", "--suite", help="Where the run's suite lies now, if it has moved.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG to write.  [default: METRIC-SAMPLE-TAKE.png]",
)
def explain_clip(
    run: Path,
    metric: str,
    sample: str,
    take: int,
    protocol: str | None,
    scoring_dtype: str,
    backend: str,
    suite: str | None,
    output: Path | None,
) -> None:
    """Show why SAMPLE has its METRIC in RUN: a PNG of its frames with a value under each.

    The worst frame is framed red, the best one green. Of a metric of the whole set, such as FVD, it
    says what the set would score without the sample.
    """
    import io

    from i2vbench.explanation import explain, strip
    from i2vbench.files import write_atomic
    from i2vbench.weights import cache_root

    found = explain(
        run,
        metric,
        sample,
        take=take,
        protocol=protocol,
        dtype=scoring_dtype,
        backend=backend,
        cache_dir=cache_root() / "features",
        suite=suite,
    )
    path = output or Path(f"{Path(metric).name.replace(':', '-')}-{sample}-{take}.png")
    buffer = io.BytesIO()
    strip(found).save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())
    echo(f"{found.title}: {found.verdict}")
    for name, place in (("worst", found.worst), ("best", found.best)):
        if place is not None:
            echo(f"  {name:<5} frame {place}: {found.values[place]:.4f}")
    echo(f"Picture: {path}")


@click.command("show-protocol")
@click.argument("name")
def show_protocol(name: str) -> None:
    """Show every choice of the protocol NAME (or of path/to/file.yaml), with its source."""
    from i2vbench.protocol import load_protocol
    from i2vbench.protocol_text import protocol_text

    echo(protocol_text(load_protocol(name)))


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
def show(run: Path) -> None:
    """Show what RUN is, how far it is, its scores, its failures and what the model costs."""
    from i2vbench.profile import load_profile
    from i2vbench.rundir import RunDir

    directory = RunDir.open(run)
    echo(f"run          {run.name} ({directory.status})")
    for line in _identity(directory):
        echo(line)
    for line in _clips(directory):
        echo(line)
    problem = directory.check_results()
    if problem:
        echo(f"WARNING: {problem}; `i2vbench score {run}` makes it again", err=True)
    if directory.results_file.is_file():
        for line in _scores(run):
            echo(line)
    profile = load_profile(run)
    if profile is not None:
        from i2vbench.profile_command import report

        echo("\n" + "\n".join(report(profile)))


def _identity(run: RunDir) -> Iterator[str]:
    """Suite, model and options, as far as the run's record says them."""
    view, spec = run.view, run.spec
    suite = view.get("suite") or spec.get("suite") or {}
    limit = f", the first {suite['limit']} of" if suite.get("limit") else ","
    chosen = suite.get("samples")
    if chosen:
        limit = f", {len(chosen)} chosen of"
    yield (
        f"suite        {suite.get('name')} {suite.get('version', '')}{limit} "
        f"{suite.get('num_samples', '?')} samples"
    )
    model = spec.get("model") or {}
    yield f"model        {model.get('name') or run.card.get('name')} {model.get('version')}"
    for key, value in sorted({**model.get("asked", {}), **model.get("options", {})}.items()):
        yield f"             {key} = {value}"
    if model.get("code_sha256"):
        yield f"             code {model['code_sha256'][:16]}"
    geometry, takes = spec.get("geometry"), view.get("num_takes", "?")
    if geometry:
        yield (
            f"clips        {geometry['num_frames']} frames of "
            f"{geometry['width']}x{geometry['height']} at {geometry['fps']:g} fps, "
            f"{takes} per sample, seed {spec.get('seed')}"
        )


def _clips(run: RunDir) -> Iterator[str]:
    """How many clips are there, and which failed."""
    from i2vbench.failures import failing_places
    from i2vbench.scored_clips import ClipRecords

    takes = run.takes()
    unreadable = {
        key: row["error"]
        for key, row in ClipRecords.of(run).rows.items()
        if row["error"] and key in takes and takes[key].status == "ok"
    }
    number = Counter("failed" if k in unreadable else t.status for k, t in takes.items())
    skipped = f", {number['skipped']} skipped" if number["skipped"] else ""
    yield f"takes        {number['ok']} ok, {number['failed']} failed{skipped}"
    seconds = sorted(take.seconds for take in takes.values() if take.seconds is not None)
    if seconds:
        yield f"generation   {seconds[len(seconds) // 2]:.2f} s per clip (median)"
    for key, take in takes.items():
        if take.status == "failed" or key in unreadable:
            yield f"  failed     {take.id}, take {take.take}: {unreadable.get(key, take.error)}"
            for place in failing_places(take.traceback, 2):
                yield f"             {place}"


def _scores(run: Path) -> Iterator[str]:
    from i2vbench.results import load_results

    results = load_results(run)
    for kind in results.geometry if len(results.geometry) > 1 else ():
        yield (
            f"             {kind['num_clips']} of {kind['num_frames']} frames of "
            f"{kind['width']}x{kind['height']} at {kind['fps']:g} fps"
        )
    several = len({score.protocol for score in results.scores}) > 1
    for score in results.scores:
        value = "-" if score.value is None else f"{score.value:.4f}"
        interval = f" [{score.ci95[0]:.4f}, {score.ci95[1]:.4f}]" if score.ci95 else ""
        count = f"{score.n_scored}/{score.n_expected}"
        protocol = f"  ({score.protocol})" if several else ""
        line = f"{score.label:<46} {value:>10}{interval}  n={count}{protocol} {score.reason}"
        yield line.rstrip()


@click.command()
@click.option("-m", "--model", default="consisti2v", help="Name, or path/to/file.py:Class.")
@suite_option
@suite_arg_option
@model_arg_option
@dtype_option
@metrics_option
@protocol_option
@allow_missing_option
@device_option
@weights_dir_option
def check(
    model: str,
    suite: str,
    suite_args: Sequence[str],
    model_args: Sequence[str],
    dtype: str | None,
    device: str,
    **values: Any,  # noqa: ANN401
) -> None:
    """Try a suite, a model and every metric on the first two samples, and say what works.

    Nothing is kept. Exit code 1 where the model fails, or a metric lacks its weights (unless
    --allow-missing-metrics) or fails on its clips.
    """
    from i2vbench.command_options import parse_model_args, parse_pairs
    from i2vbench.device import resolve_device
    from i2vbench.failures import failing_places
    from i2vbench.generation import carry_out, plan_run, takes_in_order
    from i2vbench.model import load_model
    from i2vbench.progress import on_stderr
    from i2vbench.scoring import score_run
    from i2vbench.suites import load_suite

    scoring = ScoringOptions.of(values)
    names = scoring.metric_names
    chosen = resolve_device(device)
    adapter = load_model(model, parse_model_args(model_args), device=chosen, dtype=dtype)
    card = adapter.card
    echo(f"model    {card.name} {card.version} on {chosen}")
    for note in card.notes:
        echo(f"         {note}")
    loaded = load_suite(suite, parse_pairs(suite_args, "-S"))
    echo(f"suite    {loaded.name} {loaded.version}, {len(loaded)} samples")
    for note in loaded.notes:
        echo(f"         {note}")
    plan = plan_run(loaded, adapter.geometry, limit=2, batch_size=2)
    with tempfile.TemporaryDirectory() as folder:
        run = carry_out(adapter, plan, Path(folder), on_stderr(card.name))
        failed = [take for take in takes_in_order(run, plan) if take.status != "ok"]
        for take in failed:
            echo(f"FAILED   {take.id}: {take.error}")
            for place in failing_places(take.traceback, 4):
                echo(f"         {place}")
        if failed:
            sys.exit(1)
        echo(f"videos   {plan.geometry}: ok")
        results = score_run(
            run, plan, card, metrics=names, protocol=scoring.protocol, device=chosen
        )
        broken = False
        for result in results.scores:
            state = "ok" if result.value is not None else result.reason
            echo(f"metric   {result.label}: {state}")
            missing = not result.fingerprint and not scoring.allow_missing_metrics
            broken = broken or missing or bool(result.n_expected and not result.n_scored)
    # Two clips are too few for metrics of sets: that is no failure.
    sys.exit(1 if broken else 0)


@click.command("import-names")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--manifest", default="manifest.csv", help="Name of the CSV, written into FOLDER.")
def import_names(folder: Path, manifest: str) -> None:
    """Write the manifest of a FOLDER of videos named '<prompt>-<take>.mp4', as VBench has them.

    Score it with `i2vbench score FOLDER`. To score against a suite: score FOLDER --suite SUITE.
    """
    from i2vbench.suites.video_names import write_manifest

    path = folder / manifest
    echo(f"{path}: {write_manifest(folder, path)} rows")
