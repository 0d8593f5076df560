"""CSV as spreadsheets and scripts write it: the cells of each line, and what is wrong by line.

The standard library's reader is either strict, and refuses a blank beside a quote, or not, and
then takes an open quote to the end of the file for one cell. Here blanks beside quotes are passed
over and everything else that is not CSV is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'\s*"?sep=([^\r\n])"?[ ,;\t|]*(?=[\r\n]|\Z)', re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\r|\n")
_LOOKED_AT = 20


class CsvError(ValueError):
    """What is not CSV, and on which line."""

    def __init__(self, line: int, what: str) -> None:
        """Takes the line, from 1, and what is wrong there."""
        super().__init__(what)
        self.line = line


@dataclass(frozen=True, kw_only=True)
class Line:
    """The stripped cells of one record, and the line on which it begins."""

    number: int
    cells: list[str]


def csv_lines(text: str, names: Sequence[str], *, tabs: bool = False) -> Iterator[Line]:
    """The records of the text that have a filled cell; line ends may be LF, CR LF or CR.

    The delimiter is what a first line ``sep=;`` states, as Excel writes it, or the one by which
    the header has most of ``names``, fits the first lines best and has most cells.

    Args:
        text: without a byte order mark.
        names: column names that are expected.
        tabs: whether cells stand between tabs where nothing says otherwise.

    Raises:
        CsvError: an open quote, text behind a closing quote, or a separator that is not accepted.
    """
    stated = _SEPARATOR_LINE.match(text)
    if stated is None:
        yield from _records(text, _delimiter(text, names, tabs), 0, 1)
        return
    if stated[1] not in DELIMITERS:
        raise CsvError(1, f"states the separator {stated[1]!r}; accepted are , ; | and the tab")
    before = len(_LINE_END.findall(text, 0, stated.end()))
    yield from _records(text, stated[1], stated.end(), before + 1)


def _delimiter(text: str, names: Sequence[str], tabs: bool) -> str:
    """A comma within a column's name, or within quotes, must not win over the true separator."""
    best, most = "\t" if tabs else ",", (0, 0, 0)
    for delimiter in (best, *(each for each in DELIMITERS if each != best)):
        lines: list[Line] = []
        try:
            for line in _records(text.lstrip("\r\n"), delimiter, 0, 1):
                lines.append(line)
                if len(lines) > _LOOKED_AT:
                    break
        except CsvError:
            # Either the text is no CSV, which the true reading names, or this is another's quote.
            pass
        if not lines or len(lines[0].cells) < 2:
            continue
        header = lines[0].cells
        known = sum(cell.lower() in names for cell in header)
        fitting = sum(len(line.cells) == len(header) for line in lines[1:])
        if (known, fitting, len(header)) > most:
            best, most = delimiter, (known, fitting, len(header))
    return best


def _records(text: str, delimiter: str, position: int, line: int) -> Iterator[Line]:
    d = re.escape(delimiter)
    # Blanks beside a quote belong to no cell; a tab is a blank only where it separates nothing.
    blank = " " if delimiter == "\t" else r"[ \t]"
    quoted = re.compile(
        rf'{blank}*+"((?>[^"]*+(?:""[^"]*+)*+))"{blank}*+(?={d}|[\r\n]|\Z)', re.DOTALL
    )
    plain = re.compile(rf"[^\r\n{d}]*+")
    cells: list[str] = []
    start = line
    while position < len(text):
        found = quoted.match(text, position)
        if found is not None:
            cells.append(found[1].replace('""', '"').strip())
            line += len(_LINE_END.findall(found[1]))
        else:
            found = plain.match(text, position)
            assert found is not None
            if found[0].lstrip(" \t").startswith('"'):
                raise CsvError(line, _why_not_quoted(text, position))
            cells.append(found[0].strip())
        position = found.end()
        if text.startswith(delimiter, position):
            position += 1
            if position < len(text):
                continue
            cells.append("")
        end = _LINE_END.match(text, position)
        position = end.end() if end else position
        if any(cells):
            yield Line(number=start, cells=cells)
        cells = []
        line += 1
        start = line


def _why_not_quoted(text: str, position: int) -> str:
    opened = text.index('"', position)
    closed = re.compile(r'(?>[^"]*+(?:""[^"]*+)*+)"').match(text, opened + 1)
    if closed is None:
        return "opens a quote that is never closed"
    behind = _LINE_END.split(text[closed.end() : closed.end() + 200])[0].strip()[:20]
    return f"has {behind!r} behind a closing quote; double the quotes within a quoted cell"
