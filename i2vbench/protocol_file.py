"""Reads a protocol from YAML; every unknown key is an error that names the nearest."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from i2vbench.errors import UserError, did_you_mean
from i2vbench.plain_text import short_repr
from i2vbench.protocol import MetricChoice, Normalisation, Protocol, Totals
from i2vbench.video_io import READERS
from i2vbench.yaml_text import load_yaml

_TOP = frozenset(
    (
        "name",
        "version",
        "source",
        "notes",
        "num_frames",
        "reader",
        "sampling",
        "metrics",
        "totals",
    )
)
_CHOICE = frozenset(f.name for f in dataclasses.fields(MetricChoice))


def read_protocol(path: Path) -> Protocol:
    """The protocol that a YAML file holds.

    Raises:
        UserError: no such file, not YAML, an unknown or missing key, or a value of the wrong type.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"protocol {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"protocol {path} is not UTF-8 (byte {error.start})") from error
    return parse_protocol(load_yaml(text, f"protocol {path}"), str(path))


def parse_protocol(data: object, where: str) -> Protocol:
    """The protocol of what the YAML of the file ``where`` says.

    Raises:
        UserError: an unknown or missing key, or a value of the wrong type.
    """
    top = _mapping(data, where)
    _check_keys(top, _TOP, {"name", "version", "source", "metrics"}, where)
    wanted = _mapping(top["metrics"], f"{where}: metrics")
    choices = {
        _text(name, where): _choice(value, f"{where}: metrics.{name}")
        for name, value in wanted.items()
    }
    num_frames = top.get("num_frames")
    if num_frames is not None and (type(num_frames) is not int or num_frames < 1):
        raise UserError(
            f"{where}: num_frames is {short_repr(num_frames)}, must be a whole number from 1"
        )
    totals = top.get("totals")
    protocol = Protocol(
        name=_text(top["name"], f"{where}: name"),
        version=_text(top["version"], f"{where}: version"),
        source=_text(top["source"], f"{where}: source"),
        metrics=tuple(choices),
        choices={name: choice for name, choice in choices.items() if choice != MetricChoice()},
        num_frames=num_frames,
        reader=_reader(top.get("reader", "pyav"), where),
        sampling=_mapping(top.get("sampling", {}), f"{where}: sampling"),
        totals=None if totals is None else _totals(totals, f"{where}: totals"),
        notes=_texts(top.get("notes", []), f"{where}: notes"),
    )
    if protocol.totals:
        for names in (*protocol.totals.groups.values(), tuple(protocol.totals.dimensions)):
            for name in names:
                if name not in choices:
                    raise UserError(f"{where}: totals name {name!r}: {did_you_mean(name, choices)}")
    return protocol


def _reader(value: object, where: str) -> str:
    if value not in READERS:
        raise UserError(f"{where}: reader is {short_repr(value)}; accepted: {', '.join(READERS)}")
    return str(value)


def _choice(value: object, where: str) -> MetricChoice:
    fields = _mapping({} if value is None else value, where)
    _check_keys(fields, _CHOICE, set(), where)
    given: dict[str, Any] = {
        key: _text(fields[key], f"{where}.{key}")
        for key in ("dimension", "label", "source", "unavailable")
        if key in fields
    }
    for key in ("extractors", "not_on"):
        if key in fields:
            given[key] = _texts(fields[key], f"{where}.{key}")
    return MetricChoice(**given, options=_mapping(fields.get("options", {}), f"{where}.options"))


def _totals(value: object, where: str) -> Totals:
    fields = _mapping(value, where)
    _check_keys(
        fields, {"source", "groups", "dimensions"}, {*fields, "groups", "dimensions"}, where
    )
    dimensions = {}
    for name, constants in _mapping(fields["dimensions"], f"{where}.dimensions").items():
        place = f"{where}.dimensions.{name}"
        numbers = _mapping(constants, place)
        keys = {"low", "high", "weight"}
        _check_keys(numbers, keys, keys, place)
        for key, number in numbers.items():
            if type(number) not in (int, float) or not abs(number) < math.inf:
                raise UserError(f"{place}.{key} is {short_repr(number)}, must be a number")
        if not numbers["low"] < numbers["high"] or not numbers["weight"] > 0:
            raise UserError(
                f"{place}: low must be below high and weight above 0, got {short_repr(numbers)}"
            )
        dimensions[name] = Normalisation(**{k: float(v) for k, v in numbers.items()})
    groups = {
        title: _texts(names, f"{where}.groups.{title}")
        for title, names in _mapping(fields["groups"], f"{where}.groups").items()
    }
    for title, names in groups.items():
        for name in names:
            if name not in dimensions:
                raise UserError(
                    f"{where}.groups.{title}: {name!r} has no constants: "
                    f"{did_you_mean(name, dimensions)}"
                )
    source = _text(fields.get("source", ""), f"{where}.source")
    return Totals(source=source, groups=groups, dimensions=dimensions)


def _check_keys(
    given: Mapping[str, Any], accepted: set[str] | frozenset[str], needed: set[str], where: str
) -> None:
    for key in given:
        if key not in accepted:
            raise UserError(
                f"{where}: key {short_repr(key)} is unknown: {did_you_mean(key[:80], accepted)}"
            )
    missing = sorted(needed - set(given))
    if missing:
        raise UserError(f"{where}: {', '.join(missing)} is missing")


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(f"{where} is {short_repr(value)}, must be a mapping of names")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where} is {short_repr(value)}, must be text (quote it)")
    return " ".join(value.split())


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UserError(f"{where} is {short_repr(value)}, must be a list of texts")
    return tuple(_text(each, where) for each in value)
