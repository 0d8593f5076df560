"""Importers: suites that are read from a data set on disk, ``name:PLACE``, with options.

A suite of this kind is written as one text, ``ucf101:/data/UCF-101?num_clips=512&seed=1``: that is
what a run remembers, and what the command line makes of ``-s ucf101:/data/UCF-101 -S seed=1``.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from i2vbench.errors import UserError, did_you_mean
from i2vbench.json_text import parse_json
from i2vbench.plain_text import short_repr
from i2vbench.sample import Suite
from i2vbench.yaml_text import load_yaml

_QUERY = re.compile(r"(.*)\?((?:[A-Za-z_]+=[^&?]*)(?:&[A-Za-z_]+=[^&?]*)*)?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class SuiteOptions:
    """Options of an importer; subclass it with ``@dataclass(frozen=True, kw_only=True)``.

    Each field has a default and a docstring line; ``__post_init__`` raises ValueError for what is
    not accepted. Fields named ``*_file`` and ``*_dir`` are paths.
    """


@dataclass(frozen=True, kw_only=True)
class Importer:
    """How a data set on disk becomes a suite."""

    name: str
    place: str
    """What stands behind the colon, for messages, e.g. ``the folder UCF-101``."""
    options_type: type[SuiteOptions]
    load: Callable[[str, Any], Suite]
    """Takes the place and the options."""
    on_disk: bool = True
    """Whether the place is a path, to be remembered in full."""

    def open(self, place: str, values: Mapping[str, object]) -> Suite:
        """The suite at ``place``, with its source.

        Raises:
            UserError: no place, no such path, an unknown option, a value that is refused, or a
                data set that is not whole.
        """
        if not place:
            raise UserError(
                f"suite {self.name!r} needs {self.place}: {self.name}:PATH, e.g. "
                f"-s {self.name}:data/{self.name}"
            )
        if self.on_disk:
            path = Path(place).expanduser()
            if not path.exists():
                raise UserError(f"suite {self.name}: {path} does not exist; give {self.place}")
            place = str(path.absolute())
        options = self._options(values)
        suite = self.load(place, options)
        return dataclasses.replace(suite, source=write_source(self.name, place, options))

    def _options(self, values: Mapping[str, object]) -> SuiteOptions:
        accepted = [field.name for field in dataclasses.fields(self.options_type)]
        given: dict[str, object] = {}
        for key, value in values.items():
            if key not in accepted:
                raise UserError(
                    f"suite {self.name}: option {key!r} is unknown: {did_you_mean(key, accepted)}"
                )
            is_path = key.endswith(("_file", "_dir")) and value is not None
            given[key] = str(Path(str(value)).expanduser().absolute()) if is_path else value
        try:
            return self.options_type(**given)
        except (TypeError, ValueError) as error:
            raise UserError(f"suite {self.name}: {error}") from error


def split_source(text: str) -> tuple[str, str, dict[str, object]]:
    """The name, the place and the options of ``name:place?key=value&key=value``.

    Values are YAML, %-escapes undone. A '?' that no options follow belongs to the place.

    >>> split_source("ucf101:/data/UCF-101?seed=1")
    ('ucf101', '/data/UCF-101', {'seed': 1})
    """
    name, _, place = text.partition(":")
    values: dict[str, object] = {}
    found = _QUERY.fullmatch(place)
    if found:
        place = found[1]
        for pair in filter(None, (found[2] or "").split("&")):
            key, _, value = pair.partition("=")
            values[key] = _value(text, key, unquote(value))
    return name, place, values


def _value(text: str, key: str, value: str) -> object:
    try:
        # First what write_source writes: YAML reads JSON's pairs of surrogates as two characters.
        return parse_json(value)
    except ValueError:
        # Not written by write_source, or beyond the bounds, which YAML's reader names.
        return load_yaml(value, f"suite {short_repr(text)}: the value of {short_repr(key)}")


def write_source(name: str, place: str, options: SuiteOptions) -> str:
    """The text that :func:`split_source` reads; options at their defaults are left out."""
    pairs = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value != field.default:
            # JSON is YAML, and keeps '1' apart from 1.
            pairs.append(f"{field.name}={quote(json.dumps(value), safe='')}")
    # A place that ends like options gets an empty list of them.
    tail = "?" + "&".join(pairs) if pairs or _QUERY.fullmatch(place) else ""
    return f"{name}:{place}{tail}"


def check_choice(key: str, value: object, accepted: tuple[str, ...]) -> None:
    """Refuses a value that is not of ``accepted``.

    Raises:
        ValueError: names the key, the value and what is accepted.
    """
    if value not in accepted:
        raise ValueError(f"{key} is {short_repr(value)}: {did_you_mean(str(value)[:80], accepted)}")


def check_count(key: str, value: object, least: int = 1) -> None:
    """Refuses what is no whole number of at least ``least``.

    Raises:
        ValueError: names the key and the value.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{key} is {short_repr(value)}; accepted are whole numbers from {least}")


def check_flag(key: str, value: object) -> None:
    """Refuses what is neither true nor false.

    Raises:
        ValueError: names the key and the value.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{key} is {short_repr(value)}; accepted are true and false")
