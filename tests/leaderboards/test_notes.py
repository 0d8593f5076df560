"""The lines under a table, each from a board of two or three runs."""

import pytest

from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.notes import failure_words


def notes(runs, kind):
    (table,) = Board(runs).tables
    return [note.text for note in table.notes if note.kind == kind]


def test_failed_takes_are_those_that_are_neither_made_nor_skipped(make_run):
    def words(**counts):
        return failure_words(make_run(counts=counts))

    assert words(expected=10, ok=10) == ""
    assert words(expected=10, ok=7, skipped=3) == ""
    assert words(expected=10, ok=7, skipped=2, failed=1) == "1 of 10 takes failed"
    assert words(expected=10) == "10 of 10 takes failed"
    assert words() == ""


def test_a_warning_stands_beside_values_only(make_run, make_score):
    """It names its run unless every value of the column has it; an empty score has a reason."""

    def text(*scores):
        return notes([make_run(f"m{n}", [score]) for n, score in enumerate(scores)], "warning")

    valued, empty = (
        make_score(value=2.0, warnings=("few",)),
        make_score(value=None, reason="too few", warnings=("few",)),
    )
    assert text(valued) == ["FVD(i3d): few"]
    assert text(empty) == []
    assert text(valued, make_score(value=3.0)) == ["FVD(i3d) (m0): few"]
    assert text(valued, make_score(value=None, reason="too few")) == ["FVD(i3d): few"]
    assert text(valued, empty) == ["FVD(i3d): few"]


def test_a_warning_is_said_once_a_run(make_run, make_score):
    twice = make_score(warnings=("few", "odd", "few"))
    assert notes([make_run("a", [twice])], "warning") == ["FVD(i3d): few", "FVD(i3d): odd"]


def test_partial_runs_say_what_failed_what_was_skipped_and_where(make_run, make_score):
    def text(*scores, **counts):
        return notes([make_run("a", scores, counts={"expected": 64, **counts})], "partial")

    short = {"n_scored": 60}
    fvd, clipsim = make_score("fvd", 1.0, **short), make_score("clipsim", 0.5, **short)
    assert text(make_score(), ok=64) == []
    assert text(make_score(), ok=60) == ["a is partial: 4 of 64 takes failed."]
    assert text(make_score(), ok=60, skipped=4) == ["a is partial: 4 takes skipped."]
    assert text(fvd, clipsim, ok=64) == ["a is partial: 60 of 64 clips in every score."]
    # Of a single score the name says more.
    assert text(fvd, ok=64) == ["a is partial: 60 of 64 clips in FVD(i3d)."]
    assert text(fvd, make_score("clipsim", 0.5), ok=63, skipped=1) == [
        "a is partial: 1 takes skipped; 60 of 64 clips in FVD(i3d)."
    ]
    other = make_score("clipsim", 0.5, n_scored=10)
    assert text(fvd, other, ok=1) == [
        "a is partial: 63 of 64 takes failed; 60 of 64 clips in FVD(i3d); "
        "10 of 64 clips in CLIPSIM(tiny-clip)."
    ]


@pytest.mark.parametrize(
    ("metric", "still", "model", "is_said"),
    [
        ("clipsim", 0.5, 0.4, True),
        ("clipsim", 0.4, 0.5, False),
        ("clipsim", 0.5, 0.5, False),
        ("fvd", 1.0, 2.0, True),
        ("fvd", 2.0, 1.0, False),
    ],
)
def test_a_still_picture_that_beats_all_is_named(
    make_run, make_score, metric, still, model, is_said
):
    runs = [
        make_run("a", [make_score(metric, model)]),
        make_run("static", [make_score(metric, still)]),
    ]
    assert bool(notes(runs, "baseline")) == is_said


def test_a_still_picture_must_beat_every_complete_model(make_run, make_score):
    static = make_run("static", [make_score("clipsim", 0.5)])
    good, bad = (make_run(n, [make_score("clipsim", v)]) for n, v in (("a", 0.6), ("b", 0.1)))
    partial = make_run("c", [make_score("clipsim", 0.9, n_scored=1)])
    assert notes([static, good, bad], "baseline") == []
    assert len(notes([static, bad, partial], "baseline")) == 1
    assert notes([static], "baseline") == []
    assert notes([good, bad], "baseline") == []


def test_the_notes_of_cards_are_said_once_for_all_that_have_them(make_run):
    runs = [
        make_run("a", model={"notes": ["tiny weights", "slow"]}),
        make_run("b", model={"notes": ["tiny weights", ""]}),
    ]
    assert notes(runs, "model") == ["a and b: tiny weights", "a: slow"]


def test_missing_scores_are_numbered_once_a_reason(make_run, make_score):
    def gone(reason):
        return make_score("clipsim", None, reason=reason, fingerprint="")

    runs = [
        make_run("a", [make_score(), gone("no weights")]),
        make_run("b", [make_score(), gone("no weights")]),
        make_run("c", [make_score(), gone("")]),
        make_run("d", [make_score()]),
    ]
    (table,) = Board(runs).tables
    missing = [(note.number, note.text) for note in table.notes if note.kind == "missing"]
    assert [number for number, _ in missing] == [1, 2, 3]
    assert [text for _, text in missing] == [
        "CLIPSIM(tiny-clip): no weights",
        "CLIPSIM(tiny-clip): no reason was given",
        "CLIPSIM(tiny-clip): this run was not scored with it",
    ]


def test_a_limit_is_said_first(make_run):
    (table,) = Board([make_run(suite={"limit": 4}, model={"notes": ["x"]})]).tables
    assert table.notes[0].text == "A quick look at the first 4 samples: no row is ranked."
    assert notes([make_run()], "limit") == []


def test_columns_that_stay_apart_are_named_with_the_reason(make_run, make_score):
    runs = [
        make_run("a", [make_score()]),
        make_run("b", [make_score(fingerprint="other", label="FVD(other)")]),
    ]
    assert notes(runs, "columns") == [
        "FVD(i3d) and FVD(other) are never ranked together: the network differs."
    ]
    assert notes([runs[0], make_run("b")], "columns") == []
