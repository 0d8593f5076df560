"""What ``results.json`` holds, and that a file of others is read or refused in one line."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2vbench.checked_json import MAX_MIB
from i2vbench.errors import UserError
from i2vbench.leaderboards.board import Board
from i2vbench.leaderboards.commands import FORMATS, render
from i2vbench.results import CategoryScore, Results, Score, load_results

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
    protocol="embedded 1",
    clips_sha256="1" * 64,
    code_sha256="2" * 64,
    warnings=("63 clips are few for 400 features",),
)
CLIPSIM = replace(
    FVD,
    metric="clipsim",
    value=0.3,
    level="clip",
    ci95=(0.2, 0.4),
    by_category=(CategoryScore(category="cats", value=0.3, n_scored=3, n_expected=4),),
)
FAILED = replace(FVD, metric="is", value=None, reason="no weights", ci95=None, warnings=())
RESULTS = Results(
    run="static-0123abcd",
    run_fingerprint="0123abcd" * 8,
    suite={"name": "s", "version": "1", "content_sha256": "0", "num_samples": 64, "limit": None},
    protocol="embedded 1",
    model={
        "name": "static",
        "version": "1",
        "weights": "",
        "options": {"scale": 7.5, "sizes": [1, 2]},
        "num_parameters": 12,
        "notes": ["a note"],
    },
    seed=0,
    num_takes=1,
    counts={"expected": 64, "ok": 63, "failed": 1, "skipped": 0},
    geometry=(
        {"num_frames": 16, "height": 64, "width": 64, "fps": 8.0, "num_clips": 60},
        {"num_frames": 25, "height": 64, "width": 96, "fps": 29.97, "num_clips": 3},
    ),
    scores=(FVD, CLIPSIM, FAILED),
)


def refused(tmp_path: Path, content: object) -> str:
    """The one line that says why ``content`` is no results file, without the file's name."""
    file = tmp_path / "results.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(UserError) as caught:
        load_results(tmp_path)
    text = str(caught.value)
    assert text.startswith(str(file))
    assert text.isprintable()
    return text.removeprefix(str(file))


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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 10**6, "nested too deeply"),
        (b'{"schema_version": ' + b"9" * 5000 + b"}", "is not JSON"),
        (b"[]", "schema_version None, accepted: 1, 2"),
        (b'{"scores": []}', "schema_version None, accepted: 1, 2"),
        (b'{"schema_version": true}', "schema_version bool, accepted: 1, 2"),
        (b'{"schema_version": 3}', "newer i2vbench than this one, which reads 1, 2: update"),
        (b'{"schema_version": 2}', "run is missing"),
        (b" " * (MAX_MIB * 2**20 + 1), f"at most {MAX_MIB} MiB"),
    ],
    ids=range(11),
)
def test_what_is_no_results_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refused(tmp_path, content)


def _set(*path: str | int, to: object) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return change


