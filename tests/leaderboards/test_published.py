"""The published tables: what can be recomputed is, and a broken file is told in one line."""

from __future__ import annotations

import math
import re
import shutil
from decimal import ROUND_DOWN, Decimal

import pytest

from i2vbench.errors import UserError
from i2vbench.leaderboards.published import (
    FOLDER,
    TEXT_UNIT,
    choose_published,
    fitting_published,
    load_published,
    printed_number,
)
from i2vbench.protocol import load_protocol
from i2vbench.registry import METRICS

TABLES = {table.name: table for table in load_published()}
COUNTED = {
    "consisti2v-table6": "background_consistency",
    "consisti2v-table7": "subject_consistency",
    "consisti2v-table8": "temporal_flickering",
    "consisti2v-table9": "motion_smoothness",
    "consisti2v-table12": "dynamic_degree",
    "consisti2v-table13": "overall_consistency",
}
MODELS = ("i2vgen-xl", "animateanything", "dynamicrafter", "seine", "consisti2v")
CENT = Decimal("0.01")


def number(table, row, column):
    return printed_number(TABLES[table].cells[row, column].text)


def count(row):
    return int(re.search(r"\((\d+)\)$", row)[1])


def categories(table):
    return [row for row in TABLES[table].rows if row != "All"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("table", COUNTED)
def test_all_is_the_mean_over_all_videos(table, model):
    rows = categories(table)
    assert sum(map(count, rows)) == 2951
    mean = sum(count(row) * number(table, row, model) for row in rows) / 2951
    # Each category is rounded by up to half a cent, and so is the mean.
    assert abs(mean - number(table, "All", model)) <= CENT


def test_all_is_not_the_mean_of_the_categories():
    values = [
        number("consisti2v-table12", row, "seine") for row in categories("consisti2v-table12")
    ]
    mean = sum(values) / len(values)
    assert abs(mean - number("consisti2v-table12", "All", "seine")) > 1


@pytest.mark.parametrize("model", MODELS)
def test_dynamic_degree_counts_clips(model):
    for row in TABLES["consisti2v-table12"].rows:
        clips = 2951 if row == "All" else count(row)
        printed = number("consisti2v-table12", row, model)
        moving = round(printed * clips / 100)
        assert round(Decimal(100 * moving) / clips, 2) == printed


@pytest.mark.parametrize("model", MODELS)
def test_object_consistency_is_the_mean_of_four_cut_to_cents(model):
    values = [number("consisti2v-table10", row, model) for row in categories("consisti2v-table10")]
    assert len(values) == 4
    assert all(value % Decimal("0.25") == 0 for value in values)
    mean = (sum(values) / 4).quantize(CENT, ROUND_DOWN)
    assert mean == number("consisti2v-table10", "All", model)


def test_scene_consistency_is_swapped_for_one_model_as_printed():
    def mean(model, nature, city):
        values = (number("consisti2v-table11", row, model) for row in (nature, city))
        return ((51 * next(values) + 49 * next(values)) / 100).quantize(CENT, ROUND_DOWN)

    rows = ("Scenery-Nature", "Scenery-City")
    for model in MODELS:
        printed = number("consisti2v-table11", "All", model)
        if model == "animateanything":
            assert mean(model, *rows) != printed
            assert mean(model, *reversed(rows)) == printed
        else:
            # The split is found, not printed, and categories are rounded.
            assert abs(mean(model, *rows) - printed) <= CENT


def test_the_swapped_cells_alone_have_a_note():
    noted = {
        (table.name, *place)
        for table in TABLES.values()
        for place, cell in table.cells.items()
        if cell.note
    }
    assert noted == {
        ("consisti2v-table11", "Scenery-Nature", "animateanything"),
        ("consisti2v-table11", "Scenery-City", "animateanything"),
    }


@pytest.mark.parametrize("model", ["I2VGen-XL", "AnimateAnything", "DynamiCrafter", "SEINE"])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        *COUNTED.items(),
        ("consisti2v-table10", "object_consistency"),
        ("consisti2v-table11", "scene_consistency"),
    ],
)
def test_the_rows_all_are_those_of_table_2(table, column, model):
    whole = number("consisti2v-table2", model, column)
    assert number(table, "All", model.lower()) == whole


def test_the_ablation_repeats_table_1():
    for column in ("ucf101_fvd", "ucf101_is", "ucf101_fid"):
        first, third = (number(f"consisti2v-table{n}", "ConsistI2V", column) for n in (1, 3))
        assert first == third


def test_golden_cells():
    table = TABLES["consisti2v-table1"]
    assert table.cells["ConsistI2V", "ucf101_fvd"].text == "177.66"
    assert table.cells["SEINE", "data"].text == "25M+10M†"
    assert TABLES["consisti2v-table5"].cells["VideoLDM", "msrvtt_fvd"].text == "–"
    assert TABLES["vbenchpp-table3"].cells["SVD-XT-1.1", "camera_motion"].text == "–"
    assert len(TABLES) == 16


