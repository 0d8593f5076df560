"""Manifests: a suite, or videos to score, written down as CSV or JSON lines.

Columns: ``id`` (names the files of the sample's takes), ``prompt``, ``image`` (the first frame),
``reference`` (the real clip; without ``image`` its first frame is the condition), ``category``,
and ``video`` (what ``i2vbench score`` scores; a suite does not read it). Any other column is kept.
Files are named relative to the manifest's folder and lie inside it.

A malformed manifest stops the command. A file that is missing or damaged does not: the sample's
loader raises, and the run records a failed row.
"""

from __future__ import annotations

import codecs
import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from i2vbench.clip import Clip, Geometry, Picture
from i2vbench.errors import UserError
from i2vbench.files import file_sha256
from i2vbench.fingerprint import fingerprint
from i2vbench.pictures import read_picture
from i2vbench.sample import Sample, Suite, check_id
from i2vbench.suites.clip_sampling import ClipSampling, SampledClip, SampledFirstFrame
from i2vbench.suites.layout import is_junk
from i2vbench.suites.left_out import left_out
from i2vbench.suites.root import Root
from i2vbench.suites.table import (
    FOUND_SUFFIXES,
    TABLE_SUFFIXES,
    Mistakes,
    Row,
    ids_from_names,
    read_table,
)
from i2vbench.video_io import VIDEO_SUFFIXES, read_video

logger = logging.getLogger(__name__)

COLUMNS = ("id", "prompt", "image", "reference", "category", "video")
MANIFEST_NAMES = tuple(f"manifest{suffix}" for suffix in FOUND_SUFFIXES)

_EDGE_BYTES = 2**20
EDGES_ARE_ALL_BYTES = 2 * _EDGE_BYTES
"""The size up to which :func:`edges_sha256` covers a file in full."""
_MISSING = "missing"
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
    array = folder / "manifest.json"
    if not found and array.is_file() and _is_array(array):
        return array
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise UserError(f"{folder} has {names}; keep one, or name the one you mean")
    return found[0] if found else None


def _is_array(path: Path) -> bool:
    """Whether a JSON file begins as a table does: others of the name describe web pages."""
    try:
        with path.open("rb") as file:
            return file.read(200).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def videos_of(path: Path) -> tuple[Suite, Mapping[str, list[Path]]]:
    """The samples of a folder of videos, or of a manifest, and the videos (takes) of each.

    With a manifest, rows of one id are the takes of one sample and agree in all but ``video``.
    Samples may have different numbers of takes. Without, each video of the folder is a sample
    without prompt, its id made of the file name; what else lies there is counted in a warning. The
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
        root: the folder in which their files lie; none of another folder is opened.
        sampling: how reference clips are cut from their videos; None for whole videos.
        also: what else defines the samples, for the content hash.

    Raises:
        UserError: a row names a file outside ``root``.
    """
    files = _Files(root)
    content: dict[str, object] = {"rows": [_content(row, files) for row in rows]}
    if sampling is not None:
        content["sampling"] = sampling.spec()
    content |= also or {}
    content_sha256 = fingerprint(content)
    return Suite(
        name=name,
        version=content_sha256[:8],
        samples=[_sample(row, files, sampling) for row in rows],
        content_sha256=content_sha256,
        sampling={} if sampling is None else sampling.spec(),
        drawn=sampling is not None and sampling.drawn,
    )


def _listed_videos(manifest: Path) -> tuple[Suite, dict[str, list[Path]]]:
    root = Root(manifest.parent)
    rows = read_table(manifest, COLUMNS, required=("id", "video"))
    mistakes = Mistakes(manifest)
    samples: dict[str, Row] = {}
    takes: dict[str, list[str]] = {}
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
        takes.setdefault(row.text("id"), []).append(row.text("video"))
    mistakes.check()
    videos = {sample_id: [root.file(name) for name in names] for sample_id, names in takes.items()}
    return _named_by_content(suite_of_rows(_VIDEOS, list(samples.values()), root.folder)), videos


def _bare_folder(folder: Path) -> tuple[Suite, dict[str, list[Path]]]:
    files = sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in VIDEO_SUFFIXES and not is_junk(file.name) and not file.is_dir()
    )
    if not files:
        raise UserError(
            f"{folder} has no videos; looked in it (not in its subfolders) for "
            f"{', '.join(VIDEO_SUFFIXES)} and for {', '.join(MANIFEST_NAMES)}"
        )
    passed_over = left_out(folder, files)
    if passed_over:
        logger.warning("%s: %s", folder, passed_over)
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


