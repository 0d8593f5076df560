"""The executor of one process: planned batches, one after the other."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from i2vbench.adapter_state import state_of
from i2vbench.clip import Clip, Geometry, Picture
from i2vbench.errors import FailingModelError, UnreadableClipError, UserError
from i2vbench.files import file_sha256
from i2vbench.generation import GenerationOptions, Plan, missing_clips, shown_sample
from i2vbench.model import Model, Request
from i2vbench.plain_text import error_line, one_line, short_repr
from i2vbench.progress import Progress
from i2vbench.rundir import RunDir, Take
from i2vbench.time_limit import time_limit
from i2vbench.video_io import write_video

logger = logging.getLogger(__name__)

_FIRST_CLIPS = 4
"""Failures alike that say that the model fails, where the first batch is smaller than that."""


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A clip that came back, checked and copied."""

    clip: Clip
    seconds: float


_Outcome = _Made | BaseException


def make_clips(
    model: Model, plan: Plan, run: RunDir, progress: Progress, options: GenerationOptions
) -> None:
    """Makes every clip of ``plan`` that ``run`` lacks; failures become rows.

    Raises:
        UserError: an error that all samples would meet, such as a missing checkpoint.
        FailingModelError: the first clips all fail for one reason.
    """
    reads_reference = "reference" in model.modes
    missing = missing_clips(run, plan, reads_reference=reads_reference, redo=options.redo)
    total = len(plan.requests)
    if not missing:
        return
    done = total - sum(len(batch) for batch, _ in missing)
    # Where some clips are there, the model works, and what fails now may be the hard samples.
    has_made = done > 0
    progress.start("generating", total, done)
    worker = _Worker(model=model, run=run, progress=progress, timeout_s=options.timeout_s)
    reasons: list[str] = []
    try:
        for batch, keys in missing:
            takes = [
                replace(take, made_from=keys[request])
                for request, take in worker.make(batch).items()
            ]
            run.add_takes(takes)
            progress.advance(len(takes))
            has_made = has_made or any(take.status != "failed" for take in takes)
            if not has_made:
                reasons += [take.error for take in takes]
                _stop_if_it_fails(reasons, max(len(batch), _FIRST_CLIPS), len(missing) > 1)
    finally:
        progress.finish()


