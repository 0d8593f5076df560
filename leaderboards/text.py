"""A board for the terminal: as it is, turned by 90 degrees or in blocks, whichever fits."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from .board import Board
from .table import BEST, Cell, Column, Row, Table
from .text_grid import Item, display_width, grid, wrap_name

BEST_SIGN = "★"
_HEADER_WIDTH = 13
_PRINTED_HEADER_WIDTH = 15
"""AnimateAnything in one piece."""
_FEW_MODELS = 3
"""Up to so many, a metric's line may have room for their intervals."""


def to_text(board: Board, *, width: int = 110, color: bool = False) -> str:
    """The board in lines of at most ``width`` columns, as far as names allow.

    Args:
        board: to print.
        width: columns of the terminal.
        color: whether best values are bold by an ANSI sequence besides their star.
    """
    sections = [_wrap(board.summary, width)] if len(board.sections) > 1 else []
    for heading, table in board.sections:
        sections.append("\n".join(_section(table, heading, width)))
    text = "\n\n".join(sections) + "\n"
    return re.sub(rf"[-.\d]+{BEST_SIGN}", "\x1b[1m\\g<0>\x1b[0m", text) if color else text


def _section(table: Table, title: str, width: int) -> list[str]:
    lines = [_wrap(" · ".join([title, *table.facts]), width)]
    if not table.columns:
        return [*lines, "No metric was scored."]
    if table.ranking_text:
        lines.append(_wrap(table.ranking_text, width))
    lines += ["", *_body(table, width)]
    legend = [f"{BEST_SIGN if sign == BEST else sign} {text}" for sign, text in table.legend]
    notes = [f"{f'[{note.number}]' if note.number else '-'} {note.text}" for note in table.notes]
    if legend or notes:
        lines += ["", *(_wrap(line, width) for line in [*legend, *notes])]
    return lines


def _body(table: Table, width: int) -> list[str]:
    if len(table.rows) == 1 and not table.printed:
        return _card(table, table.rows[0], width)
    layouts = [
        _runs_as_rows(table, range(len(table.columns)), width),
        _metrics_as_rows(table, width),
    ]
    if not table.printed and sum(row.role == "model" for row in table.rows) <= _FEW_MODELS:
        layouts.insert(0, _metrics_as_rows(table, width, intervals=True))
    return next((lines for lines in layouts if _fits(lines, width)), None) or _blocks(table, width)


def _name_width(width: int) -> int:
    """Where names wrap: on a narrow terminal they leave half to the numbers."""
    return min(44, max(16, width // 2 - 4))


def _fits(lines: Sequence[str], width: int) -> bool:
    return all(display_width(line) <= width for line in lines)


def _card(table: Table, row: Row, width: int) -> list[str]:
    """A single run: a line per metric, with interval and count."""
    rows = [
        [
            Item(text=column.heading),
            _item(cell),
            Item(text=cell.interval_text),
            Item(text=f"{cell.num_scored}/{cell.num_expected}" if cell.num_expected else ""),
        ]
        for column, cell in zip(table.columns, row.cells, strict=True)
    ]
    return grid(
        [[_name(row)], ["value"], ["95 % interval"], ["clips"]],
        rows,
        num_left=1,
        name_width=_name_width(width),
    )


def _runs_as_rows(table: Table, places: Sequence[int], width: int) -> list[str]:
    header = [
        [table.row_kind_title],
        *(_header(table.columns[place], _header_width(table)) for place in places),
    ]
    rows = [
        [Item(text=_name(row)), *(_item(row.cells[place]) for place in places)]
        for row in table.rows
    ]
    ranked = any(row.rank is not None for row in table.rows)
    if ranked:
        header.insert(0, ["#"])
        for row, items in zip(table.rows, rows, strict=True):
            items.insert(0, Item(text="" if row.rank is None else str(row.rank)))
    groups = [row.group for row in table.rows]
    rules = {i for i in range(1, len(groups)) if groups[i] != groups[i - 1]}
    return grid(header, rows, num_left=1 + ranked, name_width=_name_width(width), rules=rules)


def _metrics_as_rows(table: Table, width: int, *, intervals: bool = False) -> list[str]:
    header = [[""]]
    for row in table.rows:
        name = _name(row) if row.rank is None else f"{row.rank}. {_name(row)}"
        header.append(wrap_name(name, _header_width(table)))
    rows = [
        [
            Item(text=column.heading),
            *(
                _item(row.cells[place], interval=intervals and row.role == "model")
                for row in table.rows
            ),
        ]
        for place, column in enumerate(table.columns)
    ]
    return grid(header, rows, num_left=1, name_width=_name_width(width))


def _blocks(table: Table, width: int) -> list[str]:
    """Runs as rows, as many metrics at once as fit, the names repeated in each block."""
    lines: list[str] = []
    start = 0
    while start < len(table.columns):
        stop = start + 1
        block = _runs_as_rows(table, range(start, stop), width)
        while stop < len(table.columns):
            wider = _runs_as_rows(table, range(start, stop + 1), width)
            if not _fits(wider, width):
                break
            block, stop = wider, stop + 1
        lines += ([""] if lines else []) + block
        start = stop
    return lines


def _item(cell: Cell, *, interval: bool = False) -> Item:
    if cell.footnote is not None:
        return Item(text=cell.text, mark=f"[{cell.footnote}]")
    mark = BEST_SIGN if cell.standing == "best" else cell.mark
    if interval and cell.interval:
        return Item(text=cell.text, mark=f"{mark or ' '} {cell.interval_text}")
    return Item(text=cell.text, mark=mark)


def _name(row: Row) -> str:
    name = f"{row.name} ({row.tag})" if row.tag else row.name
    return f"{name}*" if row.partial else name


def _header_width(table: Table) -> int:
    return _PRINTED_HEADER_WIDTH if table.printed else _HEADER_WIDTH


def _header(column: Column, width: int) -> list[str]:
    title = column.heading.replace(column.network, " ", 1) if column.network else column.heading
    lines = wrap_name(" ".join(title.split()), width)
    return [*lines, *wrap_name(column.network, width)] if column.network else lines


def _wrap(text: str, width: int) -> str:
    lead = re.match(r"(?:\[\d+\] |[-★†*] )?", text)
    indent = " " * (lead.end() if lead else 0)
    return textwrap.fill(text, width, subsequent_indent=indent, break_on_hyphens=False)
