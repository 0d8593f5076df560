"""The clips of a run as a scoring opens them: the video, its picture, its reference, each apart.

A metric loses a clip only for what the metric needs: an unreadable reference is no reason for a
metric that needs none.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from i2vbench.clip import Clip, Geometry, Picture
from i2vbench.errors import UnreadableClipError
from i2vbench.files import read_rows, replace_rows, with_checksum, without_checksum
from i2vbench.fingerprint import canonical_json
from i2vbench.generation import Plan
from i2vbench.metric import Example
from i2vbench.model import Request
from i2vbench.plain_text import error_line, one_line
from i2vbench.protocol import Protocol
from i2vbench.rundir import RunDir, Take
from i2vbench.video_io import read_video

logger = logging.getLogger(__name__)

Key = tuple[str, int]
"""Sample id and take."""


@dataclass(frozen=True, kw_only=True)
class OpenedClip:
    """A clip with what metrics compare it with; what is not there has its reason."""

    request: Request
    sha256: str
    """Of the file, as its row says."""
    clip: Clip | None = None
    problem: str = ""
    first_frame: Picture | None = None
    first_frame_problem: str = ""
    reference: Clip | None = None
    """Cut to the frames that the clip has."""
    reference_problem: str = ""
    reference_geometry: Geometry | None = None
    """Before it was cut."""

    @property
    def key(self) -> Key:
        """What names the clip inside its run."""
        return (self.request.sample.id, self.request.take)

    def example(self, needs: frozenset[str]) -> Example | str:
        """What extractors and a metric with these needs see; or why they see nothing."""
        if self.clip is None:
            return self.problem
        if "first_frame" in needs and self.first_frame_problem:
            return self.first_frame_problem
        if "reference" in needs and self.reference_problem:
            return self.reference_problem
        return Example(
            sample_id=self.request.sample.id,
            take=self.request.take,
            clip=self.clip,
            prompt=self.request.prompt,
            first_frame=self.first_frame if "first_frame" in needs else None,
            reference=self.reference if "reference" in needs else None,
            extra=self.request.sample.extra,
        )


def open_clip(
    run: RunDir, request: Request, take: Take | None, protocol: Protocol, needs: frozenset[str]
) -> OpenedClip:
    """The clip, checked against its row, and of picture and reference what ``needs`` names."""
    opened = OpenedClip(request=request, sha256="" if take is None else take.sha256)
    if take is None or take.status != "ok":
        why = "the clip is missing" if take is None else f"{take.status}: {take.error}"
        return dataclasses.replace(opened, problem=why)
    problem = run.check(take)
    if problem:
        return dataclasses.replace(opened, problem=problem)
    try:
        whole = read_video(run.resolve(take), reader=protocol.reader)
    except (UnreadableClipError, OSError, MemoryError) as error:
        return dataclasses.replace(opened, problem=_reason(error))
    clip = first_frames(whole, protocol.num_frames)
    opened = dataclasses.replace(opened, clip=clip)
    sample = request.sample
    # What a suite loads may be a user's own code: whatever it raises is this sample's failure.
    if "first_frame" in needs and sample.load_first_frame is not None:
        try:
            opened = dataclasses.replace(
                opened, first_frame=sample.load_first_frame(request.geometry)
            )
        except (Exception, SystemExit) as error:
            opened = dataclasses.replace(opened, first_frame_problem=_reason(error))
    if "reference" in needs and sample.load_reference is not None:
        try:
            reference = sample.load_reference(request.geometry)
        except (Exception, SystemExit) as error:
            return dataclasses.replace(opened, reference_problem=_reason(error))
        return _with_reference(opened, clip, reference)
    return opened


def _with_reference(opened: OpenedClip, clip: Clip, reference: Clip) -> OpenedClip:
    here, there = clip.geometry.num_frames, reference.geometry.num_frames
    opened = dataclasses.replace(opened, reference_geometry=reference.geometry)
    if there < here:
        why = f"the reference has {there} frames, the clip {here}"
        return dataclasses.replace(opened, reference_problem=why)
    return dataclasses.replace(opened, reference=first_frames(reference, here))


def first_frames(clip: Clip, num_frames: int | None) -> Clip:
    """The clip cut to ``num_frames``; as it is where that is None or more than it has."""
    if num_frames is None or len(clip.frames) <= num_frames:
        return clip
    return Clip(frames=clip.frames[:num_frames], fps=clip.fps)


def _reason(error: BaseException) -> str:
    """What a row says: our own errors speak for themselves, others need their type."""
    known = isinstance(error, (UnreadableClipError, OSError)) and str(error)
    return one_line(error) if known else error_line(error)


@dataclass(kw_only=True)
class ClipRecords:
    """What is known of the run's clips: ``clips.jsonl``, a row for each that was opened."""

    file: Path
    rows: dict[Key, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: RunDir) -> ClipRecords:
        """Those of a run; rows of videos that have changed since do not count."""
        file = run.path / "clips.jsonl"
        takes = run.takes()
        rows = {}
        for row in filter(None, map(without_checksum, read_rows(file))):
            take = takes.get((row.get("id", ""), row.get("take", -1)))
            if _is_sound(row) and take is not None and take.sha256 == row["sha256"]:
                rows[take.key] = row
        return cls(file=file, rows=rows)

    def add(self, opened: OpenedClip) -> None:
        """Notes what opening a clip showed."""
        row: dict[str, Any] = {
            "id": opened.key[0],
            "take": opened.key[1],
            "sha256": opened.sha256,
            "geometry": None if opened.clip is None else dataclasses.asdict(opened.clip.geometry),
            "reference": None
            if opened.reference_geometry is None
            else dataclasses.asdict(opened.reference_geometry),
            "error": opened.problem,
        }
        before = self.rows.get(opened.key)
        if row["reference"] is None and before is not None and not row["error"]:
            # This scoring had no metric that needs the reference; an earlier one had.
            row["reference"] = before["reference"]
        self.rows[opened.key] = row

    def write(self, plan: Plan) -> None:
        """Leaves the file as an unbroken scoring would: in the order of the suite."""
        replace_rows(self.file, map(with_checksum, in_suite_order(self.rows.values(), plan)))

    def unreadable(self, plan: Plan) -> dict[Key, str]:
        """The clips of the plan that could not be read, with the reason of each."""
        keys = [(request.sample.id, request.take) for request in plan.requests]
        return {k: self.rows[k]["error"] for k in keys if k in self.rows and self.rows[k]["error"]}

    def geometries(self, plan: Plan) -> list[dict[str, Any]]:
        """The distinct sizes and rates of the plan's clips, the most frequent first."""
        counted = Counter(canonical_json(g) for g, _ in self._pairs(plan))
        known = {canonical_json(g): g for g, _ in self._pairs(plan)}
        ordered = sorted(counted, key=lambda text: (-counted[text], text))
        return [{**known[text], "num_clips": counted[text]} for text in ordered]

    def reference_notes(self, plan: Plan) -> list[str]:
        """What a reader must know of references of another rate, shape or length than the clips."""
        return _reference_notes(self._pairs(plan))

    def _pairs(self, plan: Plan) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
        keys = [(request.sample.id, request.take) for request in plan.requests]
        rows = [self.rows[key] for key in keys if key in self.rows]
        return [(row["geometry"], row["reference"]) for row in rows if row["geometry"]]


