"""The named protocols, and what the per-clip metrics of the embedded one say of themselves."""

from __future__ import annotations

import inspect
import pickle

import pytest

from i2vbench.fingerprint import canonical_json
from i2vbench.metric import ClipMetric
from i2vbench.metrics.protocols import EMBEDDED
from i2vbench.protocol import load_protocol
from i2vbench.registry import EXTRACTORS, METRICS

PER_CLIP = [
    "clipsim",
    "lpips_first_frame",
    "lpips_reference",
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "temporal_flickering",
    "i2v_subject",
    "i2v_background",
    "camera_motion",
    "aesthetic_quality",
    "imaging_quality",
    "overall_consistency",
    "dynamic_degree",
]


OPTIONAL = {
    "fvd_infinity",
    "kvd",
    "kid",
    "precision",
    "recall",
    "density",
    "coverage",
    "aesthetic_quality",
    "imaging_quality",
    "overall_consistency",
    "i2v_subject",
    "i2v_background",
    "camera_motion",
    "motion_following",
}


def test_the_embedded_protocol_is_every_built_in_metric_once_but_those_on_request():
    assert load_protocol("embedded") is EMBEDDED
    assert len(set(EMBEDDED.metrics)) == len(EMBEDDED.metrics)
    built_in = {entry.name for entry in METRICS.entries() if entry.source == "built in"}
    assert set(EMBEDDED.metrics) == built_in - OPTIONAL
    assert EMBEDDED.spec() == {"name": "embedded", "version": "1", "num_frames": None}


@pytest.mark.parametrize("name", PER_CLIP)
class TestContract:
    def test_the_class_says_what_boards_and_engines_ask(self, name):
        metric = METRICS.load(name)()
        assert isinstance(metric, ClipMetric)
        assert metric.name == name
        assert metric.title
        assert metric.level == "clip"
        assert metric.higher_is_better in (True, False, None)
        assert metric.needs <= {"prompt", "first_frame", "reference", "extra.camera_motion"}
        assert set(metric.extractors) <= {entry.name for entry in EXTRACTORS.entries()}
        canonical_json(metric.spec())

    def test_the_docstring_says_formula_range_and_source(self, name):
        text = " ".join((inspect.getdoc(METRICS.load(name)) or "").split()).lower()
        assert any(word in text for word in ("range", "share of clips", "same formula"))
        assert "caveat" in text or "frozen clip" in text

    def test_an_empty_state_has_no_score_and_travels(self, name):
        metric = METRICS.load(name)()
        with pytest.raises(ValueError, match=f"{name}: no clip was added"):
            metric.compute()
        metric.add(0.25, sample_id="s")
        assert pickle.loads(pickle.dumps(metric)).compute() == 0.25
