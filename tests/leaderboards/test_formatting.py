"""Decimals by unit and size, and text that is safe on one line."""

from __future__ import annotations

import doctest
import importlib

import pytest

from i2vbench.leaderboards.formatting import clean, decimals_for, format_interval, format_value


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        ([812.34, 0.5], "", "812.3"),
        ([61.234], "", "61.23"),
        ([7.23456], "", "7.235"),
        ([0.987654, 1.0000001], "", "0.9877"),
        ([0.3], "cosine", "0.3000"),
        ([37.5], "%", "37.50"),
        ([0.00123456], "", "0.001235"),
        ([99.96], "", "100.0"),
        ([0.0], "", "0.0"),
        ([-250.0], "", "-250.0"),
    ],
)
def test_decimals_follow_unit_and_size(values, unit, expected):
    assert format_value(values[0], decimals_for(values, unit)) == expected


def test_no_negative_zero():
    assert format_value(-0.00001, 2) == "0.00"
    assert format_interval((-0.001, 1.0), 1) == "[0.0, 1.0]"


def test_clean_keeps_words_and_emoji_on_one_line():
    assert clean(" a\tb\r\nc\x00\x9b \ud800é 👩‍🚀 ") == "a bc é 👩‍🚀".replace("bc", "b c")


@pytest.mark.parametrize("module", ["formatting", "markdown", "latex", "text_grid"])
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"i2vbench.leaderboards.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
