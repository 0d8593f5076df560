"""Generation: a plan of batches, made once, and the run that carries it out.

Batches are planned up front from suite, takes and batch size. A resumed run re-forms the batch that
was cut off instead of making a smaller one, since another batch size may round differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2vbench.clip import Geometry
from i2vbench.errors import UserError
from i2vbench.fingerprint import fingerprint
from i2vbench.model import Card, Model, Request
from i2vbench.progress import Progress, SilentProgress
from i2vbench.rundir import RunDir, Take
from i2vbench.sample import Sample, Suite


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will make, in order."""

    suite: Suite
    geometry: Geometry
    num_takes: int
    seed: int
    limit: int | None
    batches: tuple[tuple[Request, ...], ...]

    @property
    def requests(self) -> list[Request]:
        """All requests, in order."""
        return [request for batch in self.batches for request in batch]


def plan_run(
    suite: Suite,
    geometry: Geometry,
    *,
    num_takes: int = 1,
    seed: int = 0,
    limit: int | None = None,
    batch_size: int = 1,
) -> Plan:
    """The batches of a run: samples in suite order, all takes of a sample together.

    Raises:
        UserError: a number below 1, or a suite without samples.
    """
    for name, value in (("num-takes", num_takes), ("batch-size", batch_size), ("limit", limit)):
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, got {value}")
    samples: Sequence[Sample] = suite.samples if limit is None else suite.samples[:limit]
    if not samples:
        raise UserError(f"suite {suite.name} has no samples")
    requests = [
        Request(sample=sample, take=take, seed=seed, geometry=geometry)
        for sample in samples
        for take in range(num_takes)
    ]
    starts = range(0, len(requests), batch_size)
    return Plan(
        suite=suite,
        geometry=geometry,
        num_takes=num_takes,
        seed=seed,
        limit=None if limit is None or limit >= len(suite) else limit,
        batches=tuple(tuple(requests[start : start + batch_size]) for start in starts),
    )


def run_spec(card: Card, plan: Plan, dtype: str) -> dict[str, Any]:
    """All that changes a clip: suite, model card, geometry, seed, takes and precision."""
    geometry = plan.geometry
    return {
        "suite": {
            "name": plan.suite.name,
            "version": plan.suite.version,
            "content_sha256": plan.suite.content_sha256,
            "num_samples": len(plan.suite),
            "limit": plan.limit,
        },
        "model": {
            "name": card.name,
            "version": card.version,
            "weights": card.weights,
            "options": dict(card.options),
        },
        "geometry": {
            "num_frames": geometry.num_frames,
            "height": geometry.height,
            "width": geometry.width,
            "fps": geometry.fps,
        },
        "seed": plan.seed,
        "num_takes": plan.num_takes,
        "dtype": dtype,
    }


def open_run(model: Model, plan: Plan, output_dir: Path) -> RunDir:
    """The run directory ``output_dir/<suite>/<model>-<fp8>``, new or as it was left."""
    return open_run_of(model.describe(), plan, output_dir, dtype=model.dtype or "default")


def open_run_of(card: Card, plan: Plan, output_dir: Path, *, dtype: str) -> RunDir:
    """As :func:`open_run`, for a model of which only the card is at hand."""
    spec = run_spec(card, plan, dtype)
    name = f"{_file_name(spec['model']['name'])}-{fingerprint(spec)[:8]}"
    return RunDir.create(output_dir / _file_name(plan.suite.name) / name, spec)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".") or "unnamed"


def pending_batches(run: RunDir, plan: Plan) -> list[tuple[Request, ...]]:
    """The batches with a take that is missing or failed, or whose video is gone."""
    done = {
        key
        for key, take in run.takes().items()
        if take.status == "skipped" or (take.status == "ok" and run.resolve(take).is_file())
    }
    return [
        batch for batch in plan.batches if any((r.sample.id, r.take) not in done for r in batch)
    ]


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

    Returns:
        The run directory, its ``takes`` complete.

    Raises:
        UserError: the run directory is in use, or belongs to another spec.
    """
    plan = plan_run(
        suite,
        geometry or model.geometry,
        num_takes=suite.num_takes if num_takes is None else num_takes,
        seed=seed,
        limit=limit,
        batch_size=batch_size,
    )
    return carry_out(model, plan, Path(output_dir), progress)


def carry_out(
    model: Model, plan: Plan, output_dir: Path, progress: Progress | None = None
) -> RunDir:
    """Makes what the run of ``plan`` lacks; see :func:`generate`."""
    from i2vbench.executors.local import make_batches

    run = open_run(model, plan, output_dir)
    with run.lock():
        make_batches(model, plan, run, progress or SilentProgress())
        if run.status == "started":
            card = model.describe()
            run.set_status(
                "generated",
                suite_source=plan.suite.source,
                card={"num_parameters": card.num_parameters, "notes": list(card.notes)},
            )
    return run


def takes_in_order(run: RunDir, plan: Plan) -> list[Take]:
    """The takes of the plan that are recorded, in the plan's order."""
    recorded = run.takes()
    keys = [(request.sample.id, request.take) for request in plan.requests]
    return [recorded[key] for key in keys if key in recorded]
