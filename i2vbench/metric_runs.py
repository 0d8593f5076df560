"""Metrics made ready for one run: their extractors, their fingerprints and the rows they have."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2vbench.errors import MissingWeightsError
from i2vbench.feature_store import extractor_fingerprint
from i2vbench.files import read_rows
from i2vbench.fingerprint import fingerprint
from i2vbench.generation import Plan
from i2vbench.metric import Example, Extractor, Metric
from i2vbench.model import Request
from i2vbench.protocol import Protocol
from i2vbench.registry import EXTRACTORS, METRICS
from i2vbench.rundir import RunDir

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class MetricRun:
    """A metric at work: where its rows go and what it has seen."""

    metric: Metric
    extractors: tuple[Extractor, ...]
    fingerprint: str
    rows_file: Path
    rows: dict[tuple[str, int], dict[str, Any]]
    examples: list[Example]
    """Of a set metric: what its interval resamples; features stay on disk."""

    @property
    def label(self) -> str:
        """The title with the networks in brackets."""
        title = self.metric.title or self.metric.name
        networks = ", ".join(extractor.label for extractor in self.extractors)
        return f"{title}({networks})" if networks else title

    def wants(self, request: Request) -> bool:
        """Whether the request's sample has what the metric needs."""
        sample = request.sample
        has = {
            "prompt": bool(sample.prompt),
            "first_frame": sample.load_first_frame is not None,
            "reference": sample.load_reference is not None,
        }
        return all(has[need] for need in self.metric.needs)


@dataclass(frozen=True, kw_only=True)
class MissingMetric:
    """A metric that cannot run here, and why."""

    metric: Metric
    reason: str


def prepare_metrics(
    run: RunDir, plan: Plan, protocol: Protocol, names: Sequence[str], device: str
) -> list[MetricRun | MissingMetric]:
    """The metrics at work, in the order of ``names``; those without weights only named."""
    loaded: dict[str, Extractor | MissingWeightsError] = {}
    prepared: list[MetricRun | MissingMetric] = []
    for name in names:
        metric: Metric = METRICS.load(name)()
        for extractor_name in metric.extractors:
            if extractor_name not in loaded:
                try:
                    loaded[extractor_name] = EXTRACTORS.load(extractor_name)(device=device)
                except MissingWeightsError as error:
                    loaded[extractor_name] = error
        found = [loaded[extractor_name] for extractor_name in metric.extractors]
        problems = [str(e) for e in found if isinstance(e, MissingWeightsError)]
        if problems:
            prepared.append(MissingMetric(metric=metric, reason=problems[0]))
            logger.warning("metric %s is left out: %s", metric.name, problems[0])
            continue
        extractors = tuple(e for e in found if isinstance(e, Extractor))
        digest = metric_fingerprint(metric, extractors, protocol, plan)
        rows_file = run.path / "scores" / f"{metric.name}-{digest[:8]}.jsonl"
        prepared.append(
            MetricRun(
                metric=metric,
                extractors=extractors,
                fingerprint=digest,
                rows_file=rows_file,
                rows={(row["id"], row["take"]): row for row in read_rows(rows_file)},
                examples=[],
            )
        )
    return prepared


def metric_fingerprint(
    metric: Metric, extractors: Sequence[Extractor], protocol: Protocol, plan: Plan
) -> str:
    """sha256 of all that makes a metric's number comparable with another run's."""
    fields: dict[str, Any] = {
        "metric": metric.name,
        "version": metric.version,
        "spec": metric.spec(),
        "extractors": [extractor_fingerprint(extractor) for extractor in extractors],
        "protocol": protocol.spec(),
    }
    if "reference" in metric.needs:
        size = (plan.geometry.height, plan.geometry.width) if plan.suite.drawn else None
        fields["reference_set"] = {
            "content_sha256": plan.suite.content_sha256,
            "num_frames": plan.geometry.num_frames,
            "size": list(size) if size else None,
        }
    return fingerprint(fields)
