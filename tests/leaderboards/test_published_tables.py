"""Published tables on a board: where they stand, when they meet runs, and in every format."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest

from i2vbench.errors import UserError
from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.csv import to_csv
from i2vbench.leaderboards.html import to_html
from i2vbench.leaderboards.json import to_json
from i2vbench.leaderboards.latex import to_latex
from i2vbench.leaderboards.markdown import to_markdown
from i2vbench.leaderboards.published import (
    Match,
    PrintedCell,
    PrintedColumn,
    PublishedTable,
    choose_published,
    load_published,
)
from i2vbench.leaderboards.text import to_text

from .test_exports import HOSTILE, latex_rows, markdown_rows
from .test_html import Page

TABLES = load_published()
UCF = {"name": "ucf101", "num_samples": 2048}
PAPER = "consisti2v-paper 1"


def chosen(*names):
    return choose_published(TABLES, names)


@pytest.fixture
def beside(make_run, make_score):
    """Two runs on another suite, and two published tables, one with gaps and one with notes."""
    runs = [make_run("a"), make_run("b", [make_score(value=90.0)])]
    return Board(runs, published=chosen("consisti2v-table5", "consisti2v-table11"))


@pytest.fixture
def ucf_run(make_run, make_score):
    """``ucf_run(...)`` is a run that compares with Table 1, but for the changes asked for."""

    def make(name="mine", value=150.0, *, label="FVD(i3d-tats)", suite=None, **changes):
        score = make_score(value=value, label=label)
        return make_run(name, [score], suite=UCF | (suite or {}), **({"protocol": PAPER} | changes))

    return make


def published_names(board):
    return [row.name for row in board.tables[0].rows if row.role == "published"]


def test_a_published_table_stands_apart_in_the_order_of_the_paper(beside):
    assert [table.title for table in beside.published] == [
        "As printed in ConsistI2V (arXiv 2402.04324v2), Table 5",
        "As printed in ConsistI2V (arXiv 2402.04324v2), Table 11",
    ]
    assert published_names(beside) == []
    table = beside.published[0]
    assert [row.name for row in table.rows][:2] == ["CogVideo (EN)", "MagicVideo"]
    assert {row.rank for row in table.rows} == {None}
    assert {cell.standing for row in table.rows for cell in row.cells} == {""}
    assert table.ranking_text == ""
    assert [cell.text for cell in table.rows[1].cells] == ["–", "1290"]
    assert beside.summary == "2 runs. 2 published tables, as printed in the papers."


def test_published_tables_change_nothing_about_the_runs(make_run, make_score):
    runs = [make_run("a"), make_run("b", [make_score(value=90.0)])]
    assert Board(runs, published=TABLES).tables == Board(runs).tables


def test_words_of_the_paper_stand_beside_the_name():
    (table,) = Board([], published=chosen("consisti2v-table1")).published
    assert table.rows[0].name == "AnimateAnything (data 10M+20K†)"
    assert "Data" not in [column.label for column in table.columns]


def test_a_board_of_published_tables_alone():
    board = Board([], published=TABLES)
    assert board.tables == ()
    assert len(board.published) == len(board.sections) == 16
    assert board.summary == "16 published tables, as printed in the papers."
    with pytest.raises(UserError, match="at least one scored run"):
        Board([], published=())


def test_rows_stand_under_runs_of_the_same_suite_protocol_and_network(ucf_run):
    board = Board([ucf_run(), ucf_run("worse", 900.0)], published=chosen("consisti2v-table1"))
    (table,) = board.tables
    assert [row.name for row in table.rows[:2]] == ["mine", "worse"]
    assert published_names(board)[-1] == "ConsistI2V (printed in consisti2v-table1)"
    assert len(published_names(board)) == 5
    printed = [row for row in table.rows if row.role == "published"]
    assert [row.cells[0].text for row in printed][-1] == "177.66"
    assert {row.group for row in printed} == {"published"}
    assert any("neither ranked nor best" in note.text for note in table.notes)


def test_a_row_under_the_runs_neither_wins_nor_has_a_rank(ucf_run):
    (table,) = Board(
        [ucf_run(value=600.0), ucf_run("worse", 900.0)], published=chosen("consisti2v-table1")
    ).tables
    assert [(row.rank, row.cells[0].standing) for row in table.rows[:2]] == [(1, "best"), (2, "")]
    assert {(row.rank, row.cells[0].standing) for row in table.rows[2:]} == {(None, "")}


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "embedded 1"},
        {"protocol": "consisti2v-paper 2"},
        {"suite": {"name": "msrvtt"}},
        {"suite": {"num_samples": 2047}},
        {"suite": {"limit": 64}},
        {"label": "FVD(i3d-tiny)"},
        {"label": "FVD"},
        {"num_takes": 4},
    ],
)
def test_what_differs_keeps_published_rows_out(ucf_run, changes):
    board = Board([ucf_run(**changes)], published=TABLES)
    assert published_names(board) == []
    assert Board([ucf_run()], published=TABLES).tables[0].rows[1:]


def test_a_column_that_stands_twice_has_no_published_rows(ucf_run):
    """Of two fingerprints nobody knows which is the paper's."""
    other = ucf_run("other")
    other = replace(other, scores=(replace(other.scores[0], fingerprint="another"),))
    assert published_names(Board([ucf_run(), other], published=TABLES)) == []


