"""Samples and suites: what a model is asked, and what its answer is compared with.

A sample's pictures are loaded on demand through two callables, so that a suite of 10,000 videos
costs nothing to open and a procedural suite can draw at any size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from i2vbench.clip import Clip, Geometry, Picture
from i2vbench.errors import UserError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One item of a suite."""

    id: str
    """Names the files of its takes: letters, digits, '.', '_' and '-', at most 120."""
    prompt: str = ""
    """What the video should show; empty where the suite has no text."""
    load_first_frame: Callable[[Geometry], Picture] | None = None
    """The condition, uint8 (H, W, 3) RGB; a file comes in its own size, a drawing in the asked."""
    load_reference: Callable[[Geometry], Clip] | None = None
    """The real clip; a file comes in its own size, a drawing in the asked."""
    category: str = ""
    """A group to report apart."""
    extra: Mapping[str, str | int | float] = field(default_factory=dict)
    """Further columns of the manifest."""
    picture_key: str = ""
    """Hash of what the first frame is made from (a file's bytes, a scene's code and number); where
    it is empty, the pixels are hashed instead. It is part of a clip's identity."""
    reference_key: str = ""
    """The same for the real clip; where it is empty, its pixels are hashed for a model that is
    shown it, and the suite's content hash stands for it in scores."""

    def __post_init__(self) -> None:
        check_id(self.id)


def check_id(sample_id: str) -> None:
    """Refuses an id that is no safe file name.

    Raises:
        UserError: the id is empty, too long, starts with a dot or holds other characters.
    """
    if not _ID.fullmatch(sample_id) or ".." in sample_id:
        raise UserError(
            f"sample id {sample_id!r}: accepted are 1 to 120 letters, digits, '.', '_', '-', "
            "starting with a letter or digit, without '..'; rename it in the manifest"
        )


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named, versioned set of samples."""

    name: str
    version: str
    samples: Sequence[Sample]
    content_sha256: str
    """Hash of all that defines the samples (manifest, scene code version, picture files)."""
    source: str = ""
    """What :func:`i2vbench.load_suite` was given: a name, or the path of a folder or manifest."""
    sampling: Mapping[str, object] = field(default_factory=dict)
    """How reference clips are cut from their videos; empty where they are whole, or drawn."""
    drawn: bool = False
    """Whether pictures are drawn at the asked size, so that the size changes the reference set."""
    protocol: str = "embedded"
    """The protocol its runs are scored with unless another is asked for."""
    num_takes: int = 1
    """Clips per sample unless another number is asked for."""
    notes: Sequence[str] = ()
    """Lines for the reader, e.g. where the suite is not the published one."""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for sample in self.samples:
            # Two ids that differ in case alone would share a file on macOS and Windows.
            key = sample.id.lower()
            if key in seen:
                raise UserError(
                    f"suite {self.name}: sample id {sample.id!r} stands twice (case ignored); "
                    "ids must be unique"
                )
            seen.add(key)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)
