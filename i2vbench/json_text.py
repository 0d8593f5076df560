"""JSON from outside: whatever is wrong with it is one line."""

from __future__ import annotations

import json
from typing import Any

from i2vbench.errors import UserError
from i2vbench.plain_text import short_repr

MAX_DEPTH = 100
MAX_DIGITS = 300
"""Of an integer; more do not fit a float, and Python prints none of more than 4300."""


def load_json_object(text: str, what: str) -> dict[str, Any]:
    """The object that the text holds.

    Args:
        text: the JSON.
        what: stands first in messages, e.g. ``runs/a/results.json``.

    Raises:
        UserError: as :func:`load_json`, or it holds something else than an object.
    """
    value = load_json(text, what)
    if not isinstance(value, dict):
        raise UserError(f"{what} is {short_repr(value)}, accepted is a JSON object {{...}}")
    return value


def load_json(text: str, what: str) -> Any:  # noqa: ANN401
    """The value that the text holds.

    Raises:
        UserError: not JSON (NaN and Infinity are none), nested more than 100 levels deep, an
            integer of more than 300 digits, or a name that stands twice in one object.
    """
    try:
        value = parse_json(text)
    except ValueError as error:
        raise UserError(f"{what} is not JSON ({error})") from error
    return value


def parse_json(text: str) -> Any:  # noqa: ANN401
    """As :func:`load_json`, for callers that put the file and the line before the reason.

    Raises:
        ValueError: with the reason as one line.
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
