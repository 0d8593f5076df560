"""The table of an ablation beside the paper's: means, intervals, and whether the order agrees."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from i2vbench.errors import UserError
from i2vbench.files import write_atomic
from i2vbench.registry import METRICS

from .formatting import MISSING
from .markdown import escape
from .published import PublishedTable, load_published

SCHEMA_VERSION: Final = 1
_TABLE: Final = "consisti2v-table3"
_COLUMN: Final = "ucf101_fvd"
_TITLES: Final = {
    "table3": "What the network is conditioned on",
    "frameinit": "FrameInit",
    "noise_level": "FrameInit's noise level",
    "spatial_cutoff": "FrameInit's spatial cutoff d_s",
    "temporal_cutoff": "FrameInit's temporal cutoff d_t",
    "frame_stride": "Frame stride asked of the network",
}
_APART: Final = (
    "Two rows are apart if the 95 % interval of their differences, sampling seed by sampling seed, "
    "leaves out zero: rows of one seed share their clips and their noise. "
    r"\* apart from the first row of its table."
)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean over sampling seeds with its 95 % interval (Student's t)."""

    value: float
    half_width: float
    """Infinite for a single seed."""

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Mean | None:
        """None if a value is missing: the mean of the others would be of other seeds."""
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return None
        if len(known) == 1:
            return cls(value=known[0], half_width=math.inf)
        from scipy.stats import t as student

        scale = float(student.ppf(0.975, len(known) - 1)) / math.sqrt(len(known))
        return cls(value=statistics.fmean(known), half_width=scale * statistics.stdev(known))

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out zero."""
        return abs(self.value) > self.half_width

    def __str__(self) -> str:
        if math.isinf(self.half_width):
            return _short(self.value, 4)
        return f"{_short(self.value, 4)} ± {_short(self.half_width, 2)}"


def _short(value: float, digits: int) -> str:
    """Significant digits, but never an exponent in place of whole digits."""
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def render_ablation(file: Path) -> str:
    """Markdown of an `ablation.json`, also written beside it as `ablation.md`.

    Raises:
        UserError: no such file, or not of the schema.
    """
    content = _read(file)
    metrics: list[str] = content["metrics"]
    groups = dict.fromkeys(row["group"] for row in content["rows"])
    parts = [
        "# Ablation",
        f"Each network trained for {content['steps']} steps with the same seed and clips; "
        f"{content['limit']} samples of {content['suite']} per sampling seed. Mean over the "
        "sampling seeds ± 95 % interval (Student's t); it holds the noise of sampling, not of "
        "training. The paper's numbers are of UCF-101, another network and another size: only "
        "their order compares.",
        _APART,
    ]
    for group in groups:
        rows = [row for row in content["rows"] if row["group"] == group]
        parts.append(f"## {_TITLES.get(group, escape(group))}")
        agreements = _agreements(rows, metrics[0]) if group == "table3" else {}
        parts.append(_grid(rows, metrics, agreements))
    text = "\n\n".join(parts) + "\n"
    write_atomic(file.with_suffix(".md"), text)
    return text


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is no ablation: {error}; run `i2vbench ablate`") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(f"{file}: schema_version {version!r}, accepted: {SCHEMA_VERSION}")
    found: Mapping[str, Any] = content
    return found


def _grid(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[str], agreements: Mapping[str, str]
) -> str:
    heads = ["", *(f"{name}{_arrow(name)}" for name in metrics)]
    if agreements:
        heads += ["paper: FVD(UCF-101)↓", "order as in the paper"]
    sides = ["---", *["--:"] * len(metrics), *(["--:", "---"] if agreements else [])]
    lines = [_line(heads), _line(sides)]
    for row in rows:
        cells = [escape(row["label"])]
        for name in metrics:
            own, first = row["scores"][name], rows[0]["scores"][name]
            mean, gain = Mean.of(own), _gain(first, own)
            mark = r"\*" if gain is not None and gain.sure else ""
            cells.append(MISSING if mean is None else f"{mean}{mark}")
        if agreements:
            cells += [_printed(row["label"]) or MISSING, agreements[row["label"]]]
        lines.append(_line(cells))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _arrow(metric: str) -> str:
    return {True: "↑", False: "↓", None: ""}[METRICS.load(metric).higher_is_better]


def _published() -> PublishedTable:
    return next(table for table in load_published() if table.name == _TABLE)


def _printed(label: str) -> str:
    cell = _published().cells.get((label, _COLUMN))
    return "" if cell is None else cell.text


def _agreements(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[str, str]:
    """For each row, with how many of the others it stands as in the paper, and how surely."""
    lower_is_better = METRICS.load(metric).higher_is_better is False
    scores = {row["label"]: row["scores"][metric] for row in rows}
    paper = {row["label"]: float(_printed(row["label"])) for row in rows}
    found = {}
    for label, own in scores.items():
        others = [name for name in scores if name != label]
        gains = {name: _gain(own, scores[name]) for name in others}
        known = {name: gain for name, gain in gains.items() if gain is not None}
        if not known:
            found[label] = "not known"
            continue
        agreeing = [
            gain
            for name, gain in known.items()
            if gain.value and ((gain.value > 0) == lower_is_better) == (paper[label] < paper[name])
        ]
        apart = sum(gain.sure for gain in agreeing)
        verdict = "yes" if len(agreeing) == len(others) else "in part" if agreeing else "no"
        found[label] = f"{verdict}: {len(agreeing)} of {len(others)} pairs, {apart} of them apart"
    return found


def _gain(own: Sequence[float | None], other: Sequence[float | None]) -> Mean | None:
    """By how much `other` is larger, over the seeds that both were sampled with."""
    return Mean.of(
        [
            None if first is None or second is None else second - first
            for first, second in zip(own, other, strict=True)
        ]
    )
