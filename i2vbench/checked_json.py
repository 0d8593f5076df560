"""JSON files of others, checked against the annotations of a dataclass before they are believed.

Whatever a file holds, it becomes the dataclass or one line that names the field, what it is and
what was expected. Annotations say types; :class:`AtLeast`, :class:`OneOf` and :class:`Keys` inside
``Annotated`` say ranges.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from i2vbench.errors import UserError, did_you_mean

MAX_MIB: Final = 16
"""Larger files are refused: a result of thousands of categories has less than one."""
MAX_DEPTH: Final = 32
"""Of lists and objects inside each other, where any JSON value is accepted."""
_INT64: Final = 2**63
_PLAIN: Final = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}

T = TypeVar("T")


class FieldError(ValueError):
    """A field is not what its annotation says; the text names it."""


@dataclass(frozen=True)
class AtLeast:
    """The number is not smaller."""

    least: int


@dataclass(frozen=True)
class OneOf:
    """The text is one of these."""

    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What an object holds; further keys may hold any JSON value."""

    required: Mapping[str, Any]
    """Key -> annotation."""
    optional: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read_json(file: Path) -> Any:  # noqa: ANN401
    """The content of ``file``; NaN and infinities come back as floats.

    Raises:
        UserError: it cannot be read, is larger than :data:`MAX_MIB`, or is not JSON.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_MIB * 2**20 + 1)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > MAX_MIB * 2**20:
        raise UserError(f"{file} is larger than {MAX_MIB} MiB, accepted: at most {MAX_MIB} MiB")
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise UserError(f"{file} is not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        # JSONDecodeError, UnicodeDecodeError, or a number of more than 4300 digits.
        raise UserError(f"{file} is not JSON: {error}") from error


def build(cls: type[T], data: object, where: str = "") -> T:
    """The dataclass ``cls`` of JSON object ``data``, each field checked against its annotation.

    Args:
        cls: of keyword-only fields; those with a default may be missing.
        data: what :func:`read_json` gave.
        where: path of the object in its file, for messages; empty for the whole.

    Raises:
        FieldError: a field is missing, unknown, or of another type or range.
    """
    if not isinstance(data, dict):
        raise _unexpected(data, where or "the file", "an object")
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    names = {field.name for field in fields}
    for key in data:
        if key not in names:
            raise FieldError(
                f"{_join(where, key)} is no field of this schema: {did_you_mean(key, names)}"
            )
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    _refuse_missing(data, required, where)
    hints = get_type_hints(cls, include_extras=True)
    return cls(**{key: _checked(item, hints[key], _join(where, key)) for key, item in data.items()})


def _refuse_missing(data: Mapping[str, object], required: Sequence[str], where: str) -> None:
    for key in required:
        if key not in data:
            raise FieldError(f"{_join(where, key)} is missing")


def _checked(value: object, expected: Any, where: str) -> Any:  # noqa: ANN401
    """``value`` as annotation ``expected`` has it: lists become tuples, whole numbers floats."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is Annotated:
        inner, *limits = arguments
        result = _checked(value, inner, where)
        for limit in limits:
            result = _within(result, limit, where)
        return result
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        others = [argument for argument in arguments if argument is not type(None)]
        assert len(others) == 1, f"{expected}: of a union, one type and None can be checked"
        try:
            return _checked(value, others[0], where)
        except FieldError as error:
            # Inside of a list or object, null is no way out.
            if not str(error).startswith(f"{where} is "):
                raise
            raise _unexpected(value, where, _words(expected)) from error
    if origin is tuple:
        return tuple(_checked_list(value, arguments, where))
    if origin is list:
        return _checked_list(value, (arguments[0], ...), where)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _unexpected(value, where, "an object")
        return {k: _checked(item, arguments[1], _join(where, k)) for k, item in value.items()}
    if expected is Any:
        return _any_json(value, where, 0)
    if dataclasses.is_dataclass(expected):
        return build(expected, value, where)  # type: ignore[arg-type]
    return _plain(value, expected, where)


def _checked_list(value: object, arguments: tuple[Any, ...], where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _unexpected(value, where, "a list")
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    elif len(value) != len(arguments):
        raise _unexpected(value, where, f"a list of {len(arguments)}")
    return [
        _checked(item, argument, f"{where}[{place}]")
        for place, (item, argument) in enumerate(zip(value, arguments, strict=True))
    ]


def _plain(value: object, expected: type, where: str) -> object:
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise _unexpected(value, where, "a finite number")
        return number
    # A bool is an int to Python, not to JSON.
    if type(value) is not expected:
        raise _unexpected(value, where, _words(expected))
    if isinstance(value, int) and abs(value) >= _INT64:
        raise _unexpected(value, where, "a whole number of at most 64 bits")
    return value


def _within(value: Any, limit: object, where: str) -> Any:  # noqa: ANN401
    if value is None:
        return None
    if isinstance(limit, AtLeast) and value < limit.least:
        raise _unexpected(value, where, f"a number from {limit.least}")
    if isinstance(limit, OneOf) and value not in limit.texts:
        raise _unexpected(value, where, f"one of {', '.join(limit.texts)}")
    if isinstance(limit, Keys):
        _refuse_missing(value, list(limit.required), where)
        annotations = {**limit.optional, **limit.required}
        return {
            key: _checked(item, annotations.get(key, Any), _join(where, key))
            for key, item in value.items()
        }
    return value


def _any_json(value: object, where: str, depth: int) -> object:
    """``value``, if what walks through it later can: finite numbers, and not nested too deeply."""
    if depth > MAX_DEPTH:
        raise FieldError(f"{where} is nested deeper than {MAX_DEPTH} levels, which is the most")
    if isinstance(value, float) and not math.isfinite(value):
        raise _unexpected(value, where, "a finite number")
    if isinstance(value, dict):
        for key, item in value.items():
            _any_json(item, _join(where, key), depth + 1)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _any_json(item, f"{where}[{place}]", depth + 1)
    return value


def _words(expected: Any) -> str:  # noqa: ANN401
    """What annotation ``expected`` asks for, in English."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is Annotated:
        return _words(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(map(_words, arguments))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}"
    if origin in (tuple, list):
        return "a list"
    return _PLAIN.get(expected, "an object")


def _join(where: str, key: str) -> str:
    # A key of a foreign file may hold anything, terminal escapes too.
    name = key if key.isidentifier() and key.isascii() else json.dumps(_cut(key))
    return f"{where}.{name}" if where else name


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}..."


def _unexpected(value: object, where: str, expected: str) -> FieldError:
    if isinstance(value, dict):
        shown = f"an object of {len(value)} keys" if value else "{}"
    elif isinstance(value, list):
        shown = f"a list of {len(value)}" if value else "[]"
    else:
        shown = _cut(json.dumps(_cut(value) if isinstance(value, str) else value))
    return FieldError(f"{where} is {shown}, {expected} was expected")
