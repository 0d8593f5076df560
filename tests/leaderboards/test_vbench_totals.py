"""VBench-I2V totals: the rows that papers print come out of their dimensions."""

from __future__ import annotations

import pytest

from i2vbench.errors import UserError
from i2vbench.leaderboards.published import choose_published, load_published, printed_number
from i2vbench.leaderboards.vbench_totals import BOUNDS, FORMULAS, vbench_i2v_totals

PERFECT = {name: bounds[1] for name, bounds in BOUNDS.items()}


def rows_of(name):
    """Row -> dimension or score -> printed number."""
    (table,) = choose_published(load_published(), [name])
    return {
        row: {
            column.key: float(printed_number(table.cells[row, column.key].text))
            for column in table.columns
        }
        for row in table.rows
    }


def totals(printed, formula):
    values = {name: printed[name] / 100 for name in BOUNDS if name in printed}
    return vbench_i2v_totals(values, formula=formula)


# 0.005 is the rounding of the print, as much again that of its dimensions.
@pytest.mark.parametrize("row", rows_of("mug-v-table1"))
def test_rows_of_the_current_formula(row):
    printed = rows_of("mug-v-table1")[row]
    scores = totals(printed, "current")
    assert scores.quality * 100 == pytest.approx(printed["quality_score"], abs=0.011)
    assert scores.i2v * 100 == pytest.approx(printed["i2v_score"], abs=0.011)
    assert scores.total * 100 == pytest.approx(printed["total"], abs=0.011)


@pytest.mark.parametrize("row", rows_of("owl-1"))
def test_rows_of_the_first_leaderboard(row):
    printed = rows_of("owl-1")[row]
    assert totals(printed, "2024").total * 100 == pytest.approx(printed["total_2024"], abs=0.0051)


def test_the_formulas_differ_on_the_same_dimensions():
    values = dict.fromkeys(BOUNDS, 0.9)
    assert vbench_i2v_totals(values).total != vbench_i2v_totals(values, formula="2024").total


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_ends_of_the_normalisation_are_0_and_1(formula):
    low = {name: bounds[0] for name, bounds in BOUNDS.items()}
    assert vbench_i2v_totals(PERFECT, formula=formula).total == pytest.approx(1)
    assert vbench_i2v_totals(low, formula=formula).total == pytest.approx(0)


@pytest.mark.parametrize(
    ("name", "score", "share"),
    [
        ("camera_motion", "i2v", 0.1 / 2.1),
        ("i2v_subject", "i2v", 1 / 2.1),
        ("dynamic_degree", "quality", 0.5 / 5.5),
        ("aesthetic_quality", "quality", 1 / 5.5),
        ("temporal_flickering", "quality", 0),
    ],
)
def test_weights(name, score, share):
    without = vbench_i2v_totals(PERFECT | {name: BOUNDS[name][0]})
    assert getattr(without, score) == pytest.approx(1 - share)
    assert without.total == pytest.approx(1 - share / 2)


def test_nothing_is_clipped():
    assert vbench_i2v_totals(PERFECT | {"motion_smoothness": 1.0}).quality > 1
    assert vbench_i2v_totals(dict.fromkeys(BOUNDS, 0.0)).i2v < 0


def test_a_cosine_of_a_little_more_than_1_is_rounding():
    assert vbench_i2v_totals(PERFECT | {"i2v_subject": 1.0000001}).i2v == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "formula", "message"),
    [
        ({"camera_motion": 35.4}, "current", "camera_motion is 35.4.*divide by 100"),
        ({"i2v_subject": float("nan")}, "current", "i2v_subject is nan"),
        ({"camera_notion": 0.3}, "current", "did you mean 'camera_motion'"),
        ({}, "currant", "did you mean 'current'"),
    ],
)
def test_mistakes_are_one_line(values, formula, message):
    with pytest.raises(UserError, match=message) as error:
        vbench_i2v_totals(PERFECT | values, formula=formula)
    assert "\n" not in str(error.value)


def test_a_missing_dimension_is_not_counted_as_0():
    values = {name: value for name, value in PERFECT.items() if name != "camera_motion"}
    with pytest.raises(UserError, match="'current' needs camera_motion"):
        vbench_i2v_totals(values)
    assert vbench_i2v_totals(values, formula="2024").total == pytest.approx(1)
