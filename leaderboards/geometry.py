"""Notes on the clips behind the scores: their length, size and rate, and which rows differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from i2vbench.results import Results

from .formatting import join_words
from .table import Column, Note, Row

Clips = Mapping[str, Any]

_RATE_METRICS: Final = frozenset({"dynamic_degree", "motion_smoothness", "temporal_flickering"})
"""They compare neighbouring frames: the same motion at another rate is another number."""


def clip_words(run: Results) -> str:
    """``16 frames of 96x64 at 8 fps``, width first; where there are several kinds, all of them."""
    if len(run.geometry) == 1:
        return _words(run.geometry[0])
    return ", ".join(f"{clips['num_clips']} clips of {_words(clips)}" for clips in run.geometry)


def geometry_notes(rows: Sequence[Row], columns: Sequence[Column]) -> list[Note]:
    """Which rows hold mixed clips, and which columns compare clips of different kinds.

    Rows whose clips are not known, such as those of older files, are left out.
    """
    known = [row for row in rows if row.results is not None and row.run.geometry]
    texts = [_mixed(row) for row in known]
    kinds = _grouped(known, lambda row: _kinds(row.run.geometry))
    rates = _grouped(known, lambda row: f"{_rates(row.run.geometry)} fps")
    for groups, metrics, sentence in (
        (kinds, None, "{} compare{} clips of different length, size or rate"),
        (rates, _RATE_METRICS, "{} depend{} on the frame rate, which differs"),
    ):
        labels = _shared(groups, columns, metrics)
        if labels:
            head = sentence.format(join_words(labels), "s" if len(labels) == 1 else "")
            whose = (f"{join_words(r.name for r in same)}: {k}" for k, same in groups.items())
            texts.append(f"{head}. {'; '.join(whose)}.")
    return [Note(kind="geometry", text=text) for text in texts if text]


def _grouped(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _shared(
    groups: Mapping[str, Sequence[Row]],
    columns: Sequence[Column],
    metrics: Collection[str] | None,
) -> list[str]:
    """Labels of the columns where rows of several groups have values; of ``metrics`` if given."""
    labels = []
    for place, column in enumerate(columns):
        filled = [
            any(row.cells[place].value is not None for row in group) for group in groups.values()
        ]
        asked = metrics is None or column.key.metric in metrics
        if asked and not column.is_cost and sum(filled) > 1:
            labels.append(column.label)
    return labels


def _mixed(row: Row) -> str:
    geometry = row.run.geometry
    frames = dict.fromkeys(str(clips["num_frames"]) for clips in geometry)
    sizes = dict.fromkeys(map(_size, geometry))
    parts = [f"{join_words(frames)} frames"] if len(frames) > 1 else []
    if len(sizes) > 1:
        parts.append(f"sizes of {join_words(sizes)}")
    rates = _rates(geometry)
    if " " in rates:
        parts.append(f"rates of {rates} fps")
    return f"{row.name}: clips have {join_words(parts)}." if parts else ""


def _kinds(geometry: Sequence[Clips]) -> str:
    return join_words(dict.fromkeys(map(_words, geometry)))


def _words(clips: Clips) -> str:
    return f"{clips['num_frames']} frames of {_size(clips)} at {clips['fps']:.6g} fps"


def _size(clips: Clips) -> str:
    return f"{clips['width']}x{clips['height']}"


def _rates(geometry: Sequence[Clips]) -> str:
    return join_words(dict.fromkeys(f"{clips['fps']:.6g}" for clips in geometry))
