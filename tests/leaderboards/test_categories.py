"""A table per category: its own values and counts, clip metrics alone, in every format."""

from __future__ import annotations

import pytest

from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.categories import split_by_category
from i2vbench.leaderboards.commands import FORMATS, render
from i2vbench.protocol import load_protocol
from i2vbench.results import CategoryScore, load_results
from i2vbench.totals import total_scores


@pytest.fixture
def runs(make_run, make_score):
    def run(name, pets, food):
        parts = (
            CategoryScore(category="Pet", value=pets, n_scored=40, n_expected=48, ci95=(0.1, 0.9)),
            CategoryScore(category="Food", value=food, n_scored=16, n_expected=16),
        )
        return make_run(name, [make_score(), make_score("clipsim", 0.3, by_category=parts)])

    return [run("alpha", 0.25, 0.75), run("beta", 0.5, None)]


def test_each_category_has_its_own_values_and_counts(runs):
    split = split_by_category(runs)
    assert [run.suite["name"] for run in split] == [
        "playground / Pet", "playground / Pet", "playground / Food", "playground / Food",
    ]  # fmt: skip
    assert split[0].suite["num_samples"] == 48
    (pet,), (no_food,) = split[0].scores, split[3].scores
    assert (pet.metric, pet.value, pet.n_scored, pet.n_expected) == ("clipsim", 0.25, 40, 48)
    assert pet.ci95 == (0.1, 0.9)
    assert (no_food.value, no_food.reason) == (None, "no clip of the category was scored")


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_shows_the_categories(runs, format_name):
    text = render(Board([*runs, *split_by_category(runs)]), format_name)
    assert "playground / Pet" in text
    assert "playground / Food" in text
    assert "0.7500" in text or "0.75" in text


def test_results_json_keeps_the_categories(runs, tmp_path):
    (tmp_path / "results.json").write_text(runs[0].to_json())
    assert load_results(tmp_path).scores == runs[0].scores


def test_a_run_without_categories_has_no_tables(make_run):
    assert split_by_category([make_run()]) == []


def test_the_totals_of_vbench_are_columns_of_the_board(make_run, make_score):
    totals = load_protocol("vbench-i2v").totals
    whole = [make_score(name, 0.8) for name in totals.dimensions]
    lacking = [make_score(name, 0.8) for name in totals.dimensions if name != "camera_motion"]
    text = render(
        Board(
            [
                make_run("alpha", [*whole, *total_scores(totals, whole)]),
                make_run("beta", [*lacking, *total_scores(totals, lacking)]),
            ]
        ),
        "md",
    )
    for title in ("Quality", "I2V", "Total"):
        assert title in text
    assert "needs camera\\_motion" in text
