"""The scoring engine: counts of passes, failures, fingerprints, stored features."""

import dataclasses
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from i2vbench import registry
from i2vbench.clip import Clip
from i2vbench.errors import MissingWeightsError
from i2vbench.files import read_rows
from i2vbench.generation import carry_out, plan_run
from i2vbench.metric import ClipMetric, Example, Extractor, SetMetric
from i2vbench.metric_runs import MetricRun, metric_fingerprint
from i2vbench.protocol import MetricChoice, Protocol
from i2vbench.results import load_results
from i2vbench.scoring import score_run as score
from i2vbench.video_io import read_video
from tests.adapters import Drift, Fragile

IDS = ["a", "b", "c", "d", "e"]


class MeanColour(Extractor):
    """The mean of each channel."""

    name = "mean-colour"
    version = "1"
    clips_seen = 0

    @property
    def label(self) -> str:
        return "mean"

    def spec(self):
        return {"range": 255}

    def extract(self, clips: Sequence[Clip], prompts: Sequence[str]):
        type(self).clips_seen += len(clips)
        return [{"mean": c.frames.mean((0, 1, 2))} for c in clips]


class Redness(ClipMetric):
    name = "redness"
    title = "Red"
    version = "1"
    higher_is_better = True
    extractors = ("mean-colour",)

    def score_clip(self, example: Example) -> float:
        return float(example.features["mean-colour"]["mean"][0])


class ColourShift(SetMetric):
    """Distance of mean colours of clips and references."""

    name = "colour_shift"
    version = "1"
    higher_is_better = False
    needs = frozenset({"reference"})
    extractors = ("mean-colour",)

    def __init__(self) -> None:
        self.sum = np.zeros(3)
        self.count = 0

    def update(self, examples):
        for e in examples:
            ours = e.features["mean-colour"]["mean"]
            if e.sample_id == "refused":
                raise ValueError("a feature is not finite")
            self.sum += ours - e.reference_features["mean-colour"]["mean"]
            self.count += 1

    def merge(self, other):
        self.sum += other.sum
        self.count += other.count

    def compute(self) -> float:
        if self.count < 2:
            raise ValueError(f"needs at least 2 clips, got {self.count}")
        return float(np.linalg.norm(self.sum / self.count))

    def interval(self, examples, *, num_resamples, seed, confidence=0.95):
        assert len(examples) == self.count
        return (0.0, 1.0)

    def warnings(self):
        return ["a toy"]


class Absent(Extractor):
    name = "absent"
    version = "1"

    def __init__(self, *, device: str = "cpu") -> None:
        raise MissingWeightsError("absent.pth is missing")

    label = "absent"

    def spec(self):
        return {}

    def extract(self, clips, prompts):
        raise AssertionError


class NeedsAbsent(Redness):
    name = "needs_absent"
    title = "NeedsAbsent"
    extractors = ("absent",)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    metrics = {
        c.name: (f"{__name__}:{c.__name__}", "") for c in (Redness, ColourShift, NeedsAbsent)
    }
    extractors = {c.name: (f"{__name__}:{c.__name__}", "") for c in (MeanColour, Absent)}
    monkeypatch.setattr(registry.METRICS, "_builtin", metrics)
    monkeypatch.setattr(registry.EXTRACTORS, "_builtin", extractors)
    protocol = Protocol(name="toy", version="1", source="", metrics=tuple(metrics))
    monkeypatch.setattr("i2vbench.scoring.load_protocol", lambda name: protocol)
    MeanColour.clips_seen = 0


def made(make_suite, tmp_path, model=None, ids=IDS, **options):
    model = model or Drift()
    plan = plan_run(make_suite(ids, **options), model.geometry, batch_size=2)
    return carry_out(model, plan, tmp_path), plan, model.describe()


def test_each_clip_goes_through_an_extractor_once(make_suite, tmp_path):
    run, plan, card = made(make_suite, tmp_path)
    results = score(run, plan, card, metrics=["redness", "colour_shift"])
    assert MeanColour.clips_seen == 2 * len(IDS), "five clips, five references, two metrics"
    again = score(run, plan, card, metrics=["redness", "colour_shift"])
    assert MeanColour.clips_seen == 2 * len(IDS), "features come from the disk"
    assert again == results == load_results(run.path)


