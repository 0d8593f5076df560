"""Who is compared with whom, who wins, who is tied, and what a board says about the others."""

from __future__ import annotations

import math

import pytest

from i2vbench.errors import UserError
from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.dataframe import wide_frame


def names(table):
    return [row.name for row in table.rows]


def standings(board, metric="fvd"):
    table = board.tables[0]
    place = [column.key.metric for column in table.columns].index(metric)
    return {row.name: row.cells[place].standing for row in table.rows}


def texts(table, kind):
    return [note.text for note in table.notes if note.kind == kind]


def test_golden_order_ranks_and_groups(golden):
    (table,) = golden.tables
    assert names(table) == ["beta", "alpha", "gamma", "reference", "static"]
    assert [row.rank for row in table.rows] == [1, 2, None, None, None]
    assert [row.group for row in table.rows] == [
        *["models"] * 2,
        "partial",
        *["baselines"] * 2,
    ]
    assert table.ranking_text == "Ranked by FVD(i3d) ↓."


def test_partial_runs_and_baselines_are_never_best(golden):
    assert standings(golden) == {
        "beta": "best",
        "alpha": "tied",
        "gamma": "",
        "reference": "",
        "static": "",
    }
    assert standings(golden, "clipsim")["alpha"] == "best"


def test_marks_say_partial_and_tied(golden):
    marks = {row.name: row.cells[0].mark for row in golden.tables[0].rows}
    assert marks == {"beta": "", "alpha": "†", "gamma": "*", "reference": "", "static": ""}
    assert [sign for sign, _ in golden.tables[0].legend] == ["best", "†", "*"]


def test_notes_tell_what_is_missing_partial_and_doubtful(golden):
    (table,) = golden.tables
    (missing,) = [note for note in table.notes if note.kind == "missing"]
    assert missing.text == "CLIPSIM(tiny-clip): tiny-clip weights are missing"
    beta = next(row for row in table.rows if row.name == "beta")
    assert beta.cells[1].value is None
    assert beta.cells[1].footnote == missing.number == 1
    assert texts(table, "partial") == [
        "gamma is partial: 4 of 64 takes failed; 60 of 64 clips in every score."
    ]
    assert texts(table, "warning") == ["FVD(i3d) (beta): 64 clips are few for 400 features"]


def test_a_still_picture_that_wins_is_named(golden):
    (note,) = texts(golden.tables[0], "baseline")
    assert "CLIPSIM(tiny-clip) ↑" in note
    assert "FVD" not in note


def test_higher_is_better_turns_the_ranking(make_run, make_score):
    board = Board(
        [make_run(name, [make_score("is", value)]) for name, value in (("a", 5.0), ("b", 7.0))]
    )
    assert [(row.name, row.rank) for row in board.tables[0].rows] == [("b", 1), ("a", 2)]
    assert standings(board, "is") == {"b": "best", "a": ""}


def test_without_a_direction_nobody_wins(make_run, make_score):
    runs = [
        make_run(name, [make_score("motion", value, higher_is_better=None)])
        for name, value in (("a", 0.2), ("b", 0.7))
    ]
    board = Board(runs)
    assert names(board.tables[0]) == ["b", "a"]
    assert {row.rank for row in board.tables[0].rows} == {None}
    assert standings(board, "motion") == {"a": "", "b": ""}
    assert board.tables[0].ranking_text == "Sorted by motion."


def test_default_ranking_skips_metrics_without_direction_or_values(make_run, make_score):
    scores = [
        make_score("motion", 0.5, higher_is_better=None),
        make_score("fvd", None, reason="no weights", fingerprint=""),
        make_score("clipsim", 0.3),
    ]
    (table,) = Board([make_run("a", scores), make_run("b", scores)]).tables
    assert table.columns[table.sort_column].key.metric == "clipsim"


