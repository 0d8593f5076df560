"""Generation: which clips a command wants, what each is made from, and which are missing.

A run directory holds the clips of one model and seed on one suite. What a command asks for (a
limit, a number of takes, some samples) is a view on it: a clip is known by what made it
(:func:`clip_key`), so that nothing is made twice and nothing old passes for new.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from i2vbench.clip import Geometry
from i2vbench.errors import UserError, did_you_mean
from i2vbench.fingerprint import fingerprint
from i2vbench.model import Card, Model, Request, asked_options
from i2vbench.progress import Progress, SilentProgress
from i2vbench.rundir import RunDir, Take
from i2vbench.sample import Sample, Suite
from i2vbench.source_code import class_code_sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How clips are made; nothing of it changes a clip."""

    timeout_s: float | None = None
    """A clip that takes longer is a failed row; None for no limit."""
    redo: bool = False
    """Make the clips of the view anew, also those that are there."""

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not 0 < self.timeout_s < math.inf:
            raise UserError(f"--timeout-s must be a positive number, got {self.timeout_s!r}")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The clips that a command wants, in order."""

    suite: Suite
    geometry: Geometry
    num_takes: int
    """Per sample; of videos that were made elsewhere, the most that a sample has."""
    seed: int
    limit: int | None
    chosen: tuple[str, ...] | None = None
    """The samples asked for by name; None for all."""
    batches: tuple[tuple[Request, ...], ...]

    @property
    def requests(self) -> list[Request]:
        """All requests, in order."""
        return [request for batch in self.batches for request in batch]

    @property
    def samples(self) -> list[Sample]:
        """The samples asked for, in the order of the suite."""
        return list({r.sample.id: r.sample for r in self.requests}.values())

    def view(self) -> dict[str, Any]:
        """What of the suite is asked for, as ``run.json`` and ``results.json`` hold it."""
        return {
            "suite": {
                "name": self.suite.name,
                "version": self.suite.version,
                "content_sha256": self.suite.content_sha256,
                "num_samples": len(self.suite),
                "limit": self.limit,
                "samples": None if self.chosen is None else list(self.chosen),
                "num_takes": self.suite.num_takes,
            },
            "num_takes": self.num_takes,
        }


def plan_run(
    suite: Suite,
    geometry: Geometry,
    *,
    num_takes: int | Mapping[str, int] = 1,
    seed: int = 0,
    limit: int | None = None,
    batch_size: int = 1,
    samples: Sequence[str] | None = None,
) -> Plan:
    """The batches of a run: samples in suite order, all takes of a sample together.

    Args:
        suite: whose samples.
        geometry: of the clips.
        num_takes: clips per sample; a mapping from ids where samples differ in it.
        seed: of the run.
        limit: the first so many samples; None for all.
        batch_size: clips handed to the adapter together.
        samples: ids of the samples wanted; None for all.

    Raises:
        UserError: a number below 1, an unknown id, a seed of more than 64 bits, or a suite without
            samples.
    """
    if not -(2**63) <= seed < 2**63:
        raise UserError(f"--seed {seed} is out of range; accepted are whole numbers below 2^63")
    most = num_takes if isinstance(num_takes, int) else max(num_takes.values(), default=0)
    for name, value in (("num-takes", most), ("batch-size", batch_size), ("limit", limit)):
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, got {value}")
    wanted: Sequence[Sample] = suite.samples if limit is None else suite.samples[:limit]
    if not wanted:
        raise UserError(f"suite {suite.name} has no samples")
    if samples is not None:
        known = {sample.id for sample in wanted}
        for sample_id in samples:
            if sample_id not in known:
                raise UserError(
                    f"--samples: suite {suite.name} has no sample {sample_id!r} here: "
                    f"{did_you_mean(sample_id, known)}"
                )
        wanted = [sample for sample in wanted if sample.id in set(samples)]
        if not wanted:
            raise UserError("--samples names no sample")
    is_choice = samples is not None and len(wanted) < len(suite.samples[:limit])
    requests = [
        Request(sample=sample, take=take, seed=seed, geometry=geometry)
        for sample in wanted
        for take in range(num_takes if isinstance(num_takes, int) else num_takes[sample.id])
    ]
    starts = range(0, len(requests), batch_size)
    return Plan(
        suite=suite,
        geometry=geometry,
        num_takes=most,
        seed=seed,
        limit=None if limit is None or limit >= len(suite) else limit,
        chosen=tuple(sample.id for sample in wanted) if is_choice else None,
        batches=tuple(tuple(requests[start : start + batch_size]) for start in starts),
    )


def run_spec(model: Model, plan: Plan) -> dict[str, Any]:
    """What all clips of a run have in common: the model as it was asked for, geometry and seed.

    The adapter's options come from the options themselves and its code from its file, whatever the
    card says.
    """
    card = model.card
    return {
        "suite": {"name": plan.suite.name},
        "model": {
            "name": card.name,
            "version": card.version,
            "weights": card.weights,
            "options": dict(card.options),
            "asked": asked_options(model),
            "code_sha256": class_code_sha256(type(model)),
        },
        "geometry": asdict(plan.geometry),
        "seed": plan.seed,
        "dtype": model.dtype or "default",
    }


def clip_key(run_fingerprint: str, request: Request, *, reads_reference: bool = False) -> str:
    """The hash of all that makes a clip: the run's spec, take, and what the model sees of a sample.

    Args:
        run_fingerprint: of the run's spec.
        request: sample and take.
        reads_reference: whether the model is shown the real clip.

    Raises:
        UnreadableClipError: the sample's picture or real clip has to be read, and cannot.
    """
    sample = request.sample
    fields: dict[str, Any] = {
        "run": run_fingerprint,
        "id": sample.id,
        "take": request.take,
        "prompt": sample.prompt,
        "picture": picture_key(sample, request.geometry),
        "extra": dict(sample.extra),
    }
    if reads_reference:
        fields["reference"] = _reference_key(sample, request.geometry)
    return fingerprint(fields)


def picture_key(sample: Sample, geometry: Geometry) -> str:
    """What tells the sample's first frame from others; empty where it has none."""
    if sample.load_first_frame is None or sample.picture_key:
        return sample.picture_key
    picture = np.ascontiguousarray(sample.load_first_frame(geometry))
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()


