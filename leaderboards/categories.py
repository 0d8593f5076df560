"""Each category of a suite as a table of its own, as I2V-Bench's tables 6 to 13 are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from i2vbench.results import Results, Score


def split_by_category(results: Sequence[Results]) -> list[Results]:
    """The runs once more for each category, in the order in which categories first appear.

    They hold the clip metrics alone, with the category's mean, interval and counts: what is
    computed over the whole set (FVD, totals) has no value in a category. The suite is named
    ``suite / category``, so that no published row of the whole suite stands beside them.
    """
    categories = dict.fromkeys(
        each.category for run in results for score in run.scores for each in score.by_category
    )
    split = []
    for category in categories:
        for run in results:
            scores = tuple(
                found for score in run.scores if (found := _in_category(score, category))
            )
            if scores:
                samples = max(score.n_expected for score in scores) // max(1, run.num_takes)
                suite = {
                    **run.suite,
                    "name": f"{run.suite['name']} / {category}",
                    "num_samples": samples,
                }
                split.append(dataclasses.replace(run, suite=suite, scores=scores))
    return split


def _in_category(score: Score, category: str) -> Score | None:
    for each in score.by_category:
        if each.category == category:
            return dataclasses.replace(
                score,
                value=each.value,
                reason="" if each.value is not None else "no clip of the category was scored",
                n_scored=each.n_scored,
                n_expected=each.n_expected,
                ci95=each.ci95,
                by_category=(),
            )
    return None
