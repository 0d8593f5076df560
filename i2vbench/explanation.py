"""Why a clip has its score: its frames with the value of each, or the set's score without it."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from i2vbench.clip import Clip, Picture
from i2vbench.errors import MissingWeightsError, UserError, did_you_mean
from i2vbench.fit import fit_frames
from i2vbench.metric import ClipMetric, Example
from i2vbench.metric_runs import MetricRun, MissingMetric, prepare_metrics
from i2vbench.plain_text import error_line
from i2vbench.protocol import load_protocol
from i2vbench.reopen import reopen_run
from i2vbench.scored_clips import open_clip
from i2vbench.scoring import scored_examples

TILE_PX = 128
"""Shorter side of a frame in the strip; smaller frames are enlarged without smoothing."""
PER_ROW = 8
_GAP, _CAPTION, _HEAD = 8, 20, 44
_INK, _GREY, _GOOD, _BAD = (20, 20, 20), (120, 120, 120), (26, 127, 55), (207, 34, 46)


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """A clip's score, frame by frame; of a set metric, what the clip does to the set's score."""

    title: str
    """Metric, sample and take."""
    score: float
    """The clip's; of a set metric, the set's."""
    values: NDArray[np.float64]
    """(T,), NaN for a frame that does not count; see :meth:`ClipMetric.frame_values`."""
    higher_is_better: bool | None
    clip: Clip
    first_frame: Picture | None
    """What the metric compares with, where it does."""
    reference: Clip | None
    without: float | None = None
    """Of a set metric, the score of all the other clips; None of a metric per clip."""

    @property
    def verdict(self) -> str:
        """The score in words."""
        arrow = {True: ", higher is better", False: ", lower is better", None: ""}
        direction = arrow[self.higher_is_better]
        if self.without is None:
            return f"score {self.score:.4f}{direction}"
        # Distances run into thousands, where four decimals say nothing.
        digits = 4 if abs(self.score) < 10 else 1
        change = self.score - self.without
        words = ""
        if change and self.higher_is_better is not None:
            better = (change > 0) == self.higher_is_better
            words = f": the clip {'improves' if better else 'worsens'} it"
        return (
            f"{self.score:.{digits}f} with this clip, {self.without:.{digits}f} without it "
            f"({change:+.{digits}f}{direction}){words}"
        )

    @property
    def worst(self) -> int | None:
        """The frame that counts and has the worst value; None where no end is better."""
        return None if self.higher_is_better is None else self._extreme(not self.higher_is_better)

    @property
    def best(self) -> int | None:
        """The frame with the best value; None where no end is better."""
        return None if self.higher_is_better is None else self._extreme(self.higher_is_better)

    def _extreme(self, highest: bool) -> int | None:
        known = self.values[np.isfinite(self.values)]
        if not len(known) or known.min() == known.max():
            return None
        return int(np.nanargmax(self.values) if highest else np.nanargmin(self.values))


def explain(
    path: Path,
    metric: str,
    sample: str,
    *,
    take: int = 0,
    protocol: str | None = None,
    dtype: str = "fp32",
    backend: str = "torch",
    cache_dir: Path | None = None,
    suite: str | None = None,
) -> Explanation:
    """The frame values of one clip of a run, or what the clip does to the score of the set.

    Args:
        path: the run directory.
        metric: name of a metric; one of a set needs a run that was scored with it.
        sample: id of the sample.
        take: which of its clips.
        protocol: a name; None for the suite's.
        dtype: of the networks, as the run was scored.
        backend: what runs them, as the run was scored.
        cache_dir: where the scoring kept the features of reference clips.
        suite: where the run's suite lies now; None to look where it was.

    Raises:
        UserError: no such run, metric, sample or take; a metric that has no values per frame; or
            a clip without a score.
        MissingWeightsError: a network of the metric is not here.
    """
    run, plan, _ = reopen_run(path, suite)
    requests = {(request.sample.id, request.take): request for request in plan.requests}
    if (sample, take) not in requests:
        if (sample, take) in run.takes():
            raise UserError(
                f"sample {sample!r}, take {take} lies in {path}, but not among the clips of its "
                "last command; repeat that without --limit, --samples and --num-takes"
            )
        accepted = did_you_mean(sample, dict.fromkeys(name for name, _ in requests))
        raise UserError(f"{path} has no sample {sample!r} with take {take}: {accepted}")
    request, made = requests[sample, take], run.takes().get((sample, take))
    if made is None or made.status != "ok":
        raise UserError(f"sample {sample!r} take {take} has no video: {made.error if made else ''}")
    chosen = load_protocol(protocol or plan.suite.protocol)
    (prepared,) = prepare_metrics(run, plan, chosen, [metric], "cpu", dtype, backend)
    if isinstance(prepared, MissingMetric):
        raise MissingWeightsError(f"metric {metric!r} cannot run here: {prepared.reason}")
    needs = prepared.metric.needs
    if not prepared.wants(request):
        raise UserError(f"{metric} does not score {sample!r}: it needs {', '.join(sorted(needs))}")
    if not isinstance(prepared.metric, ClipMetric):
        examples = scored_examples(run, plan, chosen, prepared, cache_dir=cache_dir)
        return _of_set(prepared, (sample, take), list(examples))
    opened = open_clip(run, request, made, chosen, needs)
    example = opened.example(needs)
    if isinstance(example, str):
        raise UserError(f"{sample} take {take} has no {metric}: {example}")
    try:
        featured = _with_features(example, prepared)
        score = prepared.metric.checked_score(featured)
        values = prepared.metric.frame_values(featured)
    except (Exception, SystemExit) as error:  # a network or a user's own metric
        why = str(error) if isinstance(error, ValueError) else error_line(error)
        raise UserError(f"{sample} take {take} has no {metric}: {why}") from error
    if values is None:
        raise UserError(f"{metric} has no value per frame")
    return Explanation(
        title=f"{prepared.label} · {sample} take {take}",
        score=score,
        values=values,
        higher_is_better=prepared.metric.higher_is_better,
        clip=example.clip,
        first_frame=example.first_frame,
        reference=example.reference,
    )


def _with_features(example: Example, metric_run: MetricRun) -> Example:
    places = {
        name: each
        for name, each in zip(metric_run.metric.extractors, metric_run.extractors, strict=True)
        if each.stores_features
    }
    first_frame = example.first_frame
    return dataclasses.replace(
        example,
        features={n: e.extract([example.clip], [example.prompt])[0] for n, e in places.items()},
        first_frame_features={}
        if first_frame is None
        else {name: each.extract_picture(first_frame) for name, each in places.items()},
    )


def _of_set(
    metric_run: MetricRun, wanted: tuple[str, int], examples: Sequence[Example]
) -> Explanation:
    """The set's score with and without one clip."""
    here = [example for example in examples if (example.sample_id, example.take) == wanted]
    name = metric_run.metric.name
    if not here:
        raise UserError(
            f"{wanted[0]!r} take {wanted[1]} has no {metric_run.label} in this run; score the run "
            "with it first, or give the --scoring-dtype and --backend that it was scored with"
        )
    others = copy.deepcopy(metric_run.metric)
    everything = copy.deepcopy(metric_run.metric)
    try:
        others.update([example for example in examples if example is not here[0]])
        # In the order of the run: a metric of rows may depend on it in the last bits.
        everything.update(examples)
        without, score = float(others.compute()), float(everything.compute())
    except (Exception, SystemExit) as error:  # a user's own metric may raise anything
        raise UserError(
            f"{name} cannot be computed without {wanted[0]!r}: {error_line(error)}"
        ) from error
    return Explanation(
        title=f"{metric_run.label} · {wanted[0]} take {wanted[1]}",
        score=score,
        values=np.full(len(here[0].clip.frames), np.nan),
        higher_is_better=metric_run.metric.higher_is_better,
        clip=here[0].clip,
        first_frame=None,
        reference=here[0].reference,
        without=without,
    )


