"""Options dataclasses filled from text: unknown keys and values of another type are refused."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

from i2vbench.errors import UserError, did_you_mean
from i2vbench.plain_text import one_line, short_repr

# YAML takes 1e-3 for text, since its numbers have a dot.
_EXPONENT = re.compile(r"[+-]?\d+(?:\.\d*)?[eE][+-]?\d+")

Options = TypeVar("Options")


def options_from(kind: type[Options], values: Mapping[str, Any], what: str) -> Options:
    """An instance of the dataclass ``kind`` from ``key: value`` pairs.

    Args:
        kind: the dataclass; a field's annotation says which values it takes.
        values: as YAML or a caller gives them.
        what: whose options they are, for messages.

    Raises:
        UserError: an unknown key, a value of another type, or one that ``__post_init__`` refuses.
    """
    fields = [each.name for each in dataclasses.fields(kind)]  # type: ignore[arg-type]
    hints = _hints(kind)
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            raise UserError(
                f"{what} option {short_repr(key)} is unknown: {did_you_mean(key, fields)}"
            )
        wanted = hints.get(key, Any)
        if isinstance(value, str) and _EXPONENT.fullmatch(value) and not _fits(value, wanted):
            value = float(value)
        if not _fits(value, wanted):
            raise UserError(
                f"{what} option {key}={short_repr(value)} is {_kind_of(value)}; "
                f"accepted: {_described(wanted)}"
            )
        given[key] = value
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        shown = ", ".join(f"{key}={short_repr(value)}" for key, value in given.items())
        raise UserError(f"{what} options {shown or '(none)'}: {one_line(error)}") from error


def _hints(kind: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except (NameError, TypeError, AttributeError):
        # Names that only type checkers see: the values are then checked by __post_init__ alone.
        return {}


def _fits(value: object, wanted: Any) -> bool:  # noqa: ANN401
    """Whether ``value`` is of the annotated type; a type that is not understood takes all."""
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if wanted is None or wanted is type(None):
        return value is None
    if wanted is bool:
        return isinstance(value, bool)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if wanted is str:
        return isinstance(value, str)
    if wanted in (list, tuple) or origin in (list, tuple, Sequence):
        items = parts[:1] if origin in (list, Sequence) or parts[1:] == (...,) else ()
        return isinstance(value, (list, tuple)) and all(
            _fits(each, part) for each in value for part in items
        )
    if wanted is dict or origin in (dict, Mapping):
        return isinstance(value, dict)
    return True


def _kind_of(value: object) -> str:
    names = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
    names |= {list: "a list", dict: "a mapping", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _described(wanted: Any) -> str:  # noqa: ANN401
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (Union, types.UnionType):
        return " or ".join(_described(part) for part in parts)
    if origin is Literal:
        return ", ".join(map(repr, parts))
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    names |= {type(None): "null", list: "a list", tuple: "a list", dict: "a mapping"}
    return names.get(origin or wanted, str(wanted))
