"""The columns of a table, and the score that a run has in each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from i2vbench.results import Results, Score

from .comparability import ColumnKey, column_key, column_suffixes
from .cost import COST_LEVEL, NOT_PROFILED
from .formatting import clean, decimals_for, finite
from .table import Column


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a run has in a column."""

    score: Score | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""
    """Why ``value`` is None."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of one run by column, and those that never came to a fingerprint."""

    by_column: dict[ColumnKey, Score]
    missing: dict[str, Score]
    """Metric -> the entry that says why it could not run (no weights, say)."""

    def find(self, column: Column) -> Scored:
        """The score in ``column``, or why there is none."""
        key = column.key
        score = self.by_column.get(key) or self.missing.get(key.metric)
        if score is None:
            if column.is_cost and not any(k.metric == key.metric for k in self.by_column):
                return Scored(reason=NOT_PROFILED)
            others = [
                clean(other.label) for k, other in self.by_column.items() if k.metric == key.metric
            ]
            if others:
                return Scored(reason=f"scored as {others[0]} instead")
            return Scored(reason="this run was not scored with it")
        value = finite(score.value)
        if value is None:
            unsaid = "no reason was given" if score.value is None else "the value is not finite"
            return Scored(score=score, reason=clean(score.reason) or unsaid)
        low, high = score.ci95 or (math.nan, math.nan)
        interval = (low, high) if math.isfinite(low) and math.isfinite(high) else None
        return Scored(score=score, value=value, interval=interval)


def never_ran(score: Score) -> bool:
    """Whether the metric could not even start, so that it has no fingerprint."""
    return score.value is None and not score.fingerprint


def read_scores(run: Results) -> Scores:
    """The run's scores by column."""
    return Scores(
        by_column={column_key(run, s): s for s in run.scores if not never_ran(s)},
        missing={clean(s.metric): s for s in run.scores if never_ran(s)},
    )


def make_columns(runs: Sequence[Results]) -> list[Column]:
    """The columns of a table, in the order of the run with the most metrics.

    A metric with several fingerprints has a column for each, the most common one first. What a
    model costs stands behind what it scores.
    """
    ordered = sorted(runs, key=lambda run: -len(run.scores))
    scores_ = [score for run in ordered for score in run.scores]
    scores_.sort(key=lambda score: score.level == COST_LEVEL)
    metrics = dict.fromkeys(clean(score.metric) for score in scores_)
    variants = [variant for metric in metrics for variant in _variants(metric, ordered)]
    keys = [key for key, _ in variants]
    labels = [clean(scores[0].label) for _, scores in variants]
    slugs = [key.metric for key in keys]
    return [
        Column(
            key=key,
            slug=f"{slug}{slug_suffix}",
            written_label=label,
            suffix=label_suffix,
            unit=clean(scores[0].unit),
            level=scores[0].level,
            decimals=decimals_for(
                [value for score in scores if (value := finite(score.value)) is not None],
                scores[0].unit,
            ),
        )
        for (key, scores), slug, slug_suffix, label, label_suffix in zip(
            variants, slugs, _suffixes(slugs, keys), labels, _suffixes(labels, keys), strict=True
        )
    ]


def _variants(metric: str, runs: Sequence[Results]) -> list[tuple[ColumnKey, list[Score]]]:
    """The metric's columns with their scores; one empty column where it ran nowhere."""
    found: dict[ColumnKey, list[Score]] = {}
    never: list[tuple[ColumnKey, Score]] = []
    for run in runs:
        for score in run.scores:
            if clean(score.metric) == metric:
                if never_ran(score):
                    never.append((column_key(run, score), score))
                else:
                    found.setdefault(column_key(run, score), []).append(score)
    if not found:
        return [(never[0][0], [never[0][1]])]
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _suffixes(names: Sequence[str], keys: Sequence[ColumnKey]) -> list[str]:
    """What to append to each name so that all are different; empty where they are."""
    result = [""] * len(names)
    for name, count in Counter(names).items():
        if count > 1:
            places = [place for place, other in enumerate(names) if other == name]
            suffixes = column_suffixes([keys[place] for place in places])
            for number, (place, suffix) in enumerate(zip(places, suffixes, strict=True), start=1):
                unique = suffix and suffixes.count(suffix) == 1
                result[place] = f" · {suffix}" if unique else f" · {suffix}#{number}"
    return result
