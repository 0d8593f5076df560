"""Views on one run: what is asked for again costs only what is missing, and changes no number."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from i2vbench import generate, load_model, load_suite, score
from i2vbench.cli import cli
from i2vbench.clip import Clip, Geometry
from i2vbench.files import read_rows
from i2vbench.generation import GenerationOptions
from i2vbench.model import Request
from i2vbench.results import load_results
from tests.adapters import Drift
from tests.conftest import picture_of

FLICKER = "temporal_flickering"
ADAPTER = '''
from dataclasses import dataclass
import numpy as np
from i2vbench.clip import Clip, Geometry
from i2vbench.model import Card, Model, Options
from shades import SHADE

@dataclass(frozen=True, kw_only=True)
class PlainOptions(Options):
    shade: int = 0
    """Added to every pixel."""
    frames: int = 2
    """Of a clip."""

class Plain(Model):
    options_type = PlainOptions

    @property
    def geometry(self):
        return Geometry(num_frames=self.options.frames, height=16, width=16, fps=8)

    def describe(self):
        # Says nothing of its options: the harness knows them.
        return Card(name="plain", version="1")

    def generate(self, requests):
        for request in requests:
            asked = request.geometry
            shape = (asked.num_frames, asked.height, asked.width, 3)
            yield Clip(frames=np.full(shape, SHADE + self.options.shade, np.uint8), fps=asked.fps)
'''
METRIC = """
from i2vbench.metric import ClipMetric

class Level(ClipMetric):
    name = "level"
    version = "1"
    higher_is_better = None

    def score_clip(self, example):
        return float(example.clip.frames.mean()) * 1
"""


class Counted(Drift):
    """Says which clips it was asked for."""

    def __init__(self, *arguments, **keywords) -> None:
        super().__init__(*arguments, **keywords)
        self.asked: list[str] = []

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        self.asked += [f"{request.sample.id}-{request.take}" for request in requests]
        return super().generate(requests)


def asked_of(folder: Path, output_dir: Path, *, redo: bool = False, **view):
    """The clips that a fresh process's model would make for a view, and the run."""
    model = Counted()
    options = GenerationOptions(redo=redo)
    run = generate(model, load_suite(folder), output_dir, options=options, **view)
    return model.asked, run


def test_views_of_a_run_make_only_what_is_missing(pictures, tmp_path):
    out = tmp_path / "runs"
    asked, run = asked_of(pictures, out, limit=4)
    assert asked == ["p0-0", "p1-0", "p2-0", "p3-0"]
    steps = [({"limit": 6}, ["p4-0", "p5-0"]), ({"limit": 4}, []), ({}, [])]
    steps.append(({"num_takes": 2, "batch_size": 4}, [f"p{n}-1" for n in range(6)]))
    for view, expected in steps:
        asked, again = asked_of(pictures, out, **view)
        assert (asked, again.path) == (expected, run.path), view
    table = pictures / "prompts.csv"
    table.write_text(table.read_text().replace("p2.png,a picture", "p2.png,a cat"))
    assert asked_of(pictures, out, num_takes=2)[0] == ["p2-0", "p2-1"]
    Image.fromarray(picture_of(77)).save(pictures / "p5.png")
    asked, again = asked_of(pictures, out, num_takes=2, batch_size=3)
    assert (asked, again.path) == (["p5-0", "p5-1"], run.path)
    assert asked_of(pictures, out, num_takes=2)[0] == []


def test_samples_are_chosen_and_made_anew_by_name(pictures, tmp_path):
    asked, run = asked_of(pictures, tmp_path, samples=["p4", "p1"])
    assert asked == ["p1-0", "p4-0"]
    assert list(run.takes()) == [("p1", 0), ("p4", 0)]
    assert asked_of(pictures, tmp_path, limit=2)[0] == ["p0-0"]
    before = {take.key: take.sha256 for take in run.takes().values()}
    assert asked_of(pictures, tmp_path, samples=["p1"], redo=True)[0] == ["p1-0"]
    assert {take.key: take.sha256 for take in run.takes().values()} == before


@pytest.mark.parametrize("num_takes", [1, 2])
def test_a_smaller_view_again_gives_the_results_of_a_fresh_run(pictures, tmp_path, num_takes):
    def command(name, limit, takes):
        values = ["run", "-m", f"{__file__}:Counted", "-s", pictures, "--metrics", FLICKER]
        values += ["--no-baselines", "--limit", limit, "--num-takes", takes, "-o", tmp_path / name]
        done = CliRunner().invoke(cli, [*map(str, values), "--quiet"])
        assert done.exit_code == 0, done.output
        return done.output

    command("old", 2, 1)
    command("old", 6, 2)
    assert "All is done" not in command("old", 3, num_takes)
    assert "All is done" in command("old", 3, num_takes)
    command("new", 3, num_takes)
    for name in ("results.json", "board.txt", "board.md", "board.csv", "board.html"):
        old, new = (next((tmp_path / each).glob(f"*/*/{name}")) for each in ("old", "new"))
        assert old.read_text() == new.read_text()


