"""What becomes of scores in ``results.json``: which older ones still hold, and the whole file."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from i2vbench.errors import UserError
from i2vbench.fingerprint import fingerprint
from i2vbench.generation import Plan, takes_in_order
from i2vbench.metric_runs import metric_identity
from i2vbench.model import Card
from i2vbench.protocol import Protocol, load_protocol
from i2vbench.registry import PROTOCOLS
from i2vbench.results import Results, Score, load_results
from i2vbench.rundir import RunDir
from i2vbench.scored_clips import ClipRecords
from i2vbench.source_code import code_sha256
from i2vbench.totals import LEVEL, total_scores
from i2vbench.weight_files import WEIGHT_FILES
from i2vbench.weights import locate

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ScoredView:
    """What a scoring is of: the clips with their samples, the protocol, and the arithmetic."""

    protocol: Protocol
    arithmetic: str
    """``dtype backend``, e.g. ``fp32 torch``."""
    clips_sha256: str
    """Of the clips and of all of their samples that a metric may read."""

    @classmethod
    def of(cls, run: RunDir, plan: Plan, protocol: Protocol, arithmetic: str) -> ScoredView:
        """That of a run's takes, as a plan asks for them."""
        return cls(protocol=protocol, arithmetic=arithmetic, clips_sha256=clips_sha256(run, plan))

    def holds(self, score: Score) -> bool:
        """Whether an earlier score of this protocol is what a new scoring would give."""
        return (
            score.clips_sha256 == self.clips_sha256
            and bool(score.source)
            and score.code_sha256 == _code_of(score, self.protocol)
        )


def clips_sha256(run: RunDir, plan: Plan) -> str:
    """The hash of a view: which clip, or which failure, answers which sample."""
    takes = run.takes()
    entries = []
    for request in plan.requests:
        sample = request.sample
        take = takes.get((sample.id, request.take))
        entries.append(
            [
                sample.id,
                request.take,
                *(["missing"] if take is None else [take.status, take.sha256, take.made_from]),
                sample.prompt,
                sample.picture_key,
                sample.reference_key,
                sample.category,
                dict(sample.extra),
            ]
        )
    unkeyed = any(
        (s.load_reference is not None and not s.reference_key)
        or (s.load_first_frame is not None and not s.picture_key)
        for s in plan.samples
    )
    # Samples that do not say what they are made from: the suite's own hash stands for them.
    content = plan.suite.content_sha256 if unkeyed else ""
    return fingerprint({"clips": entries, "content": content})


def unscored(run: RunDir, view: ScoredView, names: Sequence[str]) -> list[str]:
    """Those of the metrics ``names`` that ``results.json`` lacks, or holds of other clips or code.

    A metric that could not run counts as lacking once weights or packages have come.
    """
    known = {
        score.source
        for score in _earlier(run, names_damage=False)
        if score.protocol == view.protocol.title
        and score.arithmetic == view.arithmetic
        and view.holds(score)
    }
    return [name for name in names if name not in known]


def is_scored(
    run: RunDir, plan: Plan, protocol: Protocol, names: Sequence[str], arithmetic: str
) -> bool:
    """Whether the run's last view is that of the plan, and all of its scores hold.

    Args:
        run: whose ``results.json`` is looked into.
        plan: the clips that are wanted.
        protocol: by which they should be scored.
        names: of the metrics.
        arithmetic: ``dtype backend``, e.g. ``fp32 torch``.
    """
    if run.status != "scored" or run.view != plan.view():
        return False
    return not unscored(run, ScoredView.of(run, plan, protocol, arithmetic), names)


def merged_scores(
    run: RunDir, view: ScoredView, sources: Sequence[str], scores: Sequence[Score]
) -> list[Score]:
    """The new scores, and those of the file before that still hold; by protocol, in its order.

    Args:
        run: whose ``results.json`` held scores; a damaged one is named and holds none.
        view: what was scored now.
        sources: the name that each of ``scores`` was asked for by.
        scores: the new ones.
    """
    new = [
        dataclasses.replace(
            score,
            protocol=view.protocol.title,
            clips_sha256=view.clips_sha256,
            source=source,
            arithmetic=view.arithmetic,
        )
        for source, score in zip(sources, scores, strict=True)
    ]
    new = [dataclasses.replace(s, code_sha256=_code_of(s, view.protocol)) for s in new]
    kept = [old for old in _earlier(run) if not _replaced(old, new) and _still_holds(old, view)]
    own = [score for score in kept if score.protocol == view.protocol.title]
    others = [score for score in kept if score.protocol != view.protocol.title]
    order = {name: n for n, name in enumerate(view.protocol.metrics)}
    merged = sorted([*own, *new], key=lambda score: order.get(score.source, len(order)))
    return [*merged, *_totals(view, merged), *others]


