"""Tables of samples: CSV or JSON lines in, rows of text and numbers out, mistakes by line."""

from __future__ import annotations

import codecs
import itertools
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from i2vbench.errors import UserError
from i2vbench.plain_text import short_line, short_repr
from i2vbench.suites.columns import check_columns
from i2vbench.suites.csv_text import CsvError, Line, csv_lines
from i2vbench.suites.json_values import json_values

TABLE_SUFFIXES = (".jsonl", ".csv", ".tsv", ".json")
FOUND_SUFFIXES = (".jsonl", ".csv", ".tsv")
"""Of tables that are looked for in a folder: a .json there is likely something else."""
_MAX_COLUMNS = 10_000
_SHOWN_MISTAKES = 5
# What Excel calls "Unicode text" is UTF-16 with a mark. That of UTF-32 begins as that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_FILES = (
    (b"\x1f\x8b", "is compressed by gzip; unpack it"),
    (b"PK\x03\x04", "is a workbook or an archive (ZIP), no text; save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "is a workbook of an old Excel, no text; save it as CSV"),
    (b"PAR1", "is a Parquet file, no text; save it as CSV or JSON lines"),
)
# pandas writes an index as a column without a name, and reads that as "Unnamed: 0".
_UNNAMED = re.compile(r"(?:Unnamed: \d+)?")

