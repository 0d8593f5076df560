"""Tables as papers print them: ``published/*.csv``, each number with its source.

Three kinds of file lie in the folder:

``tables.csv``
    a line per table: its name, ``paper`` and ``place`` in it, ``url``, ``title``, what its ``rows``
    are (``models`` or ``categories``; the columns are models then) and a ``note``.
``columns.csv``
    a line per column: ``label``, ``unit`` (``text`` for words, which stand beside the row's name),
    which end is ``better``, the ``suite`` that a run would have, and, where a run could ever
    compare, what it must have in common with it: ``num_samples``, ``protocol`` with its version,
    ``metric``, the ``network`` in the label's brackets, and the ``scale`` that turns a printed
    number into ours. A protocol or network that no run has matches nothing.
``<table>.csv``
    a line per cell: ``row``, ``column``, ``printed`` (a dash where the paper has none), ``source``
    and ``note``.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, Literal

from i2vbench.errors import UserError, did_you_mean

from .formatting import MISSING, clean

FOLDER: Final = Path(__file__).parent / "published"
TEXT_UNIT: Final = "text"

_TABLE_FIELDS = ("table", "paper", "place", "url", "title", "rows", "note")
_COLUMN_FIELDS = (
    *("table", "column", "label", "unit", "better", "suite"),
    *("num_samples", "protocol", "metric", "network", "scale"),
)
_CELL_FIELDS = ("row", "column", "printed", "source", "note")
_MATCH_FIELDS = ("suite", "num_samples", "protocol", "metric", "scale")
_BETTER: dict[str, bool | None] = {"up": True, "down": False, "none": None}


@dataclass(frozen=True, kw_only=True)
class Match:
    """What a run's score must have in common with a printed one to stand beside it."""

    num_samples: int
    protocol: str
    """Name and version."""
    metric: str
    network: str
    """As in the brackets of our label; empty for a metric without one."""
    scale: Decimal
    """Our value = printed value times this."""


@dataclass(frozen=True, kw_only=True)
class PrintedColumn:
    """A column of a published table."""

    key: str
    label: str
    unit: str
    higher_is_better: bool | None
    suite: str
    """Empty where no suite of ours could make it."""
    match: Match | None
    """None where no run of ours compares."""


@dataclass(frozen=True, kw_only=True)
class PrintedCell:
    """A cell of a published table."""

    text: str
    """As printed, without the unit."""
    source: str
    note: str


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table of a paper."""

    name: str
    """What the command line calls it: ``consisti2v-table1``."""
    paper: str
    place: str
    url: str
    title: str
    row_kind: Literal["models", "categories"]
    note: str
    columns: tuple[PrintedColumn, ...]
    rows: tuple[str, ...]
    """In the order of the paper."""
    cells: dict[tuple[str, str], PrintedCell]
    """By row and column key; complete."""

    @property
    def citation(self) -> str:
        """Paper and place in it."""
        return f"{self.paper}, {self.place}"

    @property
    def suites(self) -> frozenset[str]:
        """The suites that its columns are of."""
        return frozenset(column.suite for column in self.columns if column.suite)


def load_published(folder: Path = FOLDER) -> tuple[PublishedTable, ...]:
    """All published tables, in the order of ``tables.csv``.

    Raises:
        UserError: a file that is missing or not as this module says; it names file and line.
    """
    columns: dict[str, list[PrintedColumn]] = {}
    for line, fields in _read(folder / "columns.csv", _COLUMN_FIELDS):
        column = _column(fields, f"{folder / 'columns.csv'}, line {line}")
        keys = [other.key for other in columns.setdefault(fields["table"], [])]
        if column.key in keys:
            raise UserError(f"{folder / 'columns.csv'}, line {line}: {column.key!r} stands twice")
        columns[fields["table"]].append(column)
    lines = {}
    for line, fields in _read(folder / "tables.csv", _TABLE_FIELDS):
        if fields["table"] in lines:
            where = f"{folder / 'tables.csv'}, line {line}"
            raise UserError(f"{where}: table {fields['table']!r} stands twice")
        lines[fields["table"]] = line, fields
    if unknown := columns.keys() - lines.keys():
        raise UserError(f"{folder / 'columns.csv'}: no table {min(unknown)!r} in tables.csv")
    return tuple(
        _table(fields, columns.get(name, []), folder, f"{folder / 'tables.csv'}, line {line}")
        for name, (line, fields) in lines.items()
    )


def choose_published(
    tables: Sequence[PublishedTable], names: Iterable[str]
) -> tuple[PublishedTable, ...]:
    """The tables of these names, each once, in the order of ``names``.

    Raises:
        UserError: no such table; names the nearest.
    """
    by_name = {table.name: table for table in tables}
    for name in (names := list(dict.fromkeys(names))):
        if name not in by_name:
            raise UserError(f"published table {name!r} is unknown: {did_you_mean(name, by_name)}")
    return tuple(by_name[name] for name in names)


def fitting_published(
    tables: Iterable[PublishedTable], suites: Collection[str]
) -> tuple[PublishedTable, ...]:
    """The tables with a column of one of these suites; ``UCF-101`` and ``ucf101`` are one."""
    wanted = set(map(plain_suite, suites))
    return tuple(table for table in tables if wanted & set(map(plain_suite, table.suites)))


def plain_suite(name: str) -> str:
    """A suite's name without case and signs, by which boards and papers meet.

    >>> plain_suite("UCF-101")
    'ucf101'
    """
    return "".join(filter(str.isalnum, name.casefold()))


def printed_number(text: str) -> Decimal | None:
    """The number behind a printed text; None for a dash or words."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _read(path: Path, fields: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Line number and fields of each line under the header."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [*map(clean, row)]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise UserError(f"{path} cannot be read as CSV: {reason}") from error
    if not lines or lines[0][1] != list(fields):
        raise UserError(f"{path}, line 1: the columns must be {','.join(fields)}")
    for number, row in lines[1:]:
        if len(row) != len(fields):
            raise UserError(f"{path}, line {number}: {len(row)} fields, must be {len(fields)}")
    return [(number, dict(zip(fields, row, strict=True))) for number, row in lines[1:]]


