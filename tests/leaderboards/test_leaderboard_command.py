"""``i2vbench leaderboard`` on run directories, and the files that a run leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from i2vbench.cli import cli
from i2vbench.errors import UserError
from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.commands import FORMATS, render_all


@pytest.fixture
def runs(tmp_path, make_run, make_score):
    """A folder of two scored runs and one that is not scored."""
    for name, value in (("a", 100.0), ("b", 90.0)):
        folder = tmp_path / "runs" / "playground" / f"{name}-0123abcd"
        folder.mkdir(parents=True)
        scores = [make_score(value=value), make_score("clipsim", 0.3 if name == "a" else 0.2)]
        (folder / "results.json").write_text(make_run(name, scores).to_json(), encoding="utf-8")
        (folder / "run.json").write_text("{}", encoding="utf-8")
    waiting = tmp_path / "runs" / "playground" / "c-0123abcd"
    waiting.mkdir()
    (waiting / "run.json").write_text("{}", encoding="utf-8")
    return tmp_path / "runs"


def invoke(*arguments):
    return CliRunner().invoke(cli, ["leaderboard", *map(str, arguments)], catch_exceptions=True)


def test_a_folder_of_runs_is_searched(runs):
    result = invoke(runs)
    assert result.exit_code == 0
    header, _, *lines = result.stdout.split("Ranked by FVD(i3d) ↓.")[1].strip().splitlines()
    # Two runs: a line per metric, a column per run in the order of the ranks.
    assert header.split() == ["1.", "b", "2.", "a"]
    assert lines[0].split() == ["FVD(i3d)", "↓", "90.0★", "100.0"]
    assert "c-0123abcd is not scored yet" in result.stderr


def test_directories_and_files_name_runs_once(runs, monkeypatch):
    monkeypatch.chdir(runs)
    folder = runs / "playground" / "a-0123abcd"
    found = Board.from_runs([folder, folder / "results.json", "playground/a-0123abcd", runs])
    assert sorted(run.model["name"] for run in found.results) == ["a", "b"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_prints(runs, name):
    result = invoke(runs, "--format", name)
    assert result.exit_code == 0
    assert "playground" in result.stdout
    if name == "json":
        assert json.loads(result.stdout)["tables"]


@pytest.mark.parametrize(
    ("file", "start"),
    [
        ("x.md", "# Leaderboard"),
        ("x.html", "<!DOCTYPE html>"),
        ("x.csv", "table,rank,name"),
        ("x.tex", "% \\usepackage"),
        ("x.json", "{"),
        ("x.txt", "playground 1"),
    ],
)
def test_the_suffix_of_output_says_the_format(runs, tmp_path, file, start):
    result = invoke(runs, "--output", tmp_path / "new" / file)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert (tmp_path / "new" / file).read_text(encoding="utf-8").startswith(start)


def test_sort_by(runs):
    result = invoke(runs, "--sort-by", "clipsim", "--format", "csv")
    assert [line.split(",")[2] for line in result.stdout.splitlines()] == ["name", "a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["--sort-by", "fwd"], "did you mean 'fvd'"),
        (["--published", "consisti2-table1"], "did you mean 'consisti2v-table1'"),
        (["--output", "board.docx"], "accepted: .txt, .md, .csv, .html"),
        (["--output", "/dev/null/board.md"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line(runs, arguments, message):
    places = [] if arguments[0] == "nowhere" else [runs]
    result = invoke(*places, *arguments)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_published_tables_of_the_suite(runs, tmp_path, make_run):
    run = make_run("c", suite={"name": "vbench-i2v"})
    (tmp_path / "results.json").write_text(run.to_json(), encoding="utf-8")
    result = invoke(tmp_path / "results.json", "--with-published", "--format", "json")
    names = [table["name"] for table in json.loads(result.stdout)["published"]]
    assert names == ["vbenchpp-table3", "show-o2", "owl-1", "mug-v-table1"]
    result = invoke(runs, "--with-published")
    assert result.exit_code == 0
    assert "no published table is of suite playground" in result.stderr
    assert "As printed" not in result.stdout


def test_published_tables_by_name(runs):
    arguments = ("--published", "owl-1", "--published", "consisti2v-table2", "--format", "json")
    for extra in ((), ("--with-published",)):
        board = json.loads(invoke(runs, *arguments, *extra).stdout)
        names = [table["name"] for table in board["published"]]
        assert names == ["owl-1", "consisti2v-table2"]
        assert len(board["tables"]) == 1


@pytest.mark.parametrize("name", FORMATS)
def test_published_tables_need_no_run(name):
    result = invoke("--with-published", "--format", name)
    assert result.exit_code == 0
    assert result.stderr == ""
    for text in ("177.66", "2402.04324v2", "2510.17519", "Scenery-Nature"):
        assert text in result.stdout


def test_nothing_to_show_is_one_line():
    result = invoke()
    assert isinstance(result.exception, UserError)
    assert "no run is given" in str(result.exception)
    assert "--with-published" in str(result.exception)


def test_a_folder_without_results_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"holds no results\.json"):
        Board.from_runs([tmp_path])


@pytest.fixture
def broken(runs):
    """The results.json of a third run: it is not one."""
    file = runs / "playground" / "c-0123abcd" / "results.json"
    file.write_text("{", encoding="utf-8")
    return file


def test_a_broken_file_in_a_folder_is_named_and_left_out(runs, broken, tmp_path, caplog):
    result = invoke(runs)
    assert result.exit_code == 1
    assert result.stdout.index("1. b") < result.stdout.index("2. a")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"left out: {broken} is not JSON")
    result = invoke(runs, "--output", tmp_path / "x.csv")
    assert result.exit_code == 1
    assert len((tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()) == 3
    assert len(Board.from_runs([runs]).results) == 2
    assert f"left out: {broken}" in caplog.text


def test_a_broken_file_that_is_named_is_an_error(runs, broken):
    for place in (broken, broken.parent):
        for places in ((place,), (runs, place), (place, runs)):
            result = invoke(*places)
            assert isinstance(result.exception, UserError)
            assert f"{broken} is not JSON" in str(result.exception)


def test_a_folder_of_broken_files_is_an_error(runs, broken):
    for name in ("a", "b"):
        (runs / "playground" / f"{name}-0123abcd" / "results.json").write_text("[]")
    with pytest.raises(UserError, match=r"a-0123abcd.*\(2 more cannot be read either\)"):
        Board.from_runs([runs])


def test_render_all_writes_four_files_and_returns_the_text(golden, tmp_path):
    text = render_all(golden.results, tmp_path / "run")
    files = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert files == ["board.csv", "board.html", "board.md", "board.txt"]
    assert (tmp_path / "run" / "board.txt").read_text(encoding="utf-8") == text
    assert "beta" in text
    render_all(golden.results[:1], tmp_path / "run")
    assert "beta" not in (tmp_path / "run" / "board.html").read_text(encoding="utf-8")


def test_help_and_text_need_neither_pandas_nor_jinja(runs):
    code = (
        "import sys; from i2vbench.cli import cli;"
        "cli.main(sys.argv[1:], standalone_mode=False);"
        "print([m for m in ('torch', 'numpy', 'pandas', 'jinja2') if m in sys.modules])"
    )
    published = ["leaderboard", "--with-published"]
    for arguments in (["leaderboard", str(runs)], published, ["leaderboard", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=Path(__file__).resolve().parents[2],
        )
        assert done.stdout.splitlines()[-1] == "[]", done.stderr
