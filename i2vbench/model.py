"""The contract of a model adapter: requests in, clips out.

An adapter subclasses :class:`Model`. It never reads the suite, never writes files, and draws all
noise from ``request.generator()``, so that neither batch, order nor worker changes a clip.
"""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from i2vbench.clip import Clip, Geometry, Picture
from i2vbench.errors import UserError, did_you_mean
from i2vbench.registry import MODELS
from i2vbench.sample import Sample

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of an adapter; subclass it with ``@dataclass(frozen=True, kw_only=True)``.

    Each field has a default and a docstring line; ``__post_init__`` refuses bad values. What a
    field holds must be JSON (numbers, strings, bools, None, lists): it enters the fingerprint.
    """


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model is, as boards print it."""

    name: str
    """As it stands on boards and in run directories, e.g. ``consisti2v-tiny``."""
    version: str
    """Of the adapter's code: raise it when its clips change."""
    weights: str = ""
    """sha256 or revision of the weights; empty for a model without."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Resolved options, defaults included: all that changes a clip."""
    num_parameters: int = 0
    """Of all networks together."""
    notes: Sequence[str] = ()
    """Lines for the reader, e.g. which checkpoint was taken and why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """One clip to make."""

    sample: Sample
    take: int
    """0 for the first clip of the sample."""
    seed: int
    """The run's seed; the noise also depends on sample id and take."""
    geometry: Geometry

    @property
    def prompt(self) -> str:
        """The sample's text."""
        return self.sample.prompt

    @cached_property
    def first_frame(self) -> Picture | None:
        """The condition, uint8 (H, W, 3) RGB of any size; None where the sample has none."""
        load = self.sample.load_first_frame
        return None if load is None else load(self.geometry)

    @property
    def noise_seed(self) -> int:
        """63 bits from sha256(run seed, sample id, take)."""
        text = f"{self.seed}\x00{self.sample.id}\x00{self.take}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def generator(self) -> torch.Generator:
        """A CPU generator seeded by :attr:`noise_seed`; each call starts it anew."""
        import torch

        return torch.Generator("cpu").manual_seed(self.noise_seed)


class Model(ABC):
    """An adapter that turns requests into clips."""

    modes: ClassVar[frozenset[str]] = frozenset({"image-to-video"})
    """Of ``image-to-video``, ``text-to-video`` and, for the baseline alone, ``reference``."""
    options_type: ClassVar[type[Options]] = Options

    def __init__(
        self, options: Options | None = None, *, device: str = "cpu", dtype: str | None = None
    ) -> None:
        """Keeps what was asked; weights load on first use.

        Args:
            options: an instance of ``self.options_type``; None for the defaults.
            device: ``cpu`` or ``cuda[:i]``; already checked.
            dtype: ``fp32``, ``bf16`` or ``fp16``; None for the adapter's choice.
        """
        self.options = self.options_type() if options is None else options
        self.device = device
        self.dtype = dtype

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """The native size, frames and rate of its clips."""

    @abstractmethod
    def describe(self) -> Card:
        """The card; must not need the weights in memory."""

    @abstractmethod
    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        """Yields one clip per request, in order; the requests form one batch."""


def build_options(model_class: type[Model], values: Mapping[str, Any]) -> Options:
    """The adapter's options from ``-a key=value`` pairs.

    Raises:
        UserError: a key that the adapter does not have, or a value that it refuses.
    """
    accepted = [f.name for f in dataclasses.fields(model_class.options_type)]
    for key in values:
        if key not in accepted:
            raise UserError(f"model option {key!r} is unknown: {did_you_mean(key, accepted)}")
    try:
        return model_class.options_type(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"model options {dict(values)}: {error}") from error


def load_model(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    device: str = "cpu",
    dtype: str | None = None,
) -> Model:
    """An adapter by name, ``path/to/file.py:Class``, ready to generate.

    Raises:
        UserError: an unknown name or option.
    """
    model_class = MODELS.load(name)
    if not (isinstance(model_class, type) and issubclass(model_class, Model)):
        raise UserError(
            f"model {name!r} is {model_class!r}, not a subclass of i2vbench.model.Model"
        )
    return model_class(build_options(model_class, options or {}), device=device, dtype=dtype)
