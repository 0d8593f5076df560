"""A board: runs sorted into tables of comparable rows, each table ranked by one metric."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from i2vbench.errors import UserError, did_you_mean
from i2vbench.results import Results

from .columns import Scores, make_columns, read_scores
from .comparability import TableKey, table_key, why_apart
from .formatting import clean, format_value
from .naming import role_of, row_names
from .notes import failure_words, missing_notes, table_notes
from .published import PublishedTable
from .published_tables import as_table, comparable_notes, comparable_rows
from .ranking import Entrant, ranks, standings
from .runs import find_runs
from .table import Cell, Column, Group, Note, Row, Table

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

_GROUP_ORDER: tuple[Group, ...] = ("models", "partial", "baselines")


class Board:
    """Runs side by side where they may be compared, apart where they may not.

    ``tables`` and ``published`` hold what renderers print;
    :meth:`to_dataframe` is the same for pandas.
    """

    def __init__(
        self,
        results: Iterable[Results],
        *,
        sort_by: str | None = None,
        published: Sequence[PublishedTable] = (),
    ) -> None:
        """Sorts runs into tables.

        Args:
            results: at least one run, or none where ``published`` has tables; duplicates stand as
                often as they are given.
            sort_by: a metric's name or a column's label; None for the first column of each table
                that has a direction and a score.
            published: tables of papers to show, each in a section of its own; rows of theirs stand
                under the runs, unranked, where suite, protocol and network say that they compare.

        Raises:
            UserError: neither runs nor published tables, or no table has ``sort_by``.
        """
        self.results = tuple(results)
        if not self.results and not published:
            raise UserError("a leaderboard needs at least one scored run")
        groups: dict[TableKey, list[Results]] = {}
        newest: Counter[TableKey] = Counter()
        for run in self.results:
            for part in run.by_protocol():
                key = table_key(part)
                groups.setdefault(key, []).append(part)
                newest[key] += part.protocol == run.protocol
        # The fullest table first, of equal ones that of the protocol scored last; quick looks at
        # a part of the suite come last.
        keys = sorted(groups, key=lambda key: (key.is_view, -len(groups[key]), -newest[key]))
        drafts = [(groups[key], make_columns(groups[key])) for key in keys]
        _check_sort_by(sort_by, [column for _, columns in drafts for column in columns])
        self.tables = tuple(
            _table(key, runs, columns, sort_by, why_apart(keys, place) if place else "", published)
            for place, (key, (runs, columns)) in enumerate(zip(keys, drafts, strict=True))
        )
        self.published = tuple(map(as_table, published))

    @classmethod
    def from_runs(
        cls,
        paths: Iterable[str | Path],
        *,
        sort_by: str | None = None,
        published: Sequence[PublishedTable] = (),
    ) -> Self:
        """A board of run directories, ``results.json`` files or folders of runs.

        A file in a folder that cannot be read is left out, with a warning in the log.

        Raises:
            UserError: nothing found, a file of ``paths`` that cannot be read, or an unknown
                ``sort_by``.
        """
        found = find_runs(map(Path, paths))
        for line in found.unreadable:
            logger.warning("left out: %s", line)
        return cls(found.results, sort_by=sort_by, published=published)

    @property
    def sections(self) -> tuple[tuple[str, Table], ...]:
        """Heading and table of each section: those of runs first, numbered if several."""
        several = len(self.tables) > 1
        own = (
            (f"Table {number}: {table.title}" if several else table.title, table)
            for number, table in enumerate(self.tables, start=1)
        )
        return (*own, *((table.title, table) for table in self.published))

    @property
    def summary(self) -> str:
        """How many runs and tables, in a sentence or two."""
        count = len(self.results)
        runs = f"{count} run{'s' if count != 1 else ''}"
        if len(self.tables) > 1:
            runs += (
                f" in {len(self.tables)} tables: scores are compared only where suite, samples "
                "and protocol are equal"
            )
        count = len(self.published)
        papers = f"{count} published table{'s' if count != 1 else ''}, as printed in the papers."
        if not self.results:
            return papers
        return f"{runs}. {papers}" if count else f"{runs}."

    def to_text(self, *, width: int = 110) -> str:
        """Aligned columns of at most ``width`` signs, as far as names allow."""
        from .text import to_text

        return to_text(self, width=width)

    def to_markdown(self, *, title: str = "Leaderboard") -> str:
        """GitHub Markdown, a section per table."""
        from .markdown import to_markdown

        return to_markdown(self, title=title)

    def to_csv(self) -> str:
        """One CSV table for spreadsheets and pandas; see :mod:`.csv` for its columns."""
        from .csv import to_csv

        return to_csv(self)

    def to_html(self, *, title: str = "Leaderboard") -> str:
        """One page that needs no network and no JavaScript to be read."""
        from .html import to_html

        return to_html(self, title=title)

    def to_latex(self) -> str:
        """LaTeX tables (booktabs), for a paper."""
        from .latex import to_latex

        return to_latex(self)

    def to_json(self) -> str:
        """The tables with full precision, for other programs."""
        from .json import to_json

        return to_json(self)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per run and metric; see :func:`.dataframe.long_frame`."""
        from .dataframe import long_frame

        return long_frame(self)