def _reference_notes(
    pairs: Sequence[tuple[dict[str, Any], dict[str, Any] | None]],
) -> list[str]:
    compared = [(clip, reference) for clip, reference in pairs if reference is not None]
    notes = []
    rates = [(_rate(r), _rate(c)) for c, r in compared if not _is_same_rate(r["fps"], c["fps"])]
    if rates:
        notes.append(
            f"{_of(rates, compared)} at another rate than the clip "
            f"({_most_frequent([f'{there} fps beside {here} fps' for there, here in rates])}): "
            "frames are compared in order, not in time"
        )
    shapes = [
        f"{r['width']}x{r['height']} beside {c['width']}x{c['height']}"
        for c, r in compared
        if abs(r["width"] * c["height"] - c["width"] * r["height"])
        > _ASPECT_SLACK * c["width"] * r["height"]
    ]
    if shapes:
        notes.append(f"{_of(shapes, compared)} of another shape ({_most_frequent(shapes)})")
    longer = [
        f"{r['num_frames']} frames beside {c['num_frames']}"
        for c, r in compared
        if r["num_frames"] > c["num_frames"]
    ]
    if longer:
        notes.append(
            f"{_of(longer, compared)} longer than the clip ({_most_frequent(longer)}): the frames "
            "beyond are not compared"
        )
    return notes


_ASPECT_SLACK = 0.02
"""Relative difference of width to height that rounding to even sizes makes."""


def _is_same_rate(a: float, b: float) -> bool:
    # 24000/1001 and 23.98 are the same rate, written down twice.
    return abs(a - b) <= 1e-2 * max(a, b)


def _rate(geometry: Mapping[str, Any]) -> str:
    return f"{geometry['fps']:.4g}"


def _of(some: Sequence[object], all_: Sequence[object]) -> str:
    plural = "reference is" if len(some) == 1 and len(all_) == 1 else "references are"
    return f"{len(some)} of {len(all_)} {plural}"


def _most_frequent(texts: Sequence[str]) -> str:
    (text, _), *others = Counter(texts).most_common()
    return f"{text}, and others" if others else text


def _is_sound(row: Mapping[str, Any]) -> bool:
    def is_geometry(value: object) -> bool:
        return value is None or (
            isinstance(value, dict)
            and set(value) == {"num_frames", "height", "width", "fps"}
            and all(isinstance(each, (int, float)) and each > 0 for each in value.values())
        )

    return (
        isinstance(row.get("sha256"), str)
        and isinstance(row.get("error"), str)
        and is_geometry(row.get("geometry"))
        and is_geometry(row.get("reference"))
        and bool(row["error"] or row["geometry"])
    )


def in_suite_order(rows: Any, plan: Plan) -> list[dict[str, Any]]:  # noqa: ANN401
    """Rows with ``id`` and ``take`` in the order of the plan's suite, others behind."""
    position = {sample.id: n for n, sample in enumerate(plan.suite)}
    return sorted(
        rows, key=lambda row: (position.get(row["id"], len(position)), row["id"], row["take"])
    )
