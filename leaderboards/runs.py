"""Finds the ``results.json`` files that a leaderboard is made of."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from i2vbench.errors import UserError
from i2vbench.results import Results, load_results
from i2vbench.rundir import RunDir

from .cost import with_profile
from .formatting import clean

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search came back with."""

    results: tuple[Results, ...]
    """With the figures of ``profile.json`` as scores, where a run was profiled."""
    unscored: tuple[Path, ...]
    """Run directories on the way that hold no ``results.json`` yet."""
    unreadable: tuple[str, ...] = ()
    """What is wrong with each file that a folder holds and the search left out, a line each."""


def find_runs(paths: Iterable[Path]) -> Found:
    """The results of run directories, ``results.json`` files and folders of runs, each once.

    A folder without its own ``results.json`` is searched to any depth. A file in it that cannot be
    read is left out and named in ``unreadable``: it does not take the board of the others down.

    Raises:
        UserError: a path does not exist, a folder holds no results that can be read, or a file or
            run that is itself one of ``paths`` cannot be read.
    """
    named: dict[Path, bool] = {}
    unscored: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise UserError(
                f"{path} does not exist; give a run, a results.json or a folder of runs"
            )
        if path.is_file() or (path / "results.json").is_file():
            found = [path if path.is_file() else path / "results.json"]
        else:
            found = sorted(path.rglob("results.json"))
            scored = {file.parent for file in found}
            waiting = sorted({file.parent for file in path.rglob("run.json")} - scored)
            unscored.update(dict.fromkeys(waiting))
            if not found:
                raise UserError(
                    f"{path} holds no results.json: score its runs first with `i2vbench score`"
                )
        for file in found:
            by_name = not path.is_dir() or file.parent == path
            named[file.resolve()] = named.get(file.resolve(), False) or by_name
    return _read(named, tuple(unscored))


def _read(named: Mapping[Path, bool], unscored: tuple[Path, ...]) -> Found:
    """Reads each file; a mistake in one that was not named itself is a line of ``unreadable``."""
    results, unreadable = [], []
    for file, by_name in named.items():
        try:
            run = load_results(file)
            _tell_if_changed(file)
            results.append(run)
            results[-1] = with_profile(run, file.parent)
        except UserError as error:
            if by_name:
                raise
            unreadable.append(clean(error))
    if unreadable and not results:
        more = f" ({len(unreadable) - 1} more cannot be read either)" if unreadable[1:] else ""
        raise UserError(f"{unreadable[0]}{more}")
    return Found(results=tuple(results), unscored=unscored, unreadable=tuple(unreadable))


def _tell_if_changed(file: Path) -> None:
    """Warns of a ``results.json`` that is not what its run recorded; an edit may be meant."""
    try:
        problem = RunDir.open(file.parent).check_results()
    except UserError:
        # Results without their run, or of an older version, cannot be compared with anything.
        return
    if problem:
        logger.warning("%s; `i2vbench score %s` makes it again", problem, file.parent)
