"""Which runs share a table, which scores share a column, and in words why others do not.

A *table* is one suite (name, version, content hash, limit, chosen samples) under one protocol.
Inside it a *column* is one metric of one fingerprint. For metrics of whole sets, the number of
takes divides columns as well: the bias of a Fréchet distance depends on the number of clips, so 64
and 256 clips of the same model score differently. The mean of a per-clip metric has no such
bias; more takes only narrow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from i2vbench.results import Results, Score

from .formatting import clean, join_words

_FEW_IDS: Final = 4


@dataclass(frozen=True, kw_only=True)
class TableKey:
    """What runs must have in common to stand in one table."""

    suite: str
    version: str
    content_sha256: str
    limit: int | None
    """Only the first ``limit`` samples were used; None for all."""
    samples: tuple[str, ...] | None = None
    """Only the samples of these ids were used; None where none were chosen by id."""
    protocol: str

    @property
    def is_view(self) -> bool:
        """Whether only a part of the suite was used, so that nobody is ranked."""
        return self.limit is not None or self.samples is not None


@dataclass(frozen=True, kw_only=True)
class ColumnKey:
    """What scores must have in common to stand in one column."""

    metric: str
    fingerprint: str
    higher_is_better: bool | None
    num_takes: int | None
    """Clips per sample; None for a per-clip metric, which it does not bias."""


def table_key(results: Results) -> TableKey:
    """The table that a run belongs to."""
    chosen = results.suite.get("samples")
    return TableKey(
        suite=clean(results.suite.get("name", "")),
        version=clean(results.suite.get("version", "")),
        content_sha256=clean(results.suite.get("content_sha256", "")),
        limit=results.suite.get("limit"),
        samples=None if chosen is None else tuple(sorted({clean(each) for each in chosen})),
        protocol=clean(results.protocol),
    )


def column_key(results: Results, score: Score) -> ColumnKey:
    """The column that a score belongs to."""
    return ColumnKey(
        metric=clean(score.metric),
        fingerprint=clean(score.fingerprint),
        higher_is_better=score.higher_is_better,
        num_takes=results.num_takes if score.level == "set" else None,
    )


def table_differences(there: TableKey, here: TableKey) -> list[str]:
    """What keeps two tables apart, a phrase per field."""
    phrases = []
    if there.suite != here.suite:
        phrases.append(f"the suite differs ({there.suite} there, {here.suite} here)")
    elif there.version != here.version:
        phrases.append(
            f"the version of the suite differs ({there.version} there, {here.version} here)"
        )
    elif there.content_sha256 != here.content_sha256:
        phrases.append(
            "the content of the suite differs though name and version are equal (sha256 "
            f"{there.content_sha256[:8] or 'unknown'} there, "
            f"{here.content_sha256[:8] or 'unknown'} here)"
        )
    if (there.limit, there.samples) != (here.limit, here.samples):
        name = "limit" if there.samples == here.samples else "choice of samples"
        phrases.append(f"the {name} differs ({view_words(there)} there, {view_words(here)} here)")
    if there.protocol != here.protocol:
        phrases.append(f"the protocol differs ({there.protocol} there, {here.protocol} here)")
    return phrases


def why_apart(keys: Sequence[TableKey], index: int) -> str:
    """One sentence on why table ``index`` stands apart from the most similar one before it."""
    nearest = min(range(index), key=lambda i: len(table_differences(keys[i], keys[index])))
    differences = join_words(table_differences(keys[nearest], keys[index]))
    return f"Not comparable with table {nearest + 1}: {differences}."


def view_words(key: TableKey) -> str:
    """``all samples``, or which of them were used."""
    limited = "all samples" if key.limit is None else f"the first {key.limit} samples"
    if key.samples is None:
        return limited
    few = key.samples if len(key.samples) <= _FEW_IDS else (*key.samples[:_FEW_IDS], "...")
    plural = "" if len(key.samples) == 1 else "s"
    chosen = f"{len(key.samples)} chosen sample{plural} ({', '.join(few)})"
    return chosen if key.limit is None else f"{chosen} of {limited}"


def column_differences(keys: Sequence[ColumnKey], labels: Sequence[str]) -> list[str]:
    """What keeps the columns of one metric apart, a phrase per field.

    Args:
        keys: of the columns.
        labels: as the runs wrote them, which may be equal.
    """
    phrases = []
    if len(set(labels)) > 1:
        phrases.append("the network differs")
    elif len({key.fingerprint for key in keys}) > 1:
        phrases.append(
            "the metric's fingerprint differs (another version, weights, preprocessing, protocol "
            "setting or reference set)"
        )
    if len({key.num_takes for key in keys}) > 1:
        takes = join_words(dict.fromkeys(str(key.num_takes) for key in keys))
        phrases.append(
            f"the takes per sample differ ({takes}), and a score of a whole set depends on the "
            "number of its clips"
        )
    if len({key.higher_is_better for key in keys}) > 1:
        phrases.append("the direction differs")
    return phrases


def column_suffixes(keys: Sequence[ColumnKey]) -> list[str]:
    """What to append to equal labels so that each column can be told from the others."""
    several_fingerprints = len({key.fingerprint for key in keys}) > 1
    several_takes = len({key.num_takes for key in keys}) > 1
    several_metrics = len({key.metric for key in keys}) > 1
    suffixes = []
    for key in keys:
        parts = [key.metric] if several_metrics else []
        if several_fingerprints:
            parts.append(key.fingerprint[:8] or "unknown")
        if several_takes and key.num_takes is not None:
            parts.append(f"{key.num_takes} take{'s' if key.num_takes != 1 else ''}")
        suffixes.append(", ".join(parts))
    return suffixes
