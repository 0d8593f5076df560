"""Manifests: a suite, or videos to score, written down as CSV or JSON lines.

Columns: ``id`` (names the files of the sample's takes), ``prompt``, ``image`` (the first frame),
``reference`` (the real clip; without ``image`` its first frame is the condition), ``category``,
and ``video`` (what ``i2vbench score`` scores; a suite does not read it). Any other column is kept.
Files are named relative to the manifest's folder and lie inside it.

A malformed manifest stops the command. A file that is missing or damaged does not: the sample's
loader raises, and the run records a failed row.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from i2vbench.clip import Clip, Geometry, Picture
from i2vbench.errors import UserError
from i2vbench.files import file_sha256
from i2vbench.fingerprint import fingerprint
from i2vbench.pictures import read_picture
from i2vbench.sample import Sample, Suite, check_id
from i2vbench.suites.clip_sampling import ClipSampling, SampledClip, SampledFirstFrame
from i2vbench.suites.table import (
    TABLE_SUFFIXES,
    Mistakes,
    Root,
    Row,
    ids_from_names,
    read_table,
)
from i2vbench.video_io import VIDEO_SUFFIXES, read_video

COLUMNS = ("id", "prompt", "image", "reference", "category", "video")
MANIFEST_NAMES = tuple(f"manifest{suffix}" for suffix in TABLE_SUFFIXES)

_EDGE_BYTES = 2**20
_VIDEOS = "videos"


def load_manifest(path: Path) -> Suite:
    """The suite of a manifest; named after its folder, or after the file if that has a name.

    ``content_sha256`` covers every column but ``video``, the order of the rows, the bytes of the
    pictures, and of each reference clip the size and the first and last MiB (a hash of whole videos
    would read the data set twice). File names are not in it: a renamed file is the same sample.

    Raises:
        UserError: a malformed manifest; the first five mistakes are named by line.
    """
    rows = read_table(path, COLUMNS, required=("id",))
    mistakes = Mistakes(path)
    root = Root(path.parent)
    first_lines: dict[str, int] = {}
    for row in rows:
        _check_row(row, root, mistakes)
        key = row.text("id").lower()
        if key in first_lines:
            mistakes.add(
                row.line, f"id {row.text('id')!r} stands on line {first_lines[key]} already"
            )
        first_lines.setdefault(key, row.line)
        if not any(column in row.cells for column in ("prompt", "image", "reference")):
            mistakes.add(row.line, "lacks 'prompt', 'image' and 'reference'; one is needed")
    mistakes.check()
    name = path.resolve().parent.name if path.name in MANIFEST_NAMES else path.stem
    return suite_of_rows(name, rows, path.parent)


def find_manifest(folder: Path) -> Path | None:
    """The manifest of a folder; None where it has none.

    Raises:
        UserError: it has several.
    """
    found = [folder / name for name in MANIFEST_NAMES if (folder / name).is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise UserError(f"{folder} has {names}; keep one, or name the one you mean")
    return found[0] if found else None


def videos_of(path: Path) -> tuple[Suite, Mapping[str, list[Path]]]:
    """The samples of a folder of videos, or of a manifest, and the videos (takes) of each.

    With a manifest, rows of one id are the takes of one sample and agree in all but ``video``.
    Without, each video of the folder is a sample without prompt, its id made of the file name. The
    suite is named after its content, so that the same samples made by two models compare.

    Raises:
        UserError: no video there, or a malformed manifest.
    """
    if path.is_dir():
        manifest = find_manifest(path)
        return _bare_folder(path) if manifest is None else _listed_videos(manifest)
    if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        return _listed_videos(path)
    what = "is no manifest" if path.exists() else "does not exist"
    raise UserError(
        f"{path} {what}; accepted: a folder of videos, or a manifest ({', '.join(TABLE_SUFFIXES)})"
    )


def suite_of_rows(
    name: str,
    rows: Sequence[Row],
    root: Path,
    *,
    sampling: ClipSampling | None = None,
    also: Mapping[str, object] | None = None,
) -> Suite:
    """The suite of checked rows.

    Args:
        name: of the suite.
        rows: with columns of :data:`COLUMNS` and others, which are kept.
        root: the folder in which their files lie.
        sampling: how reference clips are cut from their videos; None for whole videos.
        also: what else defines the samples, for the content hash.
    """
    content: dict[str, object] = {"rows": [_content(row, root) for row in rows]}
    if sampling is not None:
        content["sampling"] = sampling.spec()
    content |= also or {}
    content_sha256 = fingerprint(content)
    return Suite(
        name=name,
        version=content_sha256[:8],
        samples=[_sample(row, root, sampling) for row in rows],
        content_sha256=content_sha256,
        sampling={} if sampling is None else sampling.spec(),
        drawn=sampling is not None and sampling.drawn,
    )


def _listed_videos(manifest: Path) -> tuple[Suite, dict[str, list[Path]]]:
    root = Root(manifest.parent)
    rows = read_table(manifest, COLUMNS, required=("id", "video"))
    mistakes = Mistakes(manifest)
    samples: dict[str, Row] = {}
    videos: dict[str, list[Path]] = {}
    for row in rows:
        _check_row(row, root, mistakes)
        first = samples.setdefault(row.text("id"), row)
        differing = sorted(
            column
            for column in {*first.cells, *row.cells} - {"video"}
            if first.cells.get(column) != row.cells.get(column)
        )
        if differing:
            mistakes.add(
                row.line,
                f"id {row.text('id')!r} stands on line {first.line} with another "
                f"{', '.join(differing)}; takes of a sample differ in 'video' alone",
            )
        videos.setdefault(row.text("id"), []).append(root.folder / row.text("video"))
    mistakes.check()
    return _named_by_content(suite_of_rows(_VIDEOS, list(samples.values()), root.folder)), videos


def _bare_folder(folder: Path) -> tuple[Suite, dict[str, list[Path]]]:
    files = sorted(
        file
        for file in folder.iterdir()
        # macOS leaves "._clip.mp4" beside files on foreign disks.
        if file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".")
    )
    if not files:
        raise UserError(
            f"{folder} has no videos; looked in it (not in its subfolders) for "
            f"{', '.join(VIDEO_SUFFIXES)} and for {', '.join(MANIFEST_NAMES)}"
        )
    ids = ids_from_names([(file.stem, file.name) for file in files])
    rows = [Row(line=0, cells={"id": sample_id}) for sample_id in ids]
    suite = _named_by_content(suite_of_rows(_VIDEOS, rows, folder))
    return suite, {sample_id: [file] for sample_id, file in zip(ids, files, strict=True)}


def is_made_of_videos(suite_name: str) -> bool:
    """Whether :func:`videos_of` made the suite of that name."""
    return suite_name.startswith(f"{_VIDEOS}-")


def _named_by_content(suite: Suite) -> Suite:
    return dataclasses.replace(suite, name=f"{suite.name}-{suite.version}")


def _check_row(row: Row, root: Root, mistakes: Mistakes) -> None:
    try:
        check_id(row.text("id"))
    except UserError as error:
        mistakes.add(row.line, str(error))
    for column in ("image", "reference", "video"):
        if column in row.cells:
            try:
                root.file(row.text(column))
            except ValueError as error:
                mistakes.add(row.line, f"{column} {error}")


def _content(row: Row, root: Path) -> dict[str, object]:
    """All of a row that makes the sample what it is."""
    content: dict[str, object] = {
        column: value for column, value in row.cells.items() if column != "video"
    }
    if "image" in row.cells:
        image = root / row.text("image")
        content["image"] = file_sha256(image) if image.is_file() else "missing"
    if "reference" in row.cells:
        content["reference"] = edges_sha256(root / row.text("reference"))
    return content


def edges_sha256(path: Path) -> str:
    """Hash of a file's size and of its first and last MiB; ``missing`` where there is none."""
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    digest = hashlib.sha256(f"{size}\x00".encode())
    with path.open("rb") as file:
        digest.update(file.read(_EDGE_BYTES))
        file.seek(max(_EDGE_BYTES, size - _EDGE_BYTES))
        digest.update(file.read())
    return digest.hexdigest()


