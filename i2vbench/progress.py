"""Progress as the core reports it; the command line draws it, notebooks and tests keep silent."""

from __future__ import annotations

from typing import Any, Protocol


class Progress(Protocol):
    """Counts clips through named stages."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """A stage with ``total`` clips begins, ``done`` of them from before."""

    def advance(self, num_clips: int = 1) -> None:
        """So many more clips are done."""

    def finish(self) -> None:
        """The stage has ended."""


class SilentProgress:
    """Says nothing."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
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
            desc=f"{stage} {self._name}",
            unit=" clips",
            dynamic_ncols=True,
            mininterval=0.5,
            bar_format="{desc:<26} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} clips "
            "[{elapsed}<{remaining}, {rate_noinv_fmt}]",
        )

    def advance(self, num_clips: int = 1) -> None:
        """Moves the bar."""
        self._bar.update(num_clips)

    def finish(self) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
