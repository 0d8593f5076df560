from __future__ import annotations

import pytest

from i2vbench.errors import UserError
from i2vbench.json_text import load_json, load_json_object


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested more than 100 levels"),
        ('{"a":' * 300 + "1" + "}" * 300, "nested more than 100 levels"),
        ('{"a": ' + "9" * 5000 + "}", "an integer of 5,000 digits"),
        ('{"a": 1, "b": 2, "a": 1}', "the name 'a' stands twice"),
        ('{"a": NaN}', "NaN is no JSON"),
        ("", "Expecting value"),
        ('{"a": 1', "Expecting ',' delimiter"),
        ("[1, 2]", "is [1, 2], accepted is a JSON object"),
        ("null", "is None, accepted is a JSON object"),
        (f'"{"x" * 10**6}"', "accepted is a JSON object"),
    ],
)
def test_what_is_no_object_is_one_short_line(text: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        load_json_object(text, "results.json")
    message = str(caught.value)
    assert message.startswith("results.json is ")
    assert reason in message
    assert message.isprintable()
    assert len(message) < 200


def test_objects_and_values_are_read() -> None:
    assert load_json_object('{"a": [1, 2.5, null, "é"]}', "it") == {"a": [1, 2.5, None, "é"]}
    assert load_json("[" * 100 + "]" * 100, "it")
    assert load_json("9" * 300, "it") == int("9" * 300)
