"""Scores from rows: weights, intervals and categories when samples have several takes."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from i2vbench.metric import ClipMetric
from i2vbench.summary import score_of


class Plain(ClipMetric):
    name = "plain"
    version = "1"
    higher_is_better = True

    def score_clip(self, example):
        raise AssertionError("the rows say it")


class Share(Plain):
    interval_kind = "share"


def scored(metric, values, *, category=lambda sample_id: "", shuffle=None):
    """The score of rows (sample id, take, value), as a scoring leaves them."""
    rows = list(values)
    if shuffle is not None:
        random.Random(shuffle).shuffle(rows)
    for sample_id, _, value in rows:
        metric.add(value, sample_id=sample_id)
    requests = [
        SimpleNamespace(sample=SimpleNamespace(id=s, category=category(s)), take=take)
        for s, take, _ in rows
    ]
    run = SimpleNamespace(
        metric=metric,
        label="",
        score_fingerprint=lambda plan, lengths: "",
        note="",
        wants=lambda request: True,
        rows={(s, t): {"id": s, "take": t, "value": v, "error": ""} for s, t, v in rows},
    )
    plan = SimpleNamespace(requests=requests)
    return score_of(run, plan, lengths={}, notes=[])


def uneven(seed=0, num_samples=12):
    """One sample of high values has one take, the others many."""
    draw = random.Random(seed)
    for number in range(num_samples):
        for take in range(1 if number == 0 else 4):
            yield f"s{number}", take, draw.random() + 20 * (number == 0)


def test_value_and_interval_weigh_alike():
    """Weighed by clips the value would be 0.9, and the interval would not be around it."""
    score = scored(Plain(), uneven())
    low, high = score.ci95
    assert low < score.value < high
    assert score.value == pytest.approx(2.2, abs=0.15)


def test_the_order_of_rows_changes_neither_value_nor_draws():
    one, other = (scored(Plain(), uneven(), shuffle=seed) for seed in (1, 2))
    assert (one.value, one.ci95) == (other.value, other.ci95)


def test_copies_of_takes_are_no_evidence():
    once = [(f"s{n}", 0, n / 7) for n in range(7)]
    thrice = [(sample_id, take, value) for sample_id, _, value in once for take in range(3)]
    assert scored(Plain(), thrice).ci95 == pytest.approx(scored(Plain(), once).ci95)


@pytest.mark.parametrize("takes", [1, 5])
def test_a_share_of_all_or_none_is_not_certain(takes):
    rows = [(f"s{n}", take, 1.0) for n in range(24) for take in range(takes)]
    assert scored(Share(), rows).ci95 == pytest.approx((0.8620, 1.0), abs=1e-4)
    none = [(sample_id, take, 0.0) for sample_id, take, _ in rows]
    assert scored(Share(), none).ci95 == pytest.approx((0.0, 0.1380), abs=1e-4)


def test_categories_weigh_as_the_whole_does():
    rows = [("a1", 0, 1.0), ("a2", 0, 0.0), ("a2", 1, 0.0), ("b1", 0, 0.5), ("b1", 1, 1.0)]
    score = scored(Share(), rows, category=lambda sample_id: sample_id[0])
    assert {each.category: each.value for each in score.by_category} == {"a": 0.5, "b": 0.75}
    assert [(each.n_scored, each.n_expected) for each in score.by_category] == [(3, 3), (2, 2)]
    # Two samples of one half: Wilson's, not the bootstrap's [0, 1].
    assert score.by_category[0].ci95 == pytest.approx((0.0945, 0.9055), abs=1e-4)