def test_shares_are_turned_into_our_scale(make_run, make_score):
    scores = [
        make_score("temporal_flickering", 0.95, label="Temporal flickering"),
        make_score("dynamic_degree", 0.4, label="Dynamic degree(raft)", higher_is_better=None),
        make_score("motion_smoothness", 0.95, label="Motion smoothness(dis)"),
    ]
    run = make_run(
        "a", scores, suite={"name": "i2v-bench", "num_samples": 2951}, protocol="i2v-bench 1"
    )
    (table,) = Board([run], published=chosen("consisti2v-table2")).tables
    row = table.rows[-1]
    assert row.row_name.model == "ConsistI2V"
    assert [cell.text for cell in row.cells] == ["0.9665", "0.3748", "–"]
    assert [cell.value for cell in row.cells] == [0.9665, 0.3748, None]
    assert row.cells[0].source == "arXiv 2402.04324v2, Table 2"


def test_text(beside):
    text = to_text(beside)
    assert "As printed in ConsistI2V (arXiv 2402.04324v2), Table 5 · Text-to-video" in text
    assert re.search(r"Scenery-Nature +33.70 +18.49\[1\] +34.80 +37.50 +33.45\n", text)
    assert "[1] as printed; 27.18 in the row All is reproduced only" in text
    assert re.search(r"^Model +\(MSR-VTT\) +\(MSR-VTT\)$", text, re.MULTILINE)


@pytest.mark.parametrize("width", [80, 110])
def test_text_of_all_tables_fits(width):
    text = to_text(Board([], published=TABLES), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "95 % interval" not in text


def test_markdown(beside):
    text = to_markdown(beside)
    assert "## As printed in ConsistI2V (arXiv 2402.04324v2), Table 11" in text
    rows = markdown_rows(text)
    assert ["CogVideo (EN)", "0.2631", "1294"] in rows
    assert ["Scenery-Nature", "33.70", "18.49<sup>1</sup>", "34.80", "37.50", "33.45"] in rows


def test_csv_keeps_numbers_of_papers_out_of_the_columns_of_runs(beside):
    rows = list(csv.DictReader(io.StringIO(to_csv(beside))))
    assert {row["fvd"] for row in rows if row["role"] == "published"} == {""}
    (printed,) = [row for row in rows if row["name"] == "PixelDance"]
    assert printed["consisti2v-table5/msrvtt_fvd"] == "381.0"
    assert printed["source"] == "arXiv 2402.04324v2, Table 5"
    assert printed["protocol"] == "as printed in ConsistI2V (arXiv 2402.04324v2), Table 5"
    assert [row["table"] for row in rows] == ["1"] * 2 + ["2"] * 11 + ["3"] * 3
    assert {row["source"] for row in rows[:2]} == {""}


def test_json(beside):
    board = json.loads(to_json(beside))
    assert [table["suite"] for table in board["tables"]] == ["playground"]
    first, second = board["published"]
    assert first["name"] == "consisti2v-table5"
    assert first["url"] == "https://arxiv.org/abs/2402.04324v2"
    (row,) = [row for row in first["rows"] if row["name"] == "VideoLDM"]
    assert row["rank"] is None
    assert row["scores"]["consisti2v-table5/msrvtt_fvd"] == {
        "value": None,
        "printed": "–",
        "source": "arXiv 2402.04324v2, Table 5",
        "reason": "the paper prints no number",
        "warnings": [],
    }
    assert second["row_kind"] == "categories"


def test_latex(beside):
    text = to_latex(beside)
    assert ["", "PixelDance", "0.3125", "381"] in latex_rows(text)
    assert r"\caption{As printed in ConsistI2V (arXiv 2402.04324v2), Table 5, Text-to" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}")


