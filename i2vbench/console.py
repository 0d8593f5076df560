"""What the command line prints: names, notes and errors of others never reach the terminal raw."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from i2vbench.plain_text import one_line, printable


def echo(text: str = "", *, err: bool = False, newline: bool = True) -> None:
    """Prints ``text`` with its line ends, without escapes that a terminal obeys."""
    click.echo(printable(text), err=err, nl=newline)


def shown(path: Path) -> str:
    """``path`` as a user would type it: relative where it lies below the current folder."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        # The current folder has been deleted.
        return os.fspath(path)
    return os.fspath(path.relative_to(here)) if path.is_relative_to(here) else os.fspath(path)


class OneLineFormatter(logging.Formatter):
    """Log lines of one line each, escapes taken out; a traceback keeps its lines."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        text = super().format(record)
        return printable(text) if record.exc_info else one_line(text)
