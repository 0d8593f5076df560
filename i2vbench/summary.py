"""What the rows and states of a scoring add up to: scores with intervals, and ``results.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from i2vbench.generation import Plan
from i2vbench.metric import ClipMetric, SetMetric
from i2vbench.metric_runs import MetricRun
from i2vbench.model import Card
from i2vbench.protocol import Protocol
from i2vbench.results import CategoryScore, Results, Score
from i2vbench.rundir import RunDir
from i2vbench.statistics import bootstrap_mean_interval

NUM_RESAMPLES = 1000
"""Of every bootstrap interval; a set metric may take fewer where one costs seconds."""


def score_of(metric_run: MetricRun, plan: Plan) -> Score:
    """The score of a metric that has seen its clips, with interval, counts and categories."""
    metric = metric_run.metric
    expected = [(r.sample.id, r.take) for r in plan.requests if metric_run.wants(r)]
    rows = [metric_run.rows[key] for key in expected]
    good = [row for row in rows if not row["error"]]
    value, reason, interval = None, "", None
    if not expected:
        reason = f"no sample of the suite has {', '.join(sorted(metric.needs))}"
    elif not good:
        reason = f"no clip could be scored; the first error: {rows[0]['error']}"
    else:
        try:
            value = float(metric.compute())
        except ValueError as error:
            reason = str(error)
        else:
            interval = _interval(metric_run, good)
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
        fingerprint=metric_run.fingerprint,
        warnings=(*metric.warnings(), *filter(None, [metric_run.note])),
        by_category=_by_category(metric_run, plan, good),
    )


def _interval(metric_run: MetricRun, rows: Sequence[dict[str, Any]]) -> tuple[float, float] | None:
    if isinstance(metric_run.metric, SetMetric):
        return metric_run.metric.interval(metric_run.examples, num_resamples=NUM_RESAMPLES, seed=0)
    return _mean_interval(rows)


def _mean_interval(rows: Sequence[dict[str, Any]]) -> tuple[float, float] | None:
    # The takes of a sample are not independent: the bootstrap resamples samples.
    by_sample: dict[str, list[float]] = {}
    for row in rows:
        by_sample.setdefault(row["id"], []).append(row["value"])
    means = [sum(values) / len(values) for values in by_sample.values()]
    return bootstrap_mean_interval(means, num_resamples=NUM_RESAMPLES, seed=0)


def _by_category(
    metric_run: MetricRun, plan: Plan, rows: Sequence[dict[str, Any]]
) -> tuple[CategoryScore, ...]:
    """The means of a clip metric in each category, in the order of the suite."""
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
            value=sum(row["value"] for row in scored[category]) / len(scored[category])
            if category in scored
            else None,
            n_scored=len(scored.get(category, [])),
            n_expected=expected[category],
            ci95=_mean_interval(scored[category]) if category in scored else None,
        )
        for category in expected
        if category
    )


def results_of(
    run: RunDir, plan: Plan, card: Card, protocol: Protocol, scores: Sequence[Score]
) -> Results:
    """What ``results.json`` holds."""
    takes = run.takes()
    states = [
        takes[key].status if key in takes else "missing"
        for key in ((r.sample.id, r.take) for r in plan.requests)
    ]
    return Results(
        run=run.path.name,
        run_fingerprint=run.fingerprint,
        suite=run.spec["suite"],
        protocol=f"{protocol.name} {protocol.version}",
        model={
            "name": card.name,
            "version": card.version,
            "weights": card.weights,
            "options": dict(card.options),
            "num_parameters": card.num_parameters,
            "notes": list(card.notes),
        },
        seed=plan.seed,
        num_takes=plan.num_takes,
        counts={
            "expected": len(states),
            "ok": states.count("ok"),
            "failed": len(states) - states.count("ok") - states.count("skipped"),
            "skipped": states.count("skipped"),
        },
        scores=tuple(scores),
    )
