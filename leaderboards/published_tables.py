"""Published tables on a board: whole in a section of their own, and rows where runs compare.

A published row is never ranked and never best: it has no interval, and of the clips behind it
nothing is known but what the paper says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .comparability import ColumnKey, TableKey
from .formatting import MISSING
from .naming import RowName
from .published import (
    TEXT_UNIT,
    PrintedCell,
    PrintedColumn,
    PublishedTable,
    plain_suite,
    printed_number,
)
from .table import Cell, Column, Note, Printed, Row, Table

LEVEL = "published"
"""In place of ``clip`` and ``set``."""
NOT_PRINTED = "the paper prints no number"
_NEVER_RANKED = (
    "As printed: of the paper's own clips and protocol, so never ranked with runs of your own."
)


def as_table(published: PublishedTable) -> Table:
    """The table as it is printed: its order, its numbers, its gaps; nothing is ranked or bold."""
    columns = [column for column in published.columns if column.unit != TEXT_UNIT]
    texts = dict.fromkeys(cell.note for cell in published.cells.values() if cell.note)
    numbers = {text: number for number, text in enumerate(texts, start=1)}
    notes = [Note(kind="apart", text=_NEVER_RANKED)]
    if published.note:
        notes.append(Note(kind="published", text=published.note))
    notes += [Note(kind="printed", text=text, number=number) for text, number in numbers.items()]
    return Table(
        key=TableKey(
            suite=", ".join(sorted(published.suites)),
            version="",
            content_sha256="",
            limit=None,
            protocol=f"as printed in {published.citation}",
        ),
        num_samples=None,
        columns=tuple(_column(published, column) for column in columns),
        rows=tuple(
            _row(
                RowName(model=row, details=_details(published, row)),
                [_cell(published.cells[row, column.key], numbers) for column in columns],
            )
            for row in published.rows
        ),
        sort_column=None,
        notes=tuple(notes),
        printed=Printed(
            name=published.name,
            citation=published.citation,
            url=published.url,
            title=published.title,
            row_kind=published.row_kind,
        ),
    )


def comparable_rows(
    key: TableKey,
    num_samples: int | None,
    columns: Sequence[Column],
    tables: Iterable[PublishedTable],
) -> list[Row]:
    """Published rows that may stand under the runs of a table; most often none.

    Suite, its number of samples, protocol with its version, metric and network must be those of the
    printed column, the suite must be whole, and a metric of whole sets must be of one take.

    Args:
        key: of the runs' table.
        num_samples: of its suite.
        columns: of the runs' table.
        tables: to look through.
    """
    if key.limit is not None:
        return []
    rows = []
    for table in tables:
        if table.row_kind != "models":
            continue
        matches = [_matching(key, num_samples, column, table.columns) for column in columns]
        for name in table.rows if any(matches) else ():
            cells = [
                _scaled_cell(table.cells[name, match.key], match)
                if match
                else _empty_cell("not of this paper's table, or not comparable")
                for match in matches
            ]
            if any(cell.value is not None for cell in cells):
                rows.append(_row(RowName(model=name, details=(f"printed in {table.name}",)), cells))
    return rows


def comparable_notes(rows: Sequence[Row]) -> list[Note]:
    """How to read the rows of :func:`comparable_rows`; empty where there is none."""
    if not rows:
        return []
    text = (
        "Rows 'printed in' a table are numbers of a paper, for the same suite, protocol and "
        "networks; they have no interval and are neither ranked nor best."
    )
    return [Note(kind="published", text=text)]


def _matching(
    key: TableKey, num_samples: int | None, column: Column, printed: Iterable[PrintedColumn]
) -> PrintedColumn | None:
    for candidate in printed:
        match = candidate.match
        if (
            match
            and plain_suite(candidate.suite) == plain_suite(key.suite)
            and match.num_samples == num_samples
            and match.protocol == key.protocol
            and match.metric == column.key.metric
            and match.network == column.network.removeprefix("(").removesuffix(")")
            # The papers have a clip per sample, and the bias of a set's score hangs on the count.
            and column.key.num_takes in (None, 1)
        ):
            return candidate
    return None


def _column(published: PublishedTable, column: PrintedColumn) -> Column:
    # With the table's name in it, so that no reader of a CSV file or a frame takes it for a column
    # of runs: papers print a share as 37.48 that we give as 0.3748.
    slug = f"{published.name}/{column.key}"
    return Column(
        key=ColumnKey(
            metric=slug,
            fingerprint="",
            higher_is_better=column.higher_is_better,
            num_takes=None,
        ),
        slug=slug,
        written_label=column.label,
        suffix="",
        unit=column.unit,
        level=LEVEL,
        decimals=0,
    )


def _details(published: PublishedTable, row: str) -> tuple[str, ...]:
    """What the paper says of the row in words."""
    return tuple(
        f"{column.label.lower()} {published.cells[row, column.key].text}"
        for column in published.columns
        if column.unit == TEXT_UNIT
    )


def _row(name: RowName, cells: Sequence[Cell]) -> Row:
    return Row(
        row_name=name,
        role="published",
        group="published",
        partial="",
        rank=None,
        cells=tuple(cells),
        results=None,
    )


def _cell(printed: PrintedCell, footnotes: Mapping[str, int]) -> Cell:
    number = printed_number(printed.text)
    return Cell(
        value=None if number is None else float(number),
        text=printed.text,
        interval=None,
        num_scored=0,
        num_expected=0,
        reason=NOT_PRINTED if number is None else "",
        footnote=footnotes.get(printed.note),
        partial=False,
        standing="",
        warnings=(printed.note,) if printed.note else (),
        decimals=0,
        source=printed.source,
    )


def _scaled_cell(printed: PrintedCell, column: PrintedColumn) -> Cell:
    """The cell in our scale, with the paper's digits: 96.65 is 0.9665."""
    assert column.match is not None
    number = printed_number(printed.text)
    if number is None:
        return _empty_cell(NOT_PRINTED)
    return _cell(replace(printed, text=format(number * column.match.scale, "f")), {})


def _empty_cell(reason: str) -> Cell:
    empty = _cell(PrintedCell(text=MISSING, source="", note=""), {})
    return replace(empty, reason=reason)
