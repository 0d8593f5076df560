"""Options dataclasses filled from text: unknown keys and values of another type are refused."""

from __future__ import annotations

import dataclasses
import numbers
import re
import sys
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, Union

from i2vbench.errors import UserError, did_you_mean
from i2vbench.plain_text import error_line, one_line, short_repr

# YAML takes 1e-3 for text, since its numbers have a dot.
_EXPONENT = re.compile(r"[+-]?\d+(?:\.\d*)?[eE][+-]?\d+")
_REFUSED: Final = object()

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
    # A field that the constructor does not take is no option.
    fields = [each.name for each in dataclasses.fields(kind) if each.init]  # type: ignore[arg-type]
    hints = _hints(kind)
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            raise UserError(
                f"{what} option {short_repr(key)} is unknown: {did_you_mean(str(key), fields)}"
            )
        wanted = hints.get(key, Any)
        taken = _taken(value, wanted)
        if taken is _REFUSED and isinstance(value, str) and _EXPONENT.fullmatch(value):
            taken = _taken(float(value), wanted)
        if taken is _REFUSED:
            raise UserError(
                f"{what} option {key}={short_repr(value)} is {_kind_of(value)}; "
                f"accepted: {_described(wanted)}"
            )
        given[key] = taken
    try:
        return kind(**given)
    except (Exception, SystemExit) as error:  # whatever an author's __post_init__ raises
        shown = ", ".join(f"{key}={short_repr(value)}" for key, value in given.items())
        speaks = isinstance(error, (TypeError, ValueError)) and str(error)
        why = one_line(error) if speaks else error_line(error)
        raise UserError(f"{what} options {shown or '(none)'}: {why}") from error


def _hints(kind: type) -> dict[str, Any]:
    """Field -> type. A name that only type checkers see costs the check of its own field."""
    found: dict[str, Any] = {}
    for each in reversed(kind.__mro__):
        names = {**getattr(sys.modules.get(each.__module__), "__dict__", {}), **vars(each)}
        for field, annotation in vars(each).get("__annotations__", {}).items():
            one = types.SimpleNamespace(__annotations__={field: annotation})
            try:
                found |= typing.get_type_hints(one, names)
            except (NameError, TypeError, AttributeError, SyntaxError):
                found[field] = Any
    return found


def _taken(value: Any, wanted: Any) -> Any:  # noqa: ANN401
    """``value`` as the annotated type has it; ``_REFUSED`` where it is of another.

    A whole number becomes the float that a field of numbers holds, so that 1 and 1.0 are one run; a
    list the tuple and a text the path that the field is annotated with. A type that is not
    understood takes all.
    """
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (Union, types.UnionType):
        # First as it is: 3 stays 3 in `float | int`.
        tried = [_taken(value, part) for part in parts]
        same = [each for each in tried if each is not _REFUSED and type(each) is type(value)]
        return next(iter(same), next((each for each in tried if each is not _REFUSED), _REFUSED))
    if origin is Literal:
        fits = any(value == part and type(value) is type(part) for part in parts)
        return value if fits else _REFUSED
    if wanted in (list, tuple) or origin in (list, tuple, Sequence):
        return _taken_items(value, wanted if origin is None else origin, parts)
    plain = _PLAIN.get(origin or wanted) if isinstance(origin or wanted, Hashable) else None
    return value if plain is None else plain(value)


def _taken_items(value: Any, kind: type, parts: tuple[Any, ...]) -> Any:  # noqa: ANN401
    if not isinstance(value, (list, tuple)):
        return _REFUSED
    if kind is tuple and parts and parts[1:] != (...,):
        each_wanted = () if parts == ((),) else parts
    else:
        each_wanted = (parts[0] if parts else Any,) * len(value)
    if len(each_wanted) != len(value):
        return _REFUSED
    items = [_taken(item, part) for item, part in zip(value, each_wanted, strict=True)]
    if any(item is _REFUSED for item in items):
        return _REFUSED
    return tuple(items) if kind is tuple or isinstance(value, tuple) else items


def _number(value: Any, *, whole: bool) -> Any:  # noqa: ANN401
    """Numbers of Python, numpy, torch and ``fractions``; no truth values."""
    if type(value).__module__ == "torch" and getattr(value, "ndim", 1) == 0:
        value = value.item()
    kind: Any = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool) or not isinstance(value, kind):
        return _REFUSED
    try:
        return int(value) if whole else float(value)
    except OverflowError:
        return _REFUSED


def _truth(value: Any) -> Any:  # noqa: ANN401
    is_numpy = type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")
    return bool(value) if isinstance(value, bool) or is_numpy else _REFUSED


def _of(*kinds: type) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, kinds) else _REFUSED


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    bool: _truth,
    int: lambda value: _number(value, whole=True),
    float: lambda value: _number(value, whole=False),
    str: _of(str),
    None: _of(type(None)),
    type(None): _of(type(None)),
    dict: _of(dict),
    Mapping: _of(Mapping),
    Path: lambda value: Path(value) if isinstance(value, (str, Path)) else _REFUSED,
}


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
    kind = origin or wanted
    if kind in (list, tuple, Sequence):
        if not parts or parts == ((),):
            return "a list"
        if kind is tuple and parts[1:] != (...,):
            return f"a list of {len(parts)}: {', '.join(map(_described, parts))}"
        return f"a list, each {_described(parts[0])}"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    names |= {type(None): "null", dict: "a mapping", Mapping: "a mapping", Path: "a path"}
    return names.get(kind, str(wanted))
