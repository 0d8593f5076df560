"""A board as pandas frames: long for analysis, wide as it is printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypedDict

import pandas as pd

from .formatting import clean
from .geometry import clip_words
from .table import Column, Row, Table

if TYPE_CHECKING:
    from .board import Board

_TYPES = {
    "value": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "higher_is_better": "boolean",
    "rank": "Int64",
    "limit": "Int64",
    "seed": "Int64",
    "num_takes": "Int64",
}


class Record(TypedDict):
    """A row of the long frame."""

    table: int
    """From 1; only rows of one table and label compare."""
    row: str
    """The name on the board."""
    model: str
    run: str
    role: str
    metric: str
    label: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_scored: int
    n_expected: int
    reason: str
    """Why there is no value."""
    warnings: str
    """What to know about the value."""
    clips: str
    """Length, size and rate of the run's clips: where they differ, values hardly compare."""
    higher_is_better: bool | None
    unit: str
    level: str
    partial: bool
    """Of the run or of this score."""
    standing: str
    """``best``, ``tied`` or empty."""
    rank: int | None
    """Of the run in its table."""
    source: str
    """Where a published value is printed; empty for a run's. Its ``metric`` is ``table/column``."""
    suite: str
    suite_version: str
    suite_sha256: str
    limit: int | None
    protocol: str
    seed: int | None
    num_takes: int | None
    metric_fingerprint: str
    run_fingerprint: str


def long_frame(board: Board) -> pd.DataFrame:
    """One row per run and metric, then published ones; the columns are :class:`Record`'s fields."""
    records = [
        record
        for number, (_, table) in enumerate(board.sections, start=1)
        for row in table.rows
        for record in _records(number, table, row)
    ]
    return pd.DataFrame(records, columns=list(Record.__annotations__)).astype(_TYPES)


def _records(number: int, table: Table, row: Row) -> Iterator[Record]:
    run = row.results
    for column, cell in zip(table.columns, row.cells, strict=True):
        low, high = cell.interval or (None, None)
        yield {
            "table": number,
            "row": row.name,
            "model": clean(run.model.get("name", ""))
            if run
            else _published_model(table, row, column),
            "run": clean(run.run) if run else "",
            "role": row.role,
            "metric": column.key.metric,
            "label": column.label,
            "value": cell.value,
            "ci_low": low,
            "ci_high": high,
            "n_scored": cell.num_scored,
            "n_expected": cell.num_expected,
            "reason": cell.reason,
            "warnings": "; ".join(cell.warnings),
            "clips": clip_words(run) if run else "",
            "higher_is_better": column.higher_is_better,
            "unit": column.unit,
            "level": column.level,
            "partial": bool(table.partial_words(row)) or cell.partial,
            "standing": cell.standing,
            "rank": row.rank,
            "source": cell.source,
            "suite": table.key.suite,
            "suite_version": table.key.version,
            "suite_sha256": table.key.content_sha256,
            "limit": table.key.limit,
            "protocol": table.key.protocol,
            "seed": run.seed if run else None,
            "num_takes": run.num_takes if run else None,
            "metric_fingerprint": column.key.fingerprint,
            "run_fingerprint": clean(run.run_fingerprint) if run else "",
        }


def _published_model(table: Table, row: Row, column: Column) -> str:
    """Where a paper's rows are categories, its columns are models."""
    return row.row_name.model if table.row_kind == "models" else column.label


def wide_frame(table: Table) -> pd.DataFrame:
    """The values of one table: a row per run, a column per metric, NaN where there is no score."""
    return pd.DataFrame(
        [[cell.value for cell in row.cells] for row in table.rows],
        index=pd.Index([row.name for row in table.rows], name="row"),
        columns=[column.label for column in table.columns],
        dtype="float64",
    )
