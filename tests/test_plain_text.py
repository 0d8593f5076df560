from __future__ import annotations

import time

import pytest

from i2vbench.plain_text import short_line, short_repr


def deep(levels: int) -> list[object]:
    value: list[object] = []
    for _ in range(levels):
        value = [value] * 10
    return value


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, [1] * 10**6, deep(50), 10**10_000, {"k" * 500: "v" * 500}, b"\0" * 999],
    ids=("text", "list", "deep", "integer", "mapping", "bytes"),
)
def test_it_is_short_whatever_the_value_is(value: object) -> None:
    began = time.perf_counter()
    assert len(short_repr(value)) <= 80
    assert time.perf_counter() - began < 1


def test_short_values_are_whole() -> None:
    for value in ("a cat", 3, [1, "b"], {"a": None}, None, "line\nbreak"):
        assert short_repr(value) == repr(value)


def test_a_line_is_one_line_and_short() -> None:
    assert short_line("a\x1b[2Jb\nc\u2028\udce9") == "a\\x1b[2Jb\\nc\\u2028\\udce9"
    assert short_line("naïve 🦊") == "naïve 🦊"
    assert short_line("x" * 999, 10) == "xxxxxxx..."
