"""Any data set of the Hugging Face hub as a suite, through the package ``datasets``.

Pictures and videos are taken as the bytes that they are stored as, never decoded by ``datasets``,
and laid into the cache under their hash; a file is named only where ``datasets`` put it. Versions
before 4 could run a script that the data set brings: they are refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from i2vbench.errors import UserError, did_you_mean
from i2vbench.files import write_atomic
from i2vbench.pictures import PICTURE_SUFFIXES
from i2vbench.sample import Suite
from i2vbench.suites.any_table import MEANINGS, TableOptions
from i2vbench.suites.columns import prompt_like
from i2vbench.suites.importer import Importer, check_count
from i2vbench.suites.layout import Problems
from i2vbench.suites.manifest import suite_of_rows
from i2vbench.suites.table import Row, Value, ids_from_names
from i2vbench.video_io import VIDEO_SUFFIXES
from i2vbench.weights import cache_root

_HOW = "pip install 'i2vbench[hub]'"


@dataclass(frozen=True, kw_only=True)
class HubOptions(TableOptions):
    """Options of ``hub``: which part of the data set, and the names of its columns."""

    config: str | None = None
    """The configuration (subset); None for its only one."""
    split: str | None = None
    """The split; None for its only one."""
    revision: str | None = None
    """The commit or tag; None for the newest, which may change under you."""
    max_rows: int | None = None
    """Take the first so many rows; None for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_rows is not None:
            check_count("max_rows", self.max_rows)


def load(place: str, options: HubOptions) -> Suite:
    """The suite, named after the data set.

    Raises:
        UserError: ``datasets`` is not installed or too old, no such data set, split or column, or
            rows without content.
    """
    datasets = _datasets()
    table = _open(datasets, place, options)
    columns = _columns(place, table, options)
    for column in columns.values():
        kind = type(table.features[column]).__name__
        if kind in ("Image", "Video"):
            table = table.cast_column(column, getattr(datasets, kind)(decode=False))
    if options.max_rows is not None:
        table = table.select(range(min(options.max_rows, len(table))))
    roots = _roots(datasets, place)
    folder = cache_root() / "suites" / "hub"
    rows: list[Row] = []
    with Problems(f"data set {place}") as problems:
        for number, cells in enumerate(table):
            try:
                row = _row(number, cells, columns, table.features, folder, roots)
            except (ValueError, OSError) as error:
                problems.add(f"row {number}: {error}")
                continue
            if not any(column in row.cells for column in ("prompt", "image", "reference")):
                problems.add(f"row {number} has no prompt, image or reference")
            rows.append(row)
    if not rows:
        raise UserError(f"data set {place} has no rows")
    made = ids_from_names([(f"row-{row.line:06d}", str(row.line)) for row in rows])
    rows = [
        Row(line=row.line, cells={**row.cells, "id": row.text("id") or made_id})
        for row, made_id in zip(rows, made, strict=True)
    ]
    suite = suite_of_rows(PurePath(place).name, rows, folder, sampling=options)
    notes = []
    if options.revision is None and not Path(place).exists():
        notes.append("no revision is given: the data set may change; give revision=COMMIT")
    other = prompt_like([c for c in table.column_names if c not in columns.values()])
    if other is not None and "prompt" not in columns:
        notes.append(f"every prompt is empty: to read them from {other!r}, give prompt={other}")
    return dataclasses.replace(suite, notes=tuple(notes))


def _datasets() -> Any:  # noqa: ANN401
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"suite hub needs the package datasets: {_HOW}") from error
    if int(datasets.__version__.split(".")[0]) < 4:
        raise UserError(
            f"suite hub needs datasets 4 or newer, {datasets.__version__} is installed: {_HOW}"
        )
    return datasets


def _open(datasets: Any, place: str, options: HubOptions) -> Any:  # noqa: ANN401
    try:
        found = datasets.load_dataset(
            place, options.config, split=options.split, revision=options.revision
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"data set {place!r} does not load: {reason}") from error
    if not isinstance(found, Mapping):
        return found
    if len(found) != 1:
        raise UserError(
            f"data set {place!r} has several splits; choose one with the option split=NAME: "
            f"{', '.join(found)}"
        )
    return next(iter(found.values()))


def _columns(place: str, table: Any, options: HubOptions) -> dict[str, str]:  # noqa: ANN401
    """Meaning to column; what is not named keeps its own name, where it is there."""
    present = list(table.column_names)
    named = options.columns()
    for meaning, column in named.items():
        if column not in present:
            raise UserError(
                f"data set {place!r} has no column {column!r} for {meaning}: "
                f"{did_you_mean(column, present)}"
            )
    columns = {m: named.get(m, m) for m in MEANINGS if named.get(m, m) in present}
    if not columns.keys() & {"prompt", "image", "reference"}:
        raise UserError(
            f"data set {place!r}: say which column is the prompt, the image or the reference, e.g. "
            f"-S prompt=COLUMN; it has {', '.join(present)}"
        )
    return columns


def _row(
    number: int,
    cells: Mapping[str, Any],
    columns: Mapping[str, str],
    features: Mapping[str, Any],
    folder: Path,
    roots: Sequence[Path],
) -> Row:
    kept: dict[str, Value] = {}
    for meaning, column in columns.items():
        value = cells[column]
        if meaning in ("image", "reference") and value is not None:
            kept[meaning] = _store(value, folder, roots)
        elif hasattr(features[column], "int2str") and isinstance(value, int):
            kept[meaning] = features[column].int2str(value)
        elif value is not None and str(value).strip():
            kept[meaning] = str(value).strip()
    for column, value in cells.items():
        if column not in columns.values() and column not in MEANINGS:
            plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
            if plain and value == value and value != "":
                kept[column] = value
    return Row(line=number, cells=kept)


def _store(value: object, folder: Path, roots: Sequence[Path]) -> str:
    """The name in ``folder`` of a picture or video, which is written there once."""
    if not isinstance(value, Mapping):
        raise ValueError(f"is {type(value).__name__}, neither a picture nor a video")
    path = value.get("path")
    content = value.get("bytes")
    if content is None:
        real = Path(str(path)).resolve()
        # A row may name any file of this machine.
        if not any(real.is_relative_to(root) for root in roots):
            raise ValueError(f"{path!r} lies outside the data set")
        content = real.read_bytes()
    suffix = PurePath(str(path or "")).suffix.lower()
    known = suffix in PICTURE_SUFFIXES or suffix in VIDEO_SUFFIXES
    name = hashlib.sha256(content).hexdigest()[:32] + (suffix if known else "")
    if not (folder / name).is_file():
        write_atomic(folder / name, content)
    return name


def _roots(datasets: Any, place: str) -> list[Path]:  # noqa: ANN401
    """Where ``datasets`` lays files, and a data set that is a folder."""
    from huggingface_hub.constants import HF_HUB_CACHE

    roots = [Path(datasets.config.HF_DATASETS_CACHE), Path(HF_HUB_CACHE)]
    if Path(place).is_dir():
        roots.append(Path(place))
    return [root.resolve() for root in roots]


HUB = Importer(
    name="hub",
    place="the name of a data set, e.g. hub:owner/name",
    options_type=HubOptions,
    load=load,
    on_disk=False,
)
