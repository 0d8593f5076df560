"""Data sets as they lie on disk: what to look past, and what is wrong with them, told at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from i2vbench.errors import UserError
from i2vbench.plain_text import short_line
from i2vbench.suites.root import Root

_SHOWN = 5
_JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


def is_junk(name: str) -> bool:
    """Whether a system left this file beside the data: ``.DS_Store``, ``._x.avi``, ``Thumbs.db``.

    >>> [is_junk(name) for name in (".DS_Store", "._a.avi", "Thumbs.db", "a.avi")]
    [True, True, True, False]
    """
    return name.startswith(".") or name.lower() in _JUNK


def folders_in(folder: Path) -> list[Path]:
    """The folders in it, sorted by name, without what systems leave there."""
    return sorted(Path(e.path) for e in _entries(folder) if e.is_dir())


def files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files in it with one of these suffixes (any case), sorted by name, as above."""
    return sorted(
        Path(e.path)
        for e in _entries(folder)
        if e.name.lower().endswith(tuple(suffixes)) and e.is_file()
    )


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if not is_junk(entry.name)]
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from error


class Problems:
    """What is wrong with a data set, in one line: the first five of all.

    As a context, it checks at the end of the block that nothing was found.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        """Takes what is checked, e.g. ``UCF-101 in /data``, and what to do about problems."""
        self._what = what
        self._advice = advice
        self._found: list[str] = []

    def __enter__(self) -> Problems:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.check()

    def add(self, problem: str) -> None:
        """Notes one."""
        self._found.append(short_line(problem))

    def expect(self, noun: str, found: int, expected: int) -> None:
        """Notes a count that is not the expected one."""
        if found != expected:
            self._found.insert(0, f"{found} {noun}, {expected} are expected")

    def file(self, root: Root, name: str) -> None:
        """Notes a file that lies outside ``root``, is missing or empty."""
        try:
            path = root.file(name)
        except ValueError as error:
            self.add(str(error))
            return
        try:
            if not path.is_file():
                self.add(f"{name} is missing")
            elif not path.stat().st_size:
                self.add(f"{name} is empty")
        except OSError as error:
            self.add(f"{name} cannot be read: {error.strerror}")

    def check(self) -> None:
        """Stops where there was one.

        Raises:
            UserError: the first five, and how many more there are.
        """
        if not self._found:
            return
        more = len(self._found) - _SHOWN
        shown = "; ".join(self._found[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise UserError(f"{self._what}: {shown}" + (f"; {self._advice}" if self._advice else ""))