Value = str | int | float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: its line in the file and its filled cells."""

    line: int
    cells: dict[str, Value]

    def text(self, column: str) -> str:
        """The cell as text; empty where it is not filled."""
        return str(self.cells.get(column, ""))


class Mistakes:
    """What is wrong with the rows of one file, told in one line."""

    def __init__(self, path: Path) -> None:
        """None so far."""
        self._path = path
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, what: str) -> None:
        """Notes a mistake."""
        self._found.append((line, short_line(what)))

    def check(self) -> None:
        """Stops where there was one.

        Raises:
            UserError: names the file, and line by line the first five mistakes.
        """
        if not self._found:
            return
        shown = "; ".join(f"line {line}: {what}" for line, what in self._found[:_SHOWN_MISTAKES])
        more = len(self._found) - _SHOWN_MISTAKES
        raise UserError(f"{self._path}: {shown}" + (f"; and {more} more" if more > 0 else ""))


@dataclass(frozen=True, kw_only=True)
class _Table:
    """What a file holds: its columns, also those that no row fills, and its rows."""

    columns: dict[str, None]
    rows: list[Row]


def read_table(
    path: Path,
    known: Sequence[str],
    required: Sequence[str],
    *,
    named: Mapping[str, str] | None = None,
) -> list[Row]:
    """The rows of a .csv (commas, semicolons, tabs or bars), .tsv, .jsonl or .json file.

    The text is UTF-8, or UTF-16 with its mark. Cells are stripped; empty and null ones count as not
    filled, empty lines as absent. The names of known columns may be in capitals. What spreadsheets
    and pandas leave is passed over: a line ``sep=;``, columns without name and content, and a first
    column without a name that counts the rows.

    Args:
        path: the file.
        known: columns that have a meaning; others are kept as they are, unless they look like a
            misspelt one, or are what other projects call one that is absent.
        required: columns that every row must fill.
        named: where options can name columns, those that they named, meaning to column.

    Raises:
        UserError: no such file, no text, not CSV or JSON, a column that is asked about, a row that
            lacks a cell.
    """
    text = _read_text(path)
    mistakes = Mistakes(path)
    is_json = path.suffix.lower() in (".jsonl", ".json")
    expected = [*known, *(named or {}).values()]
    table = _json_table(text, mistakes) if is_json else _csv_table(path, text, expected, mistakes)
    mistakes.check()
    if len(table.columns) > _MAX_COLUMNS:
        raise UserError(f"{path} has {len(table.columns):,} columns; accepted are {_MAX_COLUMNS:,}")
    names = {column: _meaning(column, known) for column in table.columns}
    rows = [_with_meanings(row, names, mistakes) for row in table.rows]
    mistakes.check()
    if not rows:
        raise UserError(f"{path} has no rows; it needs the columns {', '.join(required or known)}")
    examples = dict.fromkeys(names.values(), "")
    for row in reversed(rows):
        examples.update({column: str(cell) for column, cell in row.cells.items()})
    check_columns(str(path), examples, known, required, named=named)
    for row in rows:
        lacking = [column for column in required if column not in row.cells]
        if lacking:
            mistakes.add(row.line, f"lacks {', '.join(map(repr, lacking))}")
    mistakes.check()
    return rows


def ids_from_names(names: Sequence[tuple[str, str]]) -> list[str]:
    """Sample ids made of file names: safe, unique (case ignored) and blind to the order.

    Args:
        names: of each file its stem, and a text that tells it from others of the same stem.

    >>> ids_from_names([("My cat", "a.png"), ("dog", "b.png")])
    ['My-cat', 'dog']
    """
    slugs = [_slug(stem) for stem, _ in names]
    counts: dict[str, int] = {}
    for slug in slugs:
        counts[slug.lower()] = counts.get(slug.lower(), 0) + 1
    # A running number would rename the others when a file is added.
    return [
        slug if counts[slug.lower()] == 1 else f"{slug}-{sha256(_composed(key)).hexdigest()[:8]}"
        for slug, (_, key) in zip(slugs, names, strict=True)
    ]


def _slug(stem: str) -> str:
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in plain)
    while ".." in kept:
        kept = kept.replace("..", ".")
    return kept.strip(".-_")[:100] or "file"


def _composed(key: str) -> bytes:
    # One name in two Unicode forms, as two systems list it, is one name.
    return unicodedata.normalize("NFC", key).encode(errors="surrogateescape")


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    for start, what in _OTHER_FILES:
        if content.startswith(start):
            raise UserError(f"{path} {what}")
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        named = "UTF-8" if encoding.startswith("utf-8") else f"{encoding.upper()}, as its mark says"
        raise UserError(
            f"{path} is not {named} (byte {error.start}); save it as UTF-8 (Excel: 'CSV UTF-8')"
        ) from error
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise UserError(
            f"{path}: line {line} holds a NUL, so it is no UTF-8 text; save it as UTF-8"
        )
    return text


def _csv_table(path: Path, text: str, known: Sequence[str], mistakes: Mistakes) -> _Table:
    lines: list[Line] = []
    try:
        lines.extend(csv_lines(text, known, tabs=path.suffix.lower() == ".tsv"))
    except CsvError as error:
        mistakes.add(error.line, f"is not CSV: it {error}")
        return _Table(columns={}, rows=[])
    if not lines:
        return _Table(columns={}, rows=[])
    header, *records = lines
    named = len(header.cells)
    while named and not header.cells[named - 1]:
        named -= 1
    for record in records:
        filled = len(record.cells)
        while filled > named and not record.cells[filled - 1]:
            filled -= 1
        # A comma at the end of lines, of all or of some, is a cell that nobody wrote.
        if filled > len(header.cells) or len(record.cells) < named:
            hint = "; quote a cell that holds the separator" if filled > named else ""
            mistakes.add(record.number, f"has {filled} cells, the header {named}{hint}")
    mistakes.check()
    wanted = _named_columns(path, header, records)
    rows = [
        Row(
            line=record.number,
            cells={
                name: record.cells[place]
                for place, name in wanted.items()
                if place < len(record.cells) and record.cells[place]
            },
        )
        for record in records
    ]
    return _Table(columns=dict.fromkeys(wanted.values()), rows=[row for row in rows if row.cells])


def _named_columns(path: Path, header: Line, records: Sequence[Line]) -> dict[int, str]:
    """Place to name of the columns that are kept.

    Raises:
        UserError: a name stands twice, or a column without a name holds something.
    """
    wanted: dict[int, str] = {}
    names: set[str] = set()
    for place, name in enumerate(header.cells):
        if not _UNNAMED.fullmatch(name):
            if name in names:
                raise UserError(
                    f"{path}: line {header.number}: its header has the column {short_repr(name)} "
                    "twice; rename one or delete it"
                )
            names.add(name)
            wanted[place] = name
            continue
        filled = [
            (record.number, record.cells[place])
            for record in records
            if place < len(record.cells) and record.cells[place]
        ]
        if filled and not (place == 0 and _counts([cell for _, cell in filled])):
            line, cell = filled[0]
            raise UserError(
                f"{path}: line {header.number}: its header has a column without a name, the "
                f"{place + 1}. ({short_repr(cell)} on line {line}); name it, or delete it "
                "(pandas: to_csv(..., index=False))"
            )
    return wanted


def _counts(cells: Sequence[str]) -> bool:
    """Whether these are the row numbers that pandas and R write, some rows perhaps left out."""
    if not all(cell.isascii() and cell.isdecimal() and len(cell) < 19 for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    return all(first < second for first, second in itertools.pairwise(numbers))


def _json_table(text: str, mistakes: Mistakes) -> _Table:
    columns: dict[str, None] = {}
    rows: list[Row] = []
    for line, value in json_values(text):
        if isinstance(value, ValueError):
            mistakes.add(line, f"is not JSON ({value})")
            continue
        if not isinstance(value, dict):
            mistakes.add(line, 'is no JSON object; accepted: {"id": "...", "prompt": "..."}')
            continue
        filled: dict[str, Value] = {}
        for column, given in value.items():
            cell = given.strip() if isinstance(given, str) else given
            if not _is_value(column) or not column.strip():
                mistakes.add(line, f"has a column {short_repr(column)}; accepted: a name")
            elif not _is_value(cell):
                accepted = "accepted: text or a finite number"
                mistakes.add(line, f"{short_repr(column)} is {short_repr(cell)}; {accepted}")
            elif cell not in ("", None):
                filled[column] = cell
        columns.update(dict.fromkeys(value))
        rows.append(Row(line=line, cells=filled))
    return _Table(columns=columns, rows=rows)


def _is_value(cell: object) -> bool:
    if isinstance(cell, str):
        # JSON can spell half a character, which no file and no hash can hold.
        return not any("\ud800" <= c <= "\udfff" for c in cell)
    if isinstance(cell, (int, float)):
        return not isinstance(cell, bool) and math.isfinite(cell)
    return cell is None


def _meaning(column: str, known: Sequence[str]) -> str:
    plain = column.strip()
    return plain.lower() if plain.lower() in known else plain


def _with_meanings(row: Row, names: Mapping[str, str], mistakes: Mistakes) -> Row:
    cells: dict[str, Value] = {}
    for column, cell in row.cells.items():
        if names[column] in cells:
            what = f"fills two columns {names[column]!r}, once in capitals"
            mistakes.add(row.line, f"{what}; rename one or delete it")
        cells[names[column]] = cell
    return Row(line=row.line, cells=cells)
