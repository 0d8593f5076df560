"""Categories of runs with several takes a sample."""

import pytest

from i2vbench.leaderboards.categories import split_by_category
from i2vbench.results import CategoryScore


@pytest.mark.parametrize(("num_takes", "num_samples"), [(1, 20), (5, 4), (0, 20)])
def test_samples_are_counted_not_clips(make_run, make_score, num_takes, num_samples):
    def category(expected):
        return (CategoryScore(category="Pet", value=0.5, n_scored=9, n_expected=expected),)

    scores = [
        make_score("clipsim", 0.3, by_category=category(20)),
        make_score("temporal_flickering", 0.9, by_category=category(10)),
    ]
    (run,) = split_by_category([make_run("alpha", scores, num_takes=num_takes)])
    assert run.suite["num_samples"] == num_samples
    assert [score.by_category for score in run.scores] == [(), ()]
    assert [(score.n_scored, score.n_expected) for score in run.scores] == [(9, 20), (9, 10)]
