from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from i2vbench.cli import cli
from i2vbench.clip import Geometry
from i2vbench.errors import UserError
from i2vbench.generation import generate
from i2vbench.model import load_model
from i2vbench.reopen import reopen_run
from i2vbench.suites import load_suite
from i2vbench.suites.any_table import TableOptions
from i2vbench.suites.importer import split_source, write_source
from i2vbench.suites.layout import Problems
from tests.suites.miniatures import put_video, refusal


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "what?a=b"
    put_video(folder / "a.mp4", num_frames=20)
    path = folder / "list.csv"
    path.write_text("file,text\na.mp4,a grey square\n")
    return path


SMALL = Geometry(num_frames=4, height=8, width=8, fps=8)
OPTIONS = {"reference": "file", "prompt": "text"}


@given(
    place=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    prompt=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    seed=st.integers(0, 99),
)
def test_a_source_is_read_as_it_was_written(place: str, prompt: str | None, seed: int) -> None:
    options = TableOptions(prompt=prompt, seed=seed)
    name, found, values = split_source(write_source("table", place, options))
    assert (name, found) == ("table", place)
    assert TableOptions(**values) == options


def test_a_suite_is_found_again_by_its_source(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(table.parent)
    suite = load_suite("table:list.csv", OPTIONS)
    assert suite.name == "list"
    monkeypatch.chdir(table.parent.parent)
    again = load_suite(suite.source)
    assert again.content_sha256 == suite.content_sha256
    assert again.source == suite.source


def test_options_given_apart_come_before_written_ones(table: Path) -> None:
    written = f"table:{table}?reference=file&prompt=text&stride=2"
    assert "stride=3" in load_suite(written, {"stride": 3}).source


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("table", {}, "suite 'table' needs a CSV, TSV or JSON-lines file: table:PATH"),
        ("table:", {}, "needs a CSV"),
        ("table:/no/such.csv", {}, "suite table: /no/such.csv does not exist; give a CSV"),
        ("TABLE", {"promt": "text"}, "option 'promt' is unknown: did you mean 'prompt'?"),
        ("TABLE?stride=[", {}, "the value of 'stride' is not YAML"),
        ("TABLE?stride=" + "[" * 900, {}, "the value of 'stride' is not YAML (it is nested"),
        ("TABLE?stride=" + "9" * 5000, {}, "is not YAML (a number of 5,000 characters)"),
        ("TABLE", {"stride": ["x" * 99] * 10**5}, "table: stride is ['xxx"),
        ("TABLE", {"clip": "last"}, "suite table: clip is 'last'"),
        ("TABLE", {"prompt": "texts"}, "has no column 'texts' for prompt: did you mean 'text'?"),
        ("playground", {"seed": 1}, "suite 'playground' takes no options, got seed"),
        ("playground:/data", {}, "playground is complete in itself"),
        ("tabel:/data", {}, "did you mean 'table'?"),
    ],
)
def test_mistakes_are_one_line(table: Path, name: str, options: dict, said: str) -> None:
    assert said in refusal(name.replace("TABLE", f"table:{table}"), options)


def test_a_run_finds_its_suite_where_it_has_moved(table: Path, tmp_path: Path) -> None:
    suite = load_suite(f"table:{table}", {**OPTIONS, "num_frames": 4, "stride": 2})
    run = generate(load_model("reference"), suite, tmp_path / "runs", geometry=SMALL)
    assert [take.status for take in run.takes().values()] == ["ok"]
    moved = tmp_path / "moved"
    table.parent.rename(moved)
    with pytest.raises(UserError, match="does not exist"):
        reopen_run(run.path)
    _, plan, _ = reopen_run(run.path, f"table:{moved}/list.csv")
    assert "stride=2" in plan.suite.source


def test_the_takes_of_a_suite_are_its_own(table: Path, tmp_path: Path) -> None:
    suite = dataclasses.replace(load_suite(f"table:{table}", OPTIONS), num_takes=3)
    for asked, made in ((None, 3), (1, 1)):
        run = generate(
            load_model("static"), suite, tmp_path / f"runs-{asked}", geometry=SMALL, num_takes=asked
        )
        assert len(run.takes()) == made


def test_the_command_line_knows_suites_and_their_options(table: Path) -> None:
    run = CliRunner().invoke
    listed = run(cli, ["list", "suites"]).output
    for name in ("ucf101", "msrvtt", "i2v-bench", "vbench-i2v", "animatebench", "folder", "hub"):
        assert f"{name}:" in listed
    arguments = ["generate", "-m", "static", "-s", f"table:{table}", "--dry-run"]
    options = [part for key, value in OPTIONS.items() for part in ("-S", f"{key}={value}")]
    done = run(cli, [*arguments, *options, "-S", "stride=1"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "static on list " in done.output
    for wrong, said in (("stride", "-S 'stride': accepted is KEY=VALUE"), ("a=1", "option 'a'")):
        refused = run(cli, [*arguments, "-S", wrong])
        assert isinstance(refused.exception, UserError)
        assert said in str(refused.exception)


def test_the_command_line_says_what_is_not_published(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = dataclasses.replace(load_suite(f"table:{table}", OPTIONS), notes=("only a part",))
    monkeypatch.setattr("i2vbench.suites.load_suite", lambda name, options: loaded)
    done = CliRunner().invoke(cli, ["generate", "-m", "static", "-s", "table:x", "--dry-run"])
    assert "  only a part" in done.output


def test_problems_are_counted() -> None:
    problems = Problems("a set", "do this")
    problems.check()
    for number in range(7):
        problems.add(f"p{number}")
    problems.expect("videos", 3, 3)
    with pytest.raises(UserError) as caught:
        problems.check()
    assert str(caught.value) == "a set: p0; p1; p2; p3; p4; and 2 more; do this"
