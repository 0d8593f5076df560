"""A board as JSON, for other programs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from .board import Board
from .formatting import without_nan
from .table import Cell, Column, Row, Table

BOARD_SCHEMA_VERSION = 1


def to_json(board: Board) -> str:
    """The board with full precision: tables, their columns, rows, cells and notes; no NaN.

    Tables of papers stand under ``published``: a row there has no run, a value its ``source`` and
    its text as ``printed``.
    """
    content = {
        "board_schema_version": BOARD_SCHEMA_VERSION,
        "tables": [_table(table) for table in board.tables],
        "published": [_published(table) for table in board.published],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _table(table: Table) -> dict[str, Any]:
    place = table.sort_column
    return {
        "suite": table.key.suite,
        "suite_version": table.key.version,
        "suite_sha256": table.key.content_sha256,
        "num_samples": table.num_samples,
        "limit": table.key.limit,
        "samples": None if table.key.samples is None else list(table.key.samples),
        "protocol": table.key.protocol,
        "sorted_by": None if place is None else table.columns[place].slug,
        "columns": [_column(column) for column in table.columns],
        "rows": [_row(row, table) for row in table.rows],
        "notes": [dataclasses.asdict(note) for note in table.notes],
    }


def _published(table: Table) -> dict[str, Any]:
    assert table.printed is not None
    return {
        **dataclasses.asdict(table.printed),
        "suite": table.key.suite,
        "columns": [_column(column) for column in table.columns],
        "rows": [_row(row, table) for row in table.rows],
        "notes": [dataclasses.asdict(note) for note in table.notes],
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "key": column.slug,
        "metric": column.key.metric,
        "label": column.label,
        "higher_is_better": column.higher_is_better,
        "unit": column.unit,
        "level": column.level,
        "fingerprint": column.key.fingerprint,
    }


def _row(row: Row, table: Table) -> dict[str, Any]:
    run = row.results
    if run is None:
        return {
            "name": row.name,
            "role": row.role,
            "rank": None,
            "scores": {
                column.slug: _printed_cell(cell)
                for column, cell in zip(table.columns, row.cells, strict=True)
            },
        }
    return {
        "name": row.name,
        "role": row.role,
        "rank": row.rank,
        "partial": table.partial_words(row),
        "run": run.run,
        "run_fingerprint": run.run_fingerprint,
        "model": without_nan(dict(run.model)),
        "seed": run.seed,
        "num_takes": run.num_takes,
        "counts": dict(run.counts),
        "geometry": [dict(clips) for clips in run.geometry],
        "scores": {
            column.slug: _cell(cell) for column, cell in zip(table.columns, row.cells, strict=True)
        },
    }


def _printed_cell(cell: Cell) -> dict[str, Any]:
    return {
        "value": cell.value,
        "printed": cell.text,
        "source": cell.source,
        "reason": cell.reason,
        "warnings": list(cell.warnings),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "value": cell.value,
        "ci95": list(cell.interval) if cell.interval else None,
        "n_scored": cell.num_scored,
        "n_expected": cell.num_expected,
        "partial": cell.partial,
        "standing": cell.standing,
        "reason": cell.reason,
        "warnings": list(cell.warnings),
    }
