"""JSON from outside: whatever is wrong with it is one line."""

from __future__ import annotations

import json
from typing import Any

from i2vbench.plain_text import short_repr

MAX_DEPTH = 100
MAX_DIGITS = 300
"""Of an integer; more do not fit a float, and Python prints none of more than 4300."""


def parse_json(text: str) -> Any:  # noqa: ANN401
    """The value that the text holds.

    Raises:
        ValueError: not JSON (NaN and Infinity are none), nested more than 100 levels deep, an
            integer of more than 300 digits, or a name that stands twice in one object; the reason
            as one line, before which callers put the file and the line.
    """
    too_deep = f"it is nested more than {MAX_DEPTH} levels deep"
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer
        )
    except RecursionError:
        raise ValueError(too_deep) from None
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise ValueError(too_deep)
        depth += 1
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {short_repr(name)} stands twice")
        found[name] = value
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits):,} digits; accepted are {MAX_DIGITS}")
    return int(digits)
