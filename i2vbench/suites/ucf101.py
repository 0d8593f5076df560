"""UCF-101: real clips of 101 kinds of action, for FVD, IS and FID.

Expected layout, the one in which the data set is unpacked (crcv.ucf.edu/data/UCF101.php; the same
tree stands in the README of many loaders)::

    UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
    UCF-101/<class>/v_<class>_g<group>_c<clip>.avi

101 folders and 13,320 videos. One folder and its files differ in the case of a letter, so names are
compared without case.

The paper (ConsistI2V, arXiv 2402.04324v2, section 5.2 and appendix B.1) takes 2048 clips by the
class distribution, and for each class the prompt that PYoCo published. That table is not bundled:
without ``prompts_file`` the prompt is the class name in words, and the suite says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from i2vbench.errors import UserError
from i2vbench.sample import Suite
from i2vbench.suites.clip_sampling import ClipSampling, draw
from i2vbench.suites.importer import Importer, check_count, check_flag
from i2vbench.suites.layout import Problems, files_in, folders_in
from i2vbench.suites.manifest import suite_of_rows
from i2vbench.suites.root import Root
from i2vbench.suites.table import Row, read_table
from i2vbench.video_io import VIDEO_SUFFIXES

NUM_CLASSES = 101
NUM_VIDEOS = 13_320
_NAME = re.compile(r"v_(.+)_g\d+_c\d+", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, kw_only=True)
class UCF101Options(ClipSampling):
    """Options of ``ucf101``."""

    num_clips: int = 2048
    """Clips drawn, by the class distribution (the number of the paper)."""
    prompts_file: str | None = None
    """CSV, TSV or JSON lines with the columns ``class`` and ``prompt``, a row for every class."""
    partial: bool = False
    """Whether to go on with another number of classes or videos than UCF-101 has."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("num_clips", self.num_clips)
        check_flag("partial", self.partial)


def load(place: str, options: UCF101Options) -> Suite:
    """The suite; its categories are the classes.

    Raises:
        UserError: a wrong number of classes or videos, a file that is empty or in the folder of
            another class, or a table of prompts that does not fit.
    """
    folder = Path(place)
    if (folder / "UCF-101").is_dir():
        folder = folder / "UCF-101"
    videos = _videos(folder, options)
    prompts, notes = _prompts(list(videos), options)
    rows = []
    for name, number in shares({n: len(files) for n, files in videos.items()}, options.num_clips):
        ranked = sorted(videos[name], key=lambda path: draw(options.seed, path.stem, 2**64))
        rows += [
            Row(
                line=0,
                cells={
                    "id": path.stem,
                    "prompt": prompts[name],
                    "reference": path.relative_to(folder).as_posix(),
                    "category": name,
                },
            )
            for path in sorted(ranked[:number])
        ]
    name = "ucf101-partial" if options.partial else "ucf101"
    return replace(suite_of_rows(name, rows, folder, sampling=options), notes=notes)


def _videos(folder: Path, options: UCF101Options) -> dict[str, list[Path]]:
    """The videos of each class, checked."""
    root = Root(folder)
    advice = (
        "download or unpack what is missing, or give the option partial=true, which names the "
        "suite ucf101-partial"
    )
    with Problems(f"UCF-101 in {folder}", advice) as problems:
        videos = {path.name: files_in(path, VIDEO_SUFFIXES) for path in folders_in(folder)}
        videos = {name: files for name, files in videos.items() if files or not options.partial}
        for name, files in videos.items():
            if not files:
                problems.add(f"{name} has no videos")
            for path in files:
                found = _NAME.fullmatch(path.stem)
                if not found:
                    problems.add(f"{name}/{path.name} is not named v_{name}_g<..>_c<..>")
                elif found[1].lower() != name.lower():
                    problems.add(f"{name}/{path.name} belongs to another class")
                else:
                    problems.file(root, f"{name}/{path.name}")
        total = sum(len(files) for files in videos.values())
        if not options.partial:
            problems.expect("videos", total, NUM_VIDEOS)
            problems.expect("class folders", len(videos), NUM_CLASSES)
    if options.num_clips > total:
        raise UserError(
            f"UCF-101 in {folder}: num_clips is {options.num_clips}, there are {total} videos"
        )
    return videos


def shares(sizes: Mapping[str, int], total: int) -> list[tuple[str, int]]:
    """How many of ``total`` fall to each class: in proportion, the largest remainders rounded up.

    Args:
        sizes: the items of each class; together at least ``total``.
        total: the items wanted.

    >>> shares({"a": 6, "b": 3, "c": 1}, 5)
    [('a', 3), ('b', 2), ('c', 0)]
    """
    quotas = {name: Fraction(size * total, sum(sizes.values())) for name, size in sizes.items()}
    counts = {name: int(quota) for name, quota in quotas.items()}
    left = total - sum(counts.values())
    # Equal remainders go by name, not by the order in which a file system lists them.
    by_remainder = sorted(quotas, key=lambda name: (counts[name] - quotas[name], name))
    for name in by_remainder[:left]:
        counts[name] += 1
    return sorted(counts.items())


def words(class_name: str) -> str:
    """The class name in words.

    >>> words("ApplyEyeMakeup")
    'apply eye makeup'
    """
    return " ".join(_WORD.findall(class_name)).lower() or class_name


def _prompts(
    classes: Sequence[str], options: UCF101Options
) -> tuple[dict[str, str], tuple[str, ...]]:
    notes = ("only a part of UCF-101: compare with nothing published",) if options.partial else ()
    if options.prompts_file is None:
        note = (
            "prompts are the class names in words; papers use PYoCo's sentences: give "
            "prompts_file=FILE with the columns class,prompt"
        )
        return {name: words(name) for name in classes}, (*notes, note)
    path = Path(options.prompts_file)
    rows = read_table(path, ("class", "prompt"), required=("class", "prompt"))
    of_class: dict[str, str] = {}
    by_key = {name.lower(): name for name in classes}
    with Problems(str(path), "one row per class folder is needed") as problems:
        for row in rows:
            name = by_key.get(row.text("class").replace(" ", "").lower())
            if name is None:
                problems.add(f"line {row.line}: no folder of class {row.text('class')!r}")
            elif name in of_class:
                problems.add(f"line {row.line}: class {name!r} stands twice")
            else:
                of_class[name] = row.text("prompt")
        for name in classes:
            if name not in of_class:
                problems.add(f"no prompt for class {name!r}")
    return of_class, notes


UCF101 = Importer(
    name="ucf101", place="the folder UCF-101 of the data set", options_type=UCF101Options, load=load
)