def test_values_that_print_alike_share_rank_and_bold(make_run, make_score):
    values = {"a": 100.01, "b": 100.04, "c": 101.0}
    board = Board([make_run(name, [make_score(value=value)]) for name, value in values.items()])
    assert standings(board) == {"a": "best", "b": "best", "c": ""}
    assert {row.name: row.rank for row in board.tables[0].rows} == {"a": 1, "b": 1, "c": 3}


@pytest.mark.parametrize(
    ("interval", "expected"), [((89.9, 120.0), "tied"), ((90.1, 120.0), ""), (None, "")]
)
def test_tied_means_that_intervals_overlap(make_run, make_score, interval, expected):
    best = make_run("best", [make_score(value=80.0, ci=(70.0, 90.0))])
    other = make_run("other", [make_score(value=100.0, ci=interval)])
    assert standings(Board([best, other]))["other"] == expected


def test_a_model_alone_with_baselines_is_neither_best_nor_first(make_run, make_score):
    board = Board([make_run("a", [make_score()]), make_run("static", [make_score(value=300.0)])])
    assert set(standings(board).values()) == {""}
    assert {row.rank for row in board.tables[0].rows} == {None}
    assert board.tables[0].rows[1].tag == "baseline"


def test_one_score_of_fewer_clips_is_partial_though_the_run_is_complete(make_run, make_score):
    short = make_run("short", [make_score(value=10.0, n_scored=63)])
    board = Board([short, make_run("a"), make_run("b", [make_score(value=90.0)])])
    assert names(board.tables[0]) == ["b", "a", "short"]
    assert standings(board)["b"] == "best"
    assert board.tables[0].rows[2].group == "partial"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"suite": {"name": "msrvtt"}}, ["suite", "playground", "msrvtt"]),
        ({"suite": {"version": "2"}}, ["version of the suite", "1 there, 2 here"]),
        ({"suite": {"content_sha256": "d" * 64}}, ["content", "aaaaaaaa", "dddddddd"]),
        ({"suite": {"limit": 8}}, ["limit", "all samples", "first 8 samples"]),
        ({"suite": {"samples": ["s2", "s1"]}}, ["choice", "all samples", "2 chosen", "(s1, s2)"]),
        ({"protocol": "paper 1"}, ["protocol", "embedded 1", "paper 1"]),
    ],
)
def test_incomparable_runs_stand_apart_with_the_reason(make_run, make_score, changes, words):
    other = make_run("other", [make_score(value=1.0)], **changes)
    board = Board([other, make_run("a"), make_run("b", [make_score(value=90.0)])])
    assert [names(table) for table in board.tables] == [["b", "a"], ["other"]]
    assert texts(board.tables[0], "apart") == []
    (reason,) = texts(board.tables[1], "apart")
    assert reason.startswith("Not comparable with table 1: the ")
    for word in words:
        assert word in reason
    assert "2 tables" in board.summary


def test_the_reason_compares_with_the_most_similar_table(make_run):
    suites = [{}, {}, {"name": "msrvtt"}, {"name": "msrvtt", "limit": 8}]
    board = Board([make_run(f"m{i}", suite=suite) for i, suite in enumerate(suites)])
    (reason,) = texts(board.tables[2], "apart")
    assert reason.startswith("Not comparable with table 2: the limit differs (all samples there")


@pytest.mark.parametrize("label", ["FVD(i3d)", "FVD(tiny)"])
def test_another_fingerprint_is_another_column(make_run, make_score, label):
    other = make_score(value=1.0, label=label, fingerprint="0therprint")
    board = Board([make_run("a"), make_run("b", [make_score(value=90.0)]), make_run("c", [other])])
    (table,) = board.tables
    assert len({column.label for column in table.columns}) == 2
    assert len({column.slug for column in table.columns}) == 2
    rows = {row.name: row for row in table.rows}
    assert [cell.text for cell in rows["c"].cells] == ["–", "1.0000"]
    assert [cell.text for cell in rows["a"].cells] == ["100.0", "–"]
    assert rows["c"].rank is None
    assert rows["b"].cells[0].standing == "best"
    assert rows["c"].cells[1].standing == ""
    (note,) = texts(table, "columns")
    assert "never ranked together" in note
    assert ("fingerprint" if label == "FVD(i3d)" else "network differs") in note
    assert f"scored as {label} instead" in texts(table, "missing")[0]


