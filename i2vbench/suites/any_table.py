"""Any CSV, TSV or JSON-lines file as a suite: the user says which column is what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from i2vbench.errors import UserError
from i2vbench.sample import Suite, check_id
from i2vbench.suites.clip_sampling import ClipSampling
from i2vbench.suites.importer import Importer
from i2vbench.suites.layout import Problems
from i2vbench.suites.manifest import suite_of_rows
from i2vbench.suites.root import Root
from i2vbench.suites.table import TABLE_SUFFIXES, Row, Value, ids_from_names, read_table

MEANINGS = ("id", "prompt", "image", "reference", "category")


@dataclass(frozen=True, kw_only=True)
class TableOptions(ClipSampling):
    """Options of ``table``: the names of columns, and how real clips are cut."""

    id: str | None = None
    """Column of ids; None for ``id``, or made of file names or prompts where it is absent."""
    prompt: str | None = None
    """Column of prompts; None for ``prompt``."""
    image: str | None = None
    """Column of first frames (files beside the table); None for ``image``."""
    reference: str | None = None
    """Column of real clips (files beside the table); None for ``reference``."""
    category: str | None = None
    """Column of groups to report apart; None for ``category``."""
    clip: str = "first"
    num_frames: int | str = "model"
    stride: int = 1
    size: int | str = "native"

    def columns(self) -> dict[str, str]:
        """The columns that were named, by their meaning."""
        named = {meaning: getattr(self, meaning) for meaning in MEANINGS}
        return {meaning: str(column) for meaning, column in named.items() if column is not None}


def load(place: str, options: TableOptions) -> Suite:
    """The suite of the table, named after the file.

    Raises:
        UserError: no such table or column, missing files, ids that stand twice.
    """
    path = Path(place)
    if not path.is_file() or path.suffix.lower() not in TABLE_SUFFIXES:
        raise UserError(f"suite table: {path} is no table; accepted: {', '.join(TABLE_SUFFIXES)}")
    rows = read_rows(path, options.columns())
    check_files(str(path), rows, Root(path.parent))
    return suite_of_rows(path.stem, rows, path.parent, sampling=options)


def read_rows(path: Path, columns: Mapping[str, str]) -> list[Row]:
    """The rows of a table with its columns renamed to what they mean, and an id for each.

    Args:
        path: the table.
        columns: meaning to the name in the table; a meaning that is not in it keeps its own name.

    Raises:
        UserError: no such column, an id that is unsafe or stands twice, a row without content.
    """
    unnamed = [meaning for meaning in MEANINGS if meaning not in columns]
    raw = read_table(path, unnamed, required=(), named=columns)
    rows = [Row(line=row.line, cells=_renamed(row.cells, columns)) for row in raw]
    made = ids_from_names([_name(row) for row in rows])
    with_ids = [
        Row(line=row.line, cells={**row.cells, "id": row.text("id") or made_id})
        for row, made_id in zip(rows, made, strict=True)
    ]
    _check(path, with_ids)
    return with_ids


def _renamed(cells: Mapping[str, Value], columns: Mapping[str, str]) -> dict[str, Value]:
    # One column may have two meanings.
    renamed = {meaning: cells[column] for meaning, column in columns.items() if column in cells}
    for column, value in cells.items():
        if column not in columns.values():
            # Another column already gives this meaning; this one stays, under a name of its own.
            renamed[f"{column}_column" if column in columns else column] = value
    return renamed


def _name(row: Row) -> tuple[str, str]:
    for column in ("reference", "image"):
        if column in row.cells:
            file = row.text(column).replace("\\", "/")
            return PurePath(file).stem, f"{file}\x00{row.text('prompt')}"
    return row.text("prompt"), f"{row.text('prompt')}"


def _check(path: Path, rows: Sequence[Row]) -> None:
    lines: dict[str, int] = {}
    with Problems(str(path)) as problems:
        for row in rows:
            first = lines.setdefault(row.text("id").lower(), row.line)
            if first != row.line:
                problems.add(f"line {row.line} is the same sample as line {first}")
            if not any(column in row.cells for column in ("prompt", "image", "reference")):
                problems.add(f"line {row.line} lacks 'prompt', 'image' and 'reference'")
            try:
                check_id(row.text("id"))
            except UserError as error:
                problems.add(f"line {row.line}: {error}")


def check_files(what: str, rows: Sequence[Row], root: Root, advice: str = "") -> None:
    """Stops where files of the rows are missing, empty or outside ``root``.

    Raises:
        UserError: names ``what`` and the first five.
    """
    with Problems(what, advice) as problems:
        for row in rows:
            for column in ("image", "reference"):
                if column in row.cells:
                    problems.file(root, row.text(column))


TABLE = Importer(
    name="table",
    place="a CSV, TSV or JSON-lines file",
    options_type=TableOptions,
    load=load,
)
