"""VBench-I2V: 1,118 prompts for 355 pictures, cut to the model's ratio; 5 clips of each.

Layout and contents as read in Vchitect/VBench (45e79ec, ``vbench2_beta_i2v``): its
``vbench2_i2v_full_info.json`` is a list of objects with ``prompt_en``, ``dimension`` (a list),
``image_type`` and ``image_name``; its ``download_data.sh`` unpacks the pictures to ``data/crop``
and ``data/origin``; each folder of ``data/crop`` is a ratio, written ``16-9``. Its
``crop_to_diff_ratio.py`` makes further ratios, by default in ``data/target_crop``. The place is
that folder, or one with the JSON and ``crop/`` in it.

1,118 prompts: one for each of 355 pictures, and 7 more, a camera motion each, for the 109 pictures
of backgrounds. A model gets the pictures of the ratio nearest to its own.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from i2vbench.clip import Geometry, Picture
from i2vbench.errors import UserError
from i2vbench.files import file_sha256
from i2vbench.fingerprint import fingerprint
from i2vbench.json_text import parse_json
from i2vbench.pictures import read_picture
from i2vbench.sample import Suite
from i2vbench.suites.importer import Importer, SuiteOptions, check_flag
from i2vbench.suites.layout import Problems, folders_in
from i2vbench.suites.manifest import EDGES_ARE_ALL_BYTES, edges_sha256, suite_of_rows
from i2vbench.suites.root import Root
from i2vbench.suites.table import Row, ids_from_names

INFO = "vbench2_i2v_full_info.json"
RATIOS = ("1-1", "8-5", "7-4", "16-9")
NUM_PROMPTS, NUM_PICTURES, NUM_CAMERA_PROMPTS = 1118, 355, 763
NUM_TAKES = 5
CAMERA_MOTIONS = {
    "camera pans left": "pan_left",
    "camera pans right": "pan_right",
    "camera tilts up": "tilt_up",
    "camera tilts down": "tilt_down",
    "camera zooms in": "zoom_in",
    "camera zooms out": "zoom_out",
    "camera static": "static",
}
_RATIO = re.compile(r"([1-9]\d*)-([1-9]\d*)")
_CROP_FOLDERS = ("data/crop", "crop", "data/target_crop", "target_crop")


@dataclass(frozen=True, kw_only=True)
class VBenchI2VOptions(SuiteOptions):
    """Options of ``vbench-i2v``."""

    ratio: str = "auto"
    """Width to height of the pictures, e.g. ``16-9``; ``auto`` for the published one nearest to
    the model's."""
    partial: bool = False
    """Whether to go on with other counts than the published ones, and without missing pictures."""

    def __post_init__(self) -> None:
        if self.ratio != "auto" and not (
            isinstance(self.ratio, str) and _RATIO.fullmatch(self.ratio)
        ):
            raise ValueError(f"ratio is {self.ratio!r}; accepted: auto, {', '.join(RATIOS)}, ...")
        check_flag("partial", self.partial)


def load(place: str, options: VBenchI2VOptions) -> Suite:
    """The suite, in the order of the JSON; ``extra`` has ``dimensions`` and ``camera_motion``.

    Raises:
        UserError: no JSON or another one, no pictures of the ratio, a wrong number of prompts or
            pictures, missing or empty files.
    """
    folder = Path(place)
    root = Root(folder)
    entries = _read(folder)
    crops = _crops(folder, options)
    advice = (
        "run VBench's download_data.sh again, or give the option partial=true, which leaves out "
        "what is missing and names the suite vbench-i2v-partial"
    )
    with Problems(f"VBench-I2V in {folder}", advice) as problems:
        if options.partial:
            entries = [e for e in entries if all((p / e["image_name"]).is_file() for p in crops)]
        for name in sorted({str(entry["image_name"]) for entry in entries}):
            for crop in crops:
                problems.file(root, (crop / name).relative_to(folder).as_posix())
        if not options.partial:
            _expect_counts(problems, entries)
    if not entries:
        raise UserError(f"VBench-I2V in {folder}: not one of its pictures is there")
    return _suite(folder, entries, crops, options)


def _expect_counts(problems: Problems, entries: Sequence[Mapping[str, str]]) -> None:
    moving = sum("camera_motion" in entry["dimensions"].split() for entry in entries)
    problems.expect("prompts of camera motion", moving, NUM_CAMERA_PROMPTS)
    pictures = len({entry["image_name"] for entry in entries})
    problems.expect("pictures in the JSON", pictures, NUM_PICTURES)
    problems.expect("prompts", len(entries), NUM_PROMPTS)