def test_takes_divide_set_metrics_only(make_run, make_score):
    scores = [make_score("fvd"), make_score("clipsim", 0.3)]
    (table,) = Board([make_run("a", scores), make_run("b", scores, num_takes=4)]).tables
    assert [column.label for column in table.columns] == [
        "FVD(i3d) · 1 take",
        "FVD(i3d) · 4 takes",
        "CLIPSIM(tiny-clip)",
    ]
    assert texts(table, "columns") == [
        "FVD(i3d) · 1 take and FVD(i3d) · 4 takes are never ranked together: the takes per sample "
        "differ (1 and 4), and a score of a whole set depends on the number of its clips."
    ]
    assert "scored as FVD(i3d) instead" in texts(table, "missing")[0]
    assert {row.name: [cell.text for cell in row.cells] for row in table.rows} == {
        "a": ["100.0", "–", "0.3000"],
        "b": ["–", "100.0", "0.3000"],
    }


def test_equal_takes_share_the_column_of_a_set_metric(make_run, make_score):
    runs = [
        make_run(name, [make_score(value=v)], num_takes=4) for name, v in (("a", 1.0), ("b", 2.0))
    ]
    (table,) = Board(runs).tables
    assert [column.label for column in table.columns] == ["FVD(i3d)"]
    assert texts(table, "columns") == []
    assert [row.rank for row in table.rows] == [1, 2]


def test_warnings_are_of_values_and_an_empty_score_has_its_reason(make_run, make_score):
    empty = make_score(value=None, reason="one clip is too few", warnings=("of no value",))
    warned = make_score(value=90.0, warnings=("few clips", "few clips"))
    (table,) = Board([make_run("a", [empty]), make_run("b", [warned]), make_run("c")]).tables
    cells = {row.name: row.cells[0] for row in table.rows}
    assert (cells["a"].warnings, cells["a"].reason) == ((), "one clip is too few")
    assert cells["b"].warnings == ("few clips", "few clips")
    assert texts(table, "warning") == ["FVD(i3d) (b): few clips"]
    assert texts(table, "missing") == ["FVD(i3d): one clip is too few"]


def test_a_warning_of_every_value_names_no_run(make_run, make_score):
    warned = [make_score(warnings=("few clips",))]
    empty = [make_score(value=None, reason="no weights", fingerprint="")]
    runs = [make_run("a", warned), make_run("b", warned), make_run("c", empty)]
    assert texts(Board(runs).tables[0], "warning") == ["FVD(i3d): few clips"]


def test_each_protocol_of_a_run_is_a_table(make_run, make_score):
    both = [make_score(protocol="old 1"), make_score(value=5.0, protocol="new 1")]
    board = Board([make_run("a", both, protocol="new 1"), make_run("b", both, protocol="new 1")])
    assert [table.key.protocol for table in board.tables] == ["new 1", "old 1"]
    assert [table.rows[0].cells[0].value for table in board.tables] == [5.0, 100.0]
    assert board.summary.startswith("2 runs in 2 tables")
    fuller = Board([*board.results, make_run("c", both[:1], protocol="old 1")])
    assert [table.key.protocol for table in fuller.tables] == ["old 1", "new 1"]
    assert sorted(names(fuller.tables[0])) == ["a", "b", "c"]


def test_chosen_samples_bar_from_rank_and_bold(make_run, make_score):
    chosen = [f"s{number}" for number in range(6)]
    runs = [
        make_run(name, [make_score(value=value)], suite={"samples": ids})
        for name, value, ids in (("a", 2.0, chosen), ("b", 1.0, chosen[::-1]))
    ]
    board = Board(runs)
    (table,) = board.tables
    assert set(standings(board).values()) == {""}
    assert {row.rank for row in table.rows} == {None}
    words = "6 chosen samples (s0, s1, s2, s3, ...)"
    assert texts(table, "limit") == [f"A quick look at {words}: no row is ranked."]
    assert f"{words} only" in table.facts
    assert board.to_dataframe()["partial"].all()


