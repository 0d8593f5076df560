"""Metrics made ready for one run: their extractors, their fingerprints and the rows they have."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from i2vbench.errors import MissingPackageError, MissingWeightsError, UserError
from i2vbench.feature_store import chosen_arithmetic, extractor_fingerprint
from i2vbench.files import read_rows, without_checksum
from i2vbench.fingerprint import fingerprint
from i2vbench.generation import Plan
from i2vbench.metric import Example, Extractor, Metric
from i2vbench.model import Request
from i2vbench.plain_text import error_line, short_repr
from i2vbench.protocol import MetricChoice, Protocol
from i2vbench.registry import EXTRACTORS, METRICS, Registry
from i2vbench.results import Score
from i2vbench.rundir import RunDir, Take
from i2vbench.source_code import class_code_sha256
from i2vbench.video_io import require_reader

logger = logging.getLogger(__name__)

ROW_FIELDS = ("id", "take", "sha256", "inputs", "value", "error")
"""Of a clip's row: the file's hash, the hash of what else the metric reads, and the score."""


@dataclass(kw_only=True)
class MetricRun:
    """A metric at work: where its rows go and what it has seen."""

    metric: Metric
    extractors: tuple[Extractor, ...]
    """At the places of ``metric.extractors``; a protocol may have put others there."""
    choice: MetricChoice
    source: str
    """The name that it was asked for by."""
    fingerprint: str
    """Of what makes a row; the reference set is not in it (:meth:`score_fingerprint`)."""
    rows_file: Path
    rows: dict[tuple[str, int], dict[str, Any]]
    examples: list[Example]
    """Of a set metric: what its interval resamples; features stay on disk."""
    note: str = ""
    """What a reader must know of the clips that it compares with."""
    without_clip: set[tuple[str, int]] = field(default_factory=set)
    """Sample and take of rows whose clip is not there at all."""

    @property
    def label(self) -> str:
        """What the protocol calls it, else the title with the networks in brackets."""
        networks = [extractor.label for extractor in self.extractors if extractor.label]
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

    def row_inputs(self, request: Request, take: Take | None, content_sha256: str) -> str:
        """Hash of what the metric reads beside the video; empty where that is nothing.

        Args:
            request: its sample is what may be read.
            take: of the request; None where there is none.
            content_sha256: of the suite, for samples that do not say what they are made from.
        """
        sample, needs = request.sample, self.metric.needs
        made_from = "" if take is None else take.made_from
        inputs: dict[str, Any] = {}
        if "prompt" in needs or any(e.uses_prompt for e in self.extractors):
            inputs["prompt"] = sample.prompt
        if "first_frame" in needs:
            inputs["picture"] = sample.picture_key or made_from or content_sha256
        if "reference" in needs:
            inputs["reference"] = sample.reference_key or content_sha256
        for name in sorted(need.removeprefix("extra.") for need in needs if "." in need):
            inputs[f"extra.{name}"] = sample.extra.get(name)
        return fingerprint(inputs)[:16] if inputs else ""

    def score_fingerprint(self, plan: Plan, lengths: Sequence[int]) -> str:
        """sha256 of all that makes the score comparable with another run's.

        Args:
            plan: the samples, with their references.
            lengths: the distinct numbers of frames that the clips have.
        """
        if "reference" not in self.metric.needs:
            return self.fingerprint
        size = (plan.geometry.height, plan.geometry.width) if plan.suite.drawn else None
        with_reference = [s for s in plan.samples if s.load_reference is not None]
        keys = [[sample.id, sample.reference_key] for sample in with_reference]
        return fingerprint(
            {
                "rows": self.fingerprint,
                "references": keys
                if all(sample.reference_key for sample in with_reference)
                else plan.suite.content_sha256,
                "num_frames": sorted(lengths),
                "size": list(size) if size else None,
            }
        )


@dataclass(frozen=True, kw_only=True)
class MissingMetric:
    """A metric that cannot run here, and why."""

    source: str
    """The name that it was asked for by."""
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
    no_reader = _why_no_reader(protocol)
    loaded: dict[str, Extractor | str] = {}
    prepared: list[MetricRun | MissingMetric] = []
    for name in names:
        choice = protocol.choice(name)
        metric = _metric(name, choice, protocol)
        reason = metric if isinstance(metric, str) else no_reader
        found: list[Extractor | str] = []
        if isinstance(metric, Metric):
            chosen = _extractor_names(metric, choice, protocol)
            found = [_extractor(each, device, dtype, backend, loaded) for each in chosen]
            reason = reason or next((each for each in found if isinstance(each, str)), "")
        if isinstance(metric, str) or reason:
            prepared.append(
                MissingMetric(
                    source=name,
                    name=name if isinstance(metric, str) else metric.name,
                    metric=None if isinstance(metric, str) else metric,
                    label=choice.label,
                    reason=reason,
                )
            )
            logger.warning("metric %s is left out: %s", name, reason)
            continue
        extractors = tuple(each for each in found if isinstance(each, Extractor))
        metric.use(extractors)
        digest = metric_fingerprint(metric, extractors, protocol, choice)
        rows_file = run.path / "scores" / f"{metric.name}-{digest[:8]}.jsonl"
        prepared.append(
            MetricRun(
                metric=metric,
                extractors=extractors,
                choice=choice,
                source=name,
                fingerprint=digest,
                rows_file=rows_file,
                rows=read_score_rows(rows_file),
                examples=[],
                note=sampling_note if "reference" in metric.needs else "",
            )
        )
    return prepared


def _why_no_reader(protocol: Protocol) -> str:
    try:
        require_reader(protocol.reader)
    except MissingPackageError as error:
        return str(error)
    return ""


def _metric(name: str, choice: MetricChoice, protocol: Protocol) -> Metric | str:
    """The metric with the protocol's options, or why there is none."""
    if choice.unavailable:
        return choice.unavailable
    # What a user asks for by a wrong name is an error; what a protocol lists is a column.
    if name in protocol.metrics and not _exists(METRICS, name):
        return f"this version has no metric {name!r}"
    try:
        metric = METRICS.load(name)(**choice.options)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        what = (
            f"does not take the options {short_repr(dict(choice.options))}"
            if choice.options
            else "cannot be made"
        )
        raise UserError(
            f"protocol {protocol.name!r}: metric {name!r} {what}: {error_line(error)}"
        ) from error
    if not isinstance(metric, Metric):
        raise UserError(f"metric {name!r} is {short_repr(metric)}, not an i2vbench.metric.Metric")
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
            except (Exception, SystemExit) as error:
                loaded[name] = f"extractor {name!r} cannot be loaded: {error_line(error)}"
    return loaded[name]


