from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from i2vbench.errors import UserError
from i2vbench.results import Results, Score, load_results

FVD = Score(
    metric="fvd",
    label="FVD(i3d-k400)",
    value=123.5,
    higher_is_better=False,
    level="set",
    n_scored=63,
    n_expected=64,
    ci95=(110.0, 140.25),
    fingerprint="f" * 64,
    warnings=("63 clips are few for 400 features",),
)
FAILED = replace(FVD, metric="is", value=None, reason="no weights", ci95=None, warnings=())
RESULTS = Results(
    run="static-0123abcd",
    run_fingerprint="0123abcd" * 8,
    suite={"name": "s", "version": "1", "content_sha256": "0", "num_samples": 64, "limit": None},
    protocol="embedded",
    model={"name": "static", "version": "1", "weights": "", "options": {}, "notes": []},
    seed=0,
    num_takes=1,
    counts={"expected": 64, "ok": 63, "failed": 1, "skipped": 0},
    scores=(FVD, FAILED),
)


def test_what_was_stored_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(RESULTS.to_json(), encoding="utf-8")
    assert load_results(tmp_path) == RESULTS
    assert load_results(tmp_path / "results.json") == RESULTS
    assert RESULTS.to_json().endswith("}\n")


def test_no_number_that_json_lacks_is_stored() -> None:
    broken = replace(RESULTS, scores=(replace(FVD, value=float("nan")),))
    with pytest.raises(ValueError, match="JSON"):
        broken.to_json()


def test_a_folder_without_results_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="score it first with `i2vbench score"):
        load_results(tmp_path)


@pytest.mark.parametrize("text", ["{", "", "[]", "\xff", '{"schema_version": 2}', '{"scores": []}'])
def test_what_is_no_results_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"results\.json(: schema_version| is not JSON)") as caught:
        load_results(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("protocol"),
        lambda data: data.update(extra=1),
        lambda data: data["scores"][0].pop("label"),
        lambda data: data["scores"][0].update(extra=1),
        lambda data: data.pop("scores"),
    ],
    ids=["field missing", "field unknown", "in a score missing", "in a score unknown", "no scores"],
)
def test_another_schema_is_refused(tmp_path: Path, change) -> None:
    data = json.loads(RESULTS.to_json())
    change(data)
    (tmp_path / "results.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="does not follow schema 1"):
        load_results(tmp_path)