def test_limit_and_chosen_samples_together(make_run):
    run = make_run("a", suite={"limit": 8, "samples": ["s1"]})
    (note,) = texts(Board([run]).tables[0], "limit")
    assert "1 chosen sample (s1) of the first 8 samples" in note


def test_fewer_takes_than_the_suite_asks_for_are_partial(make_run, make_score):
    fewer = make_run("a", [make_score("is", 9.0)], num_takes=2, suite={"num_takes": 5})
    whole = [
        make_run(name, [make_score("is", 5.0)], num_takes=5, suite={"num_takes": 5})
        for name in ("b", "c")
    ]
    (table,) = Board([fewer, *whole]).tables
    assert names(table) == ["b", "c", "a"]
    assert table.rows[2].group == "partial"
    assert table.rows[2].partial == "2 of the suite's 5 takes per sample"
    assert {row.partial for row in table.rows[:2]} == {""}


def test_a_metric_that_could_not_start_opens_no_column_of_its_own(golden):
    assert [column.slug for column in golden.tables[0].columns] == ["fvd", "clipsim"]


def test_a_metric_that_ran_nowhere_still_shows_why(make_run, make_score):
    missing = make_score(value=None, reason="no weights", fingerprint="")
    (table,) = Board([make_run("a", [missing, make_score("clipsim", 0.3)])]).tables
    assert [cell.text for cell in table.rows[0].cells] == ["–", "0.3000"]
    assert texts(table, "missing") == ["FVD(i3d): no weights"]


def test_a_metric_that_a_run_was_not_asked_for(make_run, make_score):
    whole = make_run("a", [make_score(), make_score("clipsim", 0.3)])
    (table,) = Board([whole, make_run("b", [make_score(value=90.0)])]).tables
    assert texts(table, "missing") == ["CLIPSIM(tiny-clip): this run was not scored with it"]


def test_numbers_that_are_not_finite_count_as_missing(make_run, make_score):
    runs = [
        make_run("a", [make_score(value=math.nan, ci=(1.0, 2.0))]),
        make_run("b", [make_score(value=90.0, ci=(math.nan, math.inf))]),
    ]
    (table,) = Board(runs).tables
    assert names(table) == ["b", "a"]
    assert table.rows[0].cells[0].interval is None
    assert texts(table, "missing") == ["FVD(i3d): the value is not finite"]


def test_equal_models_are_told_apart_by_what_differs(make_run):
    board = Board(
        [
            make_run("a", model={"options": {"steps": 10, "scale": 7.5}}),
            make_run("a", model={"options": {"steps": 20, "scale": 7.5}}, seed=1),
            make_run("b"),
        ]
    )
    assert sorted(names(board.tables[0])) == ["a (steps=10, seed=0)", "a (steps=20, seed=1)", "b"]


def test_equal_runs_are_told_apart_by_directory_then_number(make_run):
    runs = [make_run("a", run="first"), make_run("a", run="second"), make_run("a", run="second")]
    assert sorted(names(Board(runs).tables[0])) == [
        "a (run=first)",
        "a (run=second, #2)",
        "a (run=second, #3)",
    ]


def test_long_options_that_are_cut_alike_stay_different(make_run):
    runs = [
        make_run("a", run=letter, model={"options": {"prompt": "x" * 40 + letter}})
        for letter in "pq"
    ]
    assert len(set(names(Board(runs).tables[0]))) == 2


@pytest.mark.parametrize("name", ["clipsim", "CLIPSIM", "CLIPSIM(tiny-clip)"])
def test_sort_by_metric_or_label(make_run, make_score, name):
    runs = [
        make_run("a", [make_score(value=1.0), make_score("clipsim", 0.2)]),
        make_run("b", [make_score(value=2.0), make_score("clipsim", 0.3)]),
    ]
    assert names(Board(runs).tables[0]) == ["a", "b"]
    assert names(Board(runs, sort_by=name).tables[0]) == ["b", "a"]


