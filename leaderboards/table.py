"""A table as every renderer reads it: columns, rows, cells and notes, all plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2vbench.results import Results

from .comparability import ColumnKey, TableKey, view_words
from .cost import COST_LEVEL
from .formatting import ARROWS, format_interval
from .naming import Role, RowName
from .ranking import Standing

Group = Literal["models", "partial", "baselines", "published"]
NoteKind = Literal[
    "apart",
    "limit",
    "geometry",
    "columns",
    "missing",
    "partial",
    "warning",
    "baseline",
    "model",
    "published",
    "printed",
]

RowKind = Literal["models", "categories"]

BEST, TIED, PARTIAL = "best", "†", "*"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric of one fingerprint."""

    key: ColumnKey
    slug: str
    """The metric's name, with the fingerprint where it has several columns; unique in the table."""
    written_label: str
    """``FVD(i3d-k400)``, as the runs wrote it."""
    suffix: str
    """What tells columns of one label apart; mostly empty."""
    unit: str
    level: str
    decimals: int

    @property
    def label(self) -> str:
        """``FVD(i3d-k400)``; unique in the table."""
        return f"{self.written_label}{self.suffix}"

    @property
    def higher_is_better(self) -> bool | None:
        """None where neither end is better."""
        return self.key.higher_is_better

    @property
    def is_cost(self) -> bool:
        """Whether it says what a model costs, not how good its clips are."""
        return self.level == COST_LEVEL

    @property
    def arrow(self) -> str:
        """``↑``, ``↓`` or nothing."""
        return ARROWS[self.higher_is_better]

    @property
    def heading(self) -> str:
        """The label with its unit, where that is ``%``, and its arrow."""
        return " ".join(filter(None, [self.label, "%" if self.unit == "%" else "", self.arrow]))

    @property
    def title(self) -> str:
        """The label up to its bracket: ``FVD``."""
        return self.label.partition("(")[0].strip() or self.label

    @property
    def network(self) -> str:
        """The label from its bracket on, brackets kept: ``(i3d-k400)``; may be empty."""
        return self.label[len(self.title) :].strip() if self.label.startswith(self.title) else ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One score of one run."""

    value: float | None
    text: str
    """The value with the column's decimals; a dash for None."""
    interval: tuple[float, float] | None
    num_scored: int
    num_expected: int
    reason: str
    """Why there is no value."""
    footnote: int | None
    """Number of the note with the reason."""
    partial: bool
    """Fewer clips than expected are in the value."""
    standing: Standing
    warnings: tuple[str, ...]
    decimals: int
    source: str = ""
    """Where a published value is printed; empty for a run's."""

    @property
    def interval_text(self) -> str:
        """``[low, high]`` or nothing."""
        return format_interval(self.interval, self.decimals)

    @property
    def mark(self) -> str:
        """The sign behind the number; best values are set apart by each format's own means."""
        if self.partial:
            return PARTIAL
        return TIED if self.standing == "tied" else ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run, or a row of a published table."""

    row_name: RowName
    role: Role
    group: Group
    partial: str
    """Which takes failed or were not asked for; empty where none is missing. A limit is the
    table's, not the row's."""
    rank: int | None
    cells: tuple[Cell, ...]
    """One per column of the table."""
    results: Results | None
    """None for a published row, of which nothing but the printed numbers is known."""

    @property
    def run(self) -> Results:
        """The run's results, for where no published row can be."""
        assert self.results is not None
        return self.results

    @property
    def name(self) -> str:
        """Unique in the table."""
        return str(self.row_name)

    @property
    def source(self) -> str:
        """Where a published row is printed; empty for a run."""
        return "; ".join(dict.fromkeys(cell.source for cell in self.cells if cell.source))

    @property
    def tag(self) -> str:
        """What stands behind the name: the role of a baseline. A published name says so itself."""
        return "" if self.role in ("model", "published") else self.role


@dataclass(frozen=True, kw_only=True)
class Note:
    """A line under a table."""

    kind: NoteKind
    text: str
    number: int | None = None
    """Of a footnote that cells point to."""


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What a table that is taken from a paper says about itself."""

    name: str
    """On the command line: ``consisti2v-table1``."""
    citation: str
    url: str
    title: str
    row_kind: RowKind


@dataclass(frozen=True, kw_only=True)
class Table:
    """Runs that may be compared, or a table as a paper prints it."""

    key: TableKey
    num_samples: int | None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """Ranked models first, then partial ones, then baselines."""
    sort_column: int | None
    """Index of the column that ranks; None where there is no column."""
    notes: tuple[Note, ...]
    printed: Printed | None = None
    """None for a table of runs."""

    @property
    def title(self) -> str:
        """Suite and version, or where the table is printed."""
        if self.printed:
            return f"As printed in {self.printed.citation}"
        return f"{self.key.suite} {self.key.version}".strip()

    @property
    def row_kind(self) -> RowKind:
        """What rows are; where they are categories, the columns are models."""
        return self.printed.row_kind if self.printed else "models"

    @property
    def row_kind_title(self) -> str:
        """What stands over the names."""
        return {"models": "Model", "categories": "Category"}[self.row_kind]

    @property
    def facts(self) -> tuple[str, ...]:
        """Samples, protocol and content hash, in words; of a published table what it shows."""
        if self.printed:
            return (self.printed.title, self.printed.name)
        samples = "" if self.num_samples is None else f"{self.num_samples} samples"
        if self.key.is_view:
            samples = f"{view_words(self.key)} only"
        digest = self.key.content_sha256[:8]
        return tuple(
            filter(
                None,
                [samples, f"protocol {self.key.protocol}", f"content {digest}" if digest else ""],
            )
        )

    def partial_words(self, row: Row) -> str:
        """Why ``row`` holds less than the suite asks for; empty where it does not."""
        limited = f"{view_words(self.key)} only" if self.key.is_view else ""
        return "; ".join(filter(None, [row.partial, limited]))

    @property
    def ranking_text(self) -> str:
        """What the order of the rows is."""
        if self.sort_column is None or len(self.rows) < 2:
            return ""
        column = self.columns[self.sort_column]
        if any(row.rank is not None for row in self.rows):
            return f"Ranked by {column.heading}."
        return f"Sorted by {column.heading}."

    @property
    def legend(self) -> tuple[tuple[str, str], ...]:
        """Sign and meaning of each mark that occurs."""
        cells = [cell for row in self.rows for cell in row.cells]
        entries = []
        if any(cell.standing == "best" for cell in cells):
            entries.append((BEST, "best model of the column, after rounding"))
        if any(cell.standing == "tied" for cell in cells):
            entries.append(
                (TIED, "its 95 % interval overlaps that of the best: no clear difference")
            )
        if any(cell.partial for cell in cells) or any(row.partial for row in self.rows):
            entries.append(
                (
                    PARTIAL,
                    "partial: clips are missing; neither ranked nor best",
                )
            )
        return tuple(entries)