def _sample(row: Row, root: Path, sampling: ClipSampling | None) -> Sample:
    image = root / row.text("image") if "image" in row.cells else None
    reference = root / row.text("reference") if "reference" in row.cells else None
    first_frame: Callable[[Geometry], Picture] | None = None
    clip: Callable[[Geometry], Clip] | None = None
    if reference is not None and sampling is not None:
        clip = SampledClip(reference, row.text("id"), sampling)
        first_frame = SampledFirstFrame(reference, row.text("id"), sampling)
    elif reference is not None:
        clip, first_frame = _ClipFile(reference), _FirstFrameOf(reference)
    if image is not None:
        first_frame = PictureFile(image)
    return Sample(
        id=row.text("id"),
        prompt=row.text("prompt"),
        load_first_frame=first_frame,
        load_reference=clip,
        category=row.text("category"),
        extra={column: value for column, value in row.cells.items() if column not in COLUMNS},
    )


class _File:
    """A loader that pickles, so that samples travel to workers."""

    def __init__(self, path: Path) -> None:
        # Workers may have another current directory.
        self.path = path.absolute()


class PictureFile(_File):
    """A picture on disk, in its own size."""

    def __call__(self, geometry: Geometry) -> Picture:
        """Reads it."""
        return read_picture(self.path)


class _ClipFile(_File):
    def __call__(self, geometry: Geometry) -> Clip:
        return read_video(self.path)


class _FirstFrameOf(_File):
    def __call__(self, geometry: Geometry) -> Picture:
        picture: Picture = read_video(self.path, max_frames=1).frames[0]
        return picture
