"""A board as LaTeX tables (booktabs), for a paper."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from .board import Board
from .table import BEST, Cell, Column, Row, Table
from .text_grid import wrap_name

_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "%": r"\%",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "†": r"\textdagger{}",
    "·": r"\textperiodcentered{}",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}
# Latin-1 and Latin Extended-A are what T1 fonts hold, but for these (pdfLaTeX stops at them).
_NOT_IN_T1 = frozenset("ĦħĸĿŀŉŦŧſ")
_HEADING_WIDTH = 13


def to_latex(board: Board) -> str:
    """A ``table*`` for each table of the board, best values bold, notes in the caption's place."""
    preamble = "% \\usepackage[T1]{fontenc}, \\usepackage{booktabs}, \\usepackage{graphicx}"
    tables = [_table(table, number) for number, (_, table) in enumerate(board.sections, start=1)]
    return "\n\n".join([preamble, *tables]) + "\n"


def escape(text: str) -> str:
    r"""``text`` as literal LaTeX; a sign that pdfLaTeX has no glyph for becomes its code point.

    >>> escape("50% of a_b 🙂")
    '50\\% of a\\_b [U+1F642]'
    """
    # NFC: pdfLaTeX knows é, but not e with a combining accent.
    signs = "".join(map(_sign, unicodedata.normalize("NFC", text)))
    # TeX would set two hyphens as a dash, which an option's name must not become.
    return re.sub("-(?=-)", "-{}", signs)


def _sign(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    in_t1 = ord(character) < 0x180 and character not in _NOT_IN_T1
    return character if in_t1 else f"[U+{ord(character):04X}]"


def _table(table: Table, number: int) -> str:
    caption = " ".join([f"{table.title}, {', '.join(table.facts)}.", table.ranking_text]).strip()
    body = [
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\label{{tab:i2vbench-{number}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{rl{'r' * len(table.columns)}}}",
        r"\toprule",
        " & ".join(["", table.row_kind_title, *map(_heading, table.columns)]) + r" \\",
        r"\midrule",
    ]
    group = table.rows[0].group
    for row in table.rows:
        if row.group != group:
            body.append(r"\midrule")
            group = row.group
        body.append(_row(row))
    body += [r"\bottomrule", r"\end{tabular}}"]
    legend = [
        (r"\textbf{bold}: " if sign == BEST else f"{escape(sign)}: ") + f"{escape(text)}."
        for sign, text in table.legend
    ]
    notes = [
        (rf"\textsuperscript{{{note.number}}}" if note.number else "") + escape(note.text)
        for note in table.notes
    ]
    if legend or notes:
        body += [r"\par\smallskip", r"\parbox{\linewidth}{\footnotesize"]
        body += [rf"{line}\par" for line in [" ".join(legend), *notes] if line]
        body.append("}")
    return "\n".join([*body, r"\end{table*}"])


def _heading(column: Column) -> str:
    """Title, network and arrow on lines of their own, so that eleven columns fit a page."""
    sign = " ".join(filter(None, ["%" if column.unit == "%" else "", column.arrow]))
    words = " ".join(filter(None, [column.title, sign]))
    lines = [escape(line) for line in wrap_name(words, _HEADING_WIDTH)]
    if column.network:
        lines.append(rf"{{\scriptsize {escape(column.network)}}}")
    return _stack(lines, "[b]{@{}r@{}}")


def _stack(lines: Sequence[str], place: str) -> str:
    inner = r" \\ ".join(lines)
    return rf"\begin{{tabular}}{place}{inner}\end{{tabular}}"


def _row(row: Row) -> str:
    name = escape(row.row_name.model) + (r"\textsuperscript{*}" if row.partial else "")
    if row.tag:
        name += rf" \emph{{({row.tag})}}"
    if row.row_name.details:
        lines = [rf"{{\scriptsize {escape(detail)}}}" for detail in row.row_name.details]
        name = _stack([name, *lines], "[t]{@{}l@{}}")
    rank = "" if row.rank is None else str(row.rank)
    return " & ".join([rank, name, *map(_cell, row.cells)]) + r" \\"


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.value is not None and text.startswith("-"):
        text = f"${text}$"
    if cell.standing == "best":
        text = rf"\textbf{{{text}}}"
    mark = str(cell.footnote) if cell.footnote is not None else escape(cell.mark)
    return text + (rf"\textsuperscript{{{mark}}}" if mark else "")
