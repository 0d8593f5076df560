"""A board as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .board import Board
from .table import BEST, Cell, Row, Table

_FEW_ROWS = 3
_SPECIAL = re.compile(r"([\\`*_{}\[\]|~#])")


def to_markdown(board: Board, *, title: str = "Leaderboard") -> str:
    """The board, a section per table, with intervals folded away under each."""
    parts = [f"# {escape(title)}", escape(board.summary)]
    for heading, table in board.sections:
        parts += _section(table, heading)
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    r"""``text`` as literal Markdown inside a table cell.

    >>> escape("a|b <script> *x*")
    'a\\|b &lt;script&gt; \\*x\\*'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text)


def _section(table: Table, heading: str) -> list[str]:
    facts = escape(" · ".join([*table.facts, table.ranking_text]).rstrip(" ·"))
    parts = [f"## {escape(heading)}", facts]
    if not table.columns:
        return [*parts, "No metric was scored."]
    parts.append(_grid(table, [[_value(cell) for cell in row.cells] for row in table.rows]))
    legend = [
        f"{'**bold**' if sign == BEST else escape(sign)} {text}" for sign, text in table.legend
    ]
    if legend:
        parts.append("; ".join(legend) + ".")
    notes = [_note(note.text, note.number) for note in table.notes]
    if notes:
        parts.append("\n".join(notes))
    if not table.printed and any(
        cell.value is not None for row in table.rows for cell in row.cells
    ):
        counts = _grid(table, [[_count(cell) for cell in row.cells] for row in table.rows])
        summary = "<summary>95 % intervals and clips scored</summary>"
        parts += [f"<details>{summary}", counts, "</details>"]
    return parts


def _note(text: str, number: int | None) -> str:
    return f"- {f'<sup>{number}</sup> ' if number else ''}{escape(text)}"


def _grid(table: Table, cells: Sequence[Sequence[str]]) -> str:
    """Runs as rows; metrics as rows where runs are so few that the lines would be short."""
    headings = [escape(column.heading) for column in table.columns]
    names = [_name(row) for row in table.rows]
    if table.printed:
        lines = [[table.row_kind_title, *headings], [":--", *("--:" for _ in headings)]]
        lines += [[name, *texts] for name, texts in zip(names, cells, strict=True)]
    elif len(names) <= _FEW_ROWS:
        lines = [["Metric", *names], [":--", *("--:" for _ in names)]]
        lines += [[heading, *column] for heading, *column in zip(headings, *cells, strict=True)]
    else:
        lines = [["#", "Model", *headings], ["--:", ":--", *("--:" for _ in headings)]]
        for row, name, texts in zip(table.rows, names, cells, strict=True):
            lines.append(["" if row.rank is None else str(row.rank), name, *texts])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _name(row: Row) -> str:
    mark = "\\*" if row.partial else ""
    return f"{escape(row.name)}{mark}" + (f" *({row.tag})*" if row.tag else "")


def _value(cell: Cell) -> str:
    text = f"{cell.text}{escape(cell.mark)}"
    if cell.footnote is not None:
        text += f"<sup>{cell.footnote}</sup>"
    return f"**{text}**" if cell.standing == "best" else text


def _count(cell: Cell) -> str:
    if cell.value is None:
        return cell.text
    if not cell.num_expected:
        return ""
    count = f"n={cell.num_scored}" + (f" of {cell.num_expected}" if cell.partial else "")
    return f"{escape(cell.interval_text)} {count}".strip()
