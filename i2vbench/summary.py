"""What the rows and states of a scoring add up to: scores with intervals, counts, categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from i2vbench.clip import as_number
from i2vbench.generation import Plan
from i2vbench.metric import ClipMetric, Metric, SetMetric
from i2vbench.metric_runs import MetricRun
from i2vbench.plain_text import error_line, one_line
from i2vbench.results import CategoryScore, Score
from i2vbench.statistics import (
    bootstrap_mean_interval,
    mean_over_samples,
    sample_means,
    wilson_interval,
)

NUM_RESAMPLES = 1000
"""Of every bootstrap interval; a set metric may take fewer where one costs seconds."""


def score_of(
    metric_run: MetricRun, plan: Plan, *, lengths: Sequence[int], notes: Sequence[str]
) -> Score:
    """The score of a metric that has seen its clips, with interval, counts and categories.

    Args:
        metric_run: the metric with its rows.
        plan: the clips that should be in it.
        lengths: the distinct numbers of frames that the clips have.
        notes: what a reader must know of clips and references.
    """
    metric = metric_run.metric
    expected = [(r.sample.id, r.take) for r in plan.requests if metric_run.wants(r)]
    rows = [metric_run.rows[key] for key in expected]
    good = [row for row in rows if not row["error"]]
    value, reason, interval = None, "", None
    warnings: list[str] = []
    if not expected:
        reason = f"no sample of the suite has {', '.join(sorted(metric.needs))}"
    elif not good:
        reason = f"no clip could be scored; the first error: {rows[0]['error']}"
    else:
        try:
            value = as_number(metric.compute(), metric.name)
            interval = _interval(metric_run, good)
            warnings = list(metric.warnings())
        except ValueError as error:
            value, reason = None, one_line(error)
        except (Exception, SystemExit) as error:  # a user's own metric may raise anything
            value, reason = None, error_line(error)
    return Score(
        metric=metric.name,
        label=metric_run.label,
        value=value,
        reason=reason,
        higher_is_better=metric.higher_is_better,
        unit=metric.unit,
        level=metric.level,
        n_scored=len(good),
        n_expected=len(expected),
        ci95=interval,
        fingerprint=metric_run.score_fingerprint(plan, lengths),
        warnings=(*warnings, *filter(None, [metric_run.note]), *notes),
        by_category=_by_category(metric_run, plan, good),
    )


def _interval(metric_run: MetricRun, rows: Sequence[dict[str, Any]]) -> tuple[float, float] | None:
    if isinstance(metric_run.metric, SetMetric):
        return metric_run.metric.interval(metric_run.examples, num_resamples=NUM_RESAMPLES, seed=0)
    return _mean_interval(metric_run.metric, _by_sample(rows))


def _by_sample(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["id"], []).append(row["value"])
    return values


def _mean_interval(metric: Metric, values: dict[str, list[float]]) -> tuple[float, float] | None:
    """Of the mean over samples of their takes' mean; takes are no observations of their own."""
    if metric.interval_kind == "share":
        return wilson_interval(mean_over_samples(values), len(values))
    return bootstrap_mean_interval(sample_means(values), num_resamples=NUM_RESAMPLES, seed=0)


def _by_category(
    metric_run: MetricRun, plan: Plan, rows: Sequence[dict[str, Any]]
) -> tuple[CategoryScore, ...]:
    """A clip metric's means over the samples of each category, in the order of the suite."""
    if not isinstance(metric_run.metric, ClipMetric):
        return ()
    wanted = [request for request in plan.requests if metric_run.wants(request)]
    of_sample = {request.sample.id: request.sample.category for request in wanted}
    expected = Counter(of_sample[request.sample.id] for request in wanted)
    scored: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        scored.setdefault(of_sample[row["id"]], []).append(row)
    return tuple(
        CategoryScore(
            category=category,
            value=mean_over_samples(_by_sample(scored[category])) if category in scored else None,
            n_scored=len(scored.get(category, [])),
            n_expected=expected[category],
            ci95=_mean_interval(metric_run.metric, _by_sample(scored[category]))
            if category in scored
            else None,
        )
        for category in expected
        if category
    )