def test_what_a_score_says(make_suite, tmp_path):
    run, plan, card = made(make_suite, tmp_path)
    red, shift = score(run, plan, card, metrics=["redness", "colour_shift"]).scores
    assert (red.label, red.n_scored, red.n_expected, red.level) == ("Red(mean)", 5, 5, "clip")
    assert red.ci95 is not None
    assert red.ci95[0] <= red.value <= red.ci95[1]
    assert (shift.label, shift.ci95) == ("colour_shift(mean)", (0.0, 1.0))
    assert shift.warnings == ("a toy",)
    rows = read_rows(next((run.path / "scores").glob("redness-*")))
    assert [row["id"] for row in rows] == IDS
    assert np.mean([row["value"] for row in rows]) == pytest.approx(red.value, rel=1e-12)


def test_a_score_beside_clips_that_were_cut_otherwise_says_so(make_suite, tmp_path, monkeypatch):
    run, plan, card = made(make_suite, tmp_path)
    protocol = Protocol(
        name="toy", version="1", source="", metrics=("redness", "colour_shift"),
        sampling={"stride": 3},
    )  # fmt: skip
    monkeypatch.setattr("i2vbench.scoring.load_protocol", lambda name: protocol)
    red, shift = score(run, plan, card).scores
    note = "toy asks for reference clips of stride=3, these are not cut"
    assert (red.warnings, shift.warnings) == ((), ("a toy", note))


def test_failed_takes_are_rows_and_counted(make_suite, tmp_path):
    run, plan, card = made(make_suite, tmp_path, Fragile(), ["a", "bad", "c"])
    (red,) = score(run, plan, card, metrics=["redness"]).scores
    assert (red.n_scored, red.n_expected) == (2, 3)
    rows = read_rows(next((run.path / "scores").glob("redness-*")))
    assert rows[1]["value"] is None
    assert "cursed" in rows[1]["error"] or "this sample" in rows[1]["error"]


