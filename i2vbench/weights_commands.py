"""``i2vbench weights``: list, fetch, verify and import files of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from i2vbench import weights as store
from i2vbench.errors import MissingWeightsError, UserError
from i2vbench.weight_files import WEIGHT_FILES, WeightFile


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
    """Show each file: licence, size, where it is, what uses it and which extractor loads it.

    A folder that cannot be looked at is told on stderr and gives exit code 1.
    """
    rows = [("NAME", "LICENCE", "SIZE", "WHERE", "USED BY", "LOADED BY")]
    # One folder concerns all files: it is told once.
    errors: dict[str, None] = {}
    for entry in WEIGHT_FILES.values():
        place, size = "missing", entry.size
        try:
            found = store.locate(entry.name, ctx.obj["weights_dir"])
            if found is not None:
                place, size = found.place, found.path.stat().st_size
        except (UserError, OSError) as error:
            errors[str(error)] = None
            place = "unreadable"
        rows.append(
            (
                entry.name,
                entry.licence,
                _readable(size),
                place,
                ", ".join(entry.used_by),
                ", ".join(entry.loaded_by),
            )
        )
    _echo_table(rows)
    click.echo(f"cache: {store.cache_dir()}")
    for text in errors:
        _echo_error(text)
    ctx.exit(1 if errors else 0)


@weights.command()
@click.argument("names", nargs=-1, required=True)
@click.pass_context
def fetch(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Download files into the cache, or say where they are already.

    A file in the cache that is not the right one is fetched again. Exit code 1 if one is not had.
    """
    failed = 0
    for name in names:
        store.weight_file(name)
    for name in names:
        try:
            if store.weight_file(name).urls and not store.is_offline():
                store.drop_wrong_copy(name)
            before = store.locate(name, ctx.obj["weights_dir"])
            path = store.resolve(name, ctx.obj["weights_dir"])
        except (MissingWeightsError, OSError) as error:
            _echo_error(error)
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

    Without NAMES, all of them; one that is named must be here. What is wrong is told on stderr.
    """
    failed = 0
    for name in names or WEIGHT_FILES:
        entry = store.weight_file(name)
        try:
            found = store.locate(name, ctx.obj["weights_dir"])
            if found is None:
                if names:
                    click.echo(f"{name}: missing", err=True)
                    failed += 1
                continue
            digest = store.checked_sha256(entry, found)
        except MissingWeightsError as error:
            click.echo(f"{name}: WRONG, {error}", err=True)
            failed += 1
        else:
            known = "" if len(entry.sha256) == len(digest) else _known(entry.sha256)
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
    cache = store.cache_dir().resolve()
    here = [
        path
        for path in sorted(folder.rglob("*"))
        # The folder may hold the cache itself, e.g. where it is the home.
        if path.is_file() and path.resolve().parent != cache
    ]
    num_imported = failed = 0
    for entry in WEIGHT_FILES.values():
        sources = [path for path in here if f"/{path.as_posix()}".endswith(f"/{entry.file}")]
        if not sources:
            continue
        try:
            found = store.locate(entry.name, ctx.obj["weights_dir"])
            if found is not None and _is_right(entry, found):
                click.echo(f"{entry.name}: here already ({found.place})")
                num_imported += 1
                continue
            source, target = _imported(entry, sources)
        except MissingWeightsError as error:
            _echo_error(error)
            failed += 1
        else:
            click.echo(f"{entry.name}: {source} -> {target}")
            num_imported += 1
    if not num_imported and not failed:
        wanted = ", ".join(entry.file for entry in WEIGHT_FILES.values())
        raise UserError(f"{folder} holds no file of the register; looked for {wanted}")
    ctx.exit(1 if failed else 0)


def _imported(entry: WeightFile, sources: Sequence[Path]) -> tuple[Path, Path]:
    """The first of the files that is the right one, and its copy in the cache.

    Raises:
        MissingWeightsError: none is; why the first is not.
    """
    errors = []
    for source in sources:
        try:
            return source, store.import_file(entry, source)
        except MissingWeightsError as error:
            errors.append(error)
    raise errors[0]


def _is_right(entry: WeightFile, found: store.Found) -> bool:
    """Whether a file need not be replaced: one of the cache is, by the right one."""
    try:
        store.checked_sha256(entry, found)
    except MissingWeightsError:
        if found.place != "cache":
            raise
        return False
    return True


def _known(sha256: str) -> str:
    stated = f"only {sha256}..." if sha256 else "no hash"
    return f", its publisher states {stated}"


def _echo_error(error: object) -> None:
    click.echo(f"error: {' '.join(str(error).split())}", err=True)


def _readable(size: int | None) -> str:
    if size is None:
        return "?"
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def _echo_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
