"""Profiles as columns: there if a run has one, apart for another device, never in results.json."""

from __future__ import annotations

import dataclasses

import pytest

from i2vbench.errors import UserError
from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.commands import FORMATS, render, render_all
from i2vbench.leaderboards.cost import with_profile
from i2vbench.profile import PROFILE_FILE, Profile

PROFILE = Profile(
    model="a",
    num_frames=16,
    height=64,
    width=64,
    dtype="bf16",
    device="A Fast Device",
    num_parameters=6_620_000,
    flops_per_clip=2 * 10**11,
    seconds_per_clip=1.5,
    peak_memory_mib=900.0,
)


@pytest.fixture
def folder(tmp_path, make_run, make_score):
    """Runs a (FVD 100), b (FVD 90) and static, on disk; none is profiled."""
    for name, value in (("a", 100.0), ("b", 90.0), ("static", 400.0)):
        run = tmp_path / f"{name}-0123abcd"
        run.mkdir()
        text = make_run(name, [make_score(value=value)]).to_json()
        (run / "results.json").write_text(text, encoding="utf-8")
    return tmp_path


def profiled(folder, name, **changes):
    path = folder / f"{name}-0123abcd" / PROFILE_FILE
    path.write_text(dataclasses.replace(PROFILE, **changes).to_json(), encoding="utf-8")


def labels(board):
    return [column.label for column in board.tables[0].columns]


def cells(board, label):
    (table,) = board.tables
    place = labels(board).index(label)
    return {row.name: row.cells[place] for row in table.rows}


def test_without_profiles_there_are_no_such_columns(folder):
    assert labels(Board.from_runs([folder])) == ["FVD(i3d)"]


def test_one_profile_brings_the_columns_and_no_footnotes(folder):
    profiled(folder, "a")
    board = Board.from_runs([folder])
    assert labels(board) == [
        "FVD(i3d)",
        "Parameters(M)",
        "TFLOP/clip",
        "s/clip(A Fast Device, bf16)",
        "Peak MiB(A Fast Device, bf16)",
    ]
    found = cells(board, "s/clip(A Fast Device, bf16)")
    assert (found["a"].text, found["b"].text, found["static"].text) == ("1.500", "–", "–")
    assert "not profiled" in found["b"].reason
    assert {cell.footnote for cell in found.values()} == {None}
    assert cells(board, "Parameters(M)")["a"].text == "6.620"
    assert not [note for note in board.tables[0].notes if note.kind == "missing"]


def test_a_board_never_ranks_by_cost_unless_asked(folder):
    profiled(folder, "a")
    profiled(folder, "b", seconds_per_clip=3.0)
    board = Board.from_runs([folder])
    assert board.tables[0].ranking_text == "Ranked by FVD(i3d) ↓."
    asked = Board.from_runs([folder], sort_by="s/clip")
    assert [(row.name, row.rank) for row in asked.tables[0].rows][:2] == [("a", 1), ("b", 2)]


def test_seconds_of_other_circumstances_stand_apart(folder):
    profiled(folder, "a")
    profiled(folder, "b", dtype="fp32", seconds_per_clip=1.0)
    board = Board.from_runs([folder])
    assert cells(board, "s/clip(A Fast Device, fp32)")["b"].standing == ""
    assert cells(board, "TFLOP/clip")["b"].value == pytest.approx(0.2)
    texts = [note.text for note in board.tables[0].notes if note.kind == "columns"]
    assert all("device, precision or batch size differ" in text for text in texts)
    assert len(texts) == 2


def test_a_baseline_that_costs_nothing_beats_nobody(folder):
    profiled(folder, "a")
    profiled(folder, "b")
    profiled(folder, "static", seconds_per_clip=0.001)
    board = Board.from_runs([folder])
    assert not [note for note in board.tables[0].notes if note.kind == "baseline"]


def test_counted_shapes_have_no_clock(folder):
    profiled(folder, "a", device="", seconds_per_clip=None, peak_memory_mib=None)
    assert labels(Board.from_runs([folder])) == ["FVD(i3d)", "Parameters(M)", "TFLOP/clip"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_them(folder, name):
    profiled(folder, "a")
    text = render(Board.from_runs([folder]), name)
    assert "TFLOP/clip" in text or "tflop_per_clip" in text
    assert "0/0" not in text
    assert "n=0" not in text


def test_a_run_leaves_boards_with_the_profiles_beside_it(folder, make_run):
    profiled(folder, "a")
    run = make_run("a")
    stored = (folder / "a-0123abcd" / "results.json").read_bytes()
    text = render_all([run], folder / "a-0123abcd")
    assert "TFLOP/clip" in text
    assert (folder / "a-0123abcd" / "results.json").read_bytes() == stored


def test_without_a_file_the_run_is_as_it_was(folder, make_run):
    run = make_run("a")
    assert with_profile(run, folder / "a-0123abcd") is run


def test_a_damaged_profile_is_named(folder):
    run = folder / "b-0123abcd"
    for text in ("{", "[" * 10**5, '{"schema_version": ' + "1" * 5000 + "}"):
        (run / PROFILE_FILE).write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=PROFILE_FILE):
            Board.from_runs([run])


def test_a_damaged_profile_takes_only_the_costs(folder, tmp_path, caplog):
    (folder / "b-0123abcd" / PROFILE_FILE).write_text("{", encoding="utf-8")
    board = Board.from_runs([folder])
    assert [row.name for row in board.tables[0].rows] == ["b", "a", "static"]
    assert PROFILE_FILE in caplog.text
    assert "FVD" in render_all(board.results, folder / "a-0123abcd")
    assert caplog.text.count(PROFILE_FILE) == 2


def test_costs_stand_under_each_protocol(folder, make_run, make_score):
    scores = [make_score(protocol="one 1"), make_score(protocol="two 1", fingerprint="other")]
    profiled(folder, "a")
    run = with_profile(make_run("a", scores, protocol="two 1"), folder / "a-0123abcd")
    tables = Board([run]).tables
    assert [table.key.protocol for table in tables] == ["two 1", "one 1"]
    for table in tables:
        assert [column.key.metric for column in table.columns][1] == "parameters"