def _suite(
    folder: Path,
    entries: Sequence[Mapping[str, str]],
    crops: Sequence[Path],
    options: VBenchI2VOptions,
) -> Suite:
    ids = ids_from_names([(entry["prompt_en"], entry["prompt_en"]) for entry in entries])
    rows = []
    for line, (sample_id, entry) in enumerate(zip(ids, entries, strict=True), start=1):
        cells: dict[str, str | int | float] = {
            "id": sample_id,
            "prompt": entry["prompt_en"],
            "category": entry["image_type"],
            "image_name": entry["image_name"],
            "dimensions": entry["dimensions"],
        }
        if entry["camera_motion"]:
            cells["camera_motion"] = entry["camera_motion"]
        rows.append(Row(line=line, cells=cells))
    names = sorted({entry["image_name"] for entry in entries})
    pictures = {crop.name: {name: edges_sha256(crop / name) for name in names} for crop in crops}
    # Which ratio is shown depends on the asked size, which is another part of a clip's identity.
    keys = {
        name: fingerprint(
            {"pictures": {c.name: _sha256(c / name, pictures[c.name][name]) for c in crops}}
        )
        for name in names
    }
    name = "vbench-i2v-partial" if options.partial else "vbench-i2v"
    suite = suite_of_rows(name, rows, folder, also={"pictures": pictures})
    samples = []
    for sample, entry in zip(suite, entries, strict=True):
        cut = RatioPicture({crop.name: crop / entry["image_name"] for crop in crops})
        key = keys[entry["image_name"]]
        samples.append(dataclasses.replace(sample, load_first_frame=cut, picture_key=key))
    part = f"{len(rows)} of {NUM_PROMPTS} prompts: compare with nothing published"
    return dataclasses.replace(
        suite, samples=samples, num_takes=NUM_TAKES, notes=(part,) if options.partial else ()
    )


def _sha256(path: Path, edges: str) -> str:
    """Hash of all bytes, which ``edges`` is for files that end before its two parts part."""
    return edges if path.stat().st_size <= EDGES_ARE_ALL_BYTES else file_sha256(path)


class RatioPicture:
    """The picture cut to the ratio that is nearest to the asked size, in its own size."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        """Takes the same picture by ratio, ``{"16-9": ...}``."""
        self.paths = {ratio: path.absolute() for ratio, path in paths.items()}

    def __call__(self, geometry: Geometry) -> Picture:
        """Reads it."""
        ratio = nearest_ratio(tuple(self.paths), geometry.width, geometry.height)
        return read_picture(self.paths[ratio])


def nearest_ratio(ratios: Sequence[str], width: int, height: int) -> str:
    """The one of ``ratios`` of which ``width`` to ``height`` is least far, as a factor.

    >>> nearest_ratio(RATIOS, 512, 320)
    '8-5'
    """

    def distance(ratio: str) -> float:
        across, down = ratio.split("-")
        return abs(math.log(int(across) / int(down)) - math.log(width / height))

    return min(ratios, key=distance)


def _crops(folder: Path, options: VBenchI2VOptions) -> list[Path]:
    found: dict[str, Path] = {}
    for name in _CROP_FOLDERS:
        for path in folders_in(folder / name) if (folder / name).is_dir() else ():
            if _RATIO.fullmatch(path.name):
                found.setdefault(path.name, path)
    wanted = RATIOS if options.ratio == "auto" else (options.ratio,)
    absent = [ratio for ratio in wanted if ratio not in found]
    if absent:
        raise UserError(
            f"VBench-I2V in {folder}: no pictures of ratio {', '.join(absent)} in data/crop or "
            f"crop (there: {', '.join(sorted(found)) or 'none'}); run VBench's download_data.sh, "
            "or choose one with the option ratio=RATIO"
        )
    return [found[ratio] for ratio in wanted]


def _read(folder: Path) -> list[dict[str, str]]:
    path = folder / INFO
    if not path.is_file():
        raise UserError(
            f"VBench-I2V: {path} is missing; give the folder vbench2_beta_i2v of VBench, or one "
            f"with {INFO} and crop/"
        )
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(data, list):
            raise TypeError("no list")
        entries = [
            {
                "prompt_en": str(entry["prompt_en"]).strip(),
                "image_name": str(entry["image_name"]),
                "image_type": str(entry.get("image_type", "")),
                "dimensions": " ".join(entry["dimension"]),
                "camera_motion": _camera_motion(entry),
            }
            for entry in data
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not VBench's JSON ({type(error).__name__}: {error}); accepted is a list of "
            "objects with 'prompt_en', 'image_name' and 'dimension'"
        ) from error
    with Problems(str(path)) as problems:
        seen: set[str] = set()
        for entry in entries:
            name = entry["image_name"]
            if name != Path(name).name or "\\" in name or name in ("", ".", ".."):
                problems.add(f"image_name {name!r} is no file name")
            if not entry["prompt_en"] or entry["prompt_en"] in seen:
                problems.add(f"prompt {entry['prompt_en']!r} is empty or stands twice")
            seen.add(entry["prompt_en"])
    return entries


def _camera_motion(entry: Mapping[str, object]) -> str:
    """The motion that the prompt asks for; only prompts of that dimension ask."""
    if "camera_motion" not in list(entry["dimension"]):  # type: ignore[call-overload]
        return ""
    tail = str(entry["prompt_en"]).rpartition(", ")[2].strip()
    if tail not in CAMERA_MOTIONS:
        raise ValueError(f"{tail!r} is no camera motion")
    return CAMERA_MOTIONS[tail]


VBENCH_I2V = Importer(
    name="vbench-i2v",
    place="the folder vbench2_beta_i2v of VBench, its pictures downloaded",
    options_type=VBenchI2VOptions,
    load=load,
)
