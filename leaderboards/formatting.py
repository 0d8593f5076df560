"""How numbers and names are printed, the same in every format."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

MISSING = "–"
ARROWS: dict[bool | None, str] = {True: "↑", False: "↓", None: ""}

_FIXED_DECIMALS = {"cosine": 4, "%": 2}
_HUGE = 1e12
"""From here on a number is printed with its exponent: no table has room for its digits."""
# Direction marks and what no font draws can make one name look like another. The joiners of emoji
# and Persian (U+200C and U+200D) stay.
_DROPPED = {
    *(0x00AD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
}


def clean(text: object) -> str:
    r"""``text`` on one line, without control characters, terminal escapes and direction marks.

    >>> clean("two\nlines \x1b[1m")
    'two lines [1m'
    """
    kept = (
        " " if character.isspace() else character
        for character in str(text)
        if character.isspace()
        or (unicodedata.category(character) not in {"Cc", "Cs"} and ord(character) not in _DROPPED)
    )
    return " ".join("".join(kept).split())


def decimals_for(values: Iterable[float], unit: str = "") -> int:
    """How many decimals a column prints, so that all of its rows align.

    Cosines have four and percentages two; else the largest value decides: one decimal from 100 on
    (FVD), two from 10 on, three above 1, four below, and four significant digits under 0.01.

    >>> decimals_for([812.25, 3.5]), decimals_for([0.93, 1.0]), decimals_for([0.00123])
    (1, 4, 6)
    >>> decimals_for([4e-8])
    1
    """
    if unit in _FIXED_DECIMALS:
        return _FIXED_DECIMALS[unit]
    largest = max((abs(value) for value in values), default=0.0)
    # A distance between equal sets comes out as 1e-7 or so, not as 0.
    if largest < 1e-6:
        return 1
    # A similarity of 1 may come out as 1.0000001.
    for bound, decimals in ((99.95, 1), (9.995, 2), (1.0005, 3), (0.01, 4)):
        if largest >= bound:
            return decimals
    return min(3 - math.floor(math.log10(largest)), 6)


def format_value(value: float | None, decimals: int) -> str:
    """The number with ``decimals`` decimals, a dash for None, never ``-0.0``.

    >>> format_value(-0.00001, 4), format_value(None, 2)
    ('0.0000', '–')
    """
    if value is None:
        return MISSING
    if abs(value) >= _HUGE:
        return f"{value:.3e}"
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def format_interval(interval: tuple[float, float] | None, decimals: int) -> str:
    """``[low, high]``; empty without an interval.

    >>> format_interval((1.25, 2.0), 1)
    '[1.2, 2.0]'
    """
    if interval is None:
        return ""
    return f"[{format_value(interval[0], decimals)}, {format_value(interval[1], decimals)}]"


def join_words(words: Iterable[str]) -> str:
    """An English list.

    >>> join_words(["a", "b", "c"])
    'a, b and c'
    """
    *head, last = list(words)
    return f"{', '.join(head)} and {last}" if head else last


def finite(value: float | None) -> float | None:
    """``value``, or None for NaN and infinities, which a foreign file may hold."""
    return value if value is not None and math.isfinite(value) else None


def without_nan(value: Any) -> Any:  # noqa: ANN401
    """JSON value ``value`` with null for NaN and infinities, nested ones included.

    >>> without_nan({"a": [1.0, float("inf")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value
