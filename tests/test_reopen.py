"""A run directory is data: what somebody else's says is checked, and never executed."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from i2vbench import generate, load_suite, score
from i2vbench.cli import cli
from i2vbench.errors import DamagedRunError, UserError
from i2vbench.files import file_sha256
from i2vbench.fingerprint import fingerprint
from i2vbench.reopen import reopen_run
from i2vbench.results import load_results
from i2vbench.rundir import RunDir
from tests.adapters import Drift

FLICKER = "temporal_flickering"


@pytest.fixture
def run(pictures, tmp_path) -> Path:
    """A scored run of three clips."""
    made = generate(Drift(), load_suite(pictures), tmp_path / "runs", limit=3)
    score(made, metrics=[FLICKER])
    return made.path


def edit(file: Path, change) -> None:
    """Changes a JSON file as somebody would who knows how it is made."""
    record = json.loads(file.read_text())
    change(record)
    if "spec" in record:
        record["fingerprint"] = fingerprint(record["spec"])
    file.write_text(json.dumps(record))


def edit_results(run: Path, change) -> None:
    edit(run / "results.json", change)
    hashes = [file_sha256(run / "results.json")]
    edit(run / "run.json", lambda record: record.update(results_sha256=hashes))


def command(*arguments: object):
    return CliRunner().invoke(cli, [str(each) for each in arguments])


@pytest.fixture
def evil(run, tmp_path, monkeypatch) -> str:
    """A Python file in the run; a test asserts that it never ran."""
    file = run / "evil.py"
    file.write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "from i2vbench.metrics.motion import TemporalFlickering as Thing\n"
        "def load():\n    raise SystemExit('it ran')\n"
    )
    monkeypatch.chdir(tmp_path)
    return str(file)


@pytest.mark.parametrize("form", ["{}:Thing", "{}:load", "{}:Thing:Thing", "table:{}:load"])
def test_nothing_that_a_run_names_is_executed(form, run, evil, pictures, tmp_path):
    name = form.format(evil)

    def in_run(record):
        record["spec"]["model"] |= {"name": name, "options": {"kind": name}, "asked": {"x": name}}
        record["spec"]["suite"]["name"] = name
        record["view"]["suite"]["name"] = name

    def in_results(record):
        record["suite"]["name"] = record["model"]["name"] = record["protocol"] = name
        (plain,) = record["scores"]
        as_metric = plain | {"metric": name, "source": name, "label": name}
        as_protocol = plain | {"protocol": f"{name} 1"}
        both = as_metric | {"protocol": f"{name} 1"}
        as_class = plain | {"metric": "other", "source": name}
        record["scores"] = [plain, as_metric, as_protocol, both, as_class]

    edit(run / "run.json", in_run)
    edit_results(run, in_results)
    assert len(load_results(run).scores) == 5
    outputs = [
        command("show", run),
        command("leaderboard", run),
        command("leaderboard", run, "--by-category", "--format", "html"),
        command("explain", run, FLICKER, "p0", "-o", tmp_path / "p0.png"),
        command("score", run, "--metrics", FLICKER),
        command("score", run, "--metrics", FLICKER, "--suite", pictures, "--protocol", "i2v-bench"),
        command("show", run),
        command("leaderboard", run),
    ]
    for output in outputs:
        assert output.exception is None or isinstance(output.exception, SystemExit | UserError), (
            output.exception
        )
    assert not (tmp_path / "ran").exists()


def test_a_protocol_file_that_results_name_is_not_opened(run, evil, tmp_path):
    protocol = tmp_path / "theirs.yaml"
    protocol.write_text(
        'name: theirs\nversion: "1"\nsource: x\n'
        f"metrics: {{redness: {{extractors: ['{evil}:Thing']}}, '{evil}:Thing': {{}}}}\n"
    )

    def in_results(record):
        plain = record["scores"][0]
        names = [str(protocol), "theirs.yaml"]
        record["scores"] += [plain | {"protocol": f"{name} 1"} for name in names]
        record["scores"].append(plain | {"protocol": f"{protocol} 2", "source": f"{evil}:Thing"})

    edit_results(run, in_results)
    assert len(load_results(run).scores) == 4
    assert command("score", run, "--metrics", FLICKER).exit_code == 0
    assert not (tmp_path / "ran").exists()


def test_a_suite_in_python_is_loaded_only_where_the_user_names_it(run, evil, tmp_path):
    for place in (f"{evil}:load", "evil.py:load", f"{evil}:load?x=1"):
        edit(run / "run.json", lambda record, place=place: record.update(suite_source=place))
        for arguments in (["score", run], ["explain", run, FLICKER, "p0"]):
            refused = command(*arguments)
            assert "is Python code" in str(refused.exception)
            assert "name it with --suite if you trust it" in str(refused.exception)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UserError, match="it ran"):
        score(run, suite=f"{evil}:load")


def rows_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "takes.0.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("made_from", ["", "0" * 64])
@pytest.mark.parametrize("form", ["absolute", "../..", "inside/../../..", "link"])
def test_a_video_outside_of_the_run_is_refused(form, made_from, run, tmp_path):
    rows = rows_of(run)
    secret = tmp_path / "secret.mp4"
    secret.write_bytes((run / str(rows[0]["file"])).read_bytes())
    up = "../" * 3
    if form == "link":
        (run / "videos" / "link.mp4").symlink_to(secret)
    file = {
        "absolute": str(secret),
        "../..": f"{up}secret.mp4",
        "inside/../../..": f"videos/../{up}secret.mp4",
        "link": "videos/link.mp4",
    }[form]
    assert form == "absolute" or (run / file).resolve() == secret
    rows[0] |= {"file": file, "sha256": file_sha256(secret), "made_from": made_from}
    (run / "takes.0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("score", run, "--metrics", FLICKER, "--quiet")
    assert done.exit_code == 1
    assert "failed: p0, take 0:" in done.output
    assert "lies outside of the run" in done.output
    results = json.loads((run / "results.json").read_text())
    assert (results["counts"]["ok"], results["counts"]["failed"]) == (2, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"file": "x\0y"},
        {"file": "n" * 5000},
        {"file": ""},
        {"file": "."},
        {"file": None},
        {"sha256": ""},
        {"sha256": 3},
        {"take": True},
        {"take": -1},
        {"take": 10**12},
        {"id": ["p0"]},
        {"seconds": "1"},
        {"status": "fine"},
        {"more": 1},
    ],
)
def test_a_row_that_is_not_ours_costs_its_clip_only(change, run, pictures, tmp_path):
    rows = rows_of(run)
    before = dict(rows[0])
    rows[0] |= change
    (run / "takes.0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("score", run, "--metrics", FLICKER, "--quiet")
    assert done.exit_code == 1, done.output
    assert "failed: p0, take 0" in done.output
    assert json.loads((run / "results.json").read_text())["scores"][0]["n_scored"] == 2
    # The command that made it makes it again.
    generate(Drift(), load_suite(pictures), tmp_path / "runs", limit=3)
    assert {**rows_of(run)[0], "seconds": 0} == {**before, "seconds": 0}


DAMAGES = {
    "empty": lambda text: "",
    "cut": lambda text: text[:200],
    "no JSON": lambda text: "status: scored",
    "a list": lambda text: "[]",
    "deep": lambda text: "[" * 10**5,
    "digits": lambda text: text.replace('"seed": 0', f'"seed": {"9" * 5000}'),
    "NaN": lambda text: text.replace('"seed": 0', '"seed": NaN'),
    "a seed of text": lambda text: text.replace('"seed": 0', '"seed": "0"'),
    "no schema": lambda text: text.replace('"schema_version": 2', '"schema": 2'),
    "newer": lambda text: text.replace('"schema_version": 2', '"schema_version": 3'),
    "status": lambda text: text.replace('"status": "scored"', '"status": "well"'),
    "status of a number": lambda text: text.replace('"status": "scored"', '"status": 1'),
    "no takes": lambda text: text.replace('"num_takes": 1', '"num_takes": 0'),
    "limit of text": lambda text: text.replace('"limit": 3', '"limit": "3"'),
    "negative limit": lambda text: text.replace('"limit": 3', '"limit": -3'),
    "frames": lambda text: text.replace('"num_frames": 4', '"num_frames": 0'),
    "another spec": lambda text: text.replace('"num_frames": 4', '"num_frames": 5'),
    "another fingerprint": lambda text: text.replace('"fingerprint": "', '"fingerprint": "0'),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_record_is_one_line_and_is_written_again(name, run, pictures, tmp_path):
    record = run / "run.json"
    whole = record.read_text()
    record.write_text(DAMAGES[name](whole))
    assert record.read_text() != whole
    for arguments in (["show", run], ["score", run], ["explain", run, FLICKER, "p0"]):
        done = command(*arguments)
        assert isinstance(done.exception, UserError), (arguments, done.exception)
        assert "run.json" in str(done.exception)
        assert "\n" not in str(done.exception)
        assert len(str(done.exception)) < 400
    with pytest.raises(UserError):
        reopen_run(run)
    videos = {path.name: path.stat().st_mtime_ns for path in (run / "videos").iterdir()}
    again = generate(Drift(), load_suite(pictures), tmp_path / "runs", limit=3)
    score(again, metrics=[FLICKER])
    assert record.read_text() == whole
    assert {p.name: p.stat().st_mtime_ns for p in (run / "videos").iterdir()} == videos


@pytest.mark.parametrize("field", ["spec", "environment", "fingerprint", "status"])
@pytest.mark.parametrize("value", [None, 3, "x", [1], {"suite": "small"}, {"model": None}])
def test_a_field_of_another_kind_is_one_line(field, value, run):
    if field == "environment" and isinstance(value, dict):
        return
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {field: value}))
    with pytest.raises(DamagedRunError, match=r"run\.json: "):
        RunDir.open(run)
    done = command("show", run)
    assert isinstance(done.exception, DamagedRunError)


@pytest.mark.parametrize("field", ["view", "card", "suite_source", "board_key"])
def test_what_comes_after_generation_is_checked_as_well(field, run):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {field: 3}))
    with pytest.raises(DamagedRunError, match=rf"run\.json: {field} is 3"):
        RunDir.open(run)


def test_a_run_that_was_not_generated_to_its_end_is_one_line(run):
    edit(run / "run.json", lambda record: record.update(status="started"))
    with pytest.raises(UserError, match="not generated to its end; repeat the command"):
        reopen_run(run)
    edit(run / "run.json", lambda record: (record.update(status="generated"), record.pop("view")))
    with pytest.raises(UserError, match=r"run\.json does not say what a run is"):
        reopen_run(run)
