"""Totals by hand: two groups, three dimensions, one of them in both groups."""

import dataclasses

import pytest

from i2vbench.protocol import Normalisation, Totals
from i2vbench.results import Score
from i2vbench.totals import group_means, total_scores

TOTALS = Totals(
    source="by hand",
    groups={"Quality": ("a", "b"), "Motion": ("b", "c")},
    dimensions={
        "a": Normalisation(low=0.0, high=2.0, weight=1.0),
        "b": Normalisation(low=1.0, high=5.0, weight=3.0),
        "c": Normalisation(low=-1.0, high=1.0, weight=0.5),
    },
)


def scores(**values):
    return [
        Score(
            metric=name,
            label=name,
            value=value,
            higher_is_better=True,
            level="clip",
            n_scored=5 + place,
            n_expected=10 + place,
            fingerprint=f"of {name}",
        )
        for place, (name, value) in enumerate(values.items())
    ]


PINNED = "bf09fd9c8ee8e357c9e27bc1fc694a75ec1cd19bb10301ded51d6ea986b09d5d"


def test_groups_are_weighted_and_the_total_is_not():
    # a: 1/2; b: (2 - 1) / 4 = 1/4; c: (2 + 1) / 2 = 3/2, which nothing clips.
    values = {"a": 1.0, "b": 2.0, "c": 2.0}
    quality, motion = (0.5 + 3 * 0.25) / 4, (3 * 0.25 + 0.5 * 1.5) / 3.5
    assert group_means(TOTALS, values) == pytest.approx({"Quality": quality, "Motion": motion})
    made = total_scores(TOTALS, scores(**values))
    assert [(score.metric, score.label) for score in made] == [
        ("quality_score", "Quality"),
        ("motion_score", "Motion"),
        ("total", "Total"),
    ]
    assert [score.value for score in made] == pytest.approx(
        [quality, motion, (quality + motion) / 2]
    )
    for score in made:
        assert (score.level, score.higher_is_better, score.reason) == ("total", True, "")
    # Of each metric once, though b is in both groups.
    assert [(score.n_scored, score.n_expected) for score in made] == [
        (5 + 6, 10 + 11),
        (6 + 7, 11 + 12),
        (5 + 6 + 7, 10 + 11 + 12),
    ]


@pytest.mark.parametrize("absent", ["gone", "without a value"])
def test_what_lacks_a_dimension_says_which(absent):
    given = scores(a=1.0, b=2.0, c=None)[: 2 if absent == "gone" else 3]
    quality, motion, total = total_scores(TOTALS, given)
    assert quality.value == pytest.approx(0.3125)
    assert (motion.value, motion.reason, motion.fingerprint) == (None, "needs c", "")
    assert (total.value, total.reason, total.fingerprint) == (None, "needs c", "")
    assert (motion.n_scored, motion.n_expected) == (6, 11)
    nothing = total_scores(TOTALS, [])
    assert [score.reason for score in nothing] == ["needs a, b", "needs b, c", "needs a, b, c"]


def test_a_fingerprint_follows_from_its_own_metrics_and_constants():
    def prints(totals=TOTALS, **changes):
        given = [dataclasses.replace(s, **changes.get(s.metric, {})) for s in all_scores]
        return [score.fingerprint for score in total_scores(totals, given)]

    all_scores = scores(a=1.0, b=2.0, c=2.0)
    before = prints()
    assert len(set(before)) == 3
    # Boards compare across versions of this package: it must not move by accident.
    assert before[0] == PINNED
    assert prints(a={"value": 1.5, "n_scored": 1}) == before

    def changed(after):
        return [old != new for old, new in zip(before, after, strict=True)]

    assert changed(prints(a={"fingerprint": "other"})) == [True, False, True]
    assert changed(prints(c={"fingerprint": "other"})) == [False, True, True]
    other = {**TOTALS.dimensions, "a": Normalisation(low=0.0, high=2.0, weight=2.0)}
    assert changed(prints(dataclasses.replace(TOTALS, dimensions=other))) == [True, False, True]
