from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2vbench.fingerprint import canonical_json, differing_fields, fingerprint

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_a_fingerprint_is_pinned() -> None:
    """Boards compare across versions of this package: it must not move by accident."""
    fields = {"suite": "playground", "seed": 0, "options": {"guidance_scale": 7.5, "eta": None}}
    assert fingerprint(fields) == PINNED


PINNED = "6ac5bef598235dc78c8ccbbb2e530c0cf372b83b5f5433b8ee5c4e744d42315c"


def test_the_order_of_keys_does_not_count() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2, "d": 3}}) == fingerprint(
        {"b": {"d": 3, "c": 2}, "a": 1}
    )


@pytest.mark.parametrize(
    "other",
    [{"a": 2}, {"a": "1"}, {"a": 1.5}, {"a": [1]}, {"b": 1}, {"a": 1, "b": None}, {"a": True}],
)
def test_every_difference_counts(other: dict[str, object]) -> None:
    assert fingerprint({"a": 1}) != fingerprint(other)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=4))
def test_reversing_the_keys_changes_nothing(fields: dict[str, object]) -> None:
    turned = dict(reversed(list(fields.items())))
    assert fingerprint(turned) == fingerprint(fields)
    assert differing_fields(fields, turned) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_what_json_cannot_say_is_an_error(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        canonical_json({"a": value})


def test_differences_are_named_by_their_path() -> None:
    old = {"seed": 0, "model": {"name": "a", "options": {"steps": 50}}, "gone": 1}
    new = {"seed": 0, "model": {"name": "a", "options": {"steps": 25}}, "new": "x"}
    assert differing_fields(old, new) == [
        "gone: 1 -> None",
        "model.options.steps: 50 -> 25",
        "new: None -> 'x'",
    ]
