"""Files of a folder that are not read, counted and named in one line.

A suite puts the line into its notes, which the command line prints before a run; where there is no
suite to carry it (videos to score), it is a warning of the log.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from i2vbench.plain_text import short_line
from i2vbench.suites.layout import is_junk

_SHOWN = 5
_MAX_FILES = 20_000
"""A folder that holds far more than the data is not walked to its end."""
# What lies beside data and is no data: texts, tables, settings.
_COMPANIONS = frozenset((
    ".txt", ".md", ".rst", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml", ".toml", ".ini",
    ".xml", ".html", ".log", ".sha256", ".md5", ".srt", ".vtt", ".py", ".sh", ".ipynb", ".lock",
))  # fmt: skip
_COMPANION_NAMES = frozenset(("license", "licence", "readme", "copying", "notice", "makefile"))


def left_out(folder: Path, taken: Iterable[Path], *, by_subfolder: bool = True) -> str:
    """The line ``3 of 4 files are left out: b.heic, night/ (a subfolder with 2 files)``.

    Texts, tables and what systems leave beside data do not count.

    Args:
        folder: that was looked into.
        taken: the files in it that are read.
        by_subfolder: whether files of a subfolder are named by it; otherwise each by its path.

    Returns:
        The line; empty where all is read.
    """
    read = {os.path.normpath(path) for path in taken}
    names: list[str] = []
    subfolders: dict[str, int] = {}
    number = number_read = 0
    files = _files(folder)
    for path in files:
        if os.path.normpath(path) in read:
            number_read += 1
            continue
        number += 1
        place = os.path.relpath(path, folder)
        top, _, rest = place.partition(os.sep)
        if rest and by_subfolder:
            subfolders[top] = subfolders.get(top, 0) + 1
        else:
            names.append(place.replace(os.sep, "/"))
    if not number:
        return ""
    for name, count in subfolders.items():
        names.append(f"{name}/ (a subfolder with {count} file{'s' * (count != 1)})")
    shown = ", ".join(short_line(name, 80) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    least = "at least " if len(files) >= _MAX_FILES else ""
    total = f"{least}{number} of {number + number_read} files"
    verb = "is" if number == 1 else "are"
    return f"{total} {verb} left out: {shown}" + (f" and {more} more" if more > 0 else "")


def _files(folder: Path) -> list[str]:
    """Files, links to folders, and folders that cannot be read, sorted within each folder."""
    found: list[str] = []
    closed: list[str] = []
    for place, folders, files in os.walk(folder, onerror=lambda e: closed.append(e.filename)):
        folders[:] = sorted(name for name in folders if not is_junk(name))
        paths = [os.path.join(place, name) for name in folders]  # noqa: PTH118
        data = [name for name in files if not is_junk(name) and not _is_companion(name)]
        paths = [path for path in paths if os.path.islink(path)]  # noqa: PTH114
        # Links are not followed: one may lead round in a circle.
        found += sorted([*paths, *(os.path.join(place, name) for name in data)])  # noqa: PTH118
        if len(found) >= _MAX_FILES:
            break
    return found + closed


def _is_companion(name: str) -> bool:
    stem, suffix = os.path.splitext(name.lower())  # noqa: PTH122
    return suffix in _COMPANIONS or stem in _COMPANION_NAMES
