from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from i2vbench.clip import Geometry
from i2vbench.suites import i2v_bench, load_suite
from i2vbench.suites.i2v_bench import CATEGORIES
from tests.suites.miniatures import litter, put_video, refusal

GEOMETRY = Geometry(num_frames=3, height=16, width=16, fps=8)
SMALL = {"Scenery-Nature": 2, "Pet": 1, "Others": 1}


def put_table(folder: Path, rows: list[dict[str, str]], name: str = "captions.csv") -> Path:
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def rows_of(folders: dict[str, int]) -> list[dict[str, str]]:
    return [
        {"reference": f"{name}/{k}.mp4", "prompt": f"{name} {k}", "category": name}
        for name, number in folders.items()
        for k in range(number)
    ]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """I2V-Bench with four videos in three categories."""
    monkeypatch.setattr(i2v_bench, "CATEGORIES", SMALL)
    rows = rows_of(SMALL)
    for row in rows:
        put_video(tmp_path / row["reference"])
    put_table(tmp_path, rows)
    return tmp_path


def test_the_categories_are_those_of_the_paper() -> None:
    assert sum(CATEGORIES.values()) == 2951
    assert len(CATEGORIES) == 17


def test_every_sample_carries_its_category(data: Path) -> None:
    litter(data)
    suite = load_suite(f"i2v-bench:{data}")
    assert (suite.name, len(suite), suite.notes) == ("i2v-bench", 4, ())
    assert Counter(sample.category for sample in suite) == SMALL
    assert len({sample.id for sample in suite}) == 4
    sample = suite.samples[0]
    assert sample.prompt == "Scenery-Nature 0"
    assert sample.load_reference(GEOMETRY).frames.shape == (3, 16, 24, 3)
    assert int(sample.load_first_frame(GEOMETRY)[0, 0, 0]) == 0


def test_columns_and_categories_may_be_spelt_otherwise(data: Path) -> None:
    rows = [
        {"file": row["reference"], "text": row["prompt"], "kind": row["category"]}
        for row in rows_of(SMALL)
    ]
    rows[0]["kind"] = "scenery_nature"
    (data / "captions.csv").unlink()
    put_table(data, rows, "a.csv")
    options = {"reference": "file", "prompt": "text", "category": "kind"}
    suite = load_suite(f"i2v-bench:{data}", options)
    assert Counter(sample.category for sample in suite) == SMALL
    assert "has no column 'files' for reference: did you mean 'file'?" in refusal(
        f"i2v-bench:{data}", {**options, "reference": "files"}
    )


def test_without_a_category_the_folder_is_taken(data: Path) -> None:
    put_table(data, [{k: r[k] for k in ("reference", "prompt")} for r in rows_of(SMALL)])
    assert Counter(s.category for s in load_suite(f"i2v-bench:{data}")) == SMALL


def test_wrong_counts_are_named_by_category(data: Path) -> None:
    put_table(data, rows_of({"Scenery-Nature": 1, "Pet": 1}))
    message = refusal(f"i2v-bench:{data}")
    assert "2 videos, 4 are expected; 1 videos of Scenery-Nature, 2 are expected" in message
    assert "0 videos of Others, 1 are expected" in message
    suite = load_suite(f"i2v-bench:{data}?partial=true")
    assert suite.name == "i2v-bench-partial"
    assert suite.notes == ("2 of 4 videos: compare with nothing published",)


def test_missing_files_and_unknown_categories_are_named(data: Path) -> None:
    (data / "Pet" / "0.mp4").unlink()
    (data / "Others" / "0.mp4").write_bytes(b"")
    message = refusal(f"i2v-bench:{data}")
    assert "Pet/0.mp4 is missing; Others/0.mp4 is empty" in message
    put_table(data, [{**rows_of(SMALL)[0], "category": "Pets!"}])
    assert "line 2: category 'Pets!' is unknown; accepted: Scenery-Nature, Pet" in refusal(
        f"i2v-bench:{data}"
    )
    put_table(data, [{"reference": "Pet/0.mp4", "prompt": "", "category": "Pet"}])
    assert "line 2 lacks 'prompt'" in refusal(f"i2v-bench:{data}")
    put_table(data, [{"reference": "../x.mp4", "prompt": "x", "category": "Pet"}])
    assert "'../x.mp4' leaves its folder" in refusal(f"i2v-bench:{data}?partial=true")


def test_one_table_is_needed(data: Path) -> None:
    put_table(data, rows_of(SMALL), "other.csv")
    assert "has 2 tables (captions.csv, other.csv)" in refusal(f"i2v-bench:{data}")
    assert len(load_suite(f"i2v-bench:{data}?table=other.csv")) == 4
    assert "leaves its folder" in refusal(f"i2v-bench:{data}", {"table": "../a.csv"})
    for table in data.glob("*.csv"):
        table.unlink()
    assert "has 0 tables; one (.jsonl, .csv, .tsv)" in refusal(f"i2v-bench:{data}")
