"""Text that is safe to print: one line, no terminal escapes, whatever object it comes from."""

from __future__ import annotations

import re
import reprlib
import unicodedata

# C0 and C1 controls, line and paragraph separators, direction overrides and half characters.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# What a terminal would take for a command, with its argument: CSI, OSC and the other sequences. One
# whose end is missing loses its beginning only: it must not hide what is printed after it.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"
    r"|\x1b[PX^_][^\x1b\n]*\x1b\\|\x1b[ -/]+[0-~]|\x1b."
)


_MAX_REPR = 80


def _cutter() -> reprlib.Repr:
    cutter = reprlib.Repr()
    cutter.maxlevel = 2
    cutter.maxstring = cutter.maxother = cutter.maxlong = 60
    return cutter


_CUTTER = _cutter()


def one_line(value: object) -> str:
    r"""The text of ``value`` without anything that a terminal obeys, white space folded.

    An object whose ``str()`` fails gives the name of its type.

    >>> one_line("two\nlines \x1b[31mred")
    'two lines red'
    """
    try:
        text = str(value)
    except Exception as error:  # any class may define __str__
        return f"{type(value).__name__} (its text cannot be shown: {type(error).__name__})"
    return " ".join(_UNSAFE.sub(" ", _ESCAPES.sub("", text)).split())


def printable(text: str) -> str:
    """``text`` with its line ends and tabs, without anything else that a terminal obeys."""
    parts = re.split(r"([\n\t])", _ESCAPES.sub("", text))
    return "".join(part if part in "\n\t" else _UNSAFE.sub("", part) for part in parts)


def error_line(error: BaseException) -> str:
    """``Type: first line of its message``.

    >>> error_line(ValueError("no such frame"))
    'ValueError: no such frame'
    """
    try:
        text = str(error)
    except Exception:  # see one_line
        return f"{type(error).__name__}: its text cannot be shown"
    lines = [line for line in text.splitlines() if line.strip()]
    return one_line(f"{type(error).__name__}: {lines[0] if lines else ''}").rstrip(": ")


def short_repr(value: object) -> str:
    """``repr(value)`` as one line of at most 80 characters, the middle or the end left out.

    Only the first items of a list and its first levels are looked at: a value of a file from
    elsewhere may be too large to print.

    >>> short_repr("a cat")
    "'a cat'"
    >>> short_repr(list(range(10**6)))
    '[0, 1, 2, 3, 4, 5, ...]'
    """
    try:
        text = _CUTTER.repr(value)
    except (ValueError, RecursionError, TypeError, AttributeError, LookupError):
        # Python refuses to print an integer of more than 4300 digits, and a class of the name of a
        # built-in one need not be one.
        text = f"<{type(value).__name__} that cannot be printed>"
    return short_line(text, _MAX_REPR)


def short_line(text: str, most: int = 400) -> str:
    r"""The text as one line of at most ``most`` characters, what no terminal shows spelt out.

    >>> short_line("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    """
    cut = text if len(text) <= most else f"{text[: most - 3]}..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def folded(name: str) -> str:
    """``name`` in the form that tells names apart on every file system: NFC, case ignored."""
    return unicodedata.normalize("NFC", name).casefold()
