"""The contracts of extractors and metrics.

An *extractor* is a network (or an algorithm) that turns a clip into named arrays; several
metrics share its one pass. A *metric* turns arrays or frames into a score: per clip
(:class:`ClipMetric`) or per set (:class:`SetMetric`). A sample may have several clips, its takes;
they are not independent, so the sample is the unit of every mean and of every interval.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from i2vbench.clip import Clip, Picture
from i2vbench.registry import EXTRACTORS
from i2vbench.statistics import mean_over_samples

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

    def features_of(self, metric: Metric, index: int = 0) -> Features:
        """What the metric's extractor at ``index`` made of the clip.

        A scoring fills ``features`` itself, with one pass for all metrics. In a notebook an example
        may come bare: the network is then loaded once, on the CPU, and kept.

        Raises:
            MissingWeightsError: the example comes bare and the network's weights are not here.
        """
        name = metric.extractors[index]
        if name in self.features:
            return self.features[name]
        return _own(name).extract([self.clip], [self.prompt])[0]

    def reference_features_of(self, metric: Metric, index: int = 0) -> Features:
        """The same of the reference.

        Raises:
            MissingWeightsError: as :meth:`features_of`.
            ValueError: the example has no reference.
        """
        name = metric.extractors[index]
        if name in self.reference_features:
            return self.reference_features[name]
        if self.reference is None:
            raise ValueError(f"{self.sample_id}: there is no reference to compare with")
        return _own(name).extract([self.reference], [self.prompt])[0]

    def first_frame_features_of(self, metric: Metric, index: int = 0) -> Features:
        """The same of the first frame.

        Raises:
            MissingWeightsError: as :meth:`features_of`.
            ValueError: the example has no first frame.
        """
        if self.first_frame is None:
            raise ValueError(f"{self.sample_id}: there is no first frame to compare with")
        name = metric.extractors[index]
        if name in self.first_frame_features:
            return self.first_frame_features[name]
        return _own(name).extract_picture(self.first_frame)


@cache
def _own(name: str) -> Extractor:
    made: Extractor = EXTRACTORS.load(name)()
    return made


def by_sample(examples: Sequence[Example]) -> list[list[Example]]:
    """The examples of each sample together, sorted by id and take, in whatever order they come."""
    ordered = sorted(examples, key=lambda example: (example.sample_id, example.take))
    return [list(takes) for _, takes in groupby(ordered, key=lambda example: example.sample_id)]


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
    package: ClassVar[str] = ""
    """A package that only this network needs; empty where those of this project are enough."""
    install: ClassVar[str] = ""
    """The command that installs it, and its licence where that binds the user."""
    stores_features: ClassVar[bool] = True
    """False for a network that compares two pictures: a scoring never calls ``extract`` then, and
    the metric calls the extractor itself, which :meth:`Metric.use` gives it."""

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
    interval_kind: ClassVar[str] = "bootstrap"
    """How a clip metric's interval is made: ``bootstrap``, or ``share`` where the value of a clip
    answers one or few questions by yes or no, as 0 or 1 or a share of the yeses: Wilson's."""

    def use(self, extractors: Sequence[Extractor]) -> None:  # noqa: B027
        """Takes the loaded extractors, in the order of ``extractors``; called before any clip.

        Only a metric whose extractor has no ``stores_features`` needs them.
        """

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
    """A score per clip; over a set, the mean over the samples of the mean of their takes."""

    level = "clip"

    def __init__(self) -> None:
        """Starts with nothing added."""
        self._values: dict[str, list[float]] = {}

    @abstractmethod
    def score_clip(self, example: Example) -> float:
        """The score of one clip; must be finite.

        Raises:
            ValueError: this clip has no score (a single frame, say); it becomes a failed row.
        """

    def checked_score(self, example: Example) -> float:
        """:meth:`score_clip` as a float; numbers of numpy, torch and fractions are numbers too.

        Raises:
            ValueError: this clip has no score, or the score is no finite number.
        """
        return self._checked(self.score_clip(example))

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
            self.add(self.checked_score(example), sample_id=example.sample_id)

    def add(self, value: float, *, sample_id: str) -> None:
        """Adds the score of a clip that was computed before (a resumed scoring).

        Raises:
            ValueError: the score is no finite number.
        """
        self._values.setdefault(sample_id, []).append(self._checked(value))

    def merge(self, other: Self) -> None:
        """Adds the other's scores."""
        for sample_id, values in other._values.items():
            self._values.setdefault(sample_id, []).extend(values)

    def compute(self) -> float:
        """The mean over the samples of their takes' mean, whatever the order of adding.

        Raises:
            ValueError: no clip was added.
        """
        if not self._values:
            raise ValueError(f"{self.name}: no clip was added")
        return mean_over_samples(self._values)

    def _checked(self, value: object) -> float:
        number = _as_number(value)
        if not math.isfinite(number):
            shown = " ".join(repr(value).split())
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            raise ValueError(
                f"{self.name}: the score of a clip must be a finite number, got {shown}"
            )
        if self.interval_kind == "share" and not 0 <= number <= 1:
            raise ValueError(f"{self.name}: the score of a clip is a share in [0, 1], got {number}")
        return number


def _as_number(value: object) -> float:
    """``value`` as a float; NaN where it is no number, or too large for one."""
    try:
        # Arrays and tensors of one element have it; a text would pass float().
        single: Any = value.item() if hasattr(value, "item") else value
        return math.nan if isinstance(single, str | bytes) else float(single)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return math.nan


class SetMetric(Metric):
    """A score of a set of clips, against their references where ``needs`` says so.

    A sample's reference counts once, with the first of its takes that is added; examples come in
    the order of the plan, where a sample's takes ascend.
    """

    level = "set"

    def interval(
        self,
        examples: Sequence[Example],
        *,
        num_resamples: int,
        seed: int,
        confidence: float = 0.95,
    ) -> tuple[float, float] | None:
        """Bootstrap interval: samples resampled with all their takes, the references kept.

        ``examples`` are read for their features alone, and may come in any order. None where the
        set is too small, and where resamples say nothing of the set, as here.
        """
        return None
