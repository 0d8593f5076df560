"""``list``, ``show`` and ``check``."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from i2vbench.run_commands import arithmetic_options, suite_arg_option


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
        click.echo(f"{entry.name:<{width}}  {entry.summary}{source}")


@click.command("explain")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("metric")
@click.argument("sample")
@click.option("--take", default=0, help="Which of the sample's clips.")
@click.option("--protocol", help="The suite's own if left out.")
@arithmetic_options
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
    )
    path = output or Path(f"{Path(metric).name.replace(':', '-')}-{sample}-{take}.png")
    buffer = io.BytesIO()
    strip(found).save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())
    click.echo(f"{found.title}: {found.verdict}")
    for name, place in (("worst", found.worst), ("best", found.best)):
        if place is not None:
            click.echo(f"  {name:<5} frame {place}: {found.values[place]:.4f}")
    click.echo(f"Picture: {path}")


@click.command("show-protocol")
@click.argument("name")
def show_protocol(name: str) -> None:
    """Show every choice of the protocol NAME (or of path/to/file.yaml), with its source."""
    from i2vbench.protocol import load_protocol
    from i2vbench.protocol_text import protocol_text

    click.echo(protocol_text(load_protocol(name)))


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
def show(run: Path) -> None:
    """Show what RUN is, how far it is, its scores, its failures and what the model costs."""
    from i2vbench.profile import load_profile
    from i2vbench.results import load_results
    from i2vbench.rundir import RunDir

    directory = RunDir.open(run)
    spec, takes = directory.spec, directory.takes()
    suite, model, geometry = spec["suite"], spec["model"], spec["geometry"]
    limit = f", the first {suite['limit']} of" if suite["limit"] else ","
    click.echo(f"run          {run.name} ({directory.status})")
    click.echo(
        f"suite        {suite['name']} {suite['version']}{limit} {suite['num_samples']} samples"
    )
    click.echo(f"model        {model['name']} {model['version']}")
    for key, value in sorted(model["options"].items()):
        click.echo(f"             {key} = {value}")
    click.echo(
        f"clips        {geometry['num_frames']} frames of {geometry['width']}x{geometry['height']} "
        f"at {geometry['fps']:g} fps, {spec['num_takes']} per sample, seed {spec['seed']}"
    )
    failed = [take for take in takes.values() if take.status == "failed"]
    number = Counter(take.status for take in takes.values())
    skipped = f", {number['skipped']} skipped" if number["skipped"] else ""
    click.echo(f"takes        {number['ok']} ok, {number['failed']} failed{skipped}")
    seconds = sorted(take.seconds for take in takes.values() if take.seconds is not None)
    if seconds:
        click.echo(f"generation   {seconds[len(seconds) // 2]:.2f} s per clip (median)")
    for take in failed:
        click.echo(f"  failed     {take.id}, take {take.take}: {take.error}")
    if directory.results_file.is_file():
        for score in load_results(run).scores:
            value = "-" if score.value is None else f"{score.value:.4f}"
            interval = f" [{score.ci95[0]:.4f}, {score.ci95[1]:.4f}]" if score.ci95 else ""
            count = f"{score.n_scored}/{score.n_expected}"
            click.echo(
                f"{score.label:<46} {value:>10}{interval}  n={count} {score.reason}".rstrip()
            )
    profile = load_profile(run)
    if profile is not None:
        from i2vbench.profile_command import report

        click.echo("\n" + "\n".join(report(profile)))


@click.command()
@click.option("-m", "--model", default="consisti2v", help="Name, or path/to/file.py:Class.")
@click.option("-s", "--suite", default="playground", help="Name, NAME:PLACE, folder or manifest.")
@suite_arg_option
@click.option("-a", "--model-arg", "model_args", multiple=True, metavar="KEY=VALUE")
@click.option("--device", default="auto", help="auto, cpu or cuda[:i].")
def check(
    model: str, suite: str, suite_args: Sequence[str], model_args: Sequence[str], device: str
) -> None:
    """Try a suite, a model and every metric on the first two samples, and say what works.

    Nothing is kept. Exit code 1 where the model fails; a metric without weights is only named.
    """
    from i2vbench.device import resolve_device
    from i2vbench.generation import carry_out, plan_run, takes_in_order
    from i2vbench.model import load_model
    from i2vbench.run_commands import parse_model_args, parse_pairs
    from i2vbench.scoring import score_run
    from i2vbench.suites import load_suite

    chosen = resolve_device(device)
    adapter = load_model(model, parse_model_args(model_args), device=chosen)
    card = adapter.describe()
    click.echo(f"model    {card.name} {card.version} on {chosen}")
    for note in card.notes:
        click.echo(f"         {note}")
    loaded = load_suite(suite, parse_pairs(suite_args, "-S"))
    click.echo(f"suite    {loaded.name} {loaded.version}, {len(loaded)} samples")
    for note in loaded.notes:
        click.echo(f"         {note}")
    plan = plan_run(loaded, adapter.geometry, limit=2, batch_size=2)
    with tempfile.TemporaryDirectory() as folder:
        run = carry_out(adapter, plan, Path(folder))
        failed = [take for take in takes_in_order(run, plan) if take.status != "ok"]
        for take in failed:
            click.echo(f"FAILED   {take.id}: {take.error}")
        if failed:
            sys.exit(1)
        click.echo(f"videos   {plan.geometry}: ok")
        results = score_run(run, plan, card, device=chosen)
        for result in results.scores:
            state = "ok" if result.value is not None else result.reason
            click.echo(f"metric   {result.label}: {state}")


@click.command("import-names")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--manifest", default="manifest.csv", help="Name of the CSV, written into FOLDER.")
def import_names(folder: Path, manifest: str) -> None:
    """Write the manifest of a FOLDER of videos named '<prompt>-<take>.mp4', as VBench has them.

    Score it with `i2vbench score FOLDER`. To score against a suite: score FOLDER --suite SUITE.
    """
    from i2vbench.suites.video_names import write_manifest

    path = folder / manifest
    click.echo(f"{path}: {write_manifest(folder, path)} rows")
