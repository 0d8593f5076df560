"""JSON lines, or one JSON array, as its values with the line of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from i2vbench.json_text import parse_json

_BLANK = re.compile(r"[ \t\r\n]*")
_LINE_END = re.compile(r"\r\n|\r|\n")


def json_values(text: str) -> Iterator[tuple[int, object]]:
    r"""The values of the text with their lines; a ValueError in place of what is not JSON.

    An array, or one value over several lines, is read as a whole; anything else line by line, empty
    lines left out.

    >>> list(json_values('{"a": 1}\n{"a": 2}'))
    [(1, {'a': 1}), (2, {'a': 2})]
    >>> list(json_values('[\n{"a": 1},\n{"a": 2}]'))
    [(2, {'a': 1}), (3, {'a': 2})]
    """
    is_array = text.lstrip().startswith("[")
    try:
        whole = parse_json(text)
    except ValueError as error:
        if is_array:
            yield 1, ValueError(f"{error}, as one array [{{...}}, {{...}}]")
        else:
            yield from _lines(text)
        return
    if isinstance(whole, list):
        yield from zip(_lines_of_items(text), whole, strict=True)
    else:
        yield 1, whole


def _lines(text: str) -> Iterator[tuple[int, object]]:
    # Not splitlines: a prompt may hold U+2028, which JSON does not escape.
    for line, content in enumerate(_LINE_END.split(text), start=1):
        if not content.strip():
            continue
        try:
            yield line, parse_json(content)
        except ValueError as error:
            yield line, error


def _lines_of_items(text: str) -> Iterator[int]:
    """Where the items of an array begin; the text was read before, so that nothing can fail."""
    decoder = json.JSONDecoder()
    position = _after_blanks(text, text.index("[") + 1)
    line = 1 + len(_LINE_END.findall(text, 0, position))
    while text[position] != "]":
        yield line
        _, end = decoder.raw_decode(text, position)
        end = _after_blanks(text, end)
        following = _after_blanks(text, end + 1) if text[end] == "," else end
        line += len(_LINE_END.findall(text, position, following))
        position = following


def _after_blanks(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    assert found is not None
    return found.end()
