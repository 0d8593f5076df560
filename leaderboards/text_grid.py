"""Aligned columns for a terminal: names left and wrapped, numbers right with their marks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

GAP = "  "
# Behind these a long name may go on in the next line; an arrow stays with its word.
_PIECES = re.compile(r"(?:[^\s_\-/,=]|\s(?=[↑↓%]))*(?:[_\-/,=]+|\s+|$)")


@dataclass(frozen=True, kw_only=True)
class Item:
    """A cell: what is aligned, and the sign behind it that is not."""

    text: str
    mark: str = ""


def display_width(text: str) -> int:
    """Terminal columns of ``text``: two for wide signs (CJK, emoji), none for combining ones.

    >>> display_width("abc"), display_width("日本"), display_width("é")
    (3, 4, 1)
    """
    columns = 0
    for character in text:
        if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Me"}:
            continue
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return columns


def wrap_name(text: str, width: int) -> list[str]:
    """``text`` in lines of ``width`` columns, broken at spaces and behind ``_ - / , =``.

    >>> wrap_name("subject_consistency ↑", 13)
    ['subject_', 'consistency ↑']
    """
    lines = [""]
    for piece in _PIECES.findall(text):
        if lines[-1] and display_width(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        for character in piece:
            if character.strip() and display_width(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return [line.rstrip() for line in lines if line.strip()] or [""]


def grid(
    header: Sequence[Sequence[str]],
    rows: Sequence[Sequence[Item]],
    *,
    num_left: int,
    name_width: int,
    rules: Collection[int] = (),
) -> list[str]:
    """The lines of a grid.

    Args:
        header: lines of each column's title; they stand on the rule under them.
        rows: an item per column.
        num_left: how many columns, from the first, are names.
        name_width: where names are wrapped.
        rules: rows that get a rule above them.
    """
    columns = [[row[place] for row in rows] for place in range(len(header))]
    cells = [
        _names(column, name_width) if i < num_left else _numbers(column)
        for i, column in enumerate(columns)
    ]
    widths = [
        max(map(display_width, [*title, *(line for cell in column for line in cell)]), default=0)
        for title, column in zip(header, cells, strict=True)
    ]
    height = max(map(len, header))
    titles = [[""] * (height - len(title)) + list(title) for title in header]
    rule = "─" * (sum(widths) + len(GAP) * (len(widths) - 1))
    lines = [*_lines(titles, widths, num_left), rule]
    for number in range(len(rows)):
        if number in rules:
            lines.append(rule)
        lines += _lines([column[number] for column in cells], widths, num_left)
    return lines


def _names(column: Sequence[Item], width: int) -> list[list[str]]:
    return [wrap_name(item.text + item.mark, width) for item in column]


def _numbers(column: Sequence[Item]) -> list[list[str]]:
    """Each number with room for the longest mark of the column, so that digits align."""
    room = max(display_width(item.mark) for item in column)
    return [[item.text + item.mark + " " * (room - display_width(item.mark))] for item in column]


def _lines(cells: Sequence[Sequence[str]], widths: Sequence[int], num_left: int) -> list[str]:
    lines = []
    for level in range(max(map(len, cells))):
        parts = []
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            part = cell[level] if level < len(cell) else ""
            space = " " * (width - display_width(part))
            parts.append(part + space if place < num_left else space + part)
        lines.append(GAP.join(parts).rstrip())
    return lines