def _exists(registry: Registry, name: str) -> bool:
    return ":" in name or any(entry.name == name for entry in registry.entries())


def metric_fingerprint(
    metric: Metric,
    extractors: Sequence[Extractor],
    protocol: Protocol,
    choice: MetricChoice | None = None,
) -> str:
    """sha256 of all that makes a clip's row: metric, networks, protocol, and a user's own code."""
    code = class_code_sha256(type(metric))
    return fingerprint(
        {
            "metric": metric.name,
            "version": metric.version,
            "spec": metric.spec(),
            "extractors": [extractor_fingerprint(extractor) for extractor in extractors],
            "protocol": protocol.spec(),
            **(choice.spec() if choice else {}),
            **({"code_sha256": code} if code else {}),
        }
    )


def metric_identity(name: str, protocol: Protocol) -> str:
    """What tells, without loading a network, whether an earlier score was computed by this code.

    Covers the versions of the metric and its extractors, the protocol's choices, and the text of a
    user's own files. A metric that this version does not have is known by its name.

    Raises:
        UserError: a name that is unknown, or a file that does not load.
    """
    choice = protocol.choice(name)
    fields: dict[str, Any] = {
        "name": name.rpartition(":")[2],
        "protocol": protocol.spec(),
        "choice": repr(choice),
    }
    metric = _metric(name, choice, protocol)
    if isinstance(metric, Metric):
        kinds = [
            EXTRACTORS.load(each)
            for each in _extractor_names(metric, choice, protocol)
            if _exists(EXTRACTORS, each)
        ]
        fields |= {
            "metric": [metric.name, metric.version, metric.spec()],
            "extractors": [[kind.name, kind.version] for kind in kinds],
            "code": [class_code_sha256(kind) for kind in (type(metric), *kinds)],
        }
    return fingerprint(fields)


def extractors_of(name: str, protocol: Protocol) -> tuple[str, ...]:
    """The extractors that a metric reads under a protocol; none where it cannot run anyway.

    Raises:
        UserError: no such metric.
    """
    choice = protocol.choice(name)
    metric = _metric(name, choice, protocol)
    return _extractor_names(metric, choice, protocol) if isinstance(metric, Metric) else ()


def read_score_rows(file: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The rows of one metric by sample and take; what is no such row counts as absent."""
    rows = {}
    damaged = []
    for stored in read_rows(file):
        row = without_checksum(stored)
        value = None if row is None else row.get("value")
        if (
            row is not None
            and set(row) == set(ROW_FIELDS)
            and all(isinstance(row[name], str) for name in ("id", "sha256", "inputs", "error"))
            and type(row["take"]) is int
            and (value is None or (isinstance(value, (int, float)) and math.isfinite(value)))
        ):
            rows[row["id"], row["take"]] = row
        else:
            damaged.append(stored)
    if damaged:
        text = "%s: %d of its rows are no rows of a score and are made again; the first: %s"
        logger.warning(text, file, len(damaged), short_repr(damaged[0]))
    return rows
