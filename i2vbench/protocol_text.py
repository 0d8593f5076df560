"""A protocol as people read it: every choice, with its source."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from i2vbench.protocol import MetricChoice, Protocol, Totals
from i2vbench.registry import EXTRACTORS, METRICS

WIDTH = 100


def protocol_text(protocol: Protocol) -> str:
    """All that the protocol fixes, in lines of at most ``WIDTH`` characters where words allow."""
    lines = [protocol.title, *_wrapped(protocol.source, "  ")]
    lines += [line for note in protocol.notes for line in _wrapped(f"* {note}", "  ", "    ")]
    frames = "all" if protocol.num_frames is None else f"the first {protocol.num_frames}"
    lines += ["", f"frames       {frames} of each clip"]
    if protocol.reader != "pyav":
        lines.append(f"reader       {protocol.reader}")
    if protocol.sampling:
        options = " ".join(f"-S {key}={value}" for key, value in protocol.sampling.items())
        lines.append(f"suite        {options}")
    lines += ["", "METRICS, in the order of the board"]
    width = max(len(name) for name in protocol.metrics)
    for name in protocol.metrics:
        lines += _metric_lines(name, protocol.choice(name), width)
    if protocol.totals:
        lines += ["", *_totals_lines(protocol.totals, width)]
    return "\n".join(lines)


def _metric_lines(name: str, choice: MetricChoice, width: int) -> Iterator[str]:
    indent = " " * (width + 4)
    known = {entry.name for entry in METRICS.entries()}
    networks = {entry.name for entry in EXTRACTORS.entries()}
    facts: list[str] = []
    names = choice.extractors
    options = [f"{key}={value}" for key, value in choice.options.items()]
    if choice.unavailable:
        facts.append(f"not here: {choice.unavailable}")
    elif name not in known and ":" not in name:
        facts.append("metric not in this version")
    else:
        metric = METRICS.load(name)
        facts.append(f"version {metric.version}")
        names = choice.extractors or metric.extractors
        options = [f"{key}={value}" for key, value in metric(**choice.options).spec().items()]
    facts += [each if each in networks else f"{each} (not in this version)" for each in names]
    facts += options
    if choice.label:
        facts.append(f"column {choice.label!r}")
    if choice.dimension:
        facts.append(f"samples of dimension {choice.dimension}")
    facts += [f"not on {suite}" for suite in choice.not_on]
    first, *rest = _wrapped(" · ".join(facts), indent)
    yield f"  {name:<{width}}  {first.strip()}"
    yield from rest
    if choice.source:
        yield from _wrapped(f"from {choice.source}", indent, indent + "  ")


def _totals_lines(totals: Totals, width: int) -> Iterator[str]:
    yield "TOTALS, of weight * (x - low) / (high - low)"
    if totals.source:
        yield from _wrapped(f"from {totals.source}", "  ", "    ")
    for title, names in totals.groups.items():
        yield f"  {title}"
        for name in names:
            it = totals.dimensions[name]
            yield (
                f"    {name:<{width}}  low {it.low:<6g}  high {it.high:<6g}  weight {it.weight:g}"
            )
    yield f"  Total: the mean of {' and '.join(totals.groups)}; none where a dimension is missing"


def _wrapped(text: str, indent: str, hanging: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