class _Files:
    """The files of a suite's rows, each hashed once."""

    def __init__(self, folder: Path) -> None:
        self._root = Root(folder)
        self._digests: dict[tuple[Path, bool], str] = {}

    def path(self, row: Row, column: str) -> Path | None:
        """Where the file of a cell lies; None where the cell is not filled."""
        if column not in row.cells:
            return None
        try:
            return self._root.file(row.text(column))
        except ValueError as error:
            raise UserError(f"sample {row.text('id')!r}: {column} {error}") from error

    def sha256(self, picture: Path) -> str:
        """Of all bytes; ``missing`` or ``unreadable`` where there are none."""
        return self._digest(picture, whole=True)

    def edges_sha256(self, video: Path) -> str:
        """As :func:`edges_sha256`; ``unreadable`` where that fails."""
        return self._digest(video, whole=False)

    def _digest(self, path: Path, *, whole: bool) -> str:
        key = (path, whole)
        if key not in self._digests:
            try:
                exists = path.is_file()
                read = file_sha256 if whole else edges_sha256
                self._digests[key] = read(path) if exists else _MISSING
            except OSError:
                # The sample's loader says why, and its sample is the only one that fails.
                self._digests[key] = "unreadable"
        return self._digests[key]


def _content(row: Row, files: _Files) -> dict[str, object]:
    """All of a row that makes the sample what it is."""
    content: dict[str, object] = {
        column: value for column, value in row.cells.items() if column != "video"
    }
    image, reference = files.path(row, "image"), files.path(row, "reference")
    if image is not None:
        content["image"] = files.sha256(image)
    if reference is not None:
        content["reference"] = files.edges_sha256(reference)
    return content


def edges_sha256(path: Path) -> str:
    """Hash of a file's size and of its first and last MiB; ``missing`` where there is none."""
    if not path.is_file():
        return _MISSING
    size = path.stat().st_size
    digest = hashlib.sha256(f"{size}\x00".encode())
    with path.open("rb") as file:
        digest.update(file.read(_EDGE_BYTES))
        file.seek(max(_EDGE_BYTES, size - _EDGE_BYTES))
        digest.update(file.read())
    return digest.hexdigest()


def reference_key(edges: str, sample_id: str, sampling: ClipSampling | None) -> str:
    """What tells one reference clip from another: its file, and which frames are cut from it.

    Of a file of more than 2 MiB only the size and both ends are hashed, as for the content of a
    suite: a video that is written anew differs there (containers hold the sizes and places of all
    frames at an end), and a data set of real videos would otherwise be read in full by each
    command, ``check`` and ``list`` included. Bytes changed in place between the ends, the size and
    the index left as they were, are not noticed.

    Args:
        edges: what :func:`edges_sha256` gave.
        sample_id: decides where a random clip starts, and nothing else.
        sampling: how the clip is cut; None for a whole video.
    """
    key: dict[str, object] = {"reference": edges}
    if sampling is not None:
        key["sampling"] = sampling.spec()
        if sampling.clip == "random":
            key["id"] = sample_id
    return fingerprint(key)


def _sample(row: Row, files: _Files, sampling: ClipSampling | None) -> Sample:
    image, reference = files.path(row, "image"), files.path(row, "reference")
    first_frame: Callable[[Geometry], Picture] | None = None
    clip: Callable[[Geometry], Clip] | None = None
    picture_key = clip_key = ""
    if reference is not None:
        clip_key = reference_key(files.edges_sha256(reference), row.text("id"), sampling)
        picture_key = fingerprint({"first_frame_of": clip_key})
        if sampling is None:
            clip, first_frame = _ClipFile(reference), _FirstFrameOf(reference)
        else:
            clip = SampledClip(reference, row.text("id"), sampling)
            first_frame = SampledFirstFrame(reference, row.text("id"), sampling)
    if image is not None:
        first_frame, picture_key = PictureFile(image), files.sha256(image)
    return Sample(
        id=row.text("id"),
        prompt=row.text("prompt"),
        load_first_frame=first_frame,
        load_reference=clip,
        category=row.text("category"),
        extra={column: value for column, value in row.cells.items() if column not in COLUMNS},
        picture_key=picture_key,
        reference_key=clip_key,
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