def _deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.pop("protocol"), "protocol is missing"),
        (lambda data: data.pop("scores"), "scores is missing"),
        (lambda data: data["scores"][0].pop("label"), "scores[0].label is missing"),
        (lambda data: data["suite"].pop("limit"), "suite.limit is missing"),
        (_set("extra", to=1), "extra is no field of this schema: accepted: "),
        (_set("scores", 0, "lable", to=1), "scores[0].lable is no field of this schema: did you"),
        (_set("a\x1b[2J", to=1), '"a\\u001b[2J" is no field'),
        (_set("scores", to={}), "scores is {}, a list was expected"),
        (_set("scores", 1, to=5), "scores[1] is 5, an object was expected"),
        (_set("scores", 0, "value", to=[]), "scores[0].value is [], a number or null was expected"),
        (_set("scores", 0, "value", to=True), "scores[0].value is true, a number or null was"),
        (_set("scores", 0, "value", to=float("nan")), "scores[0].value is NaN, a number or null"),
        (_set("scores", 0, "value", to=10**400), "scores[0].value is 1000"),
        (_set("scores", 0, "unit", to={}), "scores[0].unit is {}, a text was expected"),
        (
            _set("scores", 0, "level", to="frame"),
            'is "frame", one of clip, set, total was expected',
        ),
        (_set("scores", 0, "higher_is_better", to=1), "is 1, true or false or null was expected"),
        (_set("scores", 0, "n_scored", to=1.0), "is 1.0, a whole number was expected"),
        (_set("scores", 0, "n_scored", to=-1), "scores[0].n_scored is -1, a number from 0 was"),
        (_set("scores", 0, "n_scored", to=65), "n_scored is 65, at most the 64 of n_expected"),
        (_set("scores", 0, "ci95", to=[1.0]), "ci95 is a list of 1, a list of 2 or null was"),
        (_set("scores", 0, "ci95", 1, to=None), "scores[0].ci95[1] is null, a number was expected"),
        (_set("scores", 0, "ci95", to=[2.0, 1.0]), "ci95 is [2.0, 1.0], its ends in order"),
        (_set("scores", 0, "warnings", to="text"), 'scores[0].warnings is "text", a list was'),
        (_set("scores", 0, "warnings", to=[1]), "scores[0].warnings[0] is 1, a text was expected"),
        (_set("scores", 0, "metric", to="clipsim"), "scores[1].metric is that of scores[0]"),
        (
            _set("scores", 1, "by_category", 0, "n_expected", to="4"),
            'scores[1].by_category[0].n_expected is "4", a whole number was expected',
        ),
        (_set("suite", to=[]), "suite is [], an object was expected"),
        (_set("suite", "limit", to=[]), "suite.limit is [], a whole number or null was expected"),
        (_set("suite", "limit", to=0), "suite.limit is 0, a number from 1 was expected"),
        (_set("suite", "samples", to=[1]), "suite.samples[0] is 1, a text was expected"),
        (_set("suite", "more", to=_deep(40)), "is nested deeper than 32 levels"),
        (_set("counts", "ok", to=[]), "counts.ok is [], a whole number was expected"),
        (_set("counts", "new", to=-1), "counts.new is -1, a number from 0 was expected"),
        (_set("model", "notes", to="n"), 'model.notes is "n", a list was expected'),
        (_set("model", "options", to=[1]), "model.options is a list of 1, an object was expected"),
        (_set("model", "options", "scale", to=float("inf")), "model.options.scale is Infinity"),
        (_set("seed", to=2**80), "a whole number of at most 64 bits was expected"),
        (_set("num_takes", to=0), "num_takes is 0, a number from 1 was expected"),
        (_set("geometry", 1, "fps", to="8"), 'geometry[1].fps is "8", a number was expected'),
        (lambda data: data["geometry"][0].pop("width"), "geometry[0].width is missing"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(
    tmp_path: Path, change: Callable[[Any], None], words: str
) -> None:
    data = json.loads(RESULTS.to_json())
    change(data)
    assert words in refused(tmp_path, data)


def test_files_of_schema_1_are_read(tmp_path: Path) -> None:
    data = json.loads(RESULTS.to_json())
    data["schema_version"] = 1
    del data["geometry"]
    for score in data["scores"]:
        for name in ("protocol", "clips_sha256", "code_sha256", "by_category"):
            del score[name]
    (tmp_path / "results.json").write_text(json.dumps(data))
    results = load_results(tmp_path)
    assert {score.protocol for score in results.scores} == {"embedded 1"}
    assert results.geometry == ()
    assert results.schema_version == 2


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    data = json.loads(RESULTS.to_json())
    data["scores"][0] |= {"value": 3, "ci95": [1, 5]}
    (tmp_path / "results.json").write_text(json.dumps(data))
    score = load_results(tmp_path).scores[0]
    assert [type(number) for number in (score.value, *(score.ci95 or ()))] == [float] * 3


def test_each_protocol_has_results_of_its_own() -> None:
    of = {name: replace(FVD, metric=name, protocol=name[0]) for name in ("b1", "a1", "b2")}
    old = replace(FVD, metric="old", protocol="")
    results = replace(RESULTS, protocol="a", scores=(*of.values(), old))
    parts = results.by_protocol()
    assert [part.protocol for part in parts] == ["b", "a"] == list(results.protocols)
    assert parts[0].scores == (of["b1"], of["b2"])
    assert parts[1].scores == (of["a1"], old)
    assert [part.by_protocol() for part in parts] == [[part] for part in parts]
    assert replace(RESULTS, scores=()).by_protocol() == [replace(RESULTS, scores=())]


def _nodes(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _nodes(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _nodes(item, (*path, place))


_DATA = json.loads(RESULTS.to_json())
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 1, 2**63, -(2**63), 10**400])
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["", "\x1b[2J", "\ud800", "\u202eabc", "\u2028"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=4,
)


@given(path=st.sampled_from(sorted(_nodes(_DATA), key=str)), value=_JSON)
def test_any_value_in_any_place_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[str | int, ...], value: object
) -> None:
    data = {"whole": copy.deepcopy(_DATA)}
    _set("whole", *path, to=value)(data)
    file = tmp_path_factory.mktemp("fuzz") / "results.json"
    file.write_text(json.dumps(data["whole"]), encoding="utf-8")
    try:
        results = load_results(file)
    except UserError as error:
        complaint = str(error)
    else:
        complaint = ""
    if complaint:
        assert complaint.startswith(str(file))
        assert complaint.isprintable()
        return
    # What was read can be written, and shown.
    assert load_results(file).to_json() == results.to_json()
    for name in set(FORMATS) - {"html"}:
        render(Board([results]), name).encode()