def test_neither_batch_size_nor_the_other_samples_are_part_of_a_clip(pictures, tmp_path):
    _, whole = asked_of(pictures, tmp_path / "whole", batch_size=4)
    for name in ("p0", "p2", "p3"):
        (pictures / f"{name}.png").unlink()
    rows = ["file,prompt", *(f"p{n}.png,a picture" for n in (5, 4, 1))]
    (pictures / "prompts.csv").write_text("\n".join(rows) + "\n")
    _, part = asked_of(pictures, tmp_path / "part", batch_size=1)
    assert {key for key, _ in part.takes()} == {"p1", "p4", "p5"}
    for key, take in part.takes().items():
        other = whole.takes()[key]
        assert (take.made_from, take.sha256) == (other.made_from, other.sha256)
    # In one output folder they are one run.
    assert asked_of(pictures, tmp_path / "whole")[0] == []


@pytest.fixture
def adapter(tmp_path):
    """A model in a file of its own, with a module beside it."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "plain.py").write_text(ADAPTER)
    (folder / "shades.py").write_text("SHADE = 10\n")
    return folder / "plain.py"


def run_of(adapter: Path, pictures: Path, tmp_path: Path, options=None, **more):
    dtype = more.pop("dtype", None)
    model = load_model(f"{adapter}:Plain", options, dtype=dtype)
    return generate(model, load_suite(pictures), tmp_path / "runs", limit=1, **more)


def test_what_changes_a_clip_is_another_run(adapter, pictures, tmp_path):
    first = run_of(adapter, pictures, tmp_path)
    wider = Geometry(num_frames=2, height=16, width=32, fps=8)
    quicker = Geometry(num_frames=2, height=16, width=16, fps=9)
    others = [
        run_of(adapter, pictures, tmp_path, **change)
        for change in (
            {"options": {"shade": 1}},
            {"options": {"frames": 3}},
            {"seed": 1},
            {"geometry": wider},
            {"geometry": quicker},
            {"dtype": "bf16"},
        )
    ]
    for file, old, new in (("plain.py", "SHADE +", "1 + SHADE +"), ("shades.py", "10", "20")):
        path = adapter.parent / file
        path.write_text(path.read_text().replace(old, new))
        others.append(run_of(adapter, pictures, tmp_path))
    assert len({run.path for run in (first, *others)}) == 1 + len(others)
    shades = {n: others[n].takes()["p0", 0].sha256 for n in (0, 6, 7)}
    assert len({first.takes()["p0", 0].sha256, *shades.values()}) == 3, "10, 11, 11, 21"
    adapter.write_text(ADAPTER)
    (adapter.parent / "shades.py").write_text("SHADE = 10\n")
    assert run_of(adapter, pictures, tmp_path).path == first.path


def test_a_column_that_the_model_sees_makes_a_clip_anew_and_a_category_does_not(tmp_path):
    Image.fromarray(picture_of(1)).save(tmp_path / "a.png")
    table = tmp_path / "manifest.csv"

    def asked(mood, category):
        rows = ["id,image,mood,category", f"a,a.png,{mood},{category}"]
        table.write_text("\n".join(rows) + "\n")
        return asked_of(table, tmp_path / "runs")

    asked_first, run = asked("glad", "x")
    score(run, metrics=[FLICKER])
    assert (asked_first, asked("glad", "y")[0]) == (["a-0"], [])
    # The category is a matter of the scores, which are not of this suite any more.
    assert [c.category for c in score(run, metrics=[FLICKER]).scores[0].by_category] == ["y"]
    assert asked("sad", "y")[0] == ["a-0"]


def test_clips_made_anew_take_their_scores_with_them(pictures, tmp_path):
    _, run = asked_of(pictures, tmp_path, limit=2)
    score(run, metrics=[FLICKER])
    assert run.status == "generated", "this object is of before"
    _, run = asked_of(pictures, tmp_path, limit=2)
    assert run.status == "scored"
    table = pictures / "prompts.csv"
    table.write_text(table.read_text().replace("p1.png,a picture", "p1.png,a cat"))
    _, run = asked_of(pictures, tmp_path, limit=2)
    assert run.status == "generated"
    # The same, where the view stays and only a file was lost.
    score(run, metrics=[FLICKER])
    video = run.video_path("p0", 0)
    whole = video.read_bytes()
    video.unlink()
    asked, run = asked_of(pictures, tmp_path, limit=2)
    assert (asked, run.status, video.read_bytes()) == (["p0-0"], "scored", whole)


def test_other_clips_of_the_same_view_are_not_scored_yet(make_suite, tmp_path):
    class Moody(Drift):
        mood = 0

        def generate(self, requests):
            for clip in super().generate(requests):
                yield Clip(frames=clip.frames + np.uint8(Moody.mood), fps=clip.fps)

    suite = make_suite(["a", "b"])
    score(generate(Moody(), suite, tmp_path), suite=suite, metrics=[FLICKER])
    assert generate(Moody(), suite, tmp_path).status == "scored"
    Moody.mood = 1
    again = GenerationOptions(redo=True)
    assert generate(Moody(), suite, tmp_path, options=again).status == "generated"


@pytest.fixture
def metric(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(METRIC)
    return file


def test_scores_are_added_and_an_edited_metric_is_computed_again(metric, pictures, tmp_path):
    _, run = asked_of(pictures, tmp_path / "runs", limit=3)
    name = f"{metric}:Level"
    (first,) = score(run, metrics=[name]).scores
    names = [s.metric for s in score(run, metrics=[FLICKER]).scores]
    assert sorted(names) == ["level", FLICKER]
    metric.write_text(METRIC.replace("* 1", "* 2"))
    both = {s.metric: s for s in score(run, metrics=[name]).scores}
    assert both["level"].value == pytest.approx(2 * first.value)
    assert both["level"].fingerprint != first.fingerprint
    # An edited file whose number nobody asks for is not shown beside new ones.
    metric.write_text(METRIC.replace("* 1", "* 3"))
    assert [s.metric for s in score(run, metrics=[FLICKER]).scores] == [FLICKER]


def test_rows_do_not_depend_on_the_metrics_beside(metric, make_suite, tmp_path):
    names = [FLICKER, f"{metric}:Level"]
    suite = make_suite(["a", "b", "c"])
    files, scores = [], []
    for number, asked in enumerate(([names], [names[:1], names[1:]], [names[1:], names])):
        run = generate(Drift(), suite, tmp_path / f"runs{number}", batch_size=2, num_takes=2)
        for each in asked:
            last = score(run, suite=suite, metrics=each)
        files.append({p.name: p.read_bytes() for p in run.path.glob("scores/*")})
        scores.append(sorted((asdict(s) for s in last.scores), key=lambda s: s["metric"]))
    assert len(files[0]) == 2
    assert files[0] == files[1] == files[2]
    assert scores[0] == scores[1] == scores[2]
    assert load_results(run.path) == last


PROTOCOL = """
name: mine
version: "1"
source: here
num_frames: 2
metrics: {temporal_flickering: {}}
"""


def test_scores_of_another_protocol_stay_while_their_clips_do(pictures, tmp_path):
    _, run = asked_of(pictures, tmp_path / "runs", limit=2)
    file = tmp_path / "mine.yaml"
    file.write_text(PROTOCOL)
    protocols = [str(file), "embedded", "i2v-bench"]
    for protocol in protocols:
        results = score(run, metrics=[FLICKER], protocol=protocol)
    before = {s.protocol: s.fingerprint for s in results.scores}
    assert {name.partition(" ")[0] for name in before} == {"i2v-bench", "mine", "embedded"}
    assert len(set(before.values())) == 3
    assert load_results(run.path) == results
    # Another choice of the same name replaces its own scores, and no others.
    file.write_text(PROTOCOL.replace("num_frames: 2", "num_frames: 3"))
    results = score(run, metrics=[FLICKER], protocol=str(file))
    after = {s.protocol: s.fingerprint for s in results.scores}
    assert [name for name in before if after[name] != before[name]] == ["mine 1"]
    Image.fromarray(picture_of(78)).save(pictures / "p0.png")
    _, run = asked_of(pictures, tmp_path / "runs", limit=2)
    results = score(run, metrics=[FLICKER])
    assert [s.protocol.partition(" ")[0] for s in results.scores] == ["embedded"]


def test_rows_of_a_clip_that_was_made_anew_are_computed_anew(pictures, tmp_path):
    _, run = asked_of(pictures, tmp_path, limit=2)
    score(run, metrics=[FLICKER])
    file = next(run.path.glob("scores/*"))
    before = {row["id"]: row for row in read_rows(file)}
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(pictures / "p0.png")
    _, run = asked_of(pictures, tmp_path, limit=2)
    results = score(run, metrics=[FLICKER])
    after = {row["id"]: row for row in read_rows(file)}
    assert after["p1"] == before["p1"]
    assert after["p0"]["value"] != before["p0"]["value"]
    assert results.scores[0].value == np.mean([row["value"] for row in after.values()])
    takes = [json.loads(line) for line in run.takes_file().read_text().splitlines()]
    assert [take["id"] for take in takes] == ["p0", "p1"]
