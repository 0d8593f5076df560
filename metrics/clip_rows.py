"""Feature rows of clips in bounded memory, for metrics that compare rows with rows.

Which samples stay does not depend on the order of arrival or on the worker: those whose names have
the smallest hashes, as many as the limit of rows takes. The takes of a sample stay together.

Letters: N rows, D features, S samples.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from i2vbench.metric import Example, SetMetric, by_sample

from .feature_set import Array, checked_rows

MAX_ROWS = 10_000
"""Of each side: 32 MB at 400 features, and products of a few seconds."""


class ClipRows:
    """Rows (N, D) by sample and take; samples in the order of their hashes, takes ascending."""

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
        self._takes: list[dict[int, Array]] = []
        """At the places of the hashes: the rows of each take."""
        self._num_rows = 0
        self._num_features: int | None = None
        self._first_dropped: bytes | None = None
        """Hash of the first sample beyond the limit: it and those after it never come back."""

    @property
    def num_clips(self) -> int:
        """Clips that are kept."""
        return sum(len(takes) for takes in self._takes)

    @property
    def num_samples(self) -> int:
        """Samples that are kept."""
        return len(self._takes)

    def add(self, sample: str, rows_ND: object, *, take: int = 0) -> None:
        """Adds the rows (N, D) of a clip.

        Raises:
            ValueError: not (N, D), no rows, another D than before, a value that is not finite, or
                a clip that was added before.
        """
        rows = self.checked(rows_ND)
        self._insert(hashlib.sha256(sample.encode()).digest(), take, rows, sample)
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
        for digest, takes in zip(other._hashes, other._takes, strict=True):
            for take, rows in takes.items():
                self._insert(digest, take, self.checked(rows), digest.hex()[:12])
        if other._first_dropped is not None:
            self._drop(bisect.bisect_left(self._hashes, other._first_dropped))
            self._first_dropped = min(other._first_dropped, self._first_dropped or b"\xff" * 32)
        self.num_added += other.num_added

    def samples(self) -> list[Array]:
        """The rows (N, D) of each sample, its takes one after another.

        Raises:
            ValueError: none was added.
        """
        if not self._takes:
            raise ValueError(f"{self.name}: no rows")
        return [np.concatenate([takes[take] for take in sorted(takes)]) for takes in self._takes]

    def rows(self) -> Array:
        """All rows kept, (N, D).

        Raises:
            ValueError: none was added.
        """
        return np.concatenate(self.samples())

    def starts(self) -> NDArray[np.int64]:
        """(S,): at which row each sample begins."""
        lengths = np.array([len(rows) for rows in self.samples()], dtype=np.int64)
        return np.cumsum(lengths) - lengths

    def _insert(self, digest: bytes, take: int, rows_ND: Array, sample: str) -> None:
        self._num_features = rows_ND.shape[1]
        if self._first_dropped is not None and digest >= self._first_dropped:
            return
        place = bisect.bisect_left(self._hashes, digest)
        if place == len(self._hashes) or self._hashes[place] != digest:
            self._hashes.insert(place, digest)
            self._takes.insert(place, {})
        if take in self._takes[place]:
            raise ValueError(f"{self.name}: clip {sample!r} take {take} was added before")
        self._takes[place][take] = rows_ND
        self._num_rows += len(rows_ND)
        # One sample always stays, however long its clips are.
        while self._num_rows > self.max_rows and len(self._takes) > 1:
            self._first_dropped = self._hashes[-1]
            self._drop(len(self._hashes) - 1)

    def _drop(self, start: int) -> None:
        """Forgets the samples from the place ``start`` on."""
        gone = self._takes[start:]
        self._num_rows -= sum(len(rows) for takes in gone for rows in takes.values())
        del self._hashes[start:], self._takes[start:]


class PairedRowsMetric(SetMetric):
    """Base of metrics that compare the rows of generated clips with those of their references.

    A sample's reference counts once, with the first take that is added.
    """

    needs = frozenset({"reference"})
    array: ClassVar[str]
    """Which of the extractor's arrays: (D,), a row per clip, or (T, D), a row per frame."""

    def __init__(self, *, max_rows: int = MAX_ROWS) -> None:
        """Starts with nothing added; each side keeps at most ``max_rows``."""
        self.generated = ClipRows(f"{self.name}, generated", max_rows=max_rows)
        self.reference = ClipRows(f"{self.name}, reference", max_rows=max_rows)
        self._referenced: set[str] = set()
        """Samples whose reference was added."""

    def spec(self) -> dict[str, Any]:
        """Array and limit."""
        limit = self.generated.max_rows
        return {"array": self.array, "reference": "of the first take", "max_rows": limit}

    def update(self, examples: Sequence[Example]) -> None:
        """Adds clips and, with the first take of a sample, its reference.

        Raises:
            ValueError: a feature is not finite; that clip and those after it are not added.
        """
        for example in chain.from_iterable(by_sample(examples)):
            sample_id = example.sample_id
            try:
                generated_ND = self.generated.checked(
                    np.atleast_2d(example.features_of(self)[self.array])
                )
                if sample_id not in self._referenced:
                    reference = example.reference_features_of(self)[self.array]
                    self.reference.add(sample_id, np.atleast_2d(reference))
                    self._referenced.add(sample_id)
            except ValueError as error:
                raise ValueError(f"sample {sample_id!r} take {example.take}: {error}") from error
            # The name decides which samples stay; a set of single takes keeps those that it kept.
            self.generated.add(f"{sample_id}/0", generated_ND, take=example.take)

    def merge(self, other: Self) -> None:
        """Adds the other's clips and references.

        Raises:
            ValueError: both hold takes of one sample, whose reference would count twice.
        """
        both = self._referenced & other._referenced
        if both:
            raise ValueError(f"{self.name}: sample {min(both)!r} is in both parts")
        self.generated.merge(other.generated)
        self.reference.merge(other.reference)
        self._referenced |= other._referenced

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
