"""Feature rows of clips in bounded memory, for metrics that compare rows with rows.

Which clips stay does not depend on the order of arrival or on the worker: those whose names have
the smallest hashes, as many as the limit of rows takes.

Letters: N rows, D features, C clips.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from i2vbench.metric import Example, SetMetric

from .feature_set import Array, checked_rows

MAX_ROWS = 10_000
"""Of each side: 32 MB at 400 features, and products of a few seconds."""


class ClipRows:
    """Rows (N, D) by clip, in the order of the hashes of the clips' names."""

    def __init__(self, name: str, *, max_rows: int = MAX_ROWS) -> None:
        """Starts empty; ``name`` is what error messages call the set.

        Raises:
            ValueError: ``max_rows`` is not positive.
        """
        if max_rows < 1:
            raise ValueError(f"{name}: max_rows must be at least 1, got {max_rows!r}")
        self.name = name
        self.max_rows = max_rows
        self.num_added = 0
        """Clips added, kept or not."""
        self._hashes: list[bytes] = []
        self._rows: list[Array] = []
        self._num_rows = 0
        self._num_features: int | None = None

    @property
    def num_clips(self) -> int:
        """Clips that are kept."""
        return len(self._rows)

    def add(self, clip: str, rows_ND: object) -> None:
        """Adds the rows (N, D) of a clip with a name of its own.

        Raises:
            ValueError: not (N, D), no rows, another D than before, a value that is not finite, or
                a clip that was added before.
        """
        self._insert(hashlib.sha256(clip.encode()).digest(), self.checked(rows_ND), clip)
        self.num_added += 1

    def checked(self, rows_ND: object) -> Array:
        """The rows as float64, if they may be added.

        Raises:
            ValueError: as in :meth:`add`.
        """
        rows = checked_rows(self.name, rows_ND, self._num_features)
        if len(rows) == 0:
            raise ValueError(f"{self.name}: a clip without rows")
        return rows

    def merge(self, other: ClipRows) -> None:
        """Adds what ``other`` holds; ``other`` stays as it is.

        Raises:
            ValueError: another D or limit, or a clip that is in both.
        """
        if other.max_rows != self.max_rows:
            raise ValueError(
                f"{self.name}: a limit of {other.max_rows} rows does not merge into {self.max_rows}"
            )
        for digest, rows in zip(other._hashes, other._rows, strict=True):
            self._insert(digest, self.checked(rows), digest.hex()[:12])
        self.num_added += other.num_added

    def rows(self) -> Array:
        """All rows kept, (N, D).

        Raises:
            ValueError: none was added.
        """
        if not self._rows:
            raise ValueError(f"{self.name}: no rows")
        return np.concatenate(self._rows)

    def starts(self) -> NDArray[np.int64]:
        """(C,): at which row each clip begins."""
        lengths = np.array([len(rows) for rows in self._rows], dtype=np.int64)
        return np.cumsum(lengths) - lengths

    def _insert(self, digest: bytes, rows_ND: Array, clip: str) -> None:
        self._num_features = rows_ND.shape[1]
        place = bisect.bisect_left(self._hashes, digest)
        if place < len(self._hashes) and self._hashes[place] == digest:
            raise ValueError(f"{self.name}: clip {clip!r} was added before")
        self._hashes.insert(place, digest)
        self._rows.insert(place, rows_ND)
        self._num_rows += len(rows_ND)
        # One clip always stays, however long it is.
        while self._num_rows > self.max_rows and len(self._rows) > 1:
            self._hashes.pop()
            self._num_rows -= len(self._rows.pop())


class PairedRowsMetric(SetMetric):
    """Base of metrics that compare the rows of generated clips with those of their references.

    A sample's reference counts once, with its take 0, however many takes there are.
    """

    needs = frozenset({"reference"})
    array: ClassVar[str]
    """Which of the extractor's arrays: (D,), a row per clip, or (T, D), a row per frame."""

    def __init__(self, *, max_rows: int = MAX_ROWS) -> None:
        """Starts with nothing added; each side keeps at most ``max_rows``."""
        self.generated = ClipRows(f"{self.name}, generated", max_rows=max_rows)
        self.reference = ClipRows(f"{self.name}, reference", max_rows=max_rows)

    def spec(self) -> dict[str, Any]:
        """Array and limit."""
        limit = self.generated.max_rows
        return {"array": self.array, "reference": "of take 0", "max_rows": limit}

    def update(self, examples: Sequence[Example]) -> None:
        """Adds clips and, with take 0, their references.

        Raises:
            ValueError: a feature is not finite; that clip and those after it are not added.
        """
        (extractor,) = self.extractors
        for example in examples:
            try:
                generated_ND = self.generated.checked(
                    np.atleast_2d(example.features[extractor][self.array])
                )
                if example.take == 0:
                    reference = example.reference_features[extractor][self.array]
                    self.reference.add(example.sample_id, np.atleast_2d(reference))
            except ValueError as error:
                raise ValueError(
                    f"sample {example.sample_id!r} take {example.take}: {error}"
                ) from error
            self.generated.add(clip_name(example), generated_ND)

    def merge(self, other: Self) -> None:
        """Adds the other's clips and references."""
        self.generated.merge(other.generated)
        self.reference.merge(other.reference)

    def warnings(self) -> list[str]:
        """Whether the limit of rows left clips out."""
        return [
            f"{rows.num_clips} of {rows.num_added} {kind} clips, chosen by hash, within "
            f"{rows.max_rows} rows"
            for kind, rows in (("generated", self.generated), ("reference", self.reference))
            if rows.num_clips < rows.num_added
        ]

    def rows_of(self, examples: Sequence[Example]) -> Self:
        """Another instance that holds these examples."""
        other = type(self)(max_rows=self.generated.max_rows)
        other.update(examples)
        return other


def clip_name(example: Example) -> str:
    """Sample and take."""
    return f"{example.sample_id}/{example.take}"
