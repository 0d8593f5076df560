"""Metrics made ready for one run: their extractors, their fingerprints and the rows they have."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2vbench.errors import MissingPackageError, MissingWeightsError, UserError
from i2vbench.feature_store import chosen_arithmetic, extractor_fingerprint
from i2vbench.files import read_rows
from i2vbench.fingerprint import fingerprint
from i2vbench.generation import Plan
from i2vbench.metric import Example, Extractor, Metric
from i2vbench.model import Request
from i2vbench.protocol import MetricChoice, Protocol
from i2vbench.registry import EXTRACTORS, METRICS, Registry
from i2vbench.results import Score
from i2vbench.rundir import RunDir

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class MetricRun:
    """A metric at work: where its rows go and what it has seen."""

    metric: Metric
    extractors: tuple[Extractor, ...]
    """At the places of ``metric.extractors``; a protocol may have put others there."""
    choice: MetricChoice
    fingerprint: str
    rows_file: Path
    rows: dict[tuple[str, int], dict[str, Any]]
    examples: list[Example]
    """Of a set metric: what its interval resamples; features stay on disk."""
    note: str = ""
    """What a reader must know of the clips that it compares with."""

    @property
    def label(self) -> str:
        """What the protocol calls it, else the title with the networks in brackets."""
        networks = [extractor.label for extractor in self.extractors]
        # A protocol's label is that of the published number; another arithmetic is another one.
        reduced = sorted({word for e in self.extractors for word in chosen_arithmetic(e).values()})
        title = self.choice.label or self.metric.title or self.metric.name
        brackets = ", ".join(reduced if self.choice.label else networks + reduced)
        return f"{title}({brackets})" if brackets else title

    def wants(self, request: Request) -> bool:
        """Whether the request's sample has what the metric needs, and counts in the protocol."""
        sample = request.sample
        dimensions = sample.extra.get("dimensions")
        listed = dimensions is None or self.choice.dimension in str(dimensions).split()
        if self.choice.dimension and not listed:
            return False
        has = {
            "prompt": bool(sample.prompt),
            "first_frame": sample.load_first_frame is not None,
            "reference": sample.load_reference is not None,
        }
        has |= {f"extra.{name}": value != "" for name, value in sample.extra.items()}
        return all(has.get(need, False) for need in self.metric.needs)


@dataclass(frozen=True, kw_only=True)
class MissingMetric:
    """A metric that cannot run here, and why."""

    name: str
    metric: Metric | None
    """None where this version does not have it."""
    label: str
    reason: str

    def score(self) -> Score:
        """The empty column, without a fingerprint since nothing ran."""
        metric = self.metric
        return Score(
            metric=self.name,
            label=self.label or (metric.title if metric else "") or self.name,
            value=None,
            reason=self.reason,
            higher_is_better=metric.higher_is_better if metric else None,
            unit=metric.unit if metric else "",
            level=metric.level if metric else "clip",
            n_scored=0,
            n_expected=0,
            fingerprint="",
        )


def prepare_metrics(
    run: RunDir,
    plan: Plan,
    protocol: Protocol,
    names: Sequence[str],
    device: str,
    dtype: str = "fp32",
    backend: str = "torch",
) -> list[MetricRun | MissingMetric]:
    """The metrics at work, in the order of ``names``; those that cannot run only named."""
    sampling_note = protocol.sampling_note(plan.suite, plan.geometry)
    loaded: dict[str, Extractor | str] = {}
    prepared: list[MetricRun | MissingMetric] = []
    for name in names:
        choice = protocol.choice(name)
        metric = _metric(name, choice, protocol)
        reason = metric if isinstance(metric, str) else ""
        found: list[Extractor | str] = []
        if isinstance(metric, Metric):
            chosen = _extractor_names(metric, choice, protocol)
            found = [_extractor(each, device, dtype, backend, loaded) for each in chosen]
            reason = next((each for each in found if isinstance(each, str)), "")
        if isinstance(metric, str) or reason:
            prepared.append(
                MissingMetric(
                    name=name if isinstance(metric, str) else metric.name,
                    metric=None if isinstance(metric, str) else metric,
                    label=choice.label,
                    reason=reason,
                )
            )
            logger.warning("metric %s is left out: %s", name, reason)
            continue
        extractors = tuple(each for each in found if isinstance(each, Extractor))
        digest = metric_fingerprint(metric, extractors, protocol, plan, choice)
        rows_file = run.path / "scores" / f"{metric.name}-{digest[:8]}.jsonl"
        prepared.append(
            MetricRun(
                metric=metric,
                extractors=extractors,
                choice=choice,
                fingerprint=digest,
                rows_file=rows_file,
                rows={(row["id"], row["take"]): row for row in read_rows(rows_file)},
                examples=[],
                note=sampling_note if "reference" in metric.needs else "",
            )
        )
    return prepared


