"""The executor of one process: planned batches, one after the other."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2vbench.clip import Clip
from i2vbench.errors import UnreadableClipError, UserError
from i2vbench.files import file_sha256
from i2vbench.generation import Plan, pending_batches
from i2vbench.model import Model, Request
from i2vbench.progress import Progress
from i2vbench.rundir import RunDir, Take
from i2vbench.video_io import write_video

logger = logging.getLogger(__name__)


def make_batches(model: Model, plan: Plan, run: RunDir, progress: Progress) -> None:
    """Makes every batch of ``plan`` that ``run`` lacks; failures become rows."""
    pending = pending_batches(run, plan)
    total = sum(len(batch) for batch in plan.batches)
    if not pending:
        return
    progress.start("generating", total, total - sum(len(batch) for batch in pending))
    try:
        for batch in pending:
            takes = _make_batch(model, batch, run)
            run.add_takes(takes)
            progress.advance(len(takes))
    finally:
        progress.finish()


def _make_batch(model: Model, batch: Sequence[Request], run: RunDir) -> list[Take]:
    """One row per request, in order; videos of the good ones are on disk."""
    takes: dict[Request, Take] = {}
    ready = []
    for request in batch:
        # The picture is read before the model sees the batch, so that one unreadable file costs
        # its own sample alone.
        problem = _unready(model, request)
        if "reference" in model.modes and request.sample.load_reference is None:
            takes[request] = _row(request, "skipped", error="the sample has no real clip")
        elif problem is None:
            ready.append(request)
        else:
            takes[request] = _failed(request, problem)
    for request, outcome in _attempt(model, ready).items():
        if isinstance(outcome, Take):
            takes[request] = outcome
        else:
            clip, seconds = outcome
            takes[request] = _stored(run, request, clip, seconds)
    return [takes[request] for request in batch]


def _unready(model: Model, request: Request) -> Exception | None:
    if request.sample.load_first_frame is None and "image-to-video" in model.modes:
        return UnreadableClipError(
            f"sample {request.sample.id} has no picture, and this model makes videos from pictures"
        )
    try:
        _ = request.first_frame
    except (UnreadableClipError, OSError) as error:
        return error
    return None


def _attempt(model: Model, requests: Sequence[Request]) -> dict[Request, tuple[Clip, float] | Take]:
    """The clips of a batch; after an error its requests one by one (out of memory: by halves)."""
    if not requests:
        return {}
    started = time.perf_counter()
    try:
        clips = list(model.generate(requests))
        if len(clips) != len(requests):
            raise RuntimeError(f"the model made {len(clips)} clips of {len(requests)} requests")
        _check_geometry(clips, requests)
    except UserError:
        # A missing checkpoint or a bad option fails every sample alike: stop and say so once.
        raise
    except Exception as error:
        if len(requests) == 1:
            return {requests[0]: _failed(requests[0], error)}
        size = (len(requests) + 1) // 2 if _is_out_of_memory(error) else 1
        logger.warning(
            "a batch of %d failed (%s); trying %d at a time",
            len(requests),
            _first_line(error),
            size,
        )
        _free_memory(error)
        outcomes: dict[Request, tuple[Clip, float] | Take] = {}
        for start in range(0, len(requests), size):
            outcomes |= _attempt(model, requests[start : start + size])
        return outcomes
    seconds = (time.perf_counter() - started) / len(requests)
    return {request: (clip, seconds) for request, clip in zip(requests, clips, strict=True)}


def _check_geometry(clips: Sequence[Clip], requests: Sequence[Request]) -> None:
    for clip, request in zip(clips, requests, strict=True):
        if clip.geometry != request.geometry:
            raise RuntimeError(
                f"the model made {clip.geometry} for sample {request.sample.id}, "
                f"asked were {request.geometry}"
            )


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError))


def _free_memory(error: Exception) -> None:
    import torch

    # The frames of the traceback hold the tensors that did not fit.
    traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _failed(request: Request, error: Exception) -> Take:
    trace = "".join(traceback.format_exception(error))
    message = _first_line(error)
    logger.warning("sample %s, take %d failed: %s", request.sample.id, request.take, message)
    return _row(request, "failed", error=message, traceback=trace)


def _row(request: Request, status: str, **fields: Any) -> Take:  # noqa: ANN401
    return Take(id=request.sample.id, take=request.take, seed=request.seed, status=status, **fields)


def _stored(run: RunDir, request: Request, clip: Clip, seconds: float) -> Take:
    path: Path = run.video_path(request.sample.id, request.take)
    write_video(path, clip)
    return _row(
        request,
        "ok",
        file=path.relative_to(run.path).as_posix(),
        sha256=file_sha256(path),
        seconds=round(seconds, 4),
    )
