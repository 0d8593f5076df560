"""``i2vbench weights``: list, fetch, verify and import files of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from i2vbench import weights as store
from i2vbench.errors import MissingWeightsError, UserError
from i2vbench.weight_files import WEIGHT_FILES


@click.group()
@click.option(
    "--weights-dir",
    type=click.Path(path_type=Path),
    help="Folder looked at first; $I2VBENCH_WEIGHTS otherwise.",
)
@click.pass_context
def weights(ctx: click.Context, weights_dir: Path | None) -> None:
    """List, fetch, verify or import weights."""
    ctx.obj = {**(ctx.obj or {}), "weights_dir": weights_dir}


@weights.command("list")
@click.pass_context
def list_files(ctx: click.Context) -> None:
    """Show each file: licence, size, where it is, what uses it and which extractor loads it."""
    rows = [("NAME", "LICENCE", "SIZE", "WHERE", "USED BY", "LOADED BY")]
    for entry in WEIGHT_FILES.values():
        found = store.locate(entry.name, ctx.obj["weights_dir"])
        size = found.path.stat().st_size if found else entry.size
        rows.append(
            (
                entry.name,
                entry.licence,
                _readable(size),
                found.place if found else "missing",
                ", ".join(entry.used_by),
                ", ".join(entry.loaded_by),
            )
        )
    _echo_table(rows)
    click.echo(f"cache: {store.cache_dir()}")


@weights.command()
@click.argument("names", nargs=-1, required=True)
@click.pass_context
def fetch(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Download files into the cache, or say where they are already."""
    failed = 0
    for name in names:
        store.weight_file(name)
    for name in names:
        before = store.locate(name, ctx.obj["weights_dir"])
        try:
            path = store.resolve(name, ctx.obj["weights_dir"])
        except MissingWeightsError as error:
            click.echo(f"error: {error}", err=True)
            failed += 1
        else:
            click.echo(
                f"{name}: {f'here already ({before.place})' if before else 'fetched'} {path}"
            )
    ctx.exit(1 if failed else 0)


@weights.command()
@click.argument("names", nargs=-1)
@click.pass_context
def verify(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Hash the files that are here and compare; exit code 1 if one is wrong.

    Without NAMES, all of them; one that is named must be here.
    """
    failed = 0
    for name in names or WEIGHT_FILES:
        entry = store.weight_file(name)
        found = store.locate(name, ctx.obj["weights_dir"])
        if found is None:
            if names:
                click.echo(f"{name}: missing")
                failed += 1
            continue
        try:
            digest = store.checked_sha256(entry, found)
        except MissingWeightsError as error:
            click.echo(f"{name}: WRONG, {error}")
            failed += 1
        else:
            known = "" if len(entry.sha256) == len(digest) else ", its publisher states no hash"
            click.echo(f"{name}: ok, sha256 {digest} ({found.place}{known})")
    ctx.exit(1 if failed else 0)


@weights.command("import")
@click.option(
    "--from",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with files fetched by hand; its subfolders are searched too.",
)
@click.pass_context
def import_files(ctx: click.Context, folder: Path) -> None:
    """Copy files fetched elsewhere into the cache, by name, checked."""
    here = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    num_imported = failed = 0
    for entry in WEIGHT_FILES.values():
        sources = [path for path in here if f"/{path.as_posix()}".endswith(f"/{entry.file}")]
        if not sources:
            continue
        found = store.locate(entry.name, ctx.obj["weights_dir"])
        if found is not None:
            click.echo(f"{entry.name}: here already ({found.place})")
            num_imported += 1
            continue
        try:
            target = store.import_file(entry, sources[0])
        except MissingWeightsError as error:
            click.echo(f"error: {error}", err=True)
            failed += 1
        else:
            click.echo(f"{entry.name}: {sources[0]} -> {target}")
            num_imported += 1
    if not num_imported and not failed:
        wanted = ", ".join(entry.file for entry in WEIGHT_FILES.values())
        raise UserError(f"{folder} holds no file of the register; looked for {wanted}")
    ctx.exit(1 if failed else 0)


def _readable(size: int | None) -> str:
    if size is None:
        return "?"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def _echo_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
