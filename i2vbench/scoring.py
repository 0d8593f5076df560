"""Scoring: clip -> extractors -> metrics, each clip decoded once, each extractor run once on it.

The walk goes through planned batches; the next one is decoded meanwhile. What a batch gives is on
disk before the next one's extraction begins (features per clip, one row per clip and metric), so
that a killed scoring goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from i2vbench.clip import Clip
from i2vbench.device import check_scoring
from i2vbench.errors import UnreadableClipError
from i2vbench.feature_store import FeatureStore, StoredFeatures
from i2vbench.files import append_rows, file_sha256, write_atomic
from i2vbench.fingerprint import fingerprint
from i2vbench.generation import Plan
from i2vbench.metric import ClipMetric, Example, Extractor, Features
from i2vbench.metric_runs import MetricRun, prepare_metrics
from i2vbench.model import Card, Request
from i2vbench.picture_features import PictureFeatures
from i2vbench.progress import Progress, SilentProgress
from i2vbench.protocol import Protocol, load_protocol
from i2vbench.reopen import reopen_run
from i2vbench.results import Results
from i2vbench.rundir import RunDir, Take
from i2vbench.sample import Suite
from i2vbench.summary import results_of, score_of
from i2vbench.totals import total_scores
from i2vbench.video_io import read_video

_Opened = dict[tuple[str, int], Example | str]
"""(Sample, take) -> the clip ready for the extractors, or why there is none."""


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
        stores = _Stores(run, cache_dir, {e.name: e for r in runs for e in r.extractors})
        _walk(run, plan, chosen, runs, stores, progress or SilentProgress())
        scores = [
            score_of(entry, plan) if isinstance(entry, MetricRun) else entry.score()
            for entry in prepared
        ]
        if chosen.totals and not metrics:
            scores += total_scores(chosen.totals, scores)
        results = results_of(run, plan, card, chosen, scores)
        write_atomic(run.results_file, results.to_json())
        run.set_status("scored", score_key=score_key(chosen, metrics, dtype, backend))
    return results


def score_key(
    protocol: Protocol,
    metrics: Sequence[str] | None,
    dtype: str = "fp32",
    backend: str = "torch",
) -> str:
    """What was asked for and by which code: equal keys need no second scoring.

    Cheap on purpose (no network is loaded): a hash of the request and of the metrics' sources.
    """
    spec = find_spec("i2vbench.metrics")
    folder = Path(next(iter(spec.submodule_search_locations or ()))) if spec else None
    sources = sorted(f for f in folder.rglob("*") if f.suffix in (".py", ".yaml")) if folder else []
    return fingerprint(
        {
            # A file of one's own may change without its version.
            "protocol": repr(protocol),
            "metrics": list(metrics or protocol.metrics),
            "dtype": dtype,
            "backend": backend,
            "sources": [file_sha256(source) for source in sources],
        }
    )


class _Stores:
    """Where the features of generated and of reference clips lie."""

    def __init__(
        self, run: RunDir, cache_dir: Path | None, extractors: dict[str, Extractor]
    ) -> None:
        self.extractors = extractors
        own = run.path / "features"
        self.own = {name: FeatureStore(own, e) for name, e in extractors.items()}
        self.references = {
            name: FeatureStore(cache_dir or own, e) for name, e in extractors.items()
        }


def _walk(
    run: RunDir,
    plan: Plan,
    protocol: Protocol,
    runs: Sequence[MetricRun],
    stores: _Stores,
    progress: Progress,
) -> None:
    takes, batches = run.takes(), plan.batches
    total = sum(len(batch) for batch in batches)
    progress.start("scoring", total)

    def open_batch(batch: Sequence[Request]) -> _Opened:
        keys = [(request.sample.id, request.take) for request in batch]
        return {
            key: _open_example(run, request, takes.get(key), protocol, runs)
            for key, request in zip(keys, batch, strict=True)
        }

    try:
        # Decoding releases the interpreter, as the networks do. One batch ahead and no more: that
        # bounds memory; one thread: what a suite loads need not be thread-safe.
        with ThreadPoolExecutor(1, thread_name_prefix="decode") as worker:
            upcoming = [worker.submit(open_batch, first) for first in batches[:1]]
            for number, batch in enumerate(batches, start=1):
                opened = upcoming.pop().result()
                upcoming += [worker.submit(open_batch, b) for b in batches[number : number + 1]]
                _score_batch(batch, opened, takes, runs, stores)
                progress.advance(len(batch))
    finally:
        progress.finish()


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
    stores = _Stores(run, cache_dir, {e.name: e for e in metric_run.extractors})
    takes = run.takes()
    for request in plan.requests:
        key = (request.sample.id, request.take)
        row = metric_run.rows.get(key)
        if row is None or row["error"] or not metric_run.wants(request):
            continue
        example = _open_example(run, request, takes.get(key), protocol, [metric_run])
        if isinstance(example, Example):
            _extract([example], [metric_run], stores)
            yield _with_features(example, metric_run, stores)


def _score_batch(
    batch: Sequence[Request],
    opened: _Opened,
    takes: dict[tuple[str, int], Take],
    runs: Sequence[MetricRun],
    stores: _Stores,
) -> None:
    """Adds the batch to every metric; rows that an earlier scoring left are taken as they are."""
    readable = [example for example in opened.values() if isinstance(example, Example)]
    failures = _extract(readable, runs, stores)
    for metric_run in runs:
        new_rows = []
        for request in batch:
            key = (request.sample.id, request.take)
            if not metric_run.wants(request):
                continue
            example = opened[key]
            problem = example if isinstance(example, str) else _problem(failures, key, metric_run)
            sha256 = takes[key].sha256 if key in takes else ""
            row = metric_run.rows.get(key)
            fresh = row
            if fresh is None or fresh["error"] or problem or fresh["sha256"] != sha256:
                fresh = _row(metric_run, key, sha256, example, problem, stores)
            fresh = _take_in(metric_run, fresh, example, stores)
            if fresh != row:
                new_rows.append(fresh)
            metric_run.rows[key] = fresh
        if new_rows:
            append_rows(metric_run.rows_file, new_rows)


def _open_example(
    run: RunDir,
    request: Request,
    take: Take | None,
    protocol: Protocol,
    runs: Sequence[MetricRun],
) -> Example | str:
    """The clip with its pictures, or one line that says why there is none."""
    if take is None:
        return "not generated"
    if take.status != "ok":
        return f"{take.status}: {take.error}"
    needs = frozenset[str]().union(*(r.metric.needs for r in runs if r.wants(request)))
    try:
        clip = _first_frames(read_video(run.resolve(take)), protocol.num_frames)
        first_frame = request.first_frame if "first_frame" in needs else None
        reference = None
        load = request.sample.load_reference
        if "reference" in needs and load is not None:
            reference = _first_frames(load(request.geometry), clip.geometry.num_frames)
            if reference.geometry.num_frames < clip.geometry.num_frames:
                return (
                    f"the reference has {reference.geometry.num_frames} frames, "
                    f"the clip {clip.geometry.num_frames}"
                )
    except (UnreadableClipError, OSError) as error:
        return str(error)
    return Example(
        sample_id=request.sample.id,
        take=request.take,
        clip=clip,
        prompt=request.prompt,
        first_frame=first_frame,
        reference=reference,
        extra=request.sample.extra,
    )


def _first_frames(clip: Clip, num_frames: int | None) -> Clip:
    if num_frames is None or len(clip.frames) <= num_frames:
        return clip
    return Clip(frames=clip.frames[:num_frames], fps=clip.fps)


def _problem(
    failures: dict[tuple[str, int, str], str], key: tuple[str, int], metric_run: MetricRun
) -> str:
    for extractor in metric_run.extractors:
        if (*key, extractor.name) in failures:
            return failures[(*key, extractor.name)]
    return ""


def _extract(
    examples: Sequence[Example], runs: Sequence[MetricRun], stores: _Stores
) -> dict[tuple[str, int, str], str]:
    """Fills the stores with what is not there yet; (id, take, extractor) -> why one could not."""
    failures: dict[tuple[str, int, str], str] = {}
    of_reference = {
        extractor.name
        for metric_run in runs
        if "reference" in metric_run.metric.needs
        for extractor in metric_run.extractors
    }
    for name, extractor in stores.extractors.items():
        work: dict[str, tuple[FeatureStore, Clip, str, Example]] = {}
        for example in examples:
            sides = [(stores.own[name], example.clip)]
            if name in of_reference and example.reference is not None:
                sides.append((stores.references[name], example.reference))
            for store, clip in sides:
                key = store.key(clip, example.prompt)
                if not store.has(key):
                    work[f"{id(store)}/{key}"] = (store, clip, example.prompt, example)
        # One clip at a time: what a clip's features are must not depend on its neighbours, so that
        # a resumed scoring gives the same bits.
        for store, clip, prompt, example in work.values():
            try:
                (features,) = extractor.extract([clip], [prompt])
            except ValueError as error:
                failures[(example.sample_id, example.take, name)] = str(error)
            else:
                store.put(store.key(clip, prompt), features)
    return failures


def _row(
    metric_run: MetricRun,
    key: tuple[str, int],
    sha256: str,
    example: Example | str,
    problem: str,
    stores: _Stores,
) -> dict[str, Any]:
    value: float | None = None
    if isinstance(example, Example) and not problem and isinstance(metric_run.metric, ClipMetric):
        try:
            value = metric_run.metric.score_clip(_with_features(example, metric_run, stores))
        except ValueError as error:
            problem = str(error)
    return {"id": key[0], "take": key[1], "sha256": sha256, "value": value, "error": problem}


def _take_in(
    metric_run: MetricRun, row: dict[str, Any], example: Example | str, stores: _Stores
) -> dict[str, Any]:
    """Adds the clip to the metric's state; the row, with the reason where a set metric refuses."""
    metric = metric_run.metric
    if isinstance(metric, ClipMetric):
        if row["value"] is not None:
            metric.add(row["value"])
    elif isinstance(example, Example) and not row["error"]:
        featured = _with_features(example, metric_run, stores)
        try:
            metric.update([featured])
        except ValueError as error:
            return {**row, "error": str(error)}
        metric_run.examples.append(_without_pixels(featured))
    return row


