"""The text that is hashed, and the lines that tell two specs apart."""

from i2vbench.fingerprint import canonical_json, differing_fields


def test_text_is_hashed_as_it_is():
    assert canonical_json({"ü": ["猫", "\n", '"']}) == '{"ü":["猫","\\n","\\""]}'


def test_a_mapping_against_a_value_is_one_line():
    assert differing_fields({"a": {"b": 1}}, {"a": 2}) == ["a: {'b': 1} -> 2"]
    assert differing_fields({"a": 2}, {"a": {"b": 1}}) == ["a: 2 -> {'b': 1}"]
    assert differing_fields({"a": {"b": 1}}, {}) == ["a: {'b': 1} -> None"]
    nested = {"a": {"b": {"c": 1, "d": 0}, "e": 2}}, {"a": {"b": {"c": 3, "d": 0}, "e": 4}}
    assert differing_fields(*nested) == ["a.b.c: 1 -> 3", "a.e: 2 -> 4"]
