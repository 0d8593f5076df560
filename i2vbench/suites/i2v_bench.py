"""I2V-Bench: captioned videos of 16 categories (and Others), from the ConsistI2V paper.

The data set is a folder on Google Drive (1eg_vtowKZBen74W-A1oeO4bR1K21giks); neither the paper nor
its repository (TIGER-AI-Lab/ConsistI2V, 152102b) describes what lies in it, and no public loader
was found. So no file names are assumed: one CSV, TSV or JSON-lines table beside the videos says
which file (``reference``), which caption (``prompt``) and which ``category``, under these or other
names that options give. A row without category takes the folder of its video.

The categories and their counts are Table 4 of arXiv 2402.04324v2. Its text says 2,950 videos in 16
categories; the table, and all means of the paper, have 2,951 in 17.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from i2vbench.errors import UserError
from i2vbench.sample import Suite
from i2vbench.suites.any_table import TableOptions, check_files, read_rows
from i2vbench.suites.importer import Importer, check_flag
from i2vbench.suites.layout import Problems, files_in
from i2vbench.suites.manifest import suite_of_rows
from i2vbench.suites.root import Root
from i2vbench.suites.table import FOUND_SUFFIXES, Row

CATEGORIES = {
    "Portrait": 663,
    "Scenery-Nature": 500,
    "Pet": 393,
    "Food": 269,
    "Animation-Hard": 187,
    "Science": 180,
    "Sports": 149,
    "Scenery-City": 138,
    "Animation-Static": 120,
    "Music": 63,
    "Game": 61,
    "Animal": 55,
    "Industry": 44,
    "Painting": 40,
    "Others": 40,
    "Vehicle": 30,
    "Drama": 19,
}


@dataclass(frozen=True, kw_only=True)
class I2VBenchOptions(TableOptions):
    """Options of ``i2v-bench``; the first frame of a video is the condition."""

    table: str | None = None
    """The table, relative to the folder; None where the folder has one alone."""
    partial: bool = False
    """Whether to go on with other counts than those of the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("partial", self.partial)


def load(place: str, options: I2VBenchOptions) -> Suite:
    """The suite; every sample carries the category as the paper spells it.

    Raises:
        UserError: no table or several, unknown categories, wrong counts, missing files.
    """
    folder = Path(place)
    table = _table(folder, options)
    rows = _categorised(table, read_rows(table, options.columns()))
    advice = (
        "see Table 4 of the paper; to go on with what is there, give the option partial=true, "
        "which names the suite i2v-bench-partial"
    )
    if not options.partial:
        with Problems(f"I2V-Bench in {folder}", advice) as problems:
            counts = Counter(row.text("category") for row in rows)
            for category, expected in CATEGORIES.items():
                if counts[category] != expected:
                    found = counts[category]
                    problems.add(f"{found} videos of {category}, {expected} are expected")
            problems.expect("videos", len(rows), sum(CATEGORIES.values()))
    check_files(f"I2V-Bench in {folder}", rows, Root(table.parent), "download them again")
    if not options.partial:
        return suite_of_rows("i2v-bench", rows, table.parent, sampling=options)
    suite = suite_of_rows("i2v-bench-partial", rows, table.parent, sampling=options)
    note = f"{len(rows)} of {sum(CATEGORIES.values())} videos: compare with nothing published"
    return dataclasses.replace(suite, notes=(note,))


def _table(folder: Path, options: I2VBenchOptions) -> Path:
    if not folder.is_dir():
        raise UserError(f"suite i2v-bench: {folder} is no folder; give that of the videos")
    if options.table is not None:
        try:
            path = Root(folder).file(options.table)
        except ValueError as error:
            raise UserError(f"suite i2v-bench: table: {error}") from error
        if not path.is_file():
            raise UserError(f"suite i2v-bench: {path} does not exist")
        return path
    found = files_in(folder, FOUND_SUFFIXES)
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found)
    raise UserError(
        f"suite i2v-bench: {folder} has {len(found)} tables{f' ({names})' if names else ''}; one "
        f"({', '.join(FOUND_SUFFIXES)}) with the columns reference, prompt and category is needed: "
        "write it, or name it with the option table=NAME"
    )


def _categorised(table: Path, rows: Sequence[Row]) -> list[Row]:
    known = {_key(name): name for name in CATEGORIES}
    categorised = []
    with Problems(str(table), f"accepted: {', '.join(CATEGORIES)}") as problems:
        for row in rows:
            lacking = [column for column in ("reference", "prompt") if column not in row.cells]
            if lacking:
                problems.add(f"line {row.line} lacks {' and '.join(map(repr, lacking))}")
                continue
            given = row.text("category") or PurePath(row.text("reference")).parent.name
            category = known.get(_key(given))
            if category is None:
                problems.add(f"line {row.line}: category {given!r} is unknown")
                continue
            categorised.append(Row(line=row.line, cells={**row.cells, "category": category}))
    return categorised


def _key(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


I2V_BENCH = Importer(
    name="i2v-bench",
    place="the folder of its videos, with a table of captions",
    options_type=I2VBenchOptions,
    load=load,
)
