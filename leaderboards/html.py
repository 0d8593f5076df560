"""A board as one HTML file: no network, no fonts, and no JavaScript needed to read it."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from i2vbench import __version__

from .board import Board
from .formatting import clean, without_nan
from .geometry import clip_words
from .table import BEST, Cell, Column, Row, Table

MAX_STRIPS = 6
_GROUP_TITLES = {
    "models": "",
    "partial": "partial runs",
    "baselines": "baselines",
    "published": "as printed in papers, not ranked",
}
_PICTURE_TYPES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"\xff\xd8\xff": "image/jpeg",
}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Where value and interval lie between the ends of a column, in percent."""

    low: float
    high: float
    at: float


def to_html(
    board: Board, *, title: str = "Leaderboard", strips: Sequence[tuple[str, bytes]] = ()
) -> str:
    """The page.

    Args:
        board: to show.
        title: heading and window title.
        strips: captions with PNG, GIF or JPEG bytes, shown on top and embedded; at most six.

    Raises:
        ValueError: more than six strips, or one that is no such picture.
    """
    if len(strips) > MAX_STRIPS:
        raise ValueError(f"strips: at most {MAX_STRIPS} pictures, got {len(strips)}")
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"csp_hash": _csp_hash, "breakable": _breakable}
    return environment.get_template("board.html.j2").render(
        board=board,
        title=clean(title),
        # The style sheet is a file of this package: nothing of it comes from a run.
        style=Markup((folder / "board.css").read_text(encoding="utf-8")),  # noqa: S704
        strips=[(clean(caption), _data_uri(picture)) for caption, picture in strips],
        grouped=_grouped,
        bars=_bars,
        tooltip=_tooltip,
        card=_card,
        BEST=BEST,
        version=__version__,
    )


def _csp_hash(script: str) -> str:
    """What the page's content policy allows to run: this script and no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(str(script).encode()).digest()).decode()}"


def _breakable(text: str) -> Markup:
    """``text`` that a narrow column may break behind ``_`` and ``=``."""
    return escape(text).replace("_", Markup("_<wbr>")).replace("=", Markup("=<wbr>"))


def _data_uri(picture: bytes) -> str:
    for magic, media_type in _PICTURE_TYPES.items():
        if picture.startswith(magic):
            return f"data:{media_type};base64,{base64.b64encode(picture).decode()}"
    raise ValueError(f"strips: not a PNG, GIF or JPEG (starts with {picture[:8]!r})")


def _grouped(table: Table) -> list[tuple[str, list[Row]]]:
    """Title and rows of each group: sorting by a click never mixes them."""
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        groups.setdefault(row.group, []).append(row)
    titles = {} if table.printed else _GROUP_TITLES
    return [(titles.get(group, ""), rows) for group, rows in groups.items()]


def _bars(table: Table) -> dict[tuple[str, str], Bar]:
    """(row name, column slug) -> the bar of its cell; none where a column has one value."""
    bars: dict[tuple[str, str], Bar] = {}
    if table.printed:
        return bars
    for place, column in enumerate(table.columns):
        spans = {row.name: _span(row.cells[place]) for row in table.rows}
        filled = {name: span for name, span in spans.items() if span is not None}
        low = min((min(span) for span in filled.values()), default=0.0)
        high = max((max(span) for span in filled.values()), default=0.0)
        # The span of two huge numbers is no number any more.
        if low == high or not math.isfinite(high - low):
            continue
        for name, span in filled.items():
            start, at, end = (round(100 * (point - low) / (high - low), 1) for point in span)
            bars[name, column.slug] = Bar(low=start, high=end, at=at)
    return bars


def _span(cell: Cell) -> tuple[float, float, float] | None:
    if cell.value is None:
        return None
    low, high = cell.interval or (cell.value, cell.value)
    return (low, cell.value, high)


def _tooltip(column: Column, cell: Cell) -> str:
    """What a pointer over the cell tells."""
    if cell.value is None:
        return f"{column.label}: {cell.reason}"
    lines = [f"{column.label}: {cell.text}{' %' if column.unit == '%' else ''}"]
    if cell.interval:
        lines.append(f"95 % interval {cell.interval_text}")
    if cell.source:
        lines.append(f"printed in {cell.source}")
    if cell.num_expected:
        lines.append(f"{cell.num_scored} of {cell.num_expected} clips")
    if column.unit and column.unit != "%":
        lines.append(f"unit: {column.unit}")
    return "\n".join([*lines, *(f"⚠ {warning}" for warning in cell.warnings)])


def _card(row: Row) -> list[tuple[str, str]]:
    """Name and value of each fact about a run, empty ones left out."""
    run = row.run
    options: dict[str, Any] = without_nan(run.model.get("options") or {})
    parameters = run.model.get("num_parameters") or 0
    facts = [
        ("model", run.model.get("name", "")),
        ("version", run.model.get("version", "")),
        ("weights", run.model.get("weights", "")),
        ("parameters", f"{parameters:,}" if parameters else ""),
        ("options", ", ".join(f"{key} = {value}" for key, value in options.items())),
        ("seed", run.seed),
        ("takes per sample", run.num_takes),
        ("takes", f"{run.counts.get('ok', 0)} of {run.counts.get('expected', 0)} made"),
        ("clips", clip_words(run)),
        ("run", run.run),
        ("run fingerprint", run.run_fingerprint),
    ]
    return [(name, clean(value)) for name, value in facts if clean(value)]