def _with_features(example: Example, metric_run: MetricRun, stores: _Stores) -> Example:
    # The metric reads the extractor it names; a protocol may have put another in its place.
    names = [
        (place, extractor.name)
        for place, extractor in zip(
            metric_run.metric.extractors, metric_run.extractors, strict=True
        )
    ]
    own = {p: (stores.own[n], stores.own[n].key(example.clip, example.prompt)) for p, n in names}
    references = {}
    if example.reference is not None and "reference" in metric_run.metric.needs:
        for place, name in names:
            store = stores.references[name]
            references[place] = (store, store.key(example.reference, example.prompt))
    pictures: Mapping[str, Features] = {}
    if example.first_frame is not None:
        extractors = zip(metric_run.metric.extractors, metric_run.extractors, strict=True)
        pictures = PictureFeatures(
            example.first_frame, {p: (each, stores.own[each.name]) for p, each in extractors}
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


def _without_pixels(example: Example) -> Example:
    """The example with its first frame alone: an interval reads features, memory must not grow."""
    return Example(
        sample_id=example.sample_id,
        take=example.take,
        clip=Clip(frames=example.clip.frames[:1, :1, :1].copy(), fps=example.clip.fps),
        prompt=example.prompt,
        features=example.features,
        reference_features=example.reference_features,
    )
