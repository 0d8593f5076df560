"""What a user's metric or extractor does wrong costs its own rows, and no other metric's."""

import dataclasses

import numpy as np
import pytest

from i2vbench import generate, registry, score
from i2vbench.failures import num_without_score
from i2vbench.files import read_rows
from i2vbench.metric import ClipMetric, Extractor, SetMetric
from tests.adapters import Drift

IDS = ["a", "bad", "c"]
FLICKER = "temporal_flickering"


class Wild(Extractor):
    """Does what a test tells it where the clip is that of the second sample."""

    name = "wild"
    version = "1"
    label = "wild"
    uses_prompt = True
    deed = staticmethod(lambda: {"x": np.zeros(1)})

    def spec(self):
        return {}

    def extract(self, clips, prompts):
        return [self.deed() if prompt == "1" else {"x": np.zeros(1)} for prompt in prompts]


class OfWild(ClipMetric):
    name = "of_wild"
    version = "1"
    higher_is_better = None
    extractors = ("wild",)

    def score_clip(self, example):
        return float(example.features["wild"]["x"][0])


class WildClip(ClipMetric):
    name = "wild_clip"
    version = "1"
    higher_is_better = None
    deed = staticmethod(lambda: 0.0)

    def score_clip(self, example):
        return self.deed() if example.sample_id == "bad" else 0.0


class WildSet(SetMetric):
    name = "wild_set"
    version = "1"
    higher_is_better = None
    deed = staticmethod(lambda: 0.0)

    def update(self, examples):
        pass

    def merge(self, other):
        pass

    def compute(self):
        return self.deed()

    def interval(self, examples, *, num_resamples, seed, confidence=0.95):
        return None


def raising(error):
    def deed():
        raise error

    return deed


@pytest.fixture
def run(make_suite, tmp_path, monkeypatch):
    suite = make_suite(IDS)
    samples = [dataclasses.replace(s, prompt=str(n)) for n, s in enumerate(suite)]
    suite = dataclasses.replace(suite, samples=samples)
    for kind, classes in (
        (registry.METRICS, (OfWild, WildClip, WildSet)),
        (registry.EXTRACTORS, (Wild,)),
    ):
        table = {c.name: (f"{__name__}:{c.__name__}", "") for c in classes}
        monkeypatch.setattr(kind, "_builtin", {**kind._builtin, **table})
    return generate(Drift(), suite, tmp_path, batch_size=2), suite


ERRORS = [
    ZeroDivisionError("division by zero"),
    RuntimeError("CUDA error\nwith a second line"),
    MemoryError(),
    SystemExit(0),
    KeyError("layer"),
    OSError(5, "Input/output error"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", ["of_wild", "wild_clip"])
def test_an_exception_is_one_row_of_one_metric(name, error, run, monkeypatch):
    made, suite = run
    kind = Wild if name == "of_wild" else WildClip
    monkeypatch.setattr(kind, "deed", staticmethod(raising(error)))
    found = {s.metric: s for s in score(made, suite=suite, metrics=[name, FLICKER]).scores}
    assert (found[name].n_scored, found[name].n_expected, found[name].value) == (2, 3, 0)
    assert (found[FLICKER].n_scored, found[FLICKER].n_expected) == (3, 3)
    rows = read_rows(next(made.path.glob(f"scores/{name}-*")))
    (failed,) = [row for row in rows if row["error"]]
    assert failed["id"] == "bad"
    assert failed["error"].isprintable()
    assert num_without_score(made, [name], "embedded 1") == 1
    assert num_without_score(made, [FLICKER], "embedded 1") == 0


@pytest.mark.parametrize(
    "value", [None, float("nan"), float("inf"), "1", 1j, np.zeros(2), [1.0]], ids=repr
)
def test_what_is_no_number_is_one_row_of_one_metric(value, run, monkeypatch):
    made, suite = run
    monkeypatch.setattr(WildClip, "deed", staticmethod(lambda: value))
    found = {s.metric: s for s in score(made, suite=suite, metrics=["wild_clip", FLICKER]).scores}
    assert (found["wild_clip"].n_scored, found[FLICKER].n_scored) == (2, 3)


@pytest.mark.parametrize(
    "features",
    [None, [], {"x": None}, {"x": "text"}, {"x": [object()]}, {1: np.zeros(1)}, np.zeros(3)],
    ids=repr,
)
def test_features_that_cannot_be_stored_are_one_row_of_one_metric(features, run, monkeypatch):
    made, suite = run
    monkeypatch.setattr(Wild, "deed", staticmethod(lambda: features))
    found = {s.metric: s for s in score(made, suite=suite, metrics=["of_wild", FLICKER]).scores}
    assert (found["of_wild"].n_scored, found[FLICKER].n_scored) == (2, 3)
    rows = read_rows(next(made.path.glob("scores/of_wild-*")))
    assert [row["id"] for row in rows if row["error"]] == ["bad"]


@pytest.mark.parametrize("method", ["compute", "interval", "warnings"])
@pytest.mark.parametrize("error", ERRORS[:4], ids=lambda error: type(error).__name__)
def test_a_set_metric_that_fails_is_an_empty_column(method, error, run, monkeypatch):
    made, suite = run
    monkeypatch.setattr(WildSet, method, lambda self, *args, **kwargs: raising(error)())
    found = {s.metric: s for s in score(made, suite=suite, metrics=["wild_set", FLICKER]).scores}
    assert found["wild_set"].value is None
    assert type(error).__name__ in found["wild_set"].reason
    assert "\n" not in found["wild_set"].reason
    assert found[FLICKER].value is not None
