"""Tables of samples: CSV or JSON lines in, rows of text and numbers out, mistakes by line."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from i2vbench.errors import UserError

TABLE_SUFFIXES = (".jsonl", ".csv", ".tsv")
_SHOWN_MISTAKES = 5
# Of any system: a table written on Windows is read on Linux.
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")
_SEPARATOR = re.compile(r"[/\\]")

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
        self._found.append((line, what))

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


def read_table(path: Path, known: Sequence[str], required: Sequence[str]) -> list[Row]:
    """The rows of a .csv (commas, semicolons or tabs), .tsv or .jsonl file, UTF-8.

    Cells are stripped; empty and null ones count as not filled, empty lines as absent. The names of
    known columns may be in capitals.

    Args:
        path: the file.
        known: columns that have a meaning; others are kept as they are, unless they look like a
            misspelt one.
        required: columns that every row must fill.

    Raises:
        UserError: no such file, not UTF-8, not CSV or JSON lines, a row that lacks a cell.
    """
    text = _read_text(path)
    mistakes = Mistakes(path)
    read = _json_rows if path.suffix.lower() == ".jsonl" else _csv_rows
    rows = [
        Row(line=line, cells=_named(cells, known)) for line, cells in read(path, text, mistakes)
    ]
    mistakes.check()
    _check_columns(path, rows, known, required)
    for row in rows:
        lacking = [column for column in required if column not in row.cells]
        if lacking:
            mistakes.add(row.line, f"lacks {', '.join(map(repr, lacking))}")
    mistakes.check()
    return rows


class Root:
    """A folder whose files a table may name, and no others."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder of the table."""
        self.folder = folder
        self._real = os.path.realpath(folder)
        # Most files of a table share few folders; following links anew for each would take longer
        # than all the rest.
        self._inside: dict[str, bool] = {}

    def file(self, value: str) -> Path:
        """The path in the folder, if it stays there, links followed; it need not exist.

        Raises:
            ValueError: the path is absolute, climbs out with '..', or a link leads out.
        """
        accepted = f"accepted are paths inside {self.folder}"
        if _ABSOLUTE.match(value):
            raise ValueError(f"{value!r} is absolute; {accepted}")
        if ".." in _SEPARATOR.split(value) or "\x00" in value:
            raise ValueError(f"{value!r} leaves its folder; {accepted}")
        path = self.folder / value
        parent = os.path.dirname(path)  # noqa: PTH120 (ten times as fast as Path.parent)
        if parent not in self._inside:
            self._inside[parent] = self._holds(parent)
        if not self._inside[parent] or (path.is_symlink() and not self._holds(str(path))):
            raise ValueError(f"{value!r} is a link out of its folder; {accepted}")
        return path

    def _holds(self, path: str) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(self._real)


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
        slug if counts[slug.lower()] == 1 else f"{slug}-{sha256(key.encode()).hexdigest()[:8]}"
        for slug, (_, key) in zip(slugs, names, strict=True)
    ]


def _slug(stem: str) -> str:
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in plain)
    while ".." in kept:
        kept = kept.replace("..", ".")
    return kept.strip(".-_")[:100] or "file"


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8 (Excel: 'CSV UTF-8')"
        ) from error


def _csv_rows(path: Path, text: str, mistakes: Mistakes) -> Iterator[tuple[int, dict[str, Value]]]:
    header = text.lstrip().partition("\n")[0]
    # Excel writes semicolons where the comma is the decimal sign.
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = [cell.strip() for cell in cells]
                _check_header(path, columns)
            elif len(cells) != len(columns):
                hint = "; quote a cell that holds commas" if len(cells) > len(columns) else ""
                mistakes.add(start, f"has {len(cells)} cells, the header {len(columns)}{hint}")
            else:
                filled = zip(columns, (cell.strip() for cell in cells), strict=True)
                yield start, {column: cell for column, cell in filled if cell}
    except csv.Error as error:
        mistakes.add(line, f"is not CSV ({error})")


def _check_header(path: Path, columns: Sequence[str]) -> None:
    for column in columns:
        if not column or columns.count(column) > 1:
            what = "a column without a name" if not column else f"the column {column!r} twice"
            raise UserError(f"{path}: its header {', '.join(columns)!r} has {what}")


def _json_rows(path: Path, text: str, mistakes: Mistakes) -> Iterator[tuple[int, dict[str, Value]]]:
    # Not splitlines: a prompt may hold U+2028, which JSON does not escape.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            cells = json.loads(content, object_pairs_hook=_unique, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            mistakes.add(line, f"is not JSON ({error})")
            continue
        if not isinstance(cells, dict):
            mistakes.add(line, 'is no JSON object; accepted: {"id": "...", "prompt": "..."}')
            continue
        filled: dict[str, Value] = {}
        for column, value in cells.items():
            cell = value.strip() if isinstance(value, str) else value
            if not _is_value(cell):
                mistakes.add(line, f"{column!r} is {value!r}; accepted: text or a finite number")
            elif cell not in ("", None):
                filled[column] = cell
        yield line, filled


def _is_value(cell: object) -> bool:
    if isinstance(cell, str):
        # JSON can spell half a character, which no file and no hash can hold.
        return not any("\ud800" <= c <= "\udfff" for c in cell)
    if isinstance(cell, (int, float)):
        return not isinstance(cell, bool) and math.isfinite(cell)
    return cell is None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _named(cells: dict[str, Value], known: Sequence[str]) -> dict[str, Value]:
    return {
        column.lower() if column.lower() in known else column: value
        for column, value in cells.items()
    }


def _check_columns(
    path: Path, rows: Sequence[Row], known: Sequence[str], required: Sequence[str]
) -> None:
    """Refuses 'promt': as an extra column it would leave every prompt empty, silently."""
    if not rows:
        raise UserError(f"{path} has no rows; it needs the columns {', '.join(required)}")
    present = sorted({column for row in rows for column in row.cells})
    absent = [column for column in known if column not in present]
    for column in present:
        meant = difflib.get_close_matches(column.lower(), absent, n=1, cutoff=0.8)
        if meant and column not in known:
            raise UserError(
                f"{path}: column {column!r} is unknown: did you mean {meant[0]!r}? rename it "
                f"(columns with a meaning: {', '.join(known)})"
            )
    for column in required:
        if column not in present:
            raise UserError(
                f"{path} has no column {column!r}; it has {', '.join(present)}; "
                f"columns with a meaning: {', '.join(known)}"
            )