def strip(explanation: Explanation) -> Image.Image:
    """The frames in rows of eight, the value under each, the worst framed red, the best green.

    The first frame stands in front where the metric compares with it; a reference clip has a row
    of its own under each row of frames.
    """
    frames = explanation.clip.frames
    height, width = frames.shape[1:3]
    scale = TILE_PX / min(height, width)
    tile = (round(width * scale), round(height * scale))
    # Frame, or None for the first frame that was given.
    places: list[int | None] = [*([] if explanation.first_frame is None else [None])]
    places += range(len(frames))
    lanes = 1 if explanation.reference is None else 2
    rows = math.ceil(len(places) / PER_ROW)
    row_px = lanes * (tile[1] + _GAP) + _CAPTION + _GAP
    columns = max(min(len(places), PER_ROW), 5)
    picture = Image.new(
        "RGB", (columns * (tile[0] + _GAP) + _GAP, _HEAD + rows * row_px + _GAP), (255, 255, 255)
    )
    draw = ImageDraw.Draw(picture)
    draw.text((_GAP, 4), explanation.title, fill=_INK, font=ImageFont.load_default(14))
    draw.text(
        (_GAP, 23),
        explanation.verdict + ("" if lanes == 1 else " · below each frame the real one"),
        fill=_GREY,
        font=ImageFont.load_default(12),
    )
    for number, place in enumerate(places):
        x = _GAP + number % PER_ROW * (tile[0] + _GAP)
        y = _HEAD + number // PER_ROW * row_px
        shown = explanation.first_frame if place is None else frames[place]
        assert shown is not None
        colour = _INK
        if place is not None and place in (explanation.worst, explanation.best):
            colour = _BAD if place == explanation.worst else _GOOD
            draw.rectangle((x - 4, y - 4, x + tile[0] + 3, y + tile[1] + 3), fill=colour)
        picture.paste(_tile(shown, height, width, tile), (x, y))
        if place is not None and explanation.reference is not None:
            below = _tile(explanation.reference.frames[place], height, width, tile)
            picture.paste(below, (x, y + tile[1] + _GAP))
        caption = "given" if place is None else f"{place}"
        if place is not None and explanation.without is None:
            caption = _caption(place, explanation.values[place])
        bottom = y + lanes * (tile[1] + _GAP) - 2
        draw.text((x, bottom), caption, fill=colour, font=ImageFont.load_default(12))
    return picture


def _caption(place: int, value: float) -> str:
    return f"{place}: {value:.4f}" if math.isfinite(value) else f"{place}: not counted"


def _tile(frame: Picture, height: int, width: int, tile: tuple[int, int]) -> Image.Image:
    fitted = fit_frames(frame[None], height, width)[0]
    larger = tile[0] >= width
    how = Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS
    return Image.fromarray(fitted).resize(tile, how)
