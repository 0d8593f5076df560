"""Values of options as YAML and callers give them, against the annotations of the fields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Optional, Union

import numpy as np
import pytest
import torch

from i2vbench.errors import UserError
from i2vbench.typed_options import options_from

if TYPE_CHECKING:
    from nowhere import Unseen


def taken(annotation: Any, value: Any) -> Any:
    kind = make_dataclass("Options", [("x", annotation)], frozen=True, kw_only=True)
    return options_from(kind, {"x": value}, "model").x


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, 3, 3),
        (int, np.int64(3), 3),
        (int, np.uint8(255), 255),
        (int, torch.tensor(3), 3),
        (int, 10**400, 10**400),
        (float, 1, 1.0),
        (float, "1e-3", 1e-3),
        (float, "-2.5E+4", -25000.0),
        (float, np.float32(0.5), 0.5),
        (float, Fraction(24000, 1001), 24000 / 1001),
        (float, torch.tensor(0.5), 0.5),
        (float | int, 3, 3),
        (bool, True, True),
        (bool, np.bool_(False), False),
        (str, "1e-3", "1e-3"),
        (str, "", ""),
        (Path, "a/b", Path("a/b")),
        (Path, Path("a"), Path("a")),
        (Optional[int], None, None),  # noqa: UP045
        (Optional[float], "1e5", 1e5),  # noqa: UP045
        (int | None, 4, 4),
        (Union[str, int], 4, 4),  # noqa: UP007
        (str | float, "1e5", "1e5"),
        (Literal["a", 1], 1, 1),
        (tuple[int, float], [1, 2], (1, 2.0)),
        (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
        (tuple[()], [], ()),
        (tuple, [1, "a"], (1, "a")),
        (list[Path], ["a"], [Path("a")]),
        (list, [1, "a"], [1, "a"]),
        (Sequence[int], (1, 2), (1, 2)),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (Mapping[str, int], {"a": 1}, {"a": 1}),
        (Any, object, object),
        (complex, "anything", "anything"),
    ],
    ids=str,
)
def test_a_value_of_the_annotated_type_is_taken(annotation: Any, value: Any, expected: Any) -> None:
    result = taken(annotation, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (int, "fast", "text; accepted: a whole number"),
        (int, 1.5, "a number; accepted: a whole number"),
        (int, 2.0, "a whole number"),
        (int, True, "true or false; accepted: a whole number"),
        (int, np.bool_(True), "a whole number"),
        (int, Fraction(1, 2), "a whole number"),
        (int, torch.tensor([1]), "a whole number"),
        (int, None, "null; accepted: a whole number"),
        (float, "1", "text; accepted: a number"),
        (float, False, "a number"),
        (float, 1j, "a number"),
        (float, 10**400, "a number"),
        (float, [1.0], "a list; accepted: a number"),
        (bool, 1, "true or false"),
        (bool, "yes", "true or false"),
        (str, 3, "a whole number; accepted: text"),
        (Path, 3, "accepted: a path"),
        (Optional[int], "none", "accepted: a whole number or null"),  # noqa: UP045
        (Literal["a", "b"], "c", "accepted: 'a', 'b'"),
        (Literal[1], True, "accepted: 1"),
        (tuple[int, int], [1], "accepted: a list of 2: a whole number, a whole number"),
        (tuple[int, ...], [1, "a"], "accepted: a list, each a whole number"),
        (list[float], 3, "accepted: a list, each a number"),
        (list[float], "abc", "accepted: a list"),
        (dict, [1], "accepted: a mapping"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_in_one_line(
    annotation: Any, value: Any, words: str
) -> None:
    with pytest.raises(UserError, match="model option x=") as caught:
        taken(annotation, value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@dataclass(frozen=True, kw_only=True)
class Base:
    steps: int = 50
    scheduler: Unseen = None
    constant: ClassVar[int] = 3


@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    scale: float = 1.0
    derived: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise ValueError(f"scale must not\nbe negative, got {self.scale}")
        if self.steps == 0:
            raise AssertionError
        if self.steps > 1000:
            raise KeyError("too many")
        if self.steps == 999:
            raise SystemExit("no")


def test_a_name_that_only_type_checkers_see_costs_its_own_field_only() -> None:
    assert options_from(Derived, {"scheduler": 3}, "model").scheduler == 3
    for key, value in (("steps", "a"), ("scale", "b")):
        with pytest.raises(UserError, match=f"option {key}='{value}'"):
            options_from(Derived, {key: value}, "model")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("step", "did you mean 'steps'"),
        ("derived", "accepted: "),
        ("constant", "accepted: "),
        (3, "accepted: "),
        (None, "accepted: "),
    ],
)
def test_an_unknown_key_is_refused(key: Any, hint: str) -> None:
    with pytest.raises(UserError, match="is unknown") as caught:
        options_from(Derived, {key: 1}, "model")
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"scale": -1}, "model options scale=-1.0: scale must not be negative, got -1.0"),
        ({"steps": 0}, "model options steps=0: AssertionError"),
        ({"steps": 2000}, "model options steps=2000: KeyError: 'too many'"),
        ({"steps": 999}, "model options steps=999: SystemExit: no"),
    ],
)
def test_what_the_author_s_check_raises_is_one_line(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        options_from(Derived, values, "model")
    assert str(caught.value) == expected


def test_a_field_without_a_default_is_asked_for() -> None:
    kind = make_dataclass("Options", [("x", int)], kw_only=True)
    with pytest.raises(UserError, match=r"model options \(none\): .*'x'"):
        options_from(kind, {}, "model")
    assert math.isnan(taken(float, math.nan))