def _stop_if_it_fails(reasons: Sequence[str], enough: int, is_more_to_do: bool) -> None:
    if is_more_to_do and len(reasons) >= enough and len(set(reasons)) == 1:
        raise FailingModelError(
            f"the first {len(reasons)} clips all failed alike, so the run stops: {reasons[0]}; "
            "`i2vbench show` has the traceback; mend the model and repeat the command"
        )


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """What making a batch needs."""

    model: Model
    run: RunDir
    progress: Progress
    timeout_s: float | None

    def make(self, batch: Sequence[Request]) -> dict[Request, Take]:
        """One row per request, in order; videos of the good ones are on disk."""
        takes: dict[Request, Take] = {}
        pictures: dict[Request, Picture | None] = {}
        for request in batch:
            if "reference" in self.model.modes and request.sample.load_reference is None:
                takes[request] = _row(request, "skipped", error="the sample has no real clip")
                continue
            # The picture is read before the model sees the batch, so that one unreadable file costs
            # only its own sample.
            try:
                pictures[request] = _picture_for(self.model, request)
            except (Exception, SystemExit) as error:
                takes[request] = _failed(request, error)
        for request, outcome in self._attempt(list(pictures), pictures).items():
            takes[request] = (
                _failed(request, outcome)
                if isinstance(outcome, BaseException)
                else self._stored(request, outcome)
            )
        return {request: takes[request] for request in batch}

    def _attempt(
        self, requests: Sequence[Request], pictures: dict[Request, Picture | None]
    ) -> dict[Request, _Outcome]:
        """The clips of a batch; after an error one by one (out of memory: by halves)."""
        if not requests:
            return {}
        started = time.perf_counter()
        try:
            clips = self._clips(requests, pictures)
        except (UserError, KeyboardInterrupt):
            # A missing checkpoint or a bad option fails every sample alike: stop and say so once.
            raise
        except BaseException as error:  # an adapter may raise anything, as asyncio does when left
            if len(requests) == 1:
                return {requests[0]: error}
            size = (len(requests) + 1) // 2 if _is_out_of_memory(error) else 1
            logger.warning(
                "a batch of %d failed (%s); trying %d at a time",
                len(requests),
                error_line(error),
                size,
            )
            _free_memory(error)
            outcomes: dict[Request, _Outcome] = {}
            for start in range(0, len(requests), size):
                outcomes |= self._attempt(requests[start : start + size], pictures)
            return outcomes
        seconds = (time.perf_counter() - started) / len(requests)
        return {
            request: _Made(clip=clip, seconds=seconds)
            for request, clip in zip(requests, clips, strict=True)
        }

    def _clips(
        self, requests: Sequence[Request], pictures: dict[Request, Picture | None]
    ) -> list[Clip]:
        """The model's clips, each checked and copied before the next one is asked for."""
        with_reference = "reference" in self.model.modes
        handed = [
            replace(
                request,
                sample=replace(
                    shown_sample(request.sample, with_reference=with_reference),
                    load_first_frame=_handing_out(request, pictures[request]),
                ),
            )
            for request in requests
        ]
        limit_s = None if self.timeout_s is None else self.timeout_s * len(requests)
        clips: list[Clip] = []
        with state_of(self.model), time_limit(limit_s), contextlib.ExitStack() as ends:
            answers = iter(self.model.generate(handed))
            # What a generator leaves when it is closed (`with torch.no_grad()`) is the adapter's.
            ends.callback(getattr(answers, "close", lambda: None))
            for request in requests:
                self.progress.work_on(f"{request.sample.id}, take {request.take}")
                try:
                    answer = next(answers)
                except StopIteration:
                    raise RuntimeError(
                        f"the model made {len(clips)} clips of {len(requests)} requests"
                    ) from None
                # An adapter may use one buffer for all its clips.
                clips.append(_checked_copy(answer, request))
            # An endless generator is asked for one clip more, and no further.
            if any(True for _ in itertools.islice(answers, 1)):
                raise RuntimeError(
                    f"the model made more than the {len(requests)} clips that were requested"
                )
        return clips

    def _stored(self, request: Request, made: _Made) -> Take:
        path: Path = self.run.video_path(request.sample.id, request.take)
        try:
            write_video(path, made.clip)
        except ValueError as error:
            return _failed(request, error)
        return _row(
            request,
            "ok",
            file=path.relative_to(self.run.path).as_posix(),
            sha256=file_sha256(path),
            seconds=round(made.seconds, 4),
        )


def _picture_for(model: Model, request: Request) -> Picture | None:
    load = request.sample.load_first_frame
    if load is not None:
        return load(request.geometry)
    if "image-to-video" in model.modes:
        raise UnreadableClipError(
            "the sample has no picture, and this model makes videos from pictures"
        )
    return None


def _handing_out(request: Request, picture: Picture | None) -> Callable[[Geometry], Picture] | None:
    """Gives the adapter a copy of its own at each call, so that it may write into it."""
    original = request.sample.load_first_frame
    if picture is None or original is None:
        return None

    def load(geometry: Geometry) -> Picture:
        return np.array(picture if geometry == request.geometry else original(geometry))

    return load


def _checked_copy(answer: object, request: Request) -> Clip:
    # The row names the sample; without it, equal failures have equal texts.
    if not isinstance(answer, Clip):
        raise TypeError(f"the model gave {short_repr(answer)}; an i2vbench.clip.Clip was expected")
    if answer.geometry != request.geometry:
        raise RuntimeError(f"the model made {answer.geometry}, asked were {request.geometry}")
    return Clip(frames=np.array(answer.frames, order="C"), fps=answer.fps)


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError))


def _free_memory(error: BaseException) -> None:
    import torch

    # The frames of the traceback hold the tensors that did not fit.
    traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _failed(request: Request, error: BaseException) -> Take:
    message = error_line(error)
    logger.warning("sample %s, take %d failed: %s", request.sample.id, request.take, message)
    return _row(request, "failed", error=message, traceback=_trace(error))


def _trace(error: BaseException) -> str:
    with contextlib.suppress(Exception):  # formatting calls the error's own __str__
        return "".join(traceback.format_exception(error))
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"{frames}{one_line(error)}\n"


def _row(request: Request, status: str, **fields: Any) -> Take:  # noqa: ANN401
    return Take(id=request.sample.id, take=request.take, seed=request.seed, status=status, **fields)
