"""The commands of the models: `i2vbench train`."""

from __future__ import annotations

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
    from i2vbench.models.consisti2v.training.recipe import load_recipe
    from i2vbench.run_commands import parse_model_args

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
