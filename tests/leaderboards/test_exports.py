"""Markdown, CSV, JSON and LaTeX: the golden board's meaning, and hostile names as literal text."""

from __future__ import annotations

import csv
import io
import json
import re

import pandas as pd
import pytest

from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.csv import to_csv
from i2vbench.leaderboards.json import to_json
from i2vbench.leaderboards.latex import to_latex
from i2vbench.leaderboards.markdown import to_markdown

HOSTILE = '<script>alert("x")</script> a|b & `c` *d* _e_ $f$ 50% {g} \\h ~ ^ # [i](j) 🙂 é'


@pytest.fixture
def hostile(make_run, make_score):
    scores = [make_score(value=1.0, label=f"{HOSTILE}(net)", warnings=(HOSTILE,))]
    missing = [make_score(value=None, reason=HOSTILE, fingerprint="")]
    model = {"notes": [HOSTILE], "options": {HOSTILE: HOSTILE}}
    runs = [make_run(HOSTILE, scores, model=model), make_run("b", missing), make_run("c", scores)]
    return Board(runs)


@pytest.fixture
def apart(make_run, make_score):
    other = make_run("other", [make_score(value=1.0)], suite={"version": "2"})
    return Board([make_run("a"), make_run("b", [make_score(value=90.0)]), other])


