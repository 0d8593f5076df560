"""Clips of different length, size or rate in one column are said, in every format."""

from __future__ import annotations

import csv
import io
import json

import pytest

from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.commands import FORMATS, render


def clips(num_frames=16, size=(96, 64), fps=8.0, num_clips=64):
    width, height = size
    return {
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "fps": fps,
        "num_clips": num_clips,
    }


def notes(board):
    return [note.text for note in board.tables[0].notes if note.kind == "geometry"]


@pytest.fixture
def differing(make_run, make_score):
    scores = [make_score(), make_score("clipsim", 0.3)]
    return Board(
        [
            make_run("a", scores, geometry=(clips(),)),
            make_run("b", scores, geometry=(clips(49, (720, 480), 29.97),)),
            make_run("c", scores, geometry=(clips(),)),
        ]
    )


def test_rows_of_equal_clips_need_no_word(make_run):
    assert (
        notes(Board([make_run("a", geometry=(clips(),)), make_run("b", geometry=(clips(),))])) == []
    )


def test_rows_of_unknown_clips_need_no_word(make_run):
    assert notes(Board([make_run("a", geometry=(clips(),)), make_run("b")])) == []


def test_a_column_of_different_clips_says_so(differing):
    assert notes(differing) == [
        "FVD(i3d) and CLIPSIM(tiny-clip) compare clips of different length, size or rate. "
        "a and c: 16 frames of 96x64 at 8 fps; b: 49 frames of 720x480 at 29.97 fps."
    ]


@pytest.mark.parametrize("other", [clips(17), clips(size=(64, 96)), clips(fps=12.0)])
def test_length_size_and_rate_each_count(make_run, other):
    (text,) = notes(Board([make_run("a", geometry=(clips(),)), make_run("b", geometry=(other,))]))
    assert text.startswith("FVD(i3d) compares clips of different length, size or rate.")


def test_columns_that_hold_one_kind_are_not_named(make_run, make_score):
    other = [make_score(value=1.0, fingerprint="0ther"), make_score("clipsim", 0.3)]
    runs = [
        make_run("a", [make_score(), make_score("clipsim", 0.2)], geometry=(clips(),)),
        make_run("b", other, geometry=(clips(25),)),
    ]
    (text,) = notes(Board(runs))
    assert text.startswith("CLIPSIM(tiny-clip) compares")


@pytest.mark.parametrize("metric", ["dynamic_degree", "motion_smoothness", "temporal_flickering"])
def test_metrics_of_the_rate_say_it(make_run, make_score, metric):
    scores = [make_score(), make_score(metric, 0.5)]
    slow = make_run("a", scores, geometry=(clips(),))
    fast = make_run("b", scores, geometry=(clips(fps=24.0),))
    longer = make_run("c", scores, geometry=(clips(25),))
    text = notes(Board([slow, fast]))[1]
    assert text == f"{metric} depends on the frame rate, which differs. a: 8 fps; b: 24 fps."
    assert len(notes(Board([slow, longer]))) == 1


def test_mixed_clips_of_one_run_are_said(make_run):
    mixed = (clips(num_clips=60), clips(25, (128, 64), 30.0, num_clips=4))
    assert notes(Board([make_run("a", geometry=mixed)])) == [
        "a: clips have 16 and 25 frames, sizes of 96x64 and 128x64 and rates of 8 and 30 fps."
    ]
    lengths = (clips(num_clips=60), clips(25, num_clips=4))
    assert notes(Board([make_run("a", geometry=lengths)])) == ["a: clips have 16 and 25 frames."]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_tells_the_kinds(differing, name):
    text = " ".join(render(differing, name).split())
    for words in ("16 frames of 96x64 at 8 fps", "49 frames of 720x480 at 29.97 fps"):
        assert words in text


def test_data_formats_hold_the_clips_of_each_run(differing, make_run):
    rows = list(csv.DictReader(io.StringIO(differing.to_csv())))
    assert {row["name"]: row["clips"] for row in rows}["b"] == "49 frames of 720x480 at 29.97 fps"
    frame = differing.to_dataframe()
    assert set(frame.loc[frame["row"] == "a", "clips"]) == {"16 frames of 96x64 at 8 fps"}
    (table,) = json.loads(differing.to_json())["tables"]
    assert {row["name"]: row["geometry"] for row in table["rows"]}["a"] == [clips()]
    mixed = make_run("a", geometry=(clips(num_clips=60), clips(25, num_clips=4)))
    (row,) = csv.DictReader(io.StringIO(Board([mixed]).to_csv()))
    assert (
        row["clips"]
        == "60 clips of 16 frames of 96x64 at 8 fps, 4 clips of 25 frames of 96x64 at 8 fps"
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_tells_warnings(make_run, make_score, name):
    board = Board([make_run("a", [make_score(warnings=("1 reference at 30 fps",))]), make_run("b")])
    assert "1 reference at 30 fps" in render(board, name)
    assert "1 reference at 30 fps" in set(board.to_dataframe()["warnings"])
