"""Progress as the core reports it; the command line draws it, notebooks and tests keep silent."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from i2vbench.console import echo
from i2vbench.plain_text import one_line


class Progress(Protocol):
    """Counts clips through named stages."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """A stage with ``total`` clips begins, ``done`` of them from before."""

    def work_on(self, what: str) -> None:
        """What is being made or scored now, e.g. ``scene-003, take 0``."""

    def advance(self, num_clips: int = 1) -> None:
        """So many more clips are done."""

    def finish(self) -> None:
        """The stage has ended."""


def on_stderr(name: str) -> Progress:
    """A bar for people, whole lines for logs and pipes; ``name`` stands in front."""
    if sys.stderr.isatty():
        return BarProgress(name)
    return LineProgress(name, lambda line: echo(line, err=True))


class SilentProgress:
    """Says nothing."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Nothing."""

    def work_on(self, what: str) -> None:
        """Nothing."""

    def advance(self, num_clips: int = 1) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


class BarProgress:
    """One bar per stage on stderr, with clips per second."""

    def __init__(self, name: str) -> None:
        """No bar yet; ``name`` stands before each stage."""
        self._name = name
        self._bar: Any = None

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Draws a bar."""
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            initial=done,
            desc=f"{stage} {one_line(self._name)}",
            unit=" clips",
            dynamic_ncols=True,
            mininterval=0.5,
            bar_format="{desc:<26} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} clips "
            "[{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]",
        )

    def work_on(self, what: str) -> None:
        """Names it on the bar; drawn at once, since it may be the clip that hangs."""
        self._bar.set_postfix_str(one_line(what))

    def advance(self, num_clips: int = 1) -> None:
        """Moves the bar."""
        self._bar.update(num_clips)

    def finish(self) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class LineProgress:
    """Whole lines, for logs and pipes: a stage's begin and end, and what takes long.

    A clip in work is named once it takes longer than ``patience_s``, so that a log says which one
    hangs; clips that are done are counted at most every ``interval_s``.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[str], None],
        *,
        patience_s: float = 2.0,
        interval_s: float = 30.0,
    ) -> None:
        """Nothing is written yet; ``name`` stands in each line, ``write`` takes them."""
        self._name = one_line(name)
        self._write = write
        self._patience_s = patience_s
        self._interval_s = interval_s
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._stage = ""
        self._done = self._total = self._shown = 0
        self._shown_at = self._started_at = 0.0

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Writes the number of clips."""
        self._stage, self._total, self._done = stage, total, done
        self._started_at = self._shown_at = time.monotonic()
        self._show(f"{done} of {total} clips done")

    def work_on(self, what: str) -> None:
        """Names it where it takes long."""
        self._cancel()
        self._timer = threading.Timer(self._patience_s, self._name_it, (one_line(what),))
        # A clip that hangs must not keep the process alive.
        self._timer.daemon = True
        self._timer.start()

    def advance(self, num_clips: int = 1) -> None:
        """Counts, and writes now and then."""
        self._cancel()
        self._done += num_clips
        if time.monotonic() - self._shown_at >= self._interval_s:
            self._show(f"{self._done} of {self._total} clips done")

    def finish(self) -> None:
        """Writes the last count."""
        self._cancel()
        if self._done != self._shown:
            seconds = time.monotonic() - self._started_at
            self._show(f"{self._done} of {self._total} clips done in {seconds:.0f} s")

    def _name_it(self, what: str) -> None:
        with self._lock:
            # It may have been cancelled after it went off.
            if self._timer is threading.current_thread():
                self._show(f"working on {what} ({self._done} of {self._total} clips done)")

    def _show(self, text: str) -> None:
        self._shown, self._shown_at = self._done, time.monotonic()
        self._write(f"{self._stage} {self._name}: {text}")

    def _cancel(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
