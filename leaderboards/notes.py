"""The lines under a table: what is missing, partial, doubtful, and how to read it."""

from __future__ import annotations

from collections.abc import Sequence

from i2vbench.results import Results

from .columns import Scores
from .comparability import TableKey, column_differences, view_words
from .formatting import clean, join_words
from .geometry import geometry_notes
from .table import Column, Note, Row


def failure_words(run: Results) -> str:
    """How many takes failed, or were not asked for; empty where none is missing."""
    expected = run.counts.get("expected", 0)
    there = run.counts.get("ok", 0) + run.counts.get("skipped", 0)
    failed = f"{expected - there} of {expected} takes failed" if there < expected else ""
    asked = run.suite.get("num_takes")
    fewer = isinstance(asked, int) and run.num_takes < asked
    takes = f"{run.num_takes} of the suite's {asked} takes per sample" if fewer else ""
    return "; ".join(filter(None, [failed, takes]))


def _skipped_words(run: Results) -> str:
    skipped = run.counts.get("skipped", 0)
    return f"{skipped} takes skipped" if skipped else ""


def missing_notes(scores: Sequence[Scores], columns: Sequence[Column]) -> list[Note]:
    """A numbered note for each reason why a score is missing; a profile may always be."""
    texts: dict[str, None] = {}
    for column in columns:
        if column.is_cost:
            continue
        for run_scores in scores:
            reason = run_scores.find(column).reason
            if reason:
                texts[f"{column.label}: {reason}"] = None
    return [
        Note(kind="missing", text=text, number=number) for number, text in enumerate(texts, start=1)
    ]


def table_notes(
    key: TableKey, columns: Sequence[Column], rows: Sequence[Row], footnotes: Sequence[Note]
) -> list[Note]:
    """All notes of a table but the one on why it stands apart, in reading order."""
    notes = []
    if key.is_view:
        notes.append(
            Note(kind="limit", text=f"A quick look at {view_words(key)}: no row is ranked.")
        )
    return [
        *notes,
        *_column_notes(columns),
        *geometry_notes(rows, columns),
        *footnotes,
        *_partial_notes(rows, columns),
        *_warning_notes(rows, columns),
        *_baseline_notes(rows, columns),
        *_model_notes(rows),
    ]


def _column_notes(columns: Sequence[Column]) -> list[Note]:
    by_metric: dict[str, list[Column]] = {}
    for column in columns:
        by_metric.setdefault(column.key.metric, []).append(column)
    notes = []
    for variants in by_metric.values():
        if len(variants) > 1:
            keys = [column.key for column in variants]
            labels = [column.written_label for column in variants]
            names = join_words(column.label for column in variants)
            why = join_words(
                ["device, precision or batch size differ"]
                if variants[0].is_cost
                else column_differences(keys, labels)
            )
            notes.append(Note(kind="columns", text=f"{names} are never ranked together: {why}."))
    return notes


def _partial_notes(rows: Sequence[Row], columns: Sequence[Column]) -> list[Note]:
    notes = []
    for row in rows:
        parts = [failure_words(row.run), _skipped_words(row.run)]
        by_count: dict[str, list[str]] = {}
        for cell, column in zip(row.cells, columns, strict=True):
            if cell.partial:
                count = f"{cell.num_scored} of {cell.num_expected} clips"
                by_count.setdefault(count, []).append(column.label)
        num_values = sum(
            cell.value is not None and not column.is_cost
            for cell, column in zip(row.cells, columns, strict=True)
        )
        for count, labels in by_count.items():
            where = "every score" if len(labels) == num_values > 1 else join_words(labels)
            parts.append(f"{count} in {where}")
        if any(parts):
            notes.append(
                Note(
                    kind="partial", text=f"{row.name} is partial: {'; '.join(filter(None, parts))}."
                )
            )
    return notes


def _warning_notes(rows: Sequence[Row], columns: Sequence[Column]) -> list[Note]:
    notes = []
    for place, column in enumerate(columns):
        names: dict[str, list[str]] = {}
        for row in rows:
            for warning in dict.fromkeys(row.cells[place].warnings):
                names.setdefault(warning, []).append(row.name)
        num_values = sum(row.cells[place].value is not None for row in rows)
        for warning, rows_with_it in names.items():
            whose = "" if len(rows_with_it) == num_values else f" ({join_words(rows_with_it)})"
            notes.append(Note(kind="warning", text=f"{column.label}{whose}: {warning}"))
    return notes


def _baseline_notes(rows: Sequence[Row], columns: Sequence[Column]) -> list[Note]:
    """Where a still picture wins: what the metric rewards there is that nothing moves."""
    beaten = []
    for place, column in enumerate(columns):
        if column.is_cost:
            continue
        sign = 1.0 if column.higher_is_better else -1.0
        models, still = (
            [sign * value for row in rows if row.role == role for value in _values(row, place)]
            for role in ("model", "baseline")
        )
        if column.higher_is_better is not None and models and still and max(still) > max(models):
            beaten.append(column.heading)
    if not beaten:
        return []
    return [
        Note(
            kind="baseline",
            text=f"A still picture (static) beats every model here in {join_words(beaten)}: "
            "such a score says little without one that asks for motion.",
        )
    ]


def _values(row: Row, place: int) -> list[float]:
    """The row's complete value in a column, if it has one."""
    cell = row.cells[place]
    return [] if cell.value is None or cell.partial else [cell.value]


def _model_notes(rows: Sequence[Row]) -> list[Note]:
    names: dict[str, list[str]] = {}
    for row in rows:
        for note in row.run.model.get("notes") or ():
            names.setdefault(clean(note), []).append(row.name)
    return [
        Note(kind="model", text=f"{join_words(dict.fromkeys(whose))}: {note}")
        for note, whose in names.items()
        if note
    ]