def _metric(name: str, choice: MetricChoice, protocol: Protocol) -> Metric | str:
    """The metric with the protocol's options, or why there is none."""
    if choice.unavailable:
        return choice.unavailable
    # What a user asks for by a wrong name is an error; what a protocol lists is a column.
    if name in protocol.metrics and not _exists(METRICS, name):
        return f"this version has no metric {name!r}"
    try:
        metric: Metric = METRICS.load(name)(**choice.options)
    except (TypeError, ValueError) as error:
        if not choice.options:
            raise
        raise UserError(
            f"protocol {protocol.name!r}: metric {name!r} does not take the options "
            f"{dict(choice.options)}: {error}"
        ) from error
    return metric


def _extractor_names(metric: Metric, choice: MetricChoice, protocol: Protocol) -> tuple[str, ...]:
    if not choice.extractors:
        return metric.extractors
    if len(choice.extractors) != len(metric.extractors):
        raise UserError(
            f"protocol {protocol.name!r} gives metric {metric.name!r} the extractors "
            f"{', '.join(choice.extractors)}; it reads {len(metric.extractors)}: "
            f"{', '.join(metric.extractors) or 'none'}"
        )
    return choice.extractors


def _extractor(
    name: str, device: str, dtype: str, backend: str, loaded: dict[str, Extractor | str]
) -> Extractor | str:
    """The extractor, loaded once, or why it is not here."""
    if name not in loaded:
        if not _exists(EXTRACTORS, name):
            loaded[name] = f"this version has no extractor {name!r}"
        else:
            try:
                kind = EXTRACTORS.load(name)
                options: dict[str, str] = {}
                # Defaults are not passed on: an extractor need not know that there is a choice.
                for word, wanted, accepted in (
                    ("dtype", dtype, kind.dtypes),
                    ("backend", backend, kind.backends),
                ):
                    if wanted in accepted:
                        options |= {} if wanted == accepted[0] else {word: wanted}
                    else:
                        logger.warning(
                            "extractor %s has no %s and stays in %s", name, wanted, accepted[0]
                        )
                loaded[name] = kind(device=device, **options)
            except (MissingPackageError, MissingWeightsError) as error:
                loaded[name] = str(error)
    return loaded[name]


def _exists(registry: Registry, name: str) -> bool:
    return ":" in name or any(entry.name == name for entry in registry.entries())


def metric_fingerprint(
    metric: Metric,
    extractors: Sequence[Extractor],
    protocol: Protocol,
    plan: Plan,
    choice: MetricChoice | None = None,
) -> str:
    """sha256 of all that makes a metric's number comparable with another run's."""
    fields: dict[str, Any] = {
        "metric": metric.name,
        "version": metric.version,
        "spec": metric.spec(),
        "extractors": [extractor_fingerprint(extractor) for extractor in extractors],
        "protocol": protocol.spec(),
        **(choice.spec() if choice else {}),
    }
    if "reference" in metric.needs:
        size = (plan.geometry.height, plan.geometry.width) if plan.suite.drawn else None
        fields["reference_set"] = {
            "content_sha256": plan.suite.content_sha256,
            "num_frames": plan.geometry.num_frames,
            "size": list(size) if size else None,
        }
    return fingerprint(fields)
