"""Totals of a protocol: weighted means of its normalised metrics.

A dimension x becomes (x - low) / (high - low), not clipped; a group is the mean of its dimensions
by weight, the total the plain mean of the groups (VBench-I2V's ``cal_i2v_final_score.py``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from i2vbench.fingerprint import fingerprint
from i2vbench.protocol import Totals
from i2vbench.results import Score

LEVEL = "total"


def group_means(totals: Totals, values: Mapping[str, float]) -> dict[str, float]:
    """The score of each group, 1 for the best that the normalisation foresees.

    Raises:
        KeyError: a dimension of a group has no value.
    """
    means = {}
    for title, names in totals.groups.items():
        constants = [totals.dimensions[name] for name in names]
        scores = [
            c.weight * (values[name] - c.low) / (c.high - c.low)
            for name, c in zip(names, constants, strict=True)
        ]
        means[title] = sum(scores) / sum(c.weight for c in constants)
    return means


def total_scores(totals: Totals, scores: Sequence[Score]) -> list[Score]:
    """A score for each group and ``Total``; one that lacks a dimension has a reason for its value.

    A dimension that lacks clips counts, and the total says how many of how many clips it has.
    """
    found = {score.metric: score for score in scores if score.value is not None}
    values = {name: score.value for name, score in found.items() if score.value is not None}
    columns = {**totals.groups, "Total": tuple(dict.fromkeys(sum(totals.groups.values(), ())))}
    result = []
    for title, names in columns.items():
        missing = [name for name in names if name not in values]
        value = None
        if not missing:
            parts = dataclasses.replace(
                totals, groups={t: n for t, n in totals.groups.items() if title in (t, "Total")}
            )
            means = group_means(parts, values)
            value = sum(means.values()) / len(means)
        there = [found[name] for name in names if name in found]
        result.append(
            Score(
                metric=f"{title.lower()}_score" if title != "Total" else "total",
                label=title,
                value=value,
                reason=f"needs {', '.join(missing)}" if missing else "",
                higher_is_better=True,
                level=LEVEL,
                n_scored=sum(score.n_scored for score in there),
                n_expected=sum(score.n_expected for score in there),
                fingerprint=fingerprint(
                    {
                        "total": title,
                        "constants": [
                            [name, *dataclasses.astuple(totals.dimensions[name])] for name in names
                        ],
                        "groups": {
                            t: list(n) for t, n in totals.groups.items() if set(n) <= {*names}
                        },
                        "metrics": [score.fingerprint for score in there],
                    }
                )
                if not missing
                else "",
            )
        )
    return result
