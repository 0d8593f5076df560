from __future__ import annotations

import time

import pytest

from i2vbench.plain_text import error_line, folded, one_line, printable, short_line, short_repr


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


HOSTILE = {
    "two lines": ("two\nlines\r\nand\ttab", "two lines and tab"),
    "colour": ("a \x1b[31;1mred\x1b[0m b", "a red b"),
    "cursor": ("a\x1b[2J\x1b[Hb", "ab"),
    "title": ("a\x1b]0;title\x07b\x1b]2;title\x1b\\c", "abc"),
    "open title": ("a\x1b]0;what follows is shown", "a0;what follows is shown"),
    "link": ("\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\", "text"),
    "device control": ("a\x1bPq#0\x1b\\b", "ab"),
    "open device control": ("a\x1bPshown", "ashown"),
    "character set": ("a\x1b(Bb", "ab"),
    "reset": ("a\x1bcb", "ab"),
    "split": ("a\x1b\x1b[31m[31mb", "a[31m[31mb"),
    "last": ("a\x1b", "a"),
    "8-bit": ("a\x9b31mb", "a 31mb"),
    "bell": ("a\x07\x08b", "a b"),
    "directions": ("a\u202eb\u2066c\u200fd\u061ce", "a b c d e"),
    "separators": ("a\u2028b\u2029c\x85d", "a b c d"),
    "half": ("a\ud800b", "a b"),
    "plain": ("naïve 🦊 [31m", "naïve 🦊 [31m"),
    "empty": ("", ""),
}


class SilentError(Exception):
    def __str__(self) -> str:
        raise KeyError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(("text", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_no_face_obeys_what_a_text_orders(text: str, expected: str) -> None:
    assert one_line(text) == expected
    assert error_line(ValueError(f"x{text}")).startswith("ValueError: x")
    for shown in (one_line(text), error_line(ValueError(text)), short_repr(text), short_line(text)):
        assert all(c.isprintable() for c in shown)
    kept = printable(text)
    assert all(c.isprintable() or c in "\n\t" for c in kept)
    assert kept.count("\n") == text.count("\n")
    assert one_line(kept).replace(" ", "") == expected.replace(" ", "")


def test_an_object_without_a_text_has_its_type() -> None:
    assert one_line(SilentError()) == "SilentError (its text cannot be shown: KeyError)"
    assert error_line(SilentError()) == "SilentError: its text cannot be shown"
    assert "SilentError" in short_repr(SilentError())


@pytest.mark.parametrize("name", ["dict", "list", "tuple", "set", "array", "deque", "str", "int"])
def test_a_class_of_a_built_in_s_name_can_be_shown(name: str) -> None:
    assert name in short_repr(type(name, (), {})())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("first\nsecond"), "ValueError: first"),
        (ValueError("\n \nthird\n"), "ValueError: third"),
        (KeyError("a"), "KeyError: 'a'"),
        (AssertionError(), "AssertionError"),
        (ValueError("expected:"), "ValueError: expected"),
        (SystemExit(3), "SystemExit: 3"),
    ],
    ids=str,
)
def test_an_error_is_its_type_and_first_line(error: BaseException, expected: str) -> None:
    assert error_line(error) == expected


def test_names_that_file_systems_take_for_one_are_one() -> None:
    assert folded("Cafe\u0301") == folded("CAF\u00c9") == "caf\u00e9"
    assert folded("a") != folded("b")
