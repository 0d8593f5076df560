"""Values as they stand in messages: cut, so that a message stays one short line."""

from __future__ import annotations

import reprlib

_MAX_CHARACTERS = 80


def _cutter() -> reprlib.Repr:
    cutter = reprlib.Repr()
    cutter.maxlevel = 2
    cutter.maxstring = cutter.maxother = cutter.maxlong = 60
    return cutter


_CUTTER = _cutter()


def short_repr(value: object) -> str:
    """``repr(value)`` of at most 80 characters, the middle or the end left out.

    Only the first items of a list and its first levels are looked at: a value of a file from
    elsewhere may be too large to print.

    >>> short_repr("a cat")
    "'a cat'"
    >>> short_repr(list(range(10**6)))
    '[0, 1, 2, 3, 4, 5, ...]'
    """
    try:
        text = _CUTTER.repr(value)
    except (ValueError, RecursionError):
        # Python refuses to print an integer of more than 4300 digits.
        text = f"<{type(value).__name__} that is too long to print>"
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 3]}..."


def short_line(text: str, most: int = 400) -> str:
    r"""The text as one line of at most ``most`` characters, what no terminal shows spelt out.

    >>> short_line("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    """
    cut = text if len(text) <= most else f"{text[: most - 3]}..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
