"""Finds the ``results.json`` files that a leaderboard is made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from i2vbench.errors import UserError
from i2vbench.results import Results, load_results

from .cost import with_profile


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search came back with."""

    results: tuple[Results, ...]
    """With the figures of ``profile.json`` as scores, where a run was profiled."""
    unscored: tuple[Path, ...]
    """Run directories on the way that hold no ``results.json`` yet."""


def find_runs(paths: Iterable[Path]) -> Found:
    """The results of run directories, ``results.json`` files and folders of runs, each once.

    A folder without its own ``results.json`` is searched to any depth.

    Raises:
        UserError: a path does not exist, a folder holds no results, a file cannot be read.
    """
    files: dict[Path, None] = {}
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
        files.update(dict.fromkeys(file.resolve() for file in found))
    return Found(
        results=tuple(with_profile(load_results(file), file.parent) for file in files),
        unscored=tuple(unscored),
    )
