"""``profile``: what a model costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from i2vbench.errors import SpecMismatchError, UserError
from i2vbench.profile import PROFILE_FILE, Part, Profile, ProfileSettings

if TYPE_CHECKING:
    from i2vbench.model import Model
    from i2vbench.rundir import RunDir

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@click.command()
@click.option("-m", "--model", default="consisti2v", help="Name, or path/to/file.py:Class.")
@click.option(
    "-a",
    "--model-arg",
    "model_args",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the model, the value as YAML; repeat for more.",
)
@click.option("--device", default="auto", help="auto, cpu or cuda[:i].")
@click.option(
    "--dtype", type=click.Choice(["fp32", "bf16", "fp16"]), help="The model's own if left out."
)
@click.option("--batch-size", type=int, default=1, help="Clips made together.")
@click.option("--steps", type=int, help="Denoising steps to time.  [default: the model's choice]")
@click.option("--count-only", is_flag=True, help="Count on shapes: no weights, no clock.")
@click.option(
    "--run",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A run of this model to keep the figures in, for the board.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the figures.",
)
def profile(
    model: str,
    model_args: Sequence[str],
    device: str,
    dtype: str | None,
    batch_size: int,
    steps: int | None,
    count_only: bool,
    run: Path | None,
    json_file: Path | None,
) -> None:
    """Measure what a model costs: parameters, FLOPs, seconds and memory.

    Nothing is scored. With --run, the figures lie in RUN/profile.json and become columns of the
    board; they change neither the run's fingerprint nor its results.
    """
    settings = ProfileSettings(batch_size=batch_size, num_steps=steps, count_only=count_only)
    if count_only and steps is not None:
        raise UserError(f"--steps {steps} with --count-only: nothing is timed; leave one out")

    from i2vbench.clip import Geometry
    from i2vbench.command_options import parse_model_args
    from i2vbench.device import resolve_device, slowness_note
    from i2vbench.files import write_atomic
    from i2vbench.model import load_model
    from i2vbench.profile_measure import profile_model
    from i2vbench.rundir import RunDir

    adapter = load_model(
        model, parse_model_args(model_args), device=resolve_device(device), dtype=dtype
    )
    if run is not None:
        directory = RunDir.open(run)
        _check_same(adapter, directory)
        settings = replace(settings, geometry=Geometry(**directory.spec["geometry"]))
    if not count_only and (slow := slowness_note(adapter.dtype, adapter.device)):
        click.echo(slow, err=True)
    found = profile_model(adapter, settings)
    click.echo("\n".join(report(found)))
    if run is not None:
        write_atomic(run / PROFILE_FILE, found.to_json())
        click.echo(f"\nProfile: {run / PROFILE_FILE}; `i2vbench leaderboard {run}` shows it")
    if json_file is not None:
        try:
            write_atomic(json_file, found.to_json())
        except OSError as error:
            raise UserError(f"--json {json_file} cannot be written: {error.strerror}") from error


def _check_same(adapter: Model, run: RunDir) -> None:
    """Refuses a run of another model, of other options or of another precision."""
    import json

    from i2vbench.fingerprint import canonical_json, differing_fields
    from i2vbench.model import asked_options
    from i2vbench.source_code import class_code_sha256

    card = adapter.card
    asked = {
        "name": card.name,
        "version": card.version,
        "weights": card.weights,
        "options": dict(card.options),
        "asked": asked_options(adapter),
        "code_sha256": class_code_sha256(type(adapter)),
        "dtype": adapter.dtype or "default",
    }
    stored = {**run.spec["model"], "dtype": run.spec.get("dtype")}
    lines = differing_fields(stored, json.loads(canonical_json(asked)))
    if lines:
        raise SpecMismatchError(
            f"--run {run.path} is of another model; it differs in {'; '.join(lines)}; "
            "give the -m, -a and --dtype that made it"
        )


def report(profile: Profile) -> list[str]:
    """The lines that a reader sees."""
    size = f"{profile.num_frames} frames of {profile.width}x{profile.height}"
    threads = "" if profile.num_threads is None else f" ({profile.num_threads} threads)"
    place = f"on {profile.device}{threads}" if profile.device else "counted, not run"
    lines = [f"{profile.model}: {size}, batch {profile.batch_size}, {profile.dtype}, {place}"]
    if profile.num_parameters is not None:
        lines.append(f"parameters   {_amount(profile.num_parameters)}{_temporal(profile)}")
    if profile.flops_per_clip is not None:
        step, clip = _flop(profile.flops_per_step), _flop(profile.flops_per_clip)
        lines.append(_per("FLOPs", step, clip, profile))
    if profile.seconds_per_clip is not None:
        step, clip = _seconds(profile.seconds_per_step), _seconds(profile.seconds_per_clip)
        lines.append(_per("time", step, clip, profile))
    if profile.tflop_per_s is not None:
        lines.append(f"reached      {profile.tflop_per_s:.4g} TFLOP/s")
    if profile.peak_memory_mib is not None:
        whose = "allocated on the device" if profile.num_threads is None else "the whole process"
        lines.append(f"peak memory  {profile.peak_memory_mib:,.0f} MiB ({whose})")
    if profile.parts:
        lines += ["", *_parts(profile.parts)]
    if profile.notes:
        lines += ["", *(f"- {note}" for note in profile.notes)]
    return lines


def _temporal(profile: Profile) -> str:
    number = profile.num_temporal_parameters
    return "" if number is None else f", {_amount(number)} of them temporal"


def _per(title: str, step: str, clip: str, profile: Profile) -> str:
    """``title  a per step, b per clip (n steps)``, the step left out where there is none."""
    if profile.num_steps is None:
        return f"{title:<11}  {clip} per clip"
    return f"{title:<11}  {step} per step, {clip} per clip of {profile.num_steps} steps"


def _parts(parts: Sequence[Part]) -> list[str]:
    rows = [("part", "parameters", "FLOP/clip", "s/clip", "TFLOP/s")]
    for part in parts:
        flops, seconds = part.flops_per_clip, part.seconds_per_clip
        rate = f"{flops / seconds / 1e12:.4g}" if flops and seconds else "–"
        time = "–" if seconds is None else f"{seconds:.4g}"
        rows.append(
            (part.name, _amount(part.num_parameters), _amount(part.flops_per_clip), time, rate)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return [
        "  ".join(
            f"{text:<{width}}" if column == 0 else f"{text:>{width}}"
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _flop(number: int | None) -> str:
    return "unknown FLOP" if number is None else f"{_amount(number)}FLOP"


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.4g} s"


def _amount(number: int | None) -> str:
    """Four significant digits with their prefix.

    >>> _amount(1_674_016_944), _amount(12), _amount(None)
    ('1.674 G', '12 ', '–')
    """
    if number is None:
        return "–"
    for size, prefix in _UNITS:
        if number >= size:
            return f"{number / size:.4g} {prefix}"
    return f"{number} "