def _check_sort_by(sort_by: str | None, columns: Sequence[Column]) -> None:
    if sort_by is not None and not any(_is_called(column, sort_by) for column in columns):
        accepted = did_you_mean(sort_by, {column.key.metric for column in columns})
        raise UserError(f"sort_by {sort_by!r} is no metric of these runs: {accepted}")


def _is_called(column: Column, name: str) -> bool:
    return name.lower() in {
        column.key.metric.lower(),
        column.slug.lower(),
        column.label.lower(),
        column.title.lower(),
    }


def _table(
    key: TableKey,
    runs: Sequence[Results],
    columns: Sequence[Column],
    sort_by: str | None,
    why: str,
    published: Sequence[PublishedTable],
) -> Table:
    scores = [read_scores(run) for run in runs]
    footnotes = missing_notes(scores, columns)
    numbers = {note.text: note.number for note in footnotes}
    rows = _rows(runs, scores, columns, numbers)
    sort_column = _sort_column(columns, rows, sort_by)
    if sort_column is not None:
        rows = _ordered(rows, sort_column, columns[sort_column].higher_is_better)
    notes = [Note(kind="apart", text=why)] if why else []
    if sort_by is not None and not any(_is_called(column, sort_by) for column in columns):
        notes.append(Note(kind="columns", text=f"No run of this table has {clean(sort_by)}."))
    given = runs[0].suite.get("num_samples")
    num_samples = given if isinstance(given, int) else None
    printed = comparable_rows(key, num_samples, columns, published)
    return Table(
        key=key,
        num_samples=num_samples,
        columns=tuple(columns),
        rows=(*rows, *printed),
        sort_column=sort_column,
        notes=(
            *notes,
            *table_notes(key, columns, rows, footnotes),
            *comparable_notes(printed),
        ),
    )


def _rows(
    runs: Sequence[Results],
    scores: Sequence[Scores],
    columns: Sequence[Column],
    footnotes: dict[str, int | None],
) -> list[Row]:
    """The rows in the order of ``runs``, not ranked yet."""
    names = row_names(runs)
    cells = [[_cell(scores_, column, footnotes) for column in columns] for scores_ in scores]
    for place, column in enumerate(columns):
        entrants = [_entrant(row[place], run) for row, run in zip(cells, runs, strict=True)]
        for row, standing in zip(cells, standings(entrants, column.higher_is_better), strict=True):
            row[place] = replace(row[place], standing=standing)
    return [
        Row(
            row_name=name,
            role=role_of(run),
            group="models",
            partial=failure_words(run),
            rank=None,
            cells=tuple(row),
            results=run,
        )
        for name, run, row in zip(names, runs, cells, strict=True)
    ]


def _cell(scores: Scores, column: Column, footnotes: dict[str, int | None]) -> Cell:
    found = scores.find(column)
    score = found.score
    num_scored, num_expected = (score.n_scored, score.n_expected) if score else (0, 0)
    return Cell(
        value=found.value,
        text=format_value(found.value, column.decimals),
        interval=found.interval,
        num_scored=num_scored,
        num_expected=num_expected,
        reason=found.reason,
        # Not every reason has a note.
        footnote=footnotes.get(f"{column.label}: {found.reason}") if found.reason else None,
        partial=found.value is not None and num_scored < num_expected,
        standing="",
        warnings=tuple(map(clean, score.warnings)) if score and found.value is not None else (),
        decimals=column.decimals,
    )


def _entrant(cell: Cell, run: Results) -> Entrant:
    partial = failure_words(run) or table_key(run).is_view or cell.partial
    return Entrant(
        value=cell.value,
        text=cell.text,
        interval=cell.interval,
        is_model=role_of(run) == "model",
        is_complete=not partial,
    )


def _sort_column(columns: Sequence[Column], rows: Sequence[Row], sort_by: str | None) -> int | None:
    if sort_by is not None:
        named = [place for place, column in enumerate(columns) if _is_called(column, sort_by)]
        if named:
            return named[0]
    places = [place for place, column in enumerate(columns) if not column.is_cost]
    filled = [place for place in places if any(row.cells[place].value is not None for row in rows)]
    directed = [place for place in filled if columns[place].higher_is_better is not None]
    return next(iter([*directed, *filled, *places]), None)


def _ordered(rows: Sequence[Row], place: int, higher_is_better: bool | None) -> list[Row]:
    """The rows with rank and group, models first, the best on top."""
    entrants = [_entrant(row.cells[place], row.run) for row in rows]
    ranked = [
        replace(row, rank=rank, group=_group(row, place))
        for row, rank in zip(rows, ranks(entrants, higher_is_better), strict=True)
    ]
    sign = 1 if higher_is_better is False else -1

    def position(row: Row) -> tuple[int, bool, float, str]:
        value = row.cells[place].value
        return (_GROUP_ORDER.index(row.group), value is None, sign * (value or 0.0), row.name)

    return sorted(ranked, key=position)


def _group(row: Row, place: int) -> Group:
    if row.role != "model":
        return "baselines"
    return "partial" if row.partial or row.cells[place].partial else "models"
