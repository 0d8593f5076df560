"""What failed in a run, as the command line tells it: every face says the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from i2vbench.errors import UserError
from i2vbench.generation import Plan, takes_in_order
from i2vbench.plain_text import one_line
from i2vbench.results import load_results
from i2vbench.rundir import RunDir
from i2vbench.scored_clips import ClipRecords


@dataclass(frozen=True, kw_only=True)
class FailedClip:
    """A clip that was not made, or whose video cannot be read."""

    id: str
    take: int
    error: str
    place: str = ""
    """Where the model's code raised: ``file, line N, in name``."""

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        return one_line(f"{self.id}, take {self.take}: {self.error}{where}")


def failed_clips(run: RunDir, plan: Plan) -> list[FailedClip]:
    """The clips of the plan that failed, are missing, or could not be read, in its order."""
    unreadable = ClipRecords.of(run).unreadable(plan)
    found = []
    for take in takes_in_order(run, plan):
        if take.status == "failed":
            places = failing_places(take.traceback, 1)
            found.append(
                FailedClip(id=take.id, take=take.take, error=take.error, place="".join(places))
            )
        elif take.key in unreadable and take.status == "ok":
            found.append(FailedClip(id=take.id, take=take.take, error=unreadable[take.key]))
    return found


def failing_places(trace: str, num_frames: int) -> list[str]:
    """The last frames of a recorded traceback, ``file, line N, in name``, the innermost last."""
    lines = [line.strip() for line in trace.splitlines() if line.startswith("  File ")]
    return [line.removeprefix("File ").replace('"', "") for line in lines[-num_frames:]]


def num_without_score(run: RunDir, sources: Sequence[str], protocol: str) -> int:
    """The clips that lack a score in the metric that lost most, of those asked for.

    A metric that could not run at all is an empty column, not a failed clip.
    """
    if not sources:
        return 0
    try:
        scores = load_results(run.path).scores
    except UserError:
        return 0
    asked = [
        score
        for score in scores
        # Those of other protocols are of other commands.
        if score.source in sources and score.fingerprint and score.protocol == protocol
    ]
    return max((score.n_expected - score.n_scored for score in asked), default=0)
