"""What tables, columns and cells say about themselves."""

import dataclasses

import pytest

from i2vbench.leaderboards.comparability import ColumnKey, TableKey
from i2vbench.leaderboards.cost import COST_LEVEL
from i2vbench.leaderboards.naming import RowName
from i2vbench.leaderboards.table import Cell, Column, Printed, Row, Table

KEY = ColumnKey(metric="fvd", fingerprint="f", higher_is_better=False, num_takes=1)
COLUMN = Column(
    key=KEY,
    slug="fvd",
    written_label="FVD(i3d-k400)",
    suffix=" · abc",
    unit="",
    level="set",
    decimals=2,
)
CELL = Cell(
    value=1.0,
    text="1.00",
    interval=(0.5, 1.5),
    num_scored=8,
    num_expected=8,
    reason="",
    footnote=None,
    partial=False,
    standing="",
    warnings=(),
    decimals=2,
)
TABLE = Table(
    key=TableKey(suite="small", version="1", content_sha256="0123456789", limit=None, protocol="p"),
    num_samples=8,
    columns=(COLUMN,),
    rows=(),
    sort_column=0,
    notes=(),
)
PAPER = Printed(name="paper-table1", citation="Ren 2024", url="", title="Scores", row_kind="models")


def column(higher=False, **changes):
    key = dataclasses.replace(KEY, higher_is_better=higher)
    return dataclasses.replace(COLUMN, key=key, **changes)


def row(*cells, **changes):
    fields = {"role": "model", "group": "models", "partial": "", "rank": None, "results": None}
    return Row(row_name=RowName(model="a"), cells=cells, **{**fields, **changes})


@pytest.mark.parametrize(
    ("label", "suffix", "title", "network"),
    [
        ("FVD(i3d-k400)", "", "FVD", "(i3d-k400)"),
        ("FVD (i3d-k400)", " · abc", "FVD", "(i3d-k400) · abc"),
        ("Temporal flickering", "", "Temporal flickering", ""),
        ("(odd)", "", "(odd)", ""),
        (" FVD(x)", "", "FVD", ""),
    ],
)
def test_a_label_is_a_title_and_a_network(label, suffix, title, network):
    made = column(written_label=label, suffix=suffix)
    assert (made.label, made.title, made.network) == (label + suffix, title, network)


@pytest.mark.parametrize(
    ("higher", "unit", "heading"),
    [
        (True, "%", "FVD(i3d-k400) · abc % ↑"),
        (False, "", "FVD(i3d-k400) · abc ↓"),
        (None, "cosine", "FVD(i3d-k400) · abc"),
    ],
)
def test_headings_hold_percents_and_arrows(higher, unit, heading):
    made = column(higher, unit=unit)
    assert made.heading == heading
    assert made.higher_is_better is higher


def test_costs_are_told_by_their_level():
    assert not COLUMN.is_cost
    assert column(level=COST_LEVEL).is_cost


def test_marks_of_cells():
    def mark(**changes):
        return dataclasses.replace(CELL, **changes).mark

    assert [mark(), mark(standing="best"), mark(standing="tied")] == ["", "", "†"]
    assert mark(partial=True, standing="tied") == "*"
    assert CELL.interval_text == "[0.50, 1.50]"


def test_rows_say_their_source_and_role():
    printed = [dataclasses.replace(CELL, source=source) for source in ("A", "", "B", "A")]
    assert row(*printed).source == "A; B"
    roles = ("model", "published", "baseline", "reference")
    assert [row(role=role).tag for role in roles] == ["", "", "baseline", "reference"]


def test_what_a_table_says_over_its_rows():
    assert TABLE.title == "small 1"
    assert TABLE.facts == ("8 samples", "protocol p", "content 01234567")
    assert (TABLE.row_kind, TABLE.row_kind_title) == ("models", "Model")
    bare = dataclasses.replace(TABLE.key, version="", content_sha256="", limit=3)
    limited = dataclasses.replace(TABLE, key=bare, num_samples=None)
    assert limited.title == "small"
    assert limited.facts == ("the first 3 samples only", "protocol p")
    unknown = dataclasses.replace(TABLE, num_samples=None)
    assert unknown.facts == ("protocol p", "content 01234567")
    kind = dataclasses.replace(PAPER, row_kind="categories")
    assert dataclasses.replace(TABLE, printed=kind).row_kind_title == "Category"
    printed = dataclasses.replace(TABLE, printed=PAPER)
    assert (printed.title, printed.facts) == (
        "As printed in Ren 2024",
        ("Scores", "paper-table1"),
    )


def test_why_a_row_holds_less():
    limited = dataclasses.replace(TABLE, key=dataclasses.replace(TABLE.key, limit=3))
    failed = row(CELL, partial="1 of 8 takes failed")
    assert TABLE.partial_words(row(CELL)) == ""
    assert TABLE.partial_words(failed) == "1 of 8 takes failed"
    assert limited.partial_words(failed) == "1 of 8 takes failed; the first 3 samples only"
    assert limited.partial_words(row(CELL)) == "the first 3 samples only"


def test_the_order_of_rows_in_words():
    def words(*rows, **changes):
        return dataclasses.replace(TABLE, rows=rows, **changes).ranking_text

    first, other = row(CELL, rank=1), row(CELL)
    assert words(first, other) == "Ranked by FVD(i3d-k400) · abc ↓."
    assert words(other, other) == "Sorted by FVD(i3d-k400) · abc ↓."
    assert words(first) == ""
    assert words(first, other, sort_column=None) == ""


def test_the_legend_holds_the_marks_that_occur():
    def signs(*rows):
        return [sign for sign, _ in dataclasses.replace(TABLE, rows=rows).legend]

    def cell(**changes):
        return dataclasses.replace(CELL, **changes)

    assert signs(row(CELL)) == []
    assert signs(row(CELL), row(cell(standing="best"))) == ["best"]
    assert signs(row(cell(standing="tied"), CELL)) == ["†"]
    assert signs(row(cell(partial=True), cell(standing="best"))) == ["best", "*"]
    assert signs(row(CELL, partial="1 of 8 takes failed")) == ["*"]
