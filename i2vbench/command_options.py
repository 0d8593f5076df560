"""The options that several commands share, and the values that they become."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click

from i2vbench.device import BACKENDS
from i2vbench.errors import UserError, did_you_mean
from i2vbench.plain_text import short_repr

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _FromValues:
    """A dataclass that takes its fields from what click parsed."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The fields' values; others are left to other groups."""
        names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        return cls(**{name: values[name] for name in names if name in values})


@dataclass(frozen=True, kw_only=True)
class MakingOptions(_FromValues):
    """Which clips are wanted, and of which model."""

    model: str
    suite: str
    suite_args: Sequence[str]
    model_args: Sequence[str]
    limit: int | None
    num_takes: int | None
    samples: str | None
    seed: int
    batch_size: int
    dtype: str | None
    redo: bool
    timeout_s: float | None
    dry_run: bool

    @property
    def sample_ids(self) -> list[str] | None:
        """The ids of ``--samples``; None for all."""
        if self.samples is None:
            return None
        return [each.strip() for each in self.samples.split(",") if each.strip()]


@dataclass(frozen=True, kw_only=True)
class ScoringOptions(_FromValues):
    """What is computed of the clips, and in which arithmetic."""

    metrics: str | None = None
    protocol: str | None = None
    scoring_dtype: str = "fp32"
    backend: str = "torch"
    allow_missing_metrics: bool = False

    @property
    def metric_names(self) -> list[str] | None:
        """The names of ``--metrics``, each checked before hours are spent; None for all."""
        return None if self.metrics is None else parse_metric_names(self.metrics)


@dataclass(frozen=True, kw_only=True)
class CommonOptions(_FromValues):
    """Where runs lie, what computes, and what counts as success."""

    output_dir: Path
    device: str
    max_failures: int
    quiet: bool


def group(*options: Decorator) -> Decorator:
    """The options as one decorator, in this order."""

    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return apply


def _use_weights_dir(_: click.Context, __: click.Parameter, folder: Path | None) -> None:
    if folder is not None:
        # The way to worker processes as well.
        os.environ["I2VBENCH_WEIGHTS"] = os.fspath(folder.resolve())


suite_option = click.option(
    "-s", "--suite", default="playground", help="Name, NAME:PLACE, folder or manifest."
)
suite_arg_option = click.option(
    "-S",
    "--suite-arg",
    "suite_args",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the suite, the value as YAML; repeat for more.",
)
model_arg_option = click.option(
    "-a",
    "--model-arg",
    "model_args",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the model, the value as YAML; repeat for more.",
)
dtype_option = click.option(
    "--dtype", type=click.Choice(["fp32", "bf16", "fp16"]), help="The model's own if left out."
)
device_option = click.option("--device", default="auto", help="auto, cpu or cuda[:i].")
metrics_option = click.option(
    "--metrics", help="Names, separated by commas; all of the protocol if left out."
)
protocol_option = click.option("--protocol", help="The suite's own if left out.")
weights_dir_option = click.option(
    "--weights-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    callback=_use_weights_dir,
    expose_value=False,
    help="Folder of weights looked at first; $I2VBENCH_WEIGHTS otherwise.",
)
making_options = group(
    click.option("-m", "--model", required=True, help="Name, or path/to/file.py:Class."),
    suite_option,
    suite_arg_option,
    model_arg_option,
    click.option("--limit", type=int, help="Only the first so many samples."),
    click.option("--samples", metavar="ID,ID", help="Only these samples, by their ids."),
    click.option("--num-takes", type=int, help="Clips per sample; the suite's own if left out."),
    click.option("--seed", type=int, default=0, help="Seed of the run."),
    click.option("--batch-size", type=int, default=4, help="Clips made together."),
    dtype_option,
    click.option("--redo", is_flag=True, help="Make the clips anew, also those that are there."),
    click.option(
        "--timeout-s",
        type=float,
        metavar="SECONDS",
        help="A clip that takes longer is a failed one; no limit if left out.",
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be done, and stop."),
)
common_options = group(
    click.option(
        "-o",
        "--output-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("runs"),
        help="Runs lie in OUTPUT_DIR/SUITE/MODEL-FINGERPRINT.",
    ),
    device_option,
    weights_dir_option,
    click.option("--max-failures", type=int, default=0, help="Failed clips that are forgiven."),
    click.option("--quiet", is_flag=True, help="No progress bars and no board, only its path."),
)
arithmetic_options = group(
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
scoring_options = group(metrics_option, protocol_option, arithmetic_options)
allow_missing_option = click.option(
    "--allow-missing-metrics",
    is_flag=True,
    help="Go on where a metric lacks weights or a package; its column stays empty.",
)


def parse_model_args(pairs: Sequence[str]) -> dict[str, Any]:
    """The options of a model; see :func:`parse_pairs`."""
    return parse_pairs(pairs, "-a")


def parse_pairs(pairs: Sequence[str], flag: str) -> dict[str, Any]:
    """``key=value`` pairs, the values as YAML; ``flag`` is what errors call them.

    Raises:
        UserError: a pair without '=', a key given twice, or a value that is no YAML.
    """
    from i2vbench.yaml_text import load_yaml

    values: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not separator or not key:
            example = {"-a": "num_inference_steps=20", "-S": "num_clips=512"}[flag]
            raise UserError(
                f"{flag} {short_repr(pair)}: accepted is KEY=VALUE, e.g. {flag} {example}"
            )
        if key in values:
            raise UserError(f"{flag} {short_repr(pair)}: {key} is given twice")
        values[key] = load_yaml(text, f"{flag} {short_repr(pair)}: the value")
    return values


def parse_metric_names(metrics: str) -> list[str]:
    """The names in ``a,b,path/to/file.py:C``, each once.

    Raises:
        UserError: no name, or an unknown one.
    """
    from i2vbench.registry import METRICS

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    known = [entry.name for entry in METRICS.entries()]
    for name in names:
        if name not in known and ".py:" not in name:
            raise UserError(f"metric {name!r} is unknown: {did_you_mean(name, known)}")
    if not names:
        raise UserError(f"--metrics {metrics!r} names no metric")
    return list(dict.fromkeys(names))