def markdown_rows(text):
    """Cells of all lines of all grids, split at pipes that are not escaped."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def latex_rows(text):
    """Cells of the body lines of all tables."""
    lines = [line for line in text.splitlines() if line.endswith(r" \\") and " & " in line]
    return [[c.strip() for c in re.split(r"(?<!\\) & ", line[:-3])] for line in lines]


def csv_rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_markdown_golden(golden):
    text = to_markdown(golden)
    assert markdown_rows(text)[:7] == [
        ["#", "Model", "FVD(i3d) ↓", "CLIPSIM(tiny-clip) ↑"],
        ["--:", ":--", "--:", "--:"],
        ["1", "beta", "**80.0**", "–<sup>1</sup>"],
        ["2", "alpha", "100.0†", "**0.3100**"],
        ["", r"gamma\*", r"70.0\*", r"0.2500\*"],
        ["", "reference *(upper bound)*", "0.0", "0.4000"],
        ["", "static *(baseline)*", "400.0", "0.3500"],
    ]
    assert "- <sup>1</sup> CLIPSIM(tiny-clip): tiny-clip weights are missing" in text
    assert r"\[70.0, 90.0\] n=64" in text
    assert "n=60 of 64" in text


def test_markdown_of_few_runs_has_a_line_per_metric(make_run, make_score):
    scores = [make_score(), make_score("clipsim", 0.3)]
    rows = markdown_rows(to_markdown(Board([make_run("a", scores)])))
    assert rows[0] == ["Metric", "a"]
    assert rows[2:4] == [["FVD(i3d) ↓", "100.0"], ["CLIPSIM(tiny-clip) ↑", "0.3000"]]


def test_markdown_keeps_tables_apart(apart):
    text = to_markdown(apart)
    first, second = text.split("## Table 2: playground 2")
    assert "other" not in first
    assert "Not comparable with table 1: the version of the suite differs" in second


def test_markdown_escapes(hostile):
    text = to_markdown(hostile)
    assert "<script" not in text
    rows = markdown_rows(text)
    assert {len(row) for row in rows} == {4}
    assert r"&lt;script&gt;alert(" in rows[0][1]
    assert r"a\|b &amp; \`c\` \*d\* \_e\_" in rows[0][1]
    assert r"\[i\](j)" in rows[0][1]


def test_csv_golden(golden):
    rows = csv_rows(to_csv(golden))
    assert [row["name"] for row in rows] == ["beta", "alpha", "gamma", "reference", "static"]
    beta = rows[0]
    assert (beta["rank"], beta["fvd"], beta["fvd_ci_low"], beta["fvd_n"]) == (
        "1",
        "80.0",
        "70.0",
        "64",
    )
    assert beta["fvd_standing"] == "best"
    assert beta["clipsim"] == ""
    assert beta["clipsim_reason"] == "tiny-clip weights are missing"
    assert rows[2]["partial"] == "4 of 64 takes failed"
    assert json.loads(beta["options"]) == {"steps": 10}


def test_csv_has_full_precision_and_reads_as_numbers(make_run, make_score):
    value = 123.45678901234567
    frame = pd.read_csv(io.StringIO(to_csv(Board([make_run("a", [make_score(value=value)])]))))
    assert frame["fvd"].tolist() == [value]


def test_csv_says_which_rows_compare(apart):
    rows = csv_rows(to_csv(apart))
    assert [(row["table"], row["name"]) for row in rows] == [("1", "b"), ("1", "a"), ("2", "other")]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "＝", "'="])
def test_csv_text_is_never_a_formula(make_run, make_score, start):
    bad = f"{start}HYPERLINK(1)"
    scores = [
        make_score(value=-5.0, ci=(-6.0, -4.0)),
        make_score(bad, None, reason=bad, fingerprint=""),
    ]
    text = to_csv(Board([make_run(bad, scores, run=bad, protocol=bad, model={"weights": bad})]))
    rows = list(csv.reader(io.StringIO(text)))
    cells = [cell for row in rows for cell in row if "HYPERLINK" in cell]
    assert len(cells) > 8
    assert all(cell.startswith("'") for cell in cells)
    assert "-5.0" in rows[1]


def test_csv_of_hostile_names_reads_back(hostile):
    rows = csv_rows(to_csv(hostile))
    assert HOSTILE in [row["model"] for row in rows]


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_json_golden(golden):
    board = json.loads(to_json(golden), parse_constant=refuse)
    (table,) = board["tables"]
    assert table["sorted_by"] == "fvd"
    assert [(row["name"], row["rank"]) for row in table["rows"]][:2] == [("beta", 1), ("alpha", 2)]
    assert table["columns"][0]["higher_is_better"] is False
    beta = table["rows"][0]["scores"]
    assert beta["fvd"]["ci95"] == [70.0, 90.0]
    assert beta["fvd"]["standing"] == "best"
    assert beta["clipsim"]["value"] is None
    assert beta["clipsim"]["reason"] == "tiny-clip weights are missing"
    assert {note["kind"] for note in table["notes"]} == {
        "missing",
        "partial",
        "warning",
        "baseline",
    }


def test_json_of_foreign_numbers_has_no_nan(make_run, make_score):
    model = {"options": {"scale": float("nan")}}
    run = make_run("a", [make_score(value=float("inf"))], model=model)
    board = json.loads(to_json(Board([run])), parse_constant=refuse)
    (row,) = board["tables"][0]["rows"]
    assert row["scores"]["fvd"]["value"] is None
    assert row["model"]["options"] == {"scale": None}


def test_latex_golden(golden):
    rows = latex_rows(to_latex(golden))
    assert [row[:3] for row in rows[1:]] == [
        ["1", "beta", r"\textbf{80.0}"],
        ["2", "alpha", r"100.0\textsuperscript{\textdagger{}}"],
        ["", r"gamma\textsuperscript{*}", r"70.0\textsuperscript{*}"],
        ["", r"reference \emph{(upper bound)}", "0.0"],
        ["", r"static \emph{(baseline)}", "400.0"],
    ]
    assert rows[1][3] == r"\textendash{}\textsuperscript{1}"
    assert rows[0][2].startswith(
        r"\begin{tabular}[b]{@{}r@{}}FVD $\downarrow$ \\ {\scriptsize (i3d)}"
    )


def test_latex_tables_are_closed_and_need_booktabs(apart):
    text = to_latex(apart)
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 2
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}")
    assert "booktabs" in text.splitlines()[0]
    assert "Not comparable with table 1" in text


def test_latex_escapes(hostile):
    text = to_latex(hostile)
    assert {len(row) for row in latex_rows(text)} == {3}
    unescaped = re.sub(r"\\[\\{}$&#_%]", "", text)
    assert unescaped.count("{") == unescaped.count("}")
    assert unescaped.count("$") % 2 == 0
    for line in text.splitlines()[1:]:
        # A % at a line's end is the table's own; any other would comment the rest out.
        assert not re.search(r"(?<!\\)%.", line)
    assert r"50\% \{g\} \textbackslash{}h \textasciitilde{} \textasciicircum{} \#" in text
    assert "[U+1F642] é" in text


def test_latex_keeps_two_hyphens(make_run):
    text = to_latex(Board([make_run("a--b---c")]))
    assert "a-{}-b-{}-{}-c" in text
