"""The commands of the models: `i2vbench train` and `i2vbench ablate`."""

from __future__ import annotations

import html
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from i2vbench.errors import UserError


@click.group()
def train() -> None:
    """Train a model."""


@train.command("consisti2v")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the training; the same command goes on with it.",
)
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with values of the recipe; the published ones where it says nothing.",
)
@click.option(
    "-a",
    "recipe_args",
    multiple=True,
    metavar="KEY=VALUE",
    help="A value of the recipe, over the file's; repeatable.",
)
@click.option("--trainable", help="all, temporal, or parts of parameter names, by commas.")
@click.option(
    "--max-bad-fraction", type=float, help="Share of unreadable videos above which it stops."
)
@click.option("--dry-run", is_flag=True, help="Print the recipe as YAML and stop.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def train_consisti2v(
    output: Path,
    recipe_file: Path | None,
    recipe_args: Sequence[str],
    trainable: str | None,
    max_bad_fraction: float | None,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Train ConsistI2V on captioned videos, by the published recipe.

    On several GPUs or machines: accelerate launch ... -m i2vbench train consisti2v ...
    """
    from i2vbench.command_options import parse_model_args
    from i2vbench.models.consisti2v.training.recipe import load_recipe

    values: dict[str, Any] = parse_model_args(recipe_args)
    for name, value in (("trainable", trainable), ("max_bad_fraction", max_bad_fraction)):
        if value is not None:
            values[name] = value
    recipe = load_recipe(recipe_file, values)
    if dry_run:
        import dataclasses

        import yaml

        plain = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in dataclasses.asdict(recipe).items()
        }
        click.echo(yaml.safe_dump(plain, sort_keys=False), nl=False)
        return
    try:
        import accelerate  # noqa: F401
    except ImportError as error:
        raise UserError(
            "`i2vbench train consisti2v` needs accelerate: pip install 'i2vbench[train]'"
        ) from error
    from i2vbench.models.consisti2v.training.loop import train as run

    folder = run(output, recipe, quiet=quiet)
    if folder is not None:
        click.echo(f"Checkpoint: {folder} (i2vbench run -a checkpoint={folder})")


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of the ablation; the same command goes on with it.",
)
@click.option("--steps", type=int, default=4000, help="Of each of the three trainings.")
@click.option(
    "--groups",
    help="Of the rows, by commas: table3, frameinit, noise_level, spatial_cutoff, "
    "temporal_cutoff, frame_stride; all if left out.",
)
@click.option("--num-seeds", type=int, default=3, help="Sampling seeds.")
@click.option("--limit", type=int, default=64, help="Samples of the playground.")
@click.option(
    "--metrics",
    default="fvd,subject_consistency,dynamic_degree",
    help="By commas; the first one orders the rows.",
)
@click.option("--batch-size", type=int, default=4, help="Clips sampled together.")
@click.option(
    "-a", "recipe_args", multiple=True, metavar="KEY=VALUE", help="Of the training; repeatable."
)
@click.option(
    "--sampling",
    "sampling_args",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the model in all rows; repeatable.",
)
@click.option(
    "--parts",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkpoint folder whose VAE and text encoder are taken; the tiny one if left out.",
)
@click.option(
    "--initial",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkpoint folder whose UNet all networks start from; from nothing if left out.",
)
@click.option("--device", default="auto", help="auto, cpu or cuda[:i]; for sampling and scoring.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def ablate(
    output: Path,
    steps: int,
    groups: str | None,
    num_seeds: int,
    limit: int,
    metrics: str,
    batch_size: int,
    recipe_args: Sequence[str],
    sampling_args: Sequence[str],
    parts: Path | None,
    initial: Path | None,
    device: str,
    quiet: bool,
) -> None:
    """Train ConsistI2V with and without its parts on small scenes, and score them."""
    import logging

    from i2vbench.command_options import parse_model_args
    from i2vbench.device import resolve_device
    from i2vbench.models.consisti2v import ablation
    from i2vbench.progress import BarProgress, SilentProgress

    logging.getLogger("i2vbench.models.consisti2v").setLevel(
        logging.WARNING if quiet else logging.INFO
    )
    values: dict[str, Any] = {} if parts is None else {"parts": parts}
    if groups is not None:
        values["groups"] = _names(groups)
    options = ablation.AblationOptions(
        steps=steps,
        num_seeds=num_seeds,
        limit=limit,
        metrics=_names(metrics),
        batch_size=batch_size,
        recipe=parse_model_args(recipe_args),
        sampling=parse_model_args(sampling_args),
        initial=initial,
        **values,
    )
    file = ablation.ablate(
        output,
        options,
        device=resolve_device(device),
        progress=SilentProgress() if quiet else BarProgress("ablation"),
    )
    # By name, since models and leaderboards do not know each other.
    render = importlib.import_module("i2vbench.leaderboards.ablation").render_ablation
    # A terminal shows the signs that HTML would mark up.
    click.echo(html.unescape(render(file)), nl=False)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
