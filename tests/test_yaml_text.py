from __future__ import annotations

import contextlib
import datetime
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from i2vbench.errors import UserError
from i2vbench.yaml_text import MAX_CHARACTERS, load_yaml


def laughs(levels: int, width: int = 10) -> str:
    """A YAML text of ``width ** levels`` values."""
    lines = ["l0: &l0 [" + ", ".join(["ha"] * width) + "]"]
    for n in range(1, levels):
        lines.append(f"l{n}: &l{n} [" + ", ".join([f"*l{n - 1}"] * width) + "]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (laughs(9), "more than 10,000 values"),
        ("a: &a {k: v}\n" + "b: [" + "*a, " * 9000 + "]", "more than 10,000 values"),
        ("[" + "x, " * 20_000 + "]", "more than 10,000 values"),
        (f"a: &a {'x' * 90_000}\nb: [*a, *a, *a]", "characters, aliases written out"),
        ("x" * (MAX_CHARACTERS + 1), "characters, accepted are"),
        ("[" * 500 + "]" * 500, "nested more than 50 levels"),
        ("- " * 3000 + "x", "nested more than 50 levels"),
        ("{a: " * 5000, "nested more than 50 levels"),
        ("a: &a " + "[" * 30 + "]" * 30 + "\nb: " + "[" * 30 + "*a" + "]" * 30, "nested more"),
        ("&a [*a]", "stands within what it stands for"),
        ("&a {k: {m: *a}}", "stands within what it stands for"),
        ("9" * 5000, "a number of 5,000 characters"),
        ("0x" + "f" * 5000, "a number of 5,002 characters"),
        ("1" + ":01" * 5000, "a number of 15,001 characters"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands twice"),
        ("{1: a, 0x1: b}", "the key '0x1' stands twice"),
        ("{a: [1", "expected ',' or ']'"),
        ("a:\n\t- b", "line 2: found character"),
        ("--- a\n--- b", "expected a single document"),
        ("a: &x 1\nb: &x 2", "duplicate anchor 'x'"),
        ("*nowhere", "undefined alias"),
        ("{[a]: b}", "unhashable key"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("!!int _", "does not fit its tag"),
        ("!!bool perhaps", "does not fit its tag"),
        ("!!timestamp soon", "does not fit its tag"),
        ("2001-99-99", "month must be in 1..12"),
        ("a\x00b", "special characters"),
        ("\udcff", "special characters"),
    ],
)
def test_what_is_not_accepted_is_one_short_line_at_once(text: str, reason: str) -> None:
    began = time.perf_counter()
    with pytest.raises(UserError) as caught:
        load_yaml(text, "-a speed: the value")
    assert time.perf_counter() - began < 2
    message = str(caught.value)
    assert message.startswith("-a speed: the value is not YAML (")
    assert reason in message
    assert message.isprintable()
    assert len(message) < 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "on",
        "no",
        "1e-3",
        "1.5e+3",
        ".inf",
        "0x1f",
        "07",
        "1:30",
        "{a: [1, x], b: null}",
        "<<: {a: 1}",
        "!!binary aGk=",
        "a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: [*a, *a]",
        "!!set {a, b}",
        "é🦊",
    ],
)
def test_what_is_accepted_is_read_as_pyyaml_reads_it(text: str) -> None:
    assert load_yaml(text, "it") == yaml.safe_load(text)
    assert load_yaml("2001-02-03", "it") == datetime.date(2001, 2, 3)


def test_the_bounds_are_the_callers() -> None:
    assert load_yaml("[1, 2]", "it", max_nodes=3) == [1, 2]
    with pytest.raises(UserError, match="more than 2 values"):
        load_yaml("[1, 2]", "it", max_nodes=2)
    assert load_yaml("[[]]", "it", max_depth=2) == [[]]
    with pytest.raises(UserError, match="more than 1 levels"):
        load_yaml("[[]]", "it", max_depth=1)
    assert load_yaml(laughs(3), "it")  # 1,000 values: aliases as such are accepted


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab1:0-.,[]{}&*!<|>?\"'#% \n\t~=eE+x_", max_size=40))
def test_any_text_is_a_value_or_a_line(text: str) -> None:
    with contextlib.suppress(UserError):
        load_yaml(text, "it")
