from __future__ import annotations

import pytest

from i2vbench.json_text import parse_json


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested more than 100 levels"),
        ('{"a":' * 300 + "1" + "}" * 300, "nested more than 100 levels"),
        ('{"a": ' + "9" * 5000 + "}", "an integer of 5,000 digits"),
        ('{"a": 1, "b": 2, "a": 1}', "the name 'a' stands twice"),
        (f'{{"{"x" * 10**6}": 1, "{"x" * 10**6}": 2}}', "stands twice"),
        ('{"a": NaN}', "NaN is no JSON"),
        ("", "Expecting value"),
        ('{"a": 1', "Expecting ',' delimiter"),
    ],
)
def test_what_is_no_json_has_a_short_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_json(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_values_are_read() -> None:
    assert parse_json('{"a": [1, 2.5, null, "é"]}') == {"a": [1, 2.5, None, "é"]}
    assert parse_json("[" * 100 + "]" * 100)
    assert parse_json("9" * 300) == int("9" * 300)
