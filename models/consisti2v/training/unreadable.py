"""Files that cannot be read: counted, named once each, and too many of them stop a training."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from i2vbench.errors import UserError

_log = logging.getLogger(__name__)
_FLOOR: Final = 100
"""Draws before which the share is not yet one: a single bad file among the first is not half."""
_LISTED: Final = 10


class UnreadableFiles:
    """What of the training data could not be read so far, the same in all processes."""

    def __init__(self, max_fraction: float, num_videos: int) -> None:
        self._max_fraction = max_fraction
        self._num_videos = num_videos
        self._known: dict[str, None] = {}
        self._drawn = 0

    def __len__(self) -> int:
        return len(self._known)

    def add(self, num_drawn: int, lines: Iterable[str], *, log: bool = True) -> None:
        """Counts a step's clips and the errors on the way to them.

        Args:
            num_drawn: clips of the step.
            lines: an error line per file that could not be read.
            log: whether new ones are logged; one process does.

        Raises:
            UserError: the share of unreadable files is too large; it lists them.
        """
        self._drawn += num_drawn
        for line in lines:
            self._drawn += 1
            if line not in self._known:
                self._known[line] = None
                if log:
                    _log.warning("skipped: %s", line)
        drawn = min(max(self._drawn, _FLOOR), self._num_videos)
        if len(self._known) > self._max_fraction * drawn:
            listed = "; ".join(list(self._known)[:_LISTED])
            more = len(self._known) - _LISTED
            raise UserError(
                f"{len(self._known)} of {drawn} videos cannot be read, more than "
                f"max_bad_fraction={self._max_fraction:g}: {listed}"
                + (f"; and {more} more" if more > 0 else "")
            )

    def state_dict(self) -> dict[str, Any]:
        """JSON for the state of the run."""
        return {"lines": list(self._known), "drawn": self._drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self._known = dict.fromkeys(state["lines"])
        self._drawn = int(state["drawn"])
