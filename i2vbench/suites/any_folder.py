"""Any folder of pictures and videos as a suite, subfolders included.

A video is a reference clip, a picture a first frame; of one folder and stem (``fox.png``,
``fox.mp4``) they are one sample. ``fox.txt`` beside them holds the prompt, and the subfolder is the
category. Either every sample has its ``.txt``, or none has a prompt.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

from i2vbench.errors import UserError
from i2vbench.pictures import PICTURE_SUFFIXES
from i2vbench.sample import Suite
from i2vbench.suites.clip_sampling import ClipSampling
from i2vbench.suites.importer import Importer
from i2vbench.suites.layout import Problems, is_junk
from i2vbench.suites.left_out import left_out
from i2vbench.suites.manifest import suite_of_rows
from i2vbench.suites.root import Root
from i2vbench.suites.table import Row, Value, ids_from_names
from i2vbench.video_io import VIDEO_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class FolderOptions(ClipSampling):
    """Options of ``folder``: how real clips are cut."""

    clip: str = "first"
    num_frames: int | str = "model"
    stride: int = 1
    size: int | str = "native"


def load(place: str, options: FolderOptions) -> Suite:
    """The suite, named after the folder, in the order of paths; a note names what is left out.

    Raises:
        UserError: no pictures or videos, empty files, two of one kind and stem, or prompts for some
            of the samples alone.
    """
    folder = Path(place)
    if not folder.is_dir():
        raise UserError(f"suite folder: {folder} is no folder; a table is given as table:{folder}")
    root = Root(folder)
    found: dict[str, dict[str, Value]] = {}
    silent: list[str] = []
    taken: list[Path] = []
    with Problems(f"folder {folder}") as problems:
        for file in _files(folder):
            # A GIF moves.
            is_video = file.suffix.lower() in VIDEO_SUFFIXES
            if not is_video and file.suffix.lower() not in PICTURE_SUFFIXES:
                continue
            name = file.relative_to(folder).as_posix()
            taken.append(file)
            if not name.isprintable() and any("\ud800" <= c <= "\udfff" for c in name):
                problems.add(f"{name!r} is no UTF-8 name; rename it")
                continue
            problems.file(root, name)
            column = "reference" if is_video else "image"
            cells = found.setdefault(str(Path(name).with_suffix("").as_posix()), {})
            if column in cells:
                problems.add(f"{name} and {cells[column]} would be one sample; rename one")
            cells[column] = name
        for stem, cells in found.items():
            category = Path(stem).parent.as_posix()
            if category != ".":
                cells["category"] = category
            prompt = _prompt(root, f"{stem}.txt", problems)
            if prompt:
                cells["prompt"] = prompt
            else:
                silent.append(f"{stem}.txt")
        if 0 < len(silent) < len(found):
            for name in silent:
                problems.add(f"{name} is missing or empty, while other samples have a prompt")
    if not found:
        kinds = ", ".join((*VIDEO_SUFFIXES, *PICTURE_SUFFIXES))
        raise UserError(f"suite folder: {folder} has no videos or pictures; accepted: {kinds}")
    ids = ids_from_names([(Path(stem).name, stem) for stem in found])
    rows = [
        Row(line=0, cells={"id": sample_id, **cells})
        for sample_id, cells in zip(ids, found.values(), strict=True)
    ]
    suite = suite_of_rows(folder.resolve().name, rows, folder, sampling=options)
    line = left_out(folder, taken, by_subfolder=False)
    return dataclasses.replace(suite, notes=(line,) if line else ())


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_junk(name)]
        found += [Path(place) / name for name in files if not is_junk(name)]
    return sorted(found)


def _prompt(root: Root, name: str, problems: Problems) -> str:
    try:
        path = root.file(name)
        return path.read_text(encoding="utf-8-sig").strip() if path.is_file() else ""
    except UnicodeDecodeError:
        problems.add(f"{name} is not UTF-8")
    except (ValueError, OSError) as error:
        problems.add(str(error))
    return ""


FOLDER = Importer(
    name="folder",
    place="a folder of pictures or videos",
    options_type=FolderOptions,
    load=load,
)
