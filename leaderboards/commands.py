"""``i2vbench leaderboard``, and the files that a run leaves beside its results."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from i2vbench.errors import UserError

from .formatting import clean

if TYPE_CHECKING:
    from i2vbench.results import Results

    from .board import Board
    from .published import PublishedTable

logger = logging.getLogger(__name__)

FORMATS = ("text", "md", "csv", "html", "latex", "json")
# Loaded on use: `i2vbench --help` must import neither pandas nor jinja2.
_RENDERERS = {
    "text": ("text", "to_text"),
    "md": ("markdown", "to_markdown"),
    "csv": ("csv", "to_csv"),
    "html": ("html", "to_html"),
    "latex": ("latex", "to_latex"),
    "json": ("json", "to_json"),
}
_SUFFIXES = {
    ".txt": "text",
    ".md": "md",
    ".csv": "csv",
    ".html": "html",
    ".htm": "html",
    ".tex": "latex",
    ".json": "json",
}


def render(board: Board, format_name: str) -> str:
    """The board in one of :data:`FORMATS`."""
    module, function = _RENDERERS[format_name]
    return str(getattr(import_module(f".{module}", __package__), function)(board))


def render_all(results: Iterable[Results], output_dir: Path) -> str:
    """Writes ``board.txt``, ``.md``, ``.csv`` and ``.html``; each file is replaced atomically.

    Args:
        results: at least one run.
        output_dir: made where it does not exist. Of runs that lie beside it, as those of a suite
            do, the profiles are shown.

    Returns:
        The text of ``board.txt``, to print.
    """
    from i2vbench.files import write_atomic

    from .board import Board

    board = Board(_with_costs(run, output_dir.parent / run.run) for run in results)
    text = render(board, "text")
    write_atomic(output_dir / "board.txt", text)
    for suffix in ("md", "csv", "html"):
        write_atomic(output_dir / f"board.{suffix}", render(board, suffix))
    return text


def _with_costs(run: Results, folder: Path) -> Results:
    """A damaged profile does not keep a board of finished scores from being written."""
    from .cost import with_profile

    try:
        return with_profile(run, folder)
    except UserError as error:
        logger.warning("left out: %s", clean(error))
        return run


@click.command("leaderboard")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    help="How to print it.  [default: by the suffix of --output, else text]",
)
@click.option(
    "--sort-by",
    metavar="METRIC",
    help="The metric that ranks.  [default: the first one of the protocol]",
)
@click.option(
    "--with-published",
    is_flag=True,
    help="Show the published tables of the runs' suites as well; without RUN all of them.",
)
@click.option(
    "--published",
    "published_names",
    multiple=True,
    metavar="TABLE",
    help="Show this published table, e.g. consisti2v-table1; may be repeated.",
)
@click.option(
    "--by-category",
    is_flag=True,
    help="Show the clip metrics of each category of the suite in a table of its own as well.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write instead of printing.",
)
def leaderboard(
    runs: tuple[Path, ...],
    format: str | None,
    sort_by: str | None,
    with_published: bool,
    published_names: tuple[str, ...],
    by_category: bool,
    output: Path | None,
) -> None:
    """Rank runs side by side.

    RUN is a run directory, a results.json or a folder of runs, which is searched to any depth. Runs
    of another suite, limit or protocol stand in a table of their own that says why. A file in a
    folder that cannot be read is named and left out; the exit code is then 1.

    Published tables stand as their papers print them, apart from the runs. A row of theirs stands
    under the runs, unranked, only where suite, protocol and network are equal.
    """
    from .board import Board
    from .runs import find_runs

    if not runs and not with_published and not published_names:
        raise UserError(
            "no run is given: name a run, a results.json or a folder of runs, or give "
            "--with-published to see only published tables"
        )
    found = find_runs(runs)
    for path in map(clean, found.unscored):
        click.echo(f"{path} is not scored yet and left out: `i2vbench score {path}`", err=True)
    for line in found.unreadable:
        click.echo(f"left out: {line}", err=True)
    suites = {str(run.suite.get("name", "")) for run in found.results}
    published = _published(with_published, published_names, suites)
    results = [*found.results, *(_categories(found.results) if by_category else ())]
    board = Board(results, sort_by=sort_by, published=published)
    format_name = format or _format_of(output)
    if output is None:
        _print(board, format_name)
    else:
        _write(board, format_name, output)
    if found.unreadable:
        sys.exit(1)


def _categories(results: Sequence[Results]) -> Sequence[Results]:
    from .categories import split_by_category

    split = split_by_category(results)
    if not split:
        raise UserError(
            "--by-category: no run has scores by category; its suite has no categories, or it was "
            "scored by an older version: score it again with `i2vbench score RUN`"
        )
    return split


def _published(
    fitting: bool, names: Iterable[str], suites: Collection[str]
) -> Sequence[PublishedTable]:
    """The tables named, or those of the suites; all of them where there is no suite."""
    if not fitting and not names:
        return ()
    from .published import choose_published, fitting_published, load_published

    tables = load_published()
    chosen = choose_published(tables, names)
    if chosen or not suites:
        return chosen or tables
    found = fitting_published(tables, suites)
    if not found:
        accepted = ", ".join(table.name for table in tables)
        click.echo(
            f"no published table is of suite {', '.join(sorted(suites))}; name one with "
            f"--published: {accepted}",
            err=True,
        )
    return found


def _format_of(output: Path | None) -> str:
    if output is None:
        return "text"
    if output.suffix.lower() not in _SUFFIXES:
        accepted = ", ".join(_SUFFIXES)
        raise UserError(
            f"--output {output}: the suffix does not say the format; accepted: {accepted}, "
            "or give --format"
        )
    return _SUFFIXES[output.suffix.lower()]


def _write(board: Board, format_name: str, output: Path) -> None:
    from i2vbench.files import write_atomic

    try:
        write_atomic(output, render(board, format_name))
    except OSError as error:
        raise UserError(f"--output {output} cannot be written: {error.strerror}") from error
    click.echo(f"{output}: {board.summary}", err=True)


def _print(board: Board, format_name: str) -> None:
    if format_name != "text":
        click.echo(render(board, format_name), nl=False)
        return
    import shutil

    from .text import to_text

    width = min(max(shutil.get_terminal_size((110, 24)).columns, 80), 120)
    click.echo(to_text(board, width=width, color=sys.stdout.isatty()), nl=False)