def test_html(beside):
    page = Page(to_html(beside))
    sections = page.all("section")
    assert [section.get("class") for section in sections] == [None, "published", "published"]
    cells = {row[0]: row[1:] for row in page.rows if row and len(row) in (3, 6)}
    assert cells["PixelDance"] == ["0.3125", "381"]
    assert cells["Scenery-Nature"] == ["33.70", "18.491", "34.80", "37.50", "33.45"]
    titles = [attributes.get("title", "") for attributes in page.all("td")]
    assert "FVD(MSR-VTT): 381\nprinted in arXiv 2402.04324v2, Table 5" in titles
    links = {a["href"] for a in page.all("a") if a["href"].startswith("http")}
    assert links == {"https://arxiv.org/abs/2402.04324v2"}


def test_html_of_a_row_under_the_runs(ucf_run):
    page = Page(to_html(Board([ucf_run()], published=chosen("consisti2v-table1"))))
    bodies = [attributes["class"] for attributes in page.all("tbody")]
    assert bodies == ["models", "published", "published"]
    assert "as printed in papers, not ranked" in page.text


def test_frame(beside):
    frame = beside.to_dataframe()
    runs, printed = frame[frame["source"] == ""], frame[frame["source"] != ""]
    assert set(runs["table"]) == {1}
    assert set(printed["table"]) == {2, 3}
    assert not set(runs["metric"]) & set(printed["metric"])
    swapped = printed[(printed["row"] == "Scenery-City") & (printed["model"] == "AnimateAnything")]
    assert swapped["value"].tolist() == [35.53]
    assert printed["seed"].isna().all()
    assert (printed["role"] == "published").all()


def test_hostile_words_of_a_csv_file_are_literal(ucf_run):
    match = Match(
        num_samples=2048, protocol=PAPER, metric="fvd", network="i3d-tats", scale=Decimal(1)
    )
    fields = {"unit": "", "higher_is_better": False}
    columns = (
        PrintedColumn(key="w", label=HOSTILE, suite="", match=None, **(fields | {"unit": "text"})),
        PrintedColumn(key="x", label=HOSTILE, suite="ucf101", match=match, **fields),
    )
    cells = {
        (HOSTILE, key): PrintedCell(text=HOSTILE, source=HOSTILE, note=HOSTILE) for key in "wx"
    }
    cells[HOSTILE, "x"] = replace(cells[HOSTILE, "x"], text="1.5")
    names = dict.fromkeys(("name", "paper", "place", "url", "title", "note"), HOSTILE)
    table = PublishedTable(
        **names, row_kind="models", columns=columns, rows=(HOSTILE,), cells=cells
    )
    board = Board([ucf_run()], published=[table])
    assert len(published_names(board)) == 1
    page = Page(to_html(board))
    assert len(page.all("script")) == 1
    assert page.text.count(HOSTILE) > 8
    assert "<script" not in to_markdown(board)
    assert len({len(row) for row in latex_rows(to_latex(board))}) == 1
    unescaped = re.sub(r"\\[\\{}$&#_%]", "", to_latex(board))
    assert unescaped.count("{") == unescaped.count("}")
    assert unescaped.count("$") % 2 == 0
    rows = list(csv.DictReader(io.StringIO(to_csv(board))))
    assert rows[-1]["model"] == HOSTILE
    json.loads(to_json(board))
    assert HOSTILE.split()[0] in to_text(board)