def _column(fields: dict[str, str], where: str) -> PrintedColumn:
    _require(fields, ("table", "column", "label"), where)
    if fields["better"] not in _BETTER:
        raise UserError(f"{where}: better is {fields['better']!r}, accepted: {', '.join(_BETTER)}")
    given = [name for name in _MATCH_FIELDS[1:] if fields[name]]
    match = None
    if given or fields["network"]:
        _require(fields, _MATCH_FIELDS, where)
        scale = printed_number(fields["scale"])
        if scale is None or scale <= 0:
            raise UserError(f"{where}: scale is {fields['scale']!r}, must be a number above 0")
        if not fields["num_samples"].isdecimal():
            raise UserError(f"{where}: num_samples is {fields['num_samples']!r}, must be a count")
        match = Match(
            num_samples=int(fields["num_samples"]),
            protocol=fields["protocol"],
            metric=fields["metric"],
            network=fields["network"],
            scale=scale,
        )
    return PrintedColumn(
        key=fields["column"],
        label=fields["label"],
        unit=fields["unit"],
        higher_is_better=_BETTER[fields["better"]],
        suite=fields["suite"],
        match=match,
    )


def _table(
    fields: dict[str, str], columns: Sequence[PrintedColumn], folder: Path, where: str
) -> PublishedTable:
    _require(fields, ("table", "paper", "place", "title"), where)
    row_kind: Literal["models", "categories"]
    if fields["rows"] == "models":
        row_kind = "models"
    elif fields["rows"] == "categories":
        row_kind = "categories"
    else:
        raise UserError(f"{where}: rows is {fields['rows']!r}, accepted: models, categories")
    # The page links there: nothing but a web address may come into it.
    if not fields["url"].startswith("https://"):
        raise UserError(f"{where}: url is {fields['url']!r}, must start with https://")
    if not columns:
        raise UserError(f"{where}: table {fields['table']!r} has no line in columns.csv")
    cells = _cells(folder / f"{fields['table']}.csv", columns)
    return PublishedTable(
        name=fields["table"],
        paper=fields["paper"],
        place=fields["place"],
        url=fields["url"],
        title=fields["title"],
        row_kind=row_kind,
        note=fields["note"],
        columns=tuple(columns),
        rows=tuple(dict.fromkeys(row for row, _ in cells)),
        cells=cells,
    )


def _cells(path: Path, columns: Sequence[PrintedColumn]) -> dict[tuple[str, str], PrintedCell]:
    units = {column.key: column.unit for column in columns}
    cells: dict[tuple[str, str], PrintedCell] = {}
    for line, fields in _read(path, _CELL_FIELDS):
        where = f"{path}, line {line}"
        _require(fields, ("row", "column", "printed", "source"), where)
        place = (fields["row"], fields["column"])
        if place[1] not in units:
            raise UserError(f"{where}: column {place[1]!r}: {did_you_mean(place[1], units)}")
        if place in cells:
            raise UserError(f"{where}: the cell of {place[0]!r} and {place[1]!r} stands twice")
        text = fields["printed"]
        if units[place[1]] != TEXT_UNIT and text != MISSING and printed_number(text) is None:
            raise UserError(f"{where}: printed is {text!r}, must be a number or {MISSING}")
        cells[place] = PrintedCell(text=text, source=fields["source"], note=fields["note"])
    rows = dict.fromkeys(row for row, _ in cells)
    absent = [(row, key) for row in rows for key in units if (row, key) not in cells]
    if absent or not cells:
        what = "{!r} has no {!r}".format(*absent[0]) if absent else "there is no cell"
        raise UserError(f"{path}: {what}; write {MISSING} where the paper prints none")
    return cells


def _require(fields: dict[str, str], names: Sequence[str], where: str) -> None:
    for name in names:
        if not fields[name].strip():
            raise UserError(f"{where}: {name} is empty")
