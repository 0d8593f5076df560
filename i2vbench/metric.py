"""The contracts of extractors and metrics.

An *extractor* is a network (or an algorithm) that turns a clip into named arrays; several
metrics share its one pass. A *metric* turns arrays or frames into a score: per clip
(:class:`ClipMetric`) or per set (:class:`SetMetric`). The state of a metric merges, so that
workers can share the clips.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from i2vbench.clip import Clip, Picture

Features = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One clip as extractors and metrics see it."""

    sample_id: str
    take: int
    clip: Clip
    prompt: str = ""
    first_frame: Picture | None = None
    """uint8 (H, W, 3); of the clip's size unless the file has another."""
    reference: Clip | None = None
    """The real clip, cut to the frames that ``clip`` has."""
    extra: Mapping[str, str | int | float] = field(default_factory=dict)
    """Further columns of the sample, e.g. the camera motion that is asked for."""
    features: Mapping[str, Features] = field(default_factory=dict)
    """Extractor name -> what it made of ``clip``; holds what the metric's ``extractors`` names."""
    reference_features: Mapping[str, Features] = field(default_factory=dict)
    """The same of ``reference``."""
    first_frame_features: Mapping[str, Features] = field(default_factory=dict)
    """What :meth:`Extractor.extract_picture` made of ``first_frame``."""


class Extractor(ABC):
    """Turns clips into named arrays; built once per scoring and kept in eval mode."""

    name: ClassVar[str]
    version: ClassVar[str]
    """Raise it when the arrays change."""
    uses_prompt: ClassVar[bool] = False
    """Whether the arrays depend on the prompt as well (it then enters the cache key)."""
    uses_fps: ClassVar[bool] = False
    """Whether the arrays depend on the clip's rate as well (it then enters the cache key)."""
    dtypes: ClassVar[tuple[str, ...]] = ("fp32",)
    """What its network can run in; ``bf16`` is asked of those alone that name it."""
    backends: ClassVar[tuple[str, ...]] = ("torch",)
    """What can run its network; ``openvino`` is asked of those alone that name it."""

    def __init__(self, *, device: str = "cpu", dtype: str = "fp32", backend: str = "torch") -> None:
        """Loads the network onto ``device``, in ``dtype`` and ``backend`` (of those above).

        Raises:
            MissingWeightsError: its weights are not here.
            MissingPackageError: a package that it alone needs is not installed.
        """
        self.device = device
        self.dtype = dtype
        self.backend = backend

    @property
    @abstractmethod
    def label(self) -> str:
        """The short name that boards print in brackets, e.g. ``efficientnet-lite0``."""

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """What changes its arrays: weights sha256, preprocessing constants (JSON values).

        Name, version, ``dtype`` and ``backend`` need not be repeated.
        """

    @abstractmethod
    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The arrays of each clip, in order; numpy, on the CPU."""

    def extract_picture(self, picture: Picture) -> dict[str, NDArray[Any]]:
        """The arrays of a picture on its own, as of a clip of one frame.

        A benchmark that reads pictures otherwise than frames overrides it.
        """
        (features,) = self.extract([Clip(frames=picture[None], fps=1.0)], [""])
        return features


class Metric(ABC):
    """What every metric says of itself."""

    name: ClassVar[str]
    title: ClassVar[str] = ""
    """As boards print it, e.g. ``FVD``; the name where empty."""
    version: ClassVar[str]
    """Raise it when the number changes for the same clips."""
    level: ClassVar[str]
    """``clip`` or ``set``."""
    higher_is_better: ClassVar[bool | None]
    """None where neither end is better (dynamic degree)."""
    unit: ClassVar[str] = ""
    """What one step of the number means, e.g. ``cosine``, ``%``, empty for a plain distance."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Of ``prompt``, ``first_frame``, ``reference``, and ``extra.NAME`` for a further column of
    the sample: an example without does not count."""
    extractors: ClassVar[tuple[str, ...]] = ()
    """Names in the extractor registry whose arrays it reads."""

    def spec(self) -> dict[str, Any]:
        """Constants that change the number, the extractors' apart (JSON values)."""
        return {}

    @abstractmethod
    def update(self, examples: Sequence[Example]) -> None:
        """Adds clips to the state."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Adds another instance's state to this one."""

    @abstractmethod
    def compute(self) -> float:
        """The score of all that was added.

        Raises:
            ValueError: nothing (or too little) was added.
        """

    def warnings(self) -> list[str]:
        """What a reader must know of this score, e.g. too few clips for the features' size."""
        return []


class ClipMetric(Metric):
    """A score per clip; over a set, their mean."""

    level = "clip"

    def __init__(self) -> None:
        """Starts with nothing added."""
        self._sum = 0.0
        self._count = 0

    @abstractmethod
    def score_clip(self, example: Example) -> float:
        """The score of one clip; must be finite.

        Raises:
            ValueError: this clip has no score (a single frame, say); it becomes a failed row.
        """

    def frame_values(self, example: Example) -> NDArray[np.float64] | None:
        """What each frame adds to the clip's score, for a reader; None where the metric cannot say.

        Returns:
            (T,), NaN for a frame that does not count; the mean of the others is the score, where
            the metric does not say otherwise.

        Raises:
            ValueError: as :meth:`score_clip`.
        """
        return None

    def update(self, examples: Sequence[Example]) -> None:
        """Adds the scores of the clips."""
        for example in examples:
            self.add(self.score_clip(example))

    def add(self, value: float) -> None:
        """Adds a score that was computed before (a resumed scoring)."""
        if not np.isfinite(value):
            raise ValueError(f"{self.name}: the score of a clip must be finite, got {value!r}")
        self._sum += float(value)
        self._count += 1

    def merge(self, other: Self) -> None:
        """Adds the other's sum and count."""
        self._sum += other._sum
        self._count += other._count

    def compute(self) -> float:
        """The mean over the clips.

        Raises:
            ValueError: no clip was added.
        """
        if self._count == 0:
            raise ValueError(f"{self.name}: no clip was added")
        return self._sum / self._count


class SetMetric(Metric):
    """A score of a set of clips, against their references where ``needs`` says so."""

    level = "set"

    def interval(
        self,
        examples: Sequence[Example],
        *,
        num_resamples: int,
        seed: int,
        confidence: float = 0.95,
    ) -> tuple[float, float] | None:
        """Bootstrap interval, clips resampled with replacement, the references kept.

        ``examples`` are read for their features alone. None where the set is too small, and where
        resamples say nothing of the set, as here.
        """
        return None