def test_sort_by_an_unknown_metric_names_the_nearest(golden):
    with pytest.raises(UserError, match=r"'clipsin' is no metric.*did you mean 'clipsim'"):
        Board(golden.results, sort_by="clipsin")


def test_sort_by_what_one_table_lacks_is_said(make_run, make_score):
    with_fid = make_run("a", [make_score(), make_score("fid", 3.0, higher_is_better=False)])
    board = Board([with_fid, make_run("b", protocol="other 1")], sort_by="fid")
    assert board.tables[0].columns[board.tables[0].sort_column].key.metric == "fid"
    assert "No run of this table has fid." in texts(board.tables[1], "columns")


def test_a_limit_bars_from_rank_and_bold(make_run, make_score):
    runs = [
        make_run(name, [make_score(value=value)], suite={"limit": 8})
        for name, value in (("a", 2.0), ("b", 1.0))
    ]
    board = Board(runs)
    (table,) = board.tables
    assert names(table) == ["b", "a"]
    assert set(standings(board).values()) == {""}
    assert {row.rank for row in table.rows} == {None}
    assert board.to_dataframe()["partial"].all()
    assert "first 8 samples" in texts(table, "limit")[0]
    assert "the first 8 samples only" in table.facts


def test_skipped_takes_are_not_failures(make_run, make_score):
    counts = {"expected": 72, "ok": 64, "failed": 0, "skipped": 8}
    short = make_score("clipsim", 0.4, n_expected=72)
    (table,) = Board([make_run("a"), make_run("reference", [short], counts=counts)]).tables
    assert texts(table, "partial") == [
        "reference is partial: 8 takes skipped; 64 of 72 clips in CLIPSIM(tiny-clip)."
    ]
    assert table.rows[1].partial == ""


def test_takes_that_never_came_count_as_failed(make_run):
    counts = {"expected": 64, "ok": 40, "failed": 0}
    (table,) = Board([make_run("a", counts=counts)]).tables
    assert table.rows[0].partial == "24 of 64 takes failed"


def test_model_notes_reach_the_board_once(make_run):
    model = {"notes": ["the tiny\ncheckpoint was taken"]}
    (table,) = Board([make_run("a", model=model), make_run("b", model=model)]).tables
    assert texts(table, "model") == ["a and b: the tiny checkpoint was taken"]


def test_control_characters_never_reach_a_board(make_run):
    (table,) = Board([make_run("a\x1b[31m\n\u202eb")]).tables
    assert names(table) == ["a[31m b"]


def test_a_board_needs_a_run():
    with pytest.raises(UserError, match="at least one"):
        Board([])


def test_a_run_without_scores_is_a_row_without_columns(make_run):
    board = Board([make_run("a", [])])
    assert board.tables[0].columns == ()
    assert board.to_dataframe().empty
    assert "value" in board.to_dataframe().columns


def test_long_frame_has_a_row_per_run_and_metric(golden):
    frame = golden.to_dataframe()
    assert len(frame) == 5 * 2
    beta = frame[frame["row"] == "beta"].set_index("metric")
    assert beta.loc["fvd", ["value", "ci_low", "ci_high"]].tolist() == [80.0, 70.0, 90.0]
    assert beta.loc["clipsim", "reason"] == "tiny-clip weights are missing"
    assert math.isnan(beta.loc["clipsim", "value"])
    assert frame.loc[frame["partial"], "row"].unique().tolist() == ["gamma"]
    assert frame["higher_is_better"].tolist() == [False, True] * 5


def test_wide_frame_is_the_table(golden):
    wide = wide_frame(golden.tables[0])
    assert wide.index.tolist() == names(golden.tables[0])
    assert wide.loc["alpha"].tolist() == [100.0, 0.31]
    assert math.isnan(wide.loc["beta", "CLIPSIM(tiny-clip)"])