def _reference_key(sample: Sample, geometry: Geometry) -> str:
    """What tells the sample's real clip from others; empty where it has none."""
    if sample.load_reference is None or sample.reference_key:
        return sample.reference_key
    return sample.load_reference(geometry).sha256


def open_run(model: Model, plan: Plan, output_dir: Path) -> RunDir:
    """The run directory ``output_dir/<suite>/<model>-<fp8>``, new or as it was left."""
    spec = run_spec(model, plan)
    name = f"{file_name(model.card.name)}-{fingerprint(spec)[:8]}"
    return RunDir.create(output_dir / file_name(plan.suite.name) / name, spec)


def file_name(name: str) -> str:
    """``name`` as a part of a path: letters, digits, '.', '_' and '-'."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".") or "unnamed"


def missing_clips(
    run: RunDir,
    plan: Plan,
    *,
    reads_reference: bool = False,
    redo: bool = False,
    names_damage: bool = True,
) -> list[tuple[tuple[Request, ...], dict[Request, str]]]:
    """The clips that the run lacks, batch by batch, each with its :func:`clip_key`.

    A clip is missing where it was never made, failed, was made from something else, or its file is
    not the one that was recorded. A picture that cannot be read has an empty key.

    Args:
        run: what is there.
        plan: what is wanted.
        reads_reference: whether the model is shown the real clip.
        redo: whether all clips count as missing.
        names_damage: whether damaged files are told of; not where it is only asked what is missing.
    """
    takes = run.takes()
    missing = []
    for batch in plan.batches:
        keys: dict[Request, str] = {}
        for request in batch:
            key = _key_or_nothing(run, request, reads_reference)
            take = takes.get((request.sample.id, request.take))
            if redo or take is None or not _is_made(take, key):
                keys[request] = key
                continue
            problem = run.check(take) if take.status == "ok" else ""
            if problem:
                keys[request] = key
                if names_damage:
                    logger.warning("%s; it is made again", problem)
        if keys:
            missing.append((tuple(keys), keys))
    return missing


def _key_or_nothing(run: RunDir, request: Request, reads_reference: bool) -> str:
    try:
        return clip_key(run.fingerprint, request, reads_reference=reads_reference)
    except (Exception, SystemExit):  # a suite's own loader; generation records why, as a row
        return ""


def _is_made(take: Take, key: str) -> bool:
    """Whether the row is of a clip that was made from all that ``key`` stands for."""
    return bool(key) and take.made_from == key and take.status != "failed"


def generate(
    model: Model,
    suite: Suite,
    output_dir: Path | str = "runs",
    *,
    num_takes: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    batch_size: int = 1,
    geometry: Geometry | None = None,
    progress: Progress | None = None,
    samples: Sequence[str] | None = None,
    options: GenerationOptions | None = None,
) -> RunDir:
    """Makes the videos of ``suite`` with ``model``, or those that an earlier call left out.

    A sample that fails is retried alone, recorded with its error, and skipped.

    Args:
        model: an adapter, e.g. from :func:`i2vbench.load_model`.
        suite: e.g. from :func:`i2vbench.load_suite`.
        output_dir: the run lies in ``output_dir/<suite>/<model>-<fingerprint>``.
        num_takes: clips per sample; None for the suite's own number.
        seed: of the run; each take's noise also depends on sample id and take.
        limit: the first so many samples; None for all.
        batch_size: clips handed to the adapter together.
        geometry: of the clips; None for the model's own.
        progress: told of each batch; None for silence.
        samples: ids of the samples wanted; None for all.
        options: a time limit, or to make clips anew.

    Returns:
        The run directory, its ``takes`` complete.

    Raises:
        UserError: the run directory is in use, or belongs to another spec.
        FailingModelError: the first clips all fail alike.
    """
    plan = plan_run(
        suite,
        geometry or model.geometry,
        num_takes=suite.num_takes if num_takes is None else num_takes,
        seed=seed,
        limit=limit,
        batch_size=batch_size,
        samples=samples,
    )
    return carry_out(model, plan, Path(output_dir), progress, options)


def carry_out(
    model: Model,
    plan: Plan,
    output_dir: Path,
    progress: Progress | None = None,
    options: GenerationOptions | None = None,
) -> RunDir:
    """Makes what the run of ``plan`` lacks; see :func:`generate`."""
    from i2vbench.executors.local import make_clips

    run = open_run(model, plan, output_dir)
    order = [sample.id for sample in plan.suite]
    with run.lock():
        # Damaged rows go at once, so that they are named only once.
        run.tidy_takes(order)
        before = _made_clips(run)
        make_clips(model, plan, run, progress or SilentProgress(), options or GenerationOptions())
        run.tidy_takes(order)
        card = model.card
        # The scores of before stay in force where view and clips are the same.
        is_scored = run.view == plan.view() and _made_clips(run) == before
        run.set_status(
            run.status if run.status == "scored" and is_scored else "generated",
            suite_source=plan.suite.source,
            view=plan.view(),
            card={"num_parameters": card.num_parameters, "notes": list(card.notes)},
        )
    return run


def _made_clips(run: RunDir) -> dict[tuple[str, int], tuple[str, str]]:
    return {key: (take.status, take.sha256) for key, take in run.takes().items()}


def takes_in_order(run: RunDir, plan: Plan) -> list[Take]:
    """The takes of the plan, in its order; one that is not recorded is a failed one."""
    recorded = run.takes()
    return [
        recorded.get((request.sample.id, request.take)) or missing_take(request)
        for request in plan.requests
    ]


def missing_take(request: Request, why: str = "the clip is missing: it was not made") -> Take:
    """The row of a take that nobody made."""
    return Take(
        id=request.sample.id, take=request.take, seed=request.seed, status="failed", error=why
    )


def shown_sample(sample: Sample, *, with_reference: bool) -> Sample:
    """The sample as a model sees it: without its category, its real clip only for a baseline."""
    return replace(
        sample,
        category="",
        extra=dict(sample.extra),
        load_reference=sample.load_reference if with_reference else None,
    )


def card_of_run(run: RunDir) -> Card:
    """The card of the model that made the run, from what the run says."""
    model = run.spec["model"]
    return Card(
        name=model["name"],
        version=model["version"],
        weights=model["weights"],
        options=model["options"],
        num_parameters=run.card.get("num_parameters", 0),
        notes=tuple(run.card.get("notes", ())),
    )
