"""Videos that carry their prompt and take in the name, ``<prompt>-<take>.mp4``, as VBench asks.

They become a manifest, or the takes of a suite's samples. A take that is missing keeps its place
and becomes a failed row: the others never move up.
"""

from __future__ import annotations

import csv
import io
import logging
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from i2vbench.errors import UserError
from i2vbench.files import write_atomic
from i2vbench.sample import Suite
from i2vbench.suites.layout import Problems, files_in
from i2vbench.suites.left_out import left_out
from i2vbench.suites.root import Root
from i2vbench.suites.table import ids_from_names
from i2vbench.video_io import VIDEO_SUFFIXES

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(.+)-(\d{1,4})", re.DOTALL)
_MANY_TAKES = 20


def takes_by_name(folder: Path) -> dict[str, list[Path]]:
    """The videos of each prompt, take 0 first; where one is missing, the path it would have.

    Prompts may have different numbers of takes. Where no name in the folder ends with ``-0`` and
    some end with ``-1``, takes count from 1. Other files are counted and named in a warning.

    Raises:
        UserError: no videos, a name without ``-<take>``, two videos of one take, or numbers that
            are no takes (``clip-2024.mp4``), since most of them would be missing.
    """
    found: dict[str, dict[int, Path]] = {}
    root = Root(folder)
    files = files_in(folder, VIDEO_SUFFIXES)
    with Problems(f"{folder}", "names are '<prompt>-<take>.mp4', takes count from 0") as problems:
        for file in files:
            parts = _NAME.fullmatch(file.stem)
            if parts is None:
                problems.add(f"{file.name!r} ends with no take")
                continue
            try:
                file.name.encode()
                root.file(_cell(file.name))
            except UnicodeEncodeError:
                problems.add(f"{file.name!r} is no UTF-8 name; rename it")
            except ValueError as error:
                problems.add(str(error))
            # macOS lists names in another Unicode form than prompts are typed in.
            prompt = unicodedata.normalize("NFC", parts[1])
            first = found.setdefault(prompt, {}).setdefault(int(parts[2]), file)
            if first != file:
                problems.add(f"{file.name!r} and {first.name!r} are the same take")
        for prompt, takes in found.items():
            if max(takes) >= _MANY_TAKES and len(takes) <= max(takes) // 2:
                problems.add(f"{prompt!r} has {len(takes)} takes, the last is {max(takes)}")
    if not found:
        raise UserError(f"{folder} has no videos; accepted: {', '.join(VIDEO_SUFFIXES)}")
    passed_over = left_out(folder, files)
    if passed_over:
        logger.warning("%s: %s", folder, passed_over)
    start = min(1, *(min(takes) for takes in found.values()))
    if start == 1:
        logger.warning("%s: no name ends with -0; takes are counted from 1", folder)
    return {prompt: _in_order(takes, start) for prompt, takes in found.items()}


def _in_order(takes: Mapping[int, Path], start: int) -> list[Path]:
    some = next(iter(takes.values()))
    stem = some.stem.rpartition("-")[0]
    return [
        takes.get(take, some.with_name(f"{stem}-{take}{some.suffix}"))
        for take in range(start, max(takes) + 1)
    ]


def _cell(name: str) -> str:
    """The name as a table may hold it: cells are stripped, and ``C:`` would be a drive."""
    is_plain = name == name.strip() and not (name[:1].isalpha() and name[1:2] == ":")
    return name if is_plain else f"./{name}"


def takes_of_suite(folder: Path, suite: Suite) -> dict[str, list[Path]]:
    """The videos of each sample, whose names begin with its id or its prompt.

    Samples without a video are left out of the mapping; the caller says so in their rows.

    Raises:
        UserError: see :func:`takes_by_name`; or a name that fits no sample, or fits two.
    """
    by_name: dict[str, list[str]] = {}
    for sample in suite:
        for name in {sample.id, unicodedata.normalize("NFC", sample.prompt)} - {""}:
            by_name.setdefault(name, []).append(sample.id)
    videos: dict[str, list[Path]] = {}
    advice = f"names are '<prompt or id>-<take>.mp4' of suite {suite.name}"
    with Problems(f"{folder}", advice) as problems:
        for name, paths in takes_by_name(folder).items():
            ids = by_name.get(name, [])
            if len(ids) != 1:
                what = f"fits {len(ids)} samples, by id it would fit one" if ids else "is unknown"
                problems.add(f"{name!r} {what}")
            elif ids[0] in videos:
                problems.add(f"sample {ids[0]!r} has videos by its id and by its prompt")
            else:
                videos[ids[0]] = paths
    return videos


def write_manifest(folder: Path, path: Path) -> int:
    """Writes the manifest of a folder of such videos, and gives the number of its rows.

    Args:
        folder: of the videos.
        path: the manifest to write, a .csv in that folder, since paths are relative to it.

    Raises:
        UserError: see :func:`takes_by_name`; or ``path`` exists or lies elsewhere.
    """
    if path.resolve().parent != folder.resolve() or path.suffix.lower() != ".csv":
        raise UserError(f"{path}: accepted is a .csv in {folder}, to which its paths are relative")
    if path.exists():
        raise UserError(f"{path} exists; move it away, or give another name")
    takes = takes_by_name(folder)
    ids = ids_from_names([(prompt, prompt) for prompt in takes])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "prompt", "video"))
    for sample_id, (prompt, paths) in zip(ids, takes.items(), strict=True):
        writer.writerows((sample_id, prompt, _cell(video.name)) for video in paths)
    write_atomic(path, text.getvalue())
    return sum(len(paths) for paths in takes.values())
