"""A board as one CSV file for spreadsheets and pandas.

One row per run, all tables one under another; compare rows of the same ``table`` only. A published
row has its ``source``, and each number a column ``<published table>/<column>``. After the
columns that describe a run, each metric has eight: ``<metric>`` (full precision, empty where
there is no score), ``_ci_low``, ``_ci_high``, ``_n``, ``_n_expected``, ``_standing`` (``best``,
``tied``), ``_reason`` and ``_warnings``. Where two rows of a table differ in ``clips``,
their length, size or rate differs. UTF-8, comma, RFC 4180 quotes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from i2vbench.fingerprint import canonical_json

from .board import Board
from .formatting import clean, without_nan
from .geometry import clip_words
from .table import Column, Row, Table

Value = str | int | float | None

# What spreadsheets take for the start of a formula, full-width forms included.
_FORMULA_STARTS = tuple("=+-@＝＋－＠\t\r")


def to_csv(board: Board) -> str:
    """The board, a header line first."""
    lines = [
        {**_run_fields(number, table, row), **_score_fields(table, row)}
        for number, (_, table) in enumerate(board.sections, start=1)
        for row in table.rows
    ]
    header = dict.fromkeys(field for line in lines for field in line)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_guard(field) for field in header)
    for line in lines:
        writer.writerow(_guard(line.get(field)) for field in header)
    return text.getvalue()


def _guard(value: Value) -> Value:
    """Text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if isinstance(value, str) and value.lstrip(" '").startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def _run_fields(number: int, table: Table, row: Row) -> dict[str, Value]:
    run = row.results
    place: dict[str, Value] = {
        "table": number,
        "rank": row.rank,
        "name": row.name,
        "role": row.role,
    }
    if run is None:
        return {
            **place,
            "model": clean(row.row_name.model),
            "suite": table.key.suite,
            "protocol": table.key.protocol,
            "source": clean(row.source),
        }
    return {
        **place,
        "partial": table.partial_words(row),
        "model": clean(run.model.get("name", "")),
        "model_version": clean(run.model.get("version", "")),
        "weights": clean(run.model.get("weights", "")),
        "options": clean(canonical_json(without_nan(run.model.get("options") or {}))),
        "num_parameters": run.model.get("num_parameters"),
        "suite": table.key.suite,
        "suite_version": table.key.version,
        "suite_sha256": table.key.content_sha256,
        "limit": table.key.limit,
        "samples": None if table.key.samples is None else " ".join(table.key.samples),
        "clips": clip_words(run),
        "protocol": table.key.protocol,
        "seed": run.seed,
        "num_takes": run.num_takes,
        "takes_expected": run.counts.get("expected"),
        "takes_ok": run.counts.get("ok"),
        "run": clean(run.run),
        "run_fingerprint": clean(run.run_fingerprint),
        "source": "",
    }


def _score_fields(table: Table, row: Row) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    for column, cell in zip(table.columns, row.cells, strict=True):
        low, high = cell.interval or (None, None)
        values: tuple[Value, ...] = (
            cell.value,
            low,
            high,
            cell.num_scored,
            cell.num_expected,
            cell.standing,
            cell.reason,
            "; ".join(cell.warnings),
        )
        if row.results is None:
            fields[clean(column.slug)] = cell.value
        else:
            fields.update(zip(_names(column), values, strict=True))
    return fields


def _names(column: Column) -> Iterator[str]:
    name = clean(column.slug)
    yield name
    for part in ("ci_low", "ci_high", "n", "n_expected", "standing", "reason", "warnings"):
        yield f"{name}_{part}"