def _totals(view: ScoredView, scores: Sequence[Score]) -> list[Score]:
    """The totals of the protocol, where all of its metrics were asked for at some time."""
    totals = view.protocol.totals
    here = [score for score in scores if score.arithmetic == view.arithmetic]
    asked = {score.source for score in here}
    needed = set() if totals is None else {n for names in totals.groups.values() for n in names}
    if totals is None or not needed <= asked:
        return []
    return [
        dataclasses.replace(
            score,
            protocol=view.protocol.title,
            clips_sha256=view.clips_sha256,
            arithmetic=view.arithmetic,
        )
        for score in total_scores(totals, here)
    ]


def _earlier(run: RunDir, *, names_damage: bool = True) -> Sequence[Score]:
    """The scores of ``results.json``; none where it is missing or damaged."""
    problem = run.check_results()
    if not problem and run.results_file.is_file():
        try:
            return load_results(run.path).scores
        except UserError as error:
            problem = str(error)
    if problem and names_damage:
        logger.warning("%s; it is written again", problem)
    return ()


def _replaced(old: Score, new: Sequence[Score]) -> bool:
    """Whether a new score is the same column: of one fingerprint, or asked for alike."""
    return any(
        (old.protocol, old.metric) == (score.protocol, score.metric)
        and (old.fingerprint == score.fingerprint or old.arithmetic == score.arithmetic)
        for score in new
    )


def _still_holds(score: Score, view: ScoredView) -> bool:
    if score.level == LEVEL:
        # Those of this protocol are computed again.
        return score.protocol != view.protocol.title and score.clips_sha256 == view.clips_sha256
    if score.protocol == view.protocol.title:
        return view.holds(score)
    name = score.protocol.rpartition(" ")[0]
    # A results.json is data: a file that it names is not opened.
    if any(entry.name == name for entry in PROTOCOLS.entries()):
        return dataclasses.replace(view, protocol=load_protocol(name)).holds(score)
    # Of a user's own protocol, whose file is not known here; its own scoring looks closer.
    return score.clips_sha256 == view.clips_sha256


def _code_of(score: Score, protocol: Protocol) -> str:
    """The hash of the code that a score is of, as that code is now; empty where it is gone.

    A file of a user's own is only hashed: what a run names is never executed.
    """
    path, _, _ = score.source.rpartition(":")
    if path.endswith(".py"):
        return code_sha256(Path(path)) if Path(path).is_file() else ""
    try:
        identity = metric_identity(score.source, protocol)
    except UserError:
        return ""
    return (
        identity
        if score.fingerprint
        else fingerprint({"identity": identity, "installed": _what_is_installed()})
    )


def _what_is_installed() -> list[str]:
    """The weights and packages here: a metric that could not run may run when one comes."""
    weights = [f"{name} {found.place}" for name in WEIGHT_FILES if (found := locate(name))]
    return [*weights, *sorted(each.name for each in distributions())]


def results_of(
    run: RunDir,
    plan: Plan,
    card: Card,
    view: ScoredView,
    scores: Sequence[Score],
    clips: ClipRecords,
) -> Results:
    """What ``results.json`` holds."""
    unreadable = clips.unreadable(plan)
    states = [
        "failed" if take.key in unreadable and take.status == "ok" else take.status
        for take in takes_in_order(run, plan)
    ]
    asked: Mapping[str, object] = plan.view()["suite"]
    return Results(
        run=run.path.name,
        run_fingerprint=run.fingerprint,
        suite=asked,
        protocol=view.protocol.title,
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
            "failed": states.count("failed"),
            "skipped": states.count("skipped"),
        },
        geometry=tuple(clips.geometries(plan)),
        scores=tuple(scores),
    )
