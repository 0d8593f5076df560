"""Scoring: clip -> extractors -> metrics, each clip decoded once, each extractor run once on it.

The walk goes through planned batches; the next one is decoded meanwhile. What a batch gives is on
disk before the next one's extraction begins (features per clip, one row per clip and metric), so
that a killed scoring goes on where it was. A failure is a row of the metric and the clip that it
belongs to, and of no other.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from i2vbench.clip import Clip
from i2vbench.device import check_scoring
from i2vbench.feature_store import FeatureStore, StoredFeatures, storable, writable_folder
from i2vbench.files import append_rows, replace_rows, with_checksum
from i2vbench.generation import Plan
from i2vbench.metric import ClipMetric, Example, Extractor, Features
from i2vbench.metric_runs import MetricRun, prepare_metrics
from i2vbench.model import Card, Request
from i2vbench.picture_features import PictureFeatures
from i2vbench.plain_text import error_line, one_line
from i2vbench.progress import Progress, SilentProgress
from i2vbench.protocol import Protocol, load_protocol
from i2vbench.reopen import reopen_run
from i2vbench.results import Results
from i2vbench.run_results import ScoredView, merged_scores, results_of
from i2vbench.rundir import RunDir, Take
from i2vbench.sample import Suite
from i2vbench.scored_clips import ClipRecords, Key, OpenedClip, in_suite_order, open_clip
from i2vbench.summary import score_of

logger = logging.getLogger(__name__)

_Failures = dict[tuple[str, int, str, str], str]
"""(Sample, take, extractor, "clip" or "reference") -> why the extractor made nothing of it."""


def score(
    run: RunDir | Path | str,
    *,
    suite: Suite | str | None = None,
    metrics: Sequence[str] | None = None,
    protocol: str | None = None,
    device: str = "cpu",
    dtype: str = "fp32",
    backend: str = "torch",
    progress: Progress | None = None,
) -> Results:
    """Scores a run that :func:`i2vbench.generate` made.

    Args:
        run: the run, or the path of its directory.
        suite: its suite, where that was made in Python or has moved; None to load it again.
        metrics: names; None for all of the protocol.
        protocol: a name; None for the suite's.
        device: for the extractors.
        dtype: ``fp32``, or ``bf16`` for those extractors that can: quicker, and another number, so
            that boards give it a column of its own.
        backend: ``torch``, or ``openvino`` for those extractors that can, on the CPU: the same.
        progress: told of each clip; None for silence.

    Returns:
        What ``results.json`` holds.

    Raises:
        UserError: no such run, an unknown metric or protocol, another suite, the run is in use, or
            a backend that is not here.
    """
    path = run.path if isinstance(run, RunDir) else Path(run)
    directory, plan, card = reopen_run(path, suite)
    return score_run(
        directory,
        plan,
        card,
        metrics=metrics,
        protocol=protocol,
        device=device,
        dtype=dtype,
        backend=backend,
        progress=progress,
    )


def score_run(
    run: RunDir,
    plan: Plan,
    card: Card,
    *,
    metrics: Sequence[str] | None = None,
    protocol: str | None = None,
    device: str = "cpu",
    dtype: str = "fp32",
    backend: str = "torch",
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Results:
    """Scores the takes of a run and writes ``scores/*.jsonl`` and ``results.json``.

    Scores of other metrics and protocols that ``results.json`` holds stay there as long as they are
    of the same clips and the same code.

    Args:
        run: its takes; failed ones and unreadable videos become rows with an error.
        plan: the requests that the takes answer (suite, geometry, seed).
        card: of the model.
        metrics: names; None for all of the protocol.
        protocol: a name; None for the suite's.
        device: for the extractors.
        dtype: ``fp32``, or ``bf16`` for those extractors that can: quicker, and another number, so
            that boards give it a column of its own.
        backend: ``torch``, or ``openvino`` for those extractors that can, on the CPU: the same.
        cache_dir: where features of reference clips are kept for other runs; None for the run's
            own ``features/``.
        progress: told of each clip; None for silence.

    Returns:
        What ``results.json`` holds.

    Raises:
        UserError: an unknown metric or protocol, a way to compute that is not here, or the run is
            in use.
    """
    check_scoring(backend, dtype, device)
    chosen = load_protocol(protocol or plan.suite.protocol)
    names = metrics or chosen.metrics_on(plan.suite.name)
    with run.lock():
        prepared = prepare_metrics(run, plan, chosen, names, device, dtype, backend)
        runs = [entry for entry in prepared if isinstance(entry, MetricRun)]
        # Where no metric can run, the protocol's reader may be what is missing.
        reading = chosen if runs else dataclasses.replace(chosen, reader="pyav")
        walk = _Walk(
            run=run, plan=plan, protocol=reading, runs=runs, stores=_Stores(run, cache_dir, runs)
        )
        walk.score(progress or SilentProgress())
        lengths = {g["num_frames"] for g in walk.clips.geometries(plan)}
        scores = [
            score_of(entry, plan, lengths=sorted(lengths), notes=_notes(entry, walk.clips, plan))
            if isinstance(entry, MetricRun)
            else entry.score()
            for entry in prepared
        ]
        for metric_run in runs:
            _tell_of_failures(metric_run, plan)
        view = ScoredView.of(run, plan, chosen, f"{dtype} {backend}")
        sources = [entry.source for entry in prepared]
        results = results_of(
            run, plan, card, view, merged_scores(run, view, sources, scores), walk.clips
        )
        run.write_results(results.to_json())
    return results


def _notes(metric_run: MetricRun, clips: ClipRecords, plan: Plan) -> list[str]:
    needs = metric_run.metric.needs
    return clips.reference_notes(plan) if "reference" in needs else []


def _tell_of_failures(metric_run: MetricRun, plan: Plan) -> None:
    """One line on stderr for a metric that lost clips for reasons of its own."""
    keys = [(r.sample.id, r.take) for r in plan.requests if metric_run.wants(r)]
    failed = [key for key in keys if metric_run.rows[key]["error"]]
    # A clip that is not there is told of once, not by each metric.
    own = [key for key in failed if key not in metric_run.without_clip]
    if own:
        logger.warning(
            "%s: %d of %d clips have no score; the first: %s, take %d: %s",
            metric_run.metric.name,
            len(own),
            len(keys),
            *own[0],
            metric_run.rows[own[0]]["error"],
        )


class _Stores:
    """Where the features of generated and of reference clips lie."""

    def __init__(self, run: RunDir, cache_dir: Path | None, runs: Sequence[MetricRun]) -> None:
        self.extractors: dict[str, Extractor] = {
            each.name: each for r in runs for each in r.extractors if each.stores_features
        }
        own = run.path / "features"
        shared = cache_dir or own
        if cache_dir is not None and self.extractors and not writable_folder(cache_dir):
            logger.warning(
                "the cache %s cannot be written; features of references go to %s", cache_dir, own
            )
            shared = own
        self.own = {name: FeatureStore(own, e) for name, e in self.extractors.items()}
        self.references = {name: FeatureStore(shared, e) for name, e in self.extractors.items()}

    def extract(self, examples: Sequence[Example], runs: Sequence[MetricRun]) -> _Failures:
        """Fills the stores with what is not there yet, and says what could not be made."""
        failures: _Failures = {}
        of_reference = {
            extractor.name
            for metric_run in runs
            if "reference" in metric_run.metric.needs
            for extractor in metric_run.extractors
        }
        for name, extractor in self.extractors.items():
            for example in examples:
                sides = [("clip", self.own[name], example.clip)]
                if name in of_reference and example.reference is not None:
                    sides.append(("reference", self.references[name], example.reference))
                # One clip at a time: what a clip's features are must not depend on its neighbours,
                # so that a resumed scoring gives the same bits.
                for side, store, clip in sides:
                    key = store.key(clip, example.prompt)
                    if store.has(key):
                        continue
                    try:
                        (features,) = map(storable, extractor.extract([clip], [example.prompt]))
                    except (Exception, SystemExit) as error:
                        failures[example.sample_id, example.take, name, side] = _reason(error)
                    else:
                        store.put(key, features)
        return failures

    def with_features(self, example: Example, metric_run: MetricRun) -> Example:
        """The example with what the metric's extractors made of it, read when it is asked for."""
        # The metric reads the extractor it names; a protocol may have put another in its place.
        places = [
            (place, extractor)
            for place, extractor in zip(
                metric_run.metric.extractors, metric_run.extractors, strict=True
            )
            if extractor.stores_features
        ]
        own = {
            place: (self.own[e.name], self.own[e.name].key(example.clip, example.prompt))
            for place, e in places
        }
        references = {}
        if example.reference is not None:
            for place, extractor in places:
                store = self.references[extractor.name]
                references[place] = (store, store.key(example.reference, example.prompt))
        pictures: Mapping[str, Features] = {}
        if example.first_frame is not None:
            pictures = PictureFeatures(
                example.first_frame, {p: (each, self.own[each.name]) for p, each in places}
            )
        return Example(
            sample_id=example.sample_id,
            take=example.take,
            clip=example.clip,
            prompt=example.prompt,
            first_frame=example.first_frame,
            reference=example.reference,
            extra=example.extra,
            features=StoredFeatures(own),
            reference_features=StoredFeatures(references),
            first_frame_features=pictures,
        )


class _Walk:
    """One pass over the clips of a plan for some metrics."""

    def __init__(
        self,
        *,
        run: RunDir,
        plan: Plan,
        protocol: Protocol,
        runs: Sequence[MetricRun],
        stores: _Stores,
    ) -> None:
        self.run, self.plan, self.protocol = run, plan, protocol
        self.runs, self.stores = runs, stores
        self.takes = run.takes()
        self.clips = ClipRecords.of(run)

    def score(self, progress: Progress) -> None:
        """Brings the rows of every metric up to date, and every metric's state."""
        batches = self.plan.batches
        progress.start("scoring", sum(len(batch) for batch in batches))
        try:
            # Decoding releases the interpreter, as the networks do. One batch ahead and no more:
            # that bounds memory; one thread: what a suite loads need not be thread-safe.
            with ThreadPoolExecutor(1, thread_name_prefix="decode") as worker:
                upcoming = [worker.submit(self.open_batch, first) for first in batches[:1]]
                for number, batch in enumerate(batches, start=1):
                    opened = upcoming.pop().result()
                    following = batches[number : number + 1]
                    upcoming += [worker.submit(self.open_batch, each) for each in following]
                    progress.work_on(f"{batch[0].sample.id}, take {batch[0].take}")
                    self._score_batch(opened)
                    progress.advance(len(batch))
        finally:
            progress.finish()
        self.clips.write(self.plan)
        for metric_run in self.runs:
            if metric_run.rows:
                ordered = in_suite_order(metric_run.rows.values(), self.plan)
                replace_rows(metric_run.rows_file, map(with_checksum, ordered))

    def open_batch(self, batch: Sequence[Request]) -> list[OpenedClip]:
        """The clips of a batch with what the metrics need of each."""
        opened = []
        for request in batch:
            needs = frozenset[str]().union(*(r.metric.needs for r in self.runs if r.wants(request)))
            take = self.takes.get((request.sample.id, request.take))
            opened.append(open_clip(self.run, request, take, self.protocol, needs))
        return opened

    def _score_batch(self, batch: Sequence[OpenedClip]) -> None:
        """Adds the batch to every metric; rows that an earlier scoring left stay as they are."""
        for opened in batch:
            self.clips.add(opened)
        whole = [self._for_extraction(opened) for opened in batch]
        failures = self.stores.extract([e for e in whole if e is not None], self.runs)
        for metric_run in self.runs:
            new_rows = []
            for opened in batch:
                if metric_run.wants(opened.request):
                    before = metric_run.rows.get(opened.key)
                    row = self._row(metric_run, opened, failures)
                    metric_run.rows[opened.key] = row
                    if row != before:
                        new_rows.append(row)
            if new_rows:
                append_rows(metric_run.rows_file, map(with_checksum, new_rows))

    @staticmethod
    def _for_extraction(opened: OpenedClip) -> Example | None:
        """The clip, and its reference where that could be read."""
        needs = frozenset() if opened.reference is None else frozenset({"reference"})
        example = opened.example(needs)
        return example if isinstance(example, Example) else None

    def _row(
        self, metric_run: MetricRun, opened: OpenedClip, failures: _Failures
    ) -> dict[str, Any]:
        """The clip's row in a metric, whose state has seen the clip then."""
        metric, before = metric_run.metric, metric_run.rows.get(opened.key)
        take = self.takes.get(opened.key)
        row: dict[str, Any] = {
            "id": opened.key[0],
            "take": opened.key[1],
            "sha256": opened.sha256,
            "inputs": metric_run.row_inputs(opened.request, take, self.plan.suite.content_sha256),
            "value": None,
            "error": "",
        }
        example = opened.example(metric.needs)
        if isinstance(example, str):
            if opened.clip is None:
                metric_run.without_clip.add(opened.key)
            return {**row, "error": example}
        problem = _extraction_problem(failures, opened.key, metric_run)
        if problem:
            return {**row, "error": problem}
        is_kept = (
            before is not None
            and not before["error"]
            and all(before[name] == row[name] for name in ("sha256", "inputs"))
        )
        try:
            if isinstance(metric, ClipMetric):
                if before is not None and is_kept and before["value"] is not None:
                    value = float(before["value"])
                else:
                    value = metric.checked_score(self.stores.with_features(example, metric_run))
                metric.add(value, sample_id=opened.key[0])
                return {**row, "value": value}
            featured = self.stores.with_features(example, metric_run)
            metric.update([featured])
            metric_run.examples.append(_without_pixels(featured))
        except (Exception, SystemExit) as error:
            # The row is of this metric; many errors begin with its name all the same.
            return {**row, "error": _reason(error).removeprefix(f"{metric.name}: ")}
        return row


def scored_examples(
    run: RunDir,
    plan: Plan,
    protocol: Protocol,
    metric_run: MetricRun,
    *,
    cache_dir: Path | None = None,
) -> Iterator[Example]:
    """The clips that count in a metric of a scored run, each with its features.

    Features that are no longer stored are made and stored again.

    Args:
        run: its takes and its stored features.
        plan: the requests that the takes answer.
        protocol: which frames are seen.
        metric_run: of the metric, with the rows that the scoring left.
        cache_dir: where the scoring kept the features of reference clips.
    """
    stores = _Stores(run, cache_dir, [metric_run])
    takes: dict[Key, Take] = run.takes()
    for request in plan.requests:
        key = (request.sample.id, request.take)
        row = metric_run.rows.get(key)
        if row is None or row["error"] or not metric_run.wants(request):
            continue
        opened = open_clip(run, request, takes.get(key), protocol, metric_run.metric.needs)
        example = opened.example(metric_run.metric.needs)
        if isinstance(example, Example) and not stores.extract([example], [metric_run]):
            yield stores.with_features(example, metric_run)


def _extraction_problem(failures: _Failures, key: Key, metric_run: MetricRun) -> str:
    sides = ["clip", *(["reference"] if "reference" in metric_run.metric.needs else [])]
    for extractor in metric_run.extractors:
        for side in sides:
            why = failures.get((*key, extractor.name, side))
            if why:
                return why if side == "clip" else f"the reference: {why}"
    return ""


def _reason(error: BaseException) -> str:
    """What a row says: a ValueError of a metric speaks for itself, others need their type."""
    return one_line(error) if isinstance(error, ValueError) and str(error) else error_line(error)


def _without_pixels(example: Example) -> Example:
    """The example with one pixel only: an interval reads features, memory must not grow."""
    return Example(
        sample_id=example.sample_id,
        take=example.take,
        clip=Clip(frames=example.clip.frames[:1, :1, :1].copy(), fps=example.clip.fps),
        prompt=example.prompt,
        features=example.features,
        reference_features=example.reference_features,
    )
