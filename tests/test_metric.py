"""What a metric and an example promise: weights of takes, numbers, arrays by the metric's names."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from i2vbench.clip import Clip
from i2vbench.metric import ClipMetric, Example, _own, by_sample
from i2vbench.registry import EXTRACTORS

CLIP = Clip(frames=np.full((2, 4, 4, 3), 7, np.uint8), fps=8)


class Told(ClipMetric):
    """The score that a sample's column says."""

    name = "told"
    version = "1"
    higher_is_better = True
    extractors = ("flat", "steep")

    def score_clip(self, example):
        return example.extra["score"]


class ToldShare(Told):
    interval_kind = "share"


def an_example(sample_id="a", take=0, **more):
    return Example(sample_id=sample_id, take=take, clip=CLIP, **more)


def filled(values):
    metric = Told()
    for sample_id, value in values:
        metric.add(value, sample_id=sample_id)
    return metric


class TestMean:
    def test_a_sample_counts_once_however_many_takes_it_has(self):
        assert filled([("a", 1.0), ("b", 0.0), ("b", 0.5), ("b", 0.1)]).compute() == 0.6

    def test_no_order_of_adding_changes_a_bit(self):
        values = [("a", 0.1), ("a", 0.7), ("b", 1e9), ("b", 0.2), ("c", -1e9)]
        found = {filled(order).compute() for order in itertools.permutations(values)}
        assert len(found) == 1

    def test_parts_merge_sample_by_sample(self):
        whole = filled([("a", 1.0), ("a", 0.0), ("b", 0.25)])
        part = filled([("a", 1.0)])
        part.merge(filled([("b", 0.25), ("a", 0.0)]))
        assert part.compute() == whole.compute() == 0.375

    def test_update_scores_and_adds(self):
        metric = Told()
        metric.update([an_example(extra={"score": 3}), an_example("b", extra={"score": 4})])
        assert metric.compute() == 3.5
        with pytest.raises(ValueError, match="told: no clip was added"):
            Told().compute()


class TestScore:
    @pytest.mark.parametrize(
        "value",
        [
            0.5,
            np.float32(0.5),
            np.array(0.5),
            np.array([[0.5]]),
            torch.tensor(0.5),
            torch.tensor([0.5], requires_grad=True),
            Fraction(1, 2),
        ],
        ids=repr,
    )
    def test_numbers_of_all_kinds_are_numbers(self, value):
        score = Told().checked_score(an_example(extra={"score": value}))
        assert type(score) is float
        assert score == 0.5

    @pytest.mark.parametrize(
        "value",
        [
            float("nan"),
            float("-inf"),
            np.float64("nan"),
            torch.tensor(float("inf")),
            None,
            "0.5",
            np.str_("0.5"),
            1j,
            [0.5],
            np.zeros((30, 30)),
            torch.zeros(2),
            10**400,
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_anything_else_is_refused_in_one_line(self, value):
        for call in (
            lambda: Told().checked_score(an_example(extra={"score": value})),
            lambda: Told().add(value, sample_id="a"),
        ):
            with pytest.raises(ValueError, match="told: the score of a clip must be a finite") as e:
                call()
            assert len(str(e.value).splitlines()) == 1
            assert len(str(e.value)) < 140

    def test_a_share_beyond_0_and_1_is_refused(self):
        for value in (0, 0.25, 1):
            assert ToldShare().checked_score(an_example(extra={"score": value})) == value
        with pytest.raises(ValueError, match=r"told: .* a share in \[0, 1\], got 1.5"):
            ToldShare().checked_score(an_example(extra={"score": 1.5}))


class TestFeatures:
    def test_they_are_found_by_the_place_of_the_metrics_extractor(self):
        example = an_example(
            first_frame=CLIP.frames[0],
            features={"flat": {"x": 1}, "steep": {"x": 2}},
            reference_features={"flat": {"x": 3}, "steep": {"x": 4}},
            first_frame_features={"flat": {"x": 5}, "steep": {"x": 6}},
        )
        metric = Told()
        for index in (0, 1):
            found = [
                example.features_of(metric, index),
                example.reference_features_of(metric, index),
                example.first_frame_features_of(metric, index),
            ]
            assert [each["x"] for each in found] == [1 + index, 3 + index, 5 + index]
        assert example.features_of(metric) == {"x": 1}

    def test_what_the_example_lacks_is_named(self):
        with pytest.raises(ValueError, match="a: there is no reference to compare with"):
            an_example().reference_features_of(Told())
        with pytest.raises(ValueError, match="a: there is no first frame to compare with"):
            an_example().first_frame_features_of(Told())

    def test_a_bare_reference_goes_through_the_network(self, monkeypatch):
        class Means:
            def extract(self, clips, prompts):
                return [{"mean": clip.frames.mean()} for clip in clips]

        _own.cache_clear()
        monkeypatch.setattr(EXTRACTORS, "load", {"flat": Means}.__getitem__)
        try:
            dark = Clip(frames=np.zeros((2, 4, 4, 3), np.uint8), fps=8)
            example = an_example(reference=dark)
            assert example.features_of(Told())["mean"] == 7
            assert example.reference_features_of(Told())["mean"] == 0
        finally:
            _own.cache_clear()


def test_examples_are_grouped_and_sorted_whatever_their_order():
    examples = [an_example(*key) for key in (("b", 1), ("a", 10), ("b", 0), ("a", 9))]
    found = [[(each.sample_id, each.take) for each in takes] for takes in by_sample(examples)]
    assert found == [[("a", 9), ("a", 10)], [("b", 0), ("b", 1)]]
