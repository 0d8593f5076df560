"""MSR-VTT: the 2,990 test videos with one caption each, for FVD and CLIPSIM.

Expected layout: ``test_videodatainfo.json`` of the data set, and its videos ``video<number>.mp4``
in the same folder or in ``TestVideo/`` or ``videos/``. The JSON is an object with the lists
``videos`` (``video_id``, ``category``, ``split``) and ``sentences`` (``video_id``, ``sen_id``,
``caption``), as the data set's own readme.txt describes it; file and folder names are those that
public loaders use. Categories are numbers, as there; their names stand in ``category.txt``, which
is not read.

The paper (ConsistI2V, arXiv 2402.04324v2, section 5.2 and appendix B.1) takes the official test
split and draws one caption per video. Which ones is not published: here the seed and the id decide.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2vbench.errors import UserError
from i2vbench.json_text import parse_json
from i2vbench.sample import Suite
from i2vbench.suites.clip_sampling import ClipSampling, draw
from i2vbench.suites.importer import Importer, check_flag
from i2vbench.suites.layout import Problems
from i2vbench.suites.manifest import suite_of_rows
from i2vbench.suites.root import Root
from i2vbench.suites.table import Row

NUM_VIDEOS = 2990
ANNOTATIONS = "test_videodatainfo.json"
_VIDEO_FOLDERS = (".", "TestVideo", "videos")


@dataclass(frozen=True, kw_only=True)
class MSRVTTOptions(ClipSampling):
    """Options of ``msrvtt``."""

    annotations: str = ANNOTATIONS
    """The JSON, relative to the folder; of one that holds all splits, the test split is read."""
    videos: str | None = None
    """The folder of the videos, relative to the folder; None to look in the usual ones."""
    partial: bool = False
    """Whether to go on with another number of videos than the test split has."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("partial", self.partial)


def load(place: str, options: MSRVTTOptions) -> Suite:
    """The suite, in the order of the JSON.

    Raises:
        UserError: no JSON or another one, a wrong number of videos, missing or empty files, or
            videos without a caption.
    """
    folder = Path(place)
    root = Root(folder)
    table = _inside(root, options.annotations, "annotations")
    videos, captions = _read(table)
    where = _video_folder(root, options, [str(video["video_id"]) for video in videos])
    rows = []
    advice = (
        "download what is missing, or give the option partial=true, which leaves out the missing "
        "videos and names the suite msrvtt-partial"
    )
    with Problems(f"MSR-VTT in {folder}", advice) as problems:
        for line, video in enumerate(videos, start=1):
            video_id = str(video["video_id"])
            said = captions.get(video_id, [])
            name = f"{where}/{video_id}.mp4"
            if not said:
                problems.add(f"{video_id} has no caption")
                continue
            if options.partial and not (folder / name).exists():
                continue
            problems.file(root, name)
            cells: dict[str, str | int | float] = {
                "id": video_id,
                "prompt": said[draw(options.seed, f"{video_id}\x00caption", len(said))],
                "reference": name,
                "category": str(video.get("category", "")),
            }
            rows.append(Row(line=line, cells={k: v for k, v in cells.items() if v != ""}))
        if not options.partial:
            problems.expect("test videos in the JSON", len(videos), NUM_VIDEOS)
    if not rows:
        raise UserError(f"MSR-VTT in {folder}: not one of {len(videos)} test videos is there")
    if not options.partial:
        return suite_of_rows("msrvtt", rows, folder, sampling=options)
    note = f"{len(rows)} of {NUM_VIDEOS} test videos: compare with nothing published"
    suite = suite_of_rows("msrvtt-partial", rows, folder, sampling=options)
    return dataclasses.replace(suite, notes=(note,))


def _inside(root: Root, name: str, option: str) -> Path:
    try:
        path = root.file(name)
    except ValueError as error:
        raise UserError(f"suite msrvtt: {option}: {error}") from error
    if not path.exists():
        raise UserError(
            f"suite msrvtt: {path} is missing; give the folder that holds it, or its name there as "
            f"the option {option}=NAME"
        )
    return path


def _video_folder(root: Root, options: MSRVTTOptions, ids: list[str]) -> str:
    if options.videos is not None:
        _inside(root, options.videos, "videos")
        return options.videos
    for name in _VIDEO_FOLDERS:
        if any((root.folder / name / f"{video_id}.mp4").exists() for video_id in ids[:50]):
            return name
    return _VIDEO_FOLDERS[0]


def _read(path: Path) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """The test videos, and the captions of each by ``sen_id``."""
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        videos = [v for v in data["videos"] if v.get("split", "test") == "test"]
        ids = [video["video_id"] for video in videos]
        sentences = sorted(
            (str(s["video_id"]), int(s["sen_id"]), str(s["caption"]).strip())
            for s in data["sentences"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not MSR-VTT's JSON ({type(error).__name__}: {error}); accepted is an "
            "object with the lists 'videos' and 'sentences'"
        ) from error
    if not ids or len(set(ids)) != len(ids):
        what = "video ids that stand twice" if ids else "no videos of the split 'test'"
        raise UserError(f"{path} has {what}; give {ANNOTATIONS} of the data set")
    captions: dict[str, list[str]] = {}
    for video_id, _, caption in sentences:
        if caption:
            captions.setdefault(video_id, []).append(caption)
    return videos, captions


MSRVTT = Importer(
    name="msrvtt",
    place=f"the folder with {ANNOTATIONS} and the test videos",
    options_type=MSRVTTOptions,
    load=load,
)
