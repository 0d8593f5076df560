"""The terminal board: what it says, and that it fits and aligns whatever comes."""

from __future__ import annotations

import pytest

from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.text import to_text
from i2vbench.leaderboards.text_grid import Item, display_width, grid, wrap_name

METRICS = (
    ("FVD(i3d-k400)", 812.25),
    ("LPIPS to first frame(alex)", 0.25),
    ("Subject consistency(efficientnet-lite0)", 0.93),
)


def grid_lines(text):
    """The lines between the first rule and the next empty line."""
    lines = [*text.splitlines(), ""]
    start = next(i for i, line in enumerate(lines) if line.startswith("─"))
    return lines[start + 1 : lines.index("", start)]


def eleven(make_score):
    """Scores with the longest labels that metrics have."""
    scores = []
    for number in range(11):
        label, value = METRICS[number % 3]
        label = label.replace("(", f"{number:02d}(")
        ci = (value * 0.9, value * 1.1)
        scores.append(make_score(f"m{number}", value + number / 1000, label=label, ci=ci))
    return scores


def many(make_run, make_score, num_runs):
    scores = eleven(make_score)
    return Board([make_run(f"some-model-with-a-long-name-{i}", scores) for i in range(num_runs)])


def test_golden(golden):
    text = to_text(golden)
    lines = [line.split() for line in grid_lines(text)]
    assert lines[0] == ["1", "beta", "80.0★", "–[1]"]
    assert lines[1] == ["2", "alpha", "100.0†", "0.3100★"]
    assert lines[3] == ["gamma*", "70.0*", "0.2500*"]
    assert lines[-1] == ["static", "(baseline)", "400.0", "0.3500"]
    assert "[1] CLIPSIM(tiny-clip): tiny-clip weights are missing" in text
    assert "Ranked by FVD(i3d) ↓." in text


def test_numbers_of_a_column_end_together(golden):
    lines = [line for line in grid_lines(to_text(golden)) if not line.startswith("─")]
    assert len({line.index(".") for line in lines}) == 1


def test_a_single_run_shows_intervals_and_counts(make_run, make_score):
    scores = [make_score(value=412.25, ci=(390.0, 440.0)), make_score("clipsim", 0.3, n_scored=60)]
    lines = [line.split() for line in grid_lines(to_text(Board([make_run("a", scores)])))]
    assert lines == [
        ["FVD(i3d)", "↓", "412.2", "[390.0,", "440.0]", "64/64"],
        ["CLIPSIM(tiny-clip)", "↑", "0.3000*", "60/64"],
    ]


def test_a_model_with_its_baselines_shows_its_intervals(make_run, make_score):
    names = ("mine", "static", "reference")
    lines = grid_lines(to_text(Board([make_run(name, eleven(make_score)) for name in names])))
    assert len(lines) == 11
    assert all(line.count("[") == 1 for line in lines)


@pytest.mark.parametrize("num_runs", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("width", [80, 110])
def test_eleven_metrics_fit(make_run, make_score, num_runs, width):
    board = many(make_run, make_score, num_runs)
    text = to_text(board, width=width)
    assert max(map(display_width, text.splitlines())) <= width
    for column in board.tables[0].columns:
        for row in board.tables[0].rows:
            assert text.count(row.cells[0].text) >= num_runs
        assert column.title.split()[-1] in text


def test_blocks_repeat_the_names(make_run, make_score):
    text = to_text(many(make_run, make_score, 12), width=90)
    assert text.count("some-model-with-a-long-name-11") > 1


def test_incomparable_tables_say_why(make_run):
    text = to_text(Board([make_run("a"), make_run("b", suite={"limit": 4})]))
    assert text.startswith("2 runs in 2 tables")
    assert "Table 2: playground 1 · the first 4 samples only" in text
    assert "the limit differs (all samples there, the first 4 samples" in " ".join(text.split())


def test_colour_is_bold_on_best_values_alone(golden):
    plain, colored = to_text(golden), to_text(golden, color=True)
    assert "\x1b" not in plain
    assert colored.count("\x1b[1m") == 2
    assert "\x1b[1m80.0★\x1b[0m" in colored


def test_terminal_escapes_of_a_name_are_gone(make_run):
    assert "\x1b" not in to_text(Board([make_run("evil\x1b]0;title\x07\x1b[2J")]))


def test_no_columns(make_run):
    assert "No metric was scored." in to_text(Board([make_run("a", [])]))


def test_wide_signs_keep_columns_aligned():
    rows = [
        [Item(text="日本"), Item(text="1.5")],
        [Item(text="abcdef"), Item(text="22.5", mark="†")],
    ]
    lines = grid([["name"], ["value"]], rows, num_left=1, name_width=20)
    assert [display_width(line) for line in lines[1:]] == [13, 12, 13]


def test_wrapped_names_lose_nothing():
    name = "model_with-a/very=long,name and words" * 2
    lines = wrap_name(name, 12)
    assert all(display_width(line) <= 12 for line in lines)
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