@pytest.mark.parametrize("name", TABLES)
def test_every_number_is_plausible_and_has_its_source(name):
    table = TABLES[name]
    assert table.url.startswith("https://arxiv.org/abs/")
    arxiv = table.url.rpartition("/")[2]
    for column in table.columns:
        for row in table.rows:
            cell = table.cells[row, column.key]
            assert arxiv in cell.source
            value = printed_number(cell.text)
            if column.match and column.match.scale != 1 and value is not None:
                assert 0 <= value * column.match.scale <= 1
            assert column.unit == TEXT_UNIT or value is None or math.isfinite(value)


def test_only_numbers_of_the_same_suite_and_protocol_may_meet():
    for table in TABLES.values():
        for column in table.columns:
            if column.match:
                assert column.suite
                assert table.row_kind == "models"
    # Recomputed by their authors later on: what we would make compares with the later values.
    early = {column.key: column.match for column in TABLES["vbenchpp-table3"].columns}
    assert early["i2v_subject"] is early["i2v_background"] is None


def test_fitting_tables_are_those_of_the_suite():
    names = {table.name for table in fitting_published(TABLES.values(), ["UCF-101"])}
    assert names == {"consisti2v-table1", "consisti2v-table3"}
    assert len(fitting_published(TABLES.values(), ["i2v-bench"])) == 9
    assert len(fitting_published(TABLES.values(), ["vbench-i2v"])) == 4
    assert fitting_published(TABLES.values(), ["playground", ""]) == ()


def test_choosing_keeps_order_and_names_the_nearest():
    tables = tuple(TABLES.values())
    chosen = choose_published(tables, ["owl-1", "consisti2v-table2", "owl-1"])
    assert [table.name for table in chosen] == ["owl-1", "consisti2v-table2"]
    with pytest.raises(UserError, match=r"'owl1' is unknown: did you mean 'owl-1'\?"):
        choose_published(tables, ["owl1"])


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("show-o2.csv", "28.41", "28,41", "line 4: 6 fields, must be 5"),
        ("show-o2.csv", "28.41", "2841O", "line 4: printed is '2841O', must be a number or –"),
        ("show-o2.csv", "28.41", "nan", "line 4: printed is 'nan'"),
        ("show-o2.csv", "28.41", "", "line 4: printed is empty"),
        ("show-o2.csv", "camera_motion", "camera_moton", "did you mean 'camera_motion'"),
        ("show-o2.csv", "camera_motion", "i2v_subject", "'Show-o2' and 'i2v_subject' stands twice"),
        ("show-o2.csv", "28.41,", '"28.41,', "cannot be read as CSV: "),
        ("show-o2.csv", "row,column", "model,column", "line 1: the columns must be row,column"),
        (
            "owl-1.csv",
            'VideoCrafter-I2V,total_2024,85.14,"arXiv 2412.09600, VBench-I2V table",\n',
            "",
            "'VideoCrafter-I2V' has no 'total_2024'; write – where",
        ),
        (
            "tables.csv",
            "https://arxiv.org/abs/2412.09600",
            "javascript:alert(1)",
            "line 16: url is",
        ),
        ("tables.csv", ",models,", ",rows,", "line 2: rows is 'rows', accepted: models, categ"),
        ("tables.csv", "owl-1,", "show-o2,", "line 16: table 'show-o2' stands twice"),
        ("columns.csv", ",down,", ",lower,", "line 3: better is 'lower', accepted: up, down"),
        ("columns.csv", "i3d-tats,1\n", "i3d-tats,\n", "line 3: scale is empty"),
        ("columns.csv", "i3d-tats,1\n", "i3d-tats,-1\n", "line 3: scale is '-1'"),
        ("columns.csv", ",2048,", ",2k,", "line 3: num_samples is '2k'"),
        ("columns.csv", "ucf101_is", "ucf101_fvd", "line 4: 'ucf101_fvd' stands twice"),
        ("columns.csv", "owl-1,total_2024", "owl-2,total_2024", "no table 'owl-2'"),
    ],
)
def test_a_broken_file_is_told_in_one_line(tmp_path, file, old, new, message):
    folder = tmp_path / "published"
    shutil.copytree(FOLDER, folder)
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_published(folder)
    assert message in str(error.value)
    assert file in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"columns\.csv cannot be read as CSV: No such file"):
        load_published(tmp_path)


def test_columns_name_networks_that_their_protocol_asks_for():
    """Else a printed column would never stand beside a run of that protocol."""
    seen = 0
    for table in load_published():
        for column in table.columns:
            if column.match is None:
                continue
            name, version = column.match.protocol.rsplit(" ", 1)
            protocol = load_protocol(name)
            assert protocol.version == version
            assert column.match.metric in protocol.metrics
            choice = protocol.choice(column.match.metric)
            # A network that this version does not have is a name alone.
            if not choice.unavailable:
                own = () if choice.extractors else METRICS.load(column.match.metric).extractors
                assert ", ".join(choice.extractors or own) == column.match.network
                assert not choice.label
                seen += 1
    assert seen > 40
