"""A folder of the user's own pictures as a suite: the pictures, and ``prompts.csv`` beside them.

``prompts.csv`` has the columns ``file`` and ``prompt``, and may have ``id`` and ``category``; any
other column is kept. One picture may stand in several rows, with a prompt each.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path, PurePath

from i2vbench.errors import UserError
from i2vbench.pictures import PICTURE_SUFFIXES
from i2vbench.sample import Suite, check_id
from i2vbench.suites.layout import files_in
from i2vbench.suites.left_out import left_out
from i2vbench.suites.manifest import suite_of_rows
from i2vbench.suites.root import Root
from i2vbench.suites.table import Mistakes, Row, ids_from_names, read_table

PROMPTS_NAME = "prompts.csv"
COLUMNS = ("file", "prompt", "id", "category")


def load_pictures(folder: Path) -> Suite:
    """The suite of a folder with ``prompts.csv``, named after the folder.

    Ids not given are made of the file names. A note of the suite names the files that are not
    listed.

    Raises:
        UserError: no ``prompts.csv`` (the message says what to write), or a malformed one.
    """
    table = folder / PROMPTS_NAME
    if not table.is_file():
        raise UserError(_how_to_write(folder))
    rows = read_table(table, COLUMNS, required=("file",))
    mistakes = Mistakes(table)
    root = Root(folder)
    made = ids_from_names(
        [
            (PurePath(row.text("file")).stem, f"{row.text('file')}\x00{row.text('prompt')}")
            for row in rows
        ]
    )
    lines: dict[str, int] = {}
    samples: list[Row] = []
    for row, made_id in zip(rows, made, strict=True):
        sample_id = row.text("id") or made_id
        first = lines.setdefault(sample_id.lower(), row.line)
        if first != row.line:
            mistakes.add(row.line, f"is the same sample {sample_id!r} as line {first}")
        try:
            check_id(sample_id)
            root.file(row.text("file"))
        except ValueError as error:
            mistakes.add(row.line, str(error))
        cells = {column: value for column, value in row.cells.items() if column != "file"}
        cells |= {"id": sample_id, "image": row.text("file")}
        samples.append(Row(line=row.line, cells=cells))
    mistakes.check()
    suite = suite_of_rows(folder.resolve().name, samples, folder)
    line = left_out(folder, [root.file(row.text("file")) for row in rows])
    notes = (f"{line}; {PROMPTS_NAME} does not list them",) if line else ()
    return dataclasses.replace(suite, notes=notes)


def _pictures_in(folder: Path) -> list[Path]:
    return files_in(folder, PICTURE_SUFFIXES)


def _how_to_write(folder: Path) -> str:
    pictures = _pictures_in(folder)
    example = pictures[0].name if pictures else "cat.jpg"
    return (
        f"{folder} has {len(pictures)} pictures but neither {PROMPTS_NAME} nor a manifest; write "
        f"{folder / PROMPTS_NAME} with the line 'file,prompt' and a line per picture, e.g. "
        f"'{example},what happens in the video'"
    )