def test_a_damaged_video_costs_itself_and_returns(make_suite, tmp_path):
    run, plan, card = made(make_suite, tmp_path)
    path = run.video_path("b", 0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    (red,) = score(run, plan, card, metrics=["redness"]).scores
    assert (red.n_scored, red.n_expected) == (4, 5)
    path.write_bytes(whole)
    (red,) = score(run, plan, card, metrics=["redness"]).scores
    assert (red.n_scored, red.n_expected) == (5, 5)


def test_a_metric_without_weights_stops_no_other(make_suite, tmp_path):
    run, plan, card = made(make_suite, tmp_path)
    scores = score(run, plan, card, metrics=["needs_absent", "redness"]).scores
    absent, red = sorted(scores, key=lambda each: each.metric)
    assert absent.value is None
    assert absent.reason == "absent.pth is missing"
    assert red.value is not None


def test_samples_without_what_a_metric_needs_do_not_count(make_suite, tmp_path):
    run, plan, card = made(make_suite, tmp_path, reference=False)
    (shift,) = score(run, plan, card, metrics=["colour_shift"]).scores
    assert (shift.value, shift.n_expected) == (None, 0)
    assert shift.reason == "no sample of the suite has reference"


def test_too_few_clips_give_a_reason_and_no_number(make_suite, tmp_path):
    run, plan, card = made(make_suite, tmp_path, ids=["a"])
    (shift,) = score(run, plan, card, metrics=["colour_shift"]).scores
    assert (shift.value, shift.reason) == (None, "needs at least 2 clips, got 1")


def test_a_clip_that_a_set_metric_refuses_is_a_row(make_suite, tmp_path):
    run, plan, card = made(make_suite, tmp_path, ids=["a", "refused", "c"])
    for _ in range(2):
        (shift,) = score(run, plan, card, metrics=["colour_shift"]).scores
        assert (shift.n_scored, shift.n_expected) == (2, 3)
        rows = read_rows(next((run.path / "scores").glob("colour_shift-*")))
        assert [row["error"] for row in rows] == ["", "a feature is not finite", ""]


def test_the_fingerprint_holds_what_changes_a_number(make_suite):
    plan = plan_run(make_suite(IDS), Drift().geometry)
    protocol = Protocol(name="toy", version="1", source="", metrics=())
    extractor = MeanColour()

    def of(metric=None, extractors=(extractor,), protocol=protocol, plan=plan):
        metric = metric or ColourShift()
        made = MetricRun(
            metric=metric,
            extractors=extractors,
            choice=MetricChoice(),
            source=metric.name,
            fingerprint=metric_fingerprint(metric, extractors, protocol),
            rows_file=Path("rows"),
            rows={},
            examples=[],
        )
        return made.score_fingerprint(plan, [4])

    class Newer(MeanColour):
        version = "2"

    class NewerMetric(ColourShift):
        version = "2"

    other_suite = dataclasses.replace(plan.suite, content_sha256="2" * 64)
    drawn = dataclasses.replace(plan.suite, drawn=True)
    fingerprints = [
        of(),
        of(extractors=(Newer(),)),
        of(NewerMetric()),
        of(protocol=dataclasses.replace(protocol, num_frames=3)),
        of(plan=dataclasses.replace(plan, suite=other_suite)),
        of(plan=dataclasses.replace(plan, suite=drawn)),
    ]
    assert len(set(fingerprints)) == len(fingerprints)
    assert of(plan=dataclasses.replace(plan, seed=9)) == of(), "the clips' seed is the run's affair"


def test_reference_features_are_shared_between_runs(make_suite, tmp_path):
    cache = tmp_path / "cache"
    for step in (1, 2):
        from tests.adapters import DriftOptions

        run, plan, card = made(make_suite, tmp_path, Drift(DriftOptions(step=step)))
        score(run, plan, card, metrics=["colour_shift"], cache_dir=cache)
    assert MeanColour.clips_seen == 3 * len(IDS), "two sets of clips, one set of references"


def test_a_clip_metric_is_kept_by_category_and_a_set_metric_is_not(make_suite, tmp_path):
    suite = make_suite(IDS)
    samples = [
        dataclasses.replace(sample, category="x" if number < 2 else "y")
        for number, sample in enumerate(suite.samples)
    ]
    suite = dataclasses.replace(suite, samples=samples)
    model = Drift()
    plan = plan_run(suite, model.geometry, batch_size=2)
    run = carry_out(model, plan, tmp_path)
    metrics = ["redness", "colour_shift"]
    red, shift = score(run, plan, model.describe(), metrics=metrics).scores
    x, y = red.by_category
    assert (x.category, x.n_scored, x.n_expected) == ("x", 2, 2)
    assert (y.category, y.n_scored, y.n_expected) == ("y", 3, 3)
    assert (2 * x.value + 3 * y.value) / 5 == pytest.approx(red.value)
    assert x.value != y.value
    assert shift.by_category == ()
    assert load_results(run.path).scores == (red, shift)


class OtherColour(MeanColour):
    name = "other-mean"
    label = "other"

    def extract(self, clips, prompts):
        return [
            {key: value + 1 for key, value in made.items()}
            for made in super().extract(clips, prompts)
        ]


def test_a_protocol_puts_another_network_in_the_place_of_the_metrics_own(
    make_suite, tmp_path, monkeypatch
):
    run, plan, card = made(make_suite, tmp_path)
    (own,) = score(run, plan, card, metrics=["redness"]).scores
    extractors = {**registry.EXTRACTORS._builtin, "other-mean": (f"{__name__}:OtherColour", "")}
    monkeypatch.setattr(registry.EXTRACTORS, "_builtin", extractors)
    protocol = Protocol(
        name="toy", version="1", source="", metrics=("redness",),
        choices={"redness": MetricChoice(extractors=("other-mean",))},
    )  # fmt: skip
    monkeypatch.setattr("i2vbench.scoring.load_protocol", lambda name: protocol)
    (other,) = score(run, plan, card).scores
    assert other.label == "Red(other)"
    assert other.value == pytest.approx(own.value + 1)
    assert other.fingerprint != own.fingerprint


class LikePicture(Redness):
    """Redness of the clip less that of the picture it was made from."""

    name = "like_picture"
    needs = frozenset({"first_frame"})

    def score_clip(self, example: Example) -> float:
        of_picture = example.first_frame_features["mean-colour"]["mean"][0]
        return super().score_clip(example) - float(of_picture)


class OfMotion(Redness):
    """Redness of the clips that a motion is asked of."""

    name = "of_motion"
    needs = frozenset({"extra.motion"})

    def score_clip(self, example: Example) -> float:
        return float(example.extra["motion"] == "pan_left")


def test_a_picture_goes_through_an_extractor_once_and_as_the_extractor_reads_pictures(
    make_suite, tmp_path, monkeypatch
):
    seen = []

    def extract_picture(self, picture):
        seen.append(picture)
        return {"mean": picture.mean((0, 1)) + 100}

    monkeypatch.setattr(MeanColour, "extract_picture", extract_picture)
    metrics = {kind.name: (f"{__name__}:{kind.__name__}", "") for kind in (Redness, LikePicture)}
    monkeypatch.setattr(registry.METRICS, "_builtin", metrics)
    model = Drift()
    plan = plan_run(make_suite(["a", "b"]), model.geometry, batch_size=2, num_takes=2)
    run = carry_out(model, plan, tmp_path)
    of_clips, found = score(run, plan, model.describe(), metrics=list(metrics)).scores
    of_pictures = np.mean([request.first_frame[..., 0].mean() for request in plan.requests])
    assert found.value == pytest.approx(of_clips.value - (of_pictures + 100))
    assert found.n_scored == 4
    assert len(seen) == 2
    for rows in run.path.glob("scores/*.jsonl"):
        rows.unlink()
    score(run, plan, model.describe(), metrics=["like_picture"])
    assert len(seen) == 2


def test_a_column_of_the_sample_is_a_need_and_reaches_the_metric(make_suite, tmp_path, monkeypatch):
    monkeypatch.setattr(registry.METRICS, "_builtin", {"of_motion": (f"{__name__}:OfMotion", "")})
    suite = make_suite(["a", "b", "c", "d"])
    motions = [{"motion": "pan_left"}, {"motion": "zoom_in"}, {"motion": ""}, {}]
    samples = [
        dataclasses.replace(s, extra=extra) for s, extra in zip(suite.samples, motions, strict=True)
    ]
    model = Drift()
    plan = plan_run(dataclasses.replace(suite, samples=samples), model.geometry, batch_size=2)
    run = carry_out(model, plan, tmp_path)
    (found,) = score(run, plan, model.describe(), metrics=["of_motion"]).scores
    assert (found.value, found.n_scored, found.n_expected) == (0.5, 2, 2)


class Rounded(MeanColour):
    """An extractor that can run in bfloat16 and in OpenVINO."""

    name = "rounded"
    dtypes = ("fp32", "bf16")
    backends = ("torch", "openvino")


class RoundedRedness(Redness):
    name = "rounded_redness"
    extractors = ("rounded",)

    def score_clip(self, example):
        return float(example.features["rounded"]["mean"][0])


@pytest.mark.parametrize(
    ("arithmetic", "words"),
    [({"dtype": "bf16"}, "bf16"), ({"dtype": "bf16", "backend": "openvino"}, "bf16, openvino")],
)
def test_another_arithmetic_is_a_column_of_its_own_where_the_network_can(
    make_suite, tmp_path, monkeypatch, caplog, arithmetic, words
):
    monkeypatch.setattr("i2vbench.device.find_spec", lambda name: object())
    monkeypatch.setattr("i2vbench.device.has_arithmetic", lambda *_: True)
    for kinds, registered in (
        (registry.METRICS, RoundedRedness),
        (registry.EXTRACTORS, Rounded),
    ):
        entry = {registered.name: (f"{__name__}:{registered.__name__}", "")}
        monkeypatch.setattr(kinds, "_builtin", {**kinds._builtin, **entry})
    run, plan, card = made(make_suite, tmp_path)
    names = ["rounded_redness", "redness"]
    exact = score(run, plan, card, metrics=names).scores
    every = score(run, plan, card, metrics=names, **arithmetic).scores
    assert [each.label for each in exact] == ["Red(mean)", "Red(mean)"]
    # The exact score stays beside the other; one that no arithmetic changes stands there once.
    assert sorted(each.label for each in every) == ["Red(mean)", "Red(mean)", f"Red(mean, {words})"]
    assert {each.fingerprint for each in exact} < {each.fingerprint for each in every}
    assert len({each.fingerprint for each in every}) == 3
    for word, default in zip(arithmetic.values(), ("fp32", "torch"), strict=False):
        assert f"mean-colour has no {word} and stays in {default}" in caplog.text


def test_each_clip_is_decoded_once_a_batch_ahead_of_the_extractors(
    make_suite, tmp_path, monkeypatch
):
    run, plan, card = made(make_suite, tmp_path)
    names = [
        sorted(run.resolve(run.takes()[r.sample.id, r.take]).name for r in b) for b in plan.batches
    ]
    assert [len(batch) for batch in names] == [2, 2, 1]
    decoded: list[str] = []
    seen: list[int] = []
    second_is_decoded = threading.Event()

    def reading(path, reader):
        decoded.append(path.name)
        clip = read_video(path)
        if len(decoded) == 4:
            second_is_decoded.set()
        return clip

    def extracting(self, clips, prompts):
        if not seen:
            # Before anything is extracted the second batch is there, and the third is not begun.
            assert second_is_decoded.wait(timeout=20)
        if len(seen) < 4:
            assert len(decoded) == 4, "no more than one batch ahead"
        seen.append(len(clips))
        return extract(self, clips, prompts)

    extract = MeanColour.extract
    monkeypatch.setattr("i2vbench.scored_clips.read_video", reading)
    monkeypatch.setattr(MeanColour, "extract", extracting)
    score(run, plan, card, metrics=["redness", "colour_shift"])
    assert sorted(decoded) == sorted(name for batch in names for name in batch)
    assert seen == [1] * (2 * len(IDS)), "clip and reference, once for both metrics"


def test_an_error_that_nobody_foresaw_is_a_row_of_what_it_spoils(make_suite, tmp_path):
    run, plan, card = made(make_suite, tmp_path)

    def broken(geometry):
        raise ZeroDivisionError("a suite's own loader")

    samples = [
        dataclasses.replace(s, load_reference=broken) if s.id == IDS[1] else s for s in plan.suite
    ]
    suite = dataclasses.replace(plan.suite, samples=samples)
    spoilt = plan_run(suite, plan.geometry)
    red, shift = score(run, spoilt, card, metrics=["redness", "colour_shift"]).scores
    assert (red.n_scored, red.n_expected) == (5, 5)
    assert (shift.n_scored, shift.n_expected) == (4, 5)
    rows = read_rows(next((run.path / "scores").glob("colour_shift-*")))
    assert [row["error"] for row in rows if row["error"]] == [
        "ZeroDivisionError: a suite's own loader"
    ]


def test_without_the_protocols_reader_every_column_says_so(make_suite, tmp_path, monkeypatch):
    run, plan, card = made(make_suite, tmp_path)
    monkeypatch.setitem(sys.modules, "decord", None)
    protocol = Protocol(name="toy", version="1", source="", metrics=(), reader="decord")
    monkeypatch.setattr("i2vbench.scoring.load_protocol", lambda name: protocol)
    scores = score(run, plan, card, metrics=["redness", "colour_shift"]).scores
    assert [(each.value, "the reader 'decord' is not" in each.reason) for each in scores] == [
        (None, True),
        (None, True),
    ]


class Distance(ClipMetric):
    """Of mean levels, the reference from the clip; 1000 more for each letter of the prompt."""

    name = "distance"
    version = "1"
    higher_is_better = False
    needs = frozenset({"reference", "prompt"})

    def score_clip(self, example):
        shift = float(example.reference.frames.mean()) - float(example.clip.frames.mean())
        return shift + 1000 * len(example.prompt)


@pytest.mark.parametrize("keyed", [True, False])
def test_a_row_is_of_the_reference_and_the_prompt_that_are_there_now(
    make_suite, tmp_path, monkeypatch, keyed
):
    known = {**registry.METRICS._builtin, "distance": (f"{__name__}:Distance", "")}
    monkeypatch.setattr(registry.METRICS, "_builtin", known)
    run, plan, card = made(make_suite, tmp_path)

    def scored(level, prompt):
        def load_reference(geometry):
            shape = (geometry.num_frames, geometry.height, geometry.width, 3)
            return Clip(frames=np.full(shape, level, np.uint8), fps=geometry.fps)

        key = f"{level}" if keyed else ""
        samples = [
            dataclasses.replace(s, load_reference=load_reference, reference_key=key, prompt=prompt)
            for s in plan.suite
        ]
        suite = dataclasses.replace(plan.suite, samples=samples, content_sha256=f"{level}{prompt}")
        (found,) = score(run, plan_run(suite, plan.geometry), card, metrics=["distance"]).scores
        return found.value

    before = scored(10, "a")
    assert scored(30, "a") == pytest.approx(before + 20)
    assert scored(30, "abc") == pytest.approx(before + 2020)
