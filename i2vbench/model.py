"""The contract of a model adapter: requests in, clips out.

An adapter subclasses :class:`Model`. It never reads the suite, never writes files, and draws all
noise from ``request.generator()``, so that neither batch, order nor worker changes a clip.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from i2vbench.adapter_state import adopt, state_of
from i2vbench.clip import Clip, Geometry, Picture, as_number
from i2vbench.errors import UserError
from i2vbench.plain_text import error_line, short_repr
from i2vbench.registry import MODELS
from i2vbench.sample import Sample
from i2vbench.typed_options import options_from

if TYPE_CHECKING:
    import torch

_MAX_NAME = 100
"""Characters of a model's name: it stands in the name of a folder, with a hash behind it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of an adapter; subclass it with ``@dataclass(frozen=True, kw_only=True)``.

    Each field has a default and a docstring line; ``__post_init__`` refuses bad values. What a
    field holds must be JSON (numbers, strings, bools, None, lists): every field enters the identity
    of the run, whatever the card says, but those whose metadata has ``{"changes_clips": False}``
    (a folder that the card's hash of the weights stands for, a way to save memory).
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
    """What the options came to, e.g. a checkpoint's own values in place of None; the options that
    were asked for enter the run's identity by themselves."""
    num_parameters: int = 0
    """Of all networks together."""
    notes: Sequence[str] = ()
    """Lines for the reader, e.g. which checkpoint was taken and why."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """One clip to make."""

    sample: Sample
    """As the model sees it: without category, and without the real clip (but for a baseline)."""
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
        """The condition, uint8 (H, W, 3) RGB of any size; None where the sample has none.

        It is the adapter's own copy: what is written into it, nobody else sees.
        """
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

    @cached_property
    def card(self) -> Card:
        """What :meth:`describe` says, asked once and checked.

        Raises:
            UserError: it raises, changes between two calls, or holds what is no JSON.
        """
        return checked_card(self)

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


def checked_card(model: Model) -> Card:
    """The model's card; see :attr:`Model.card`."""
    what = f"model {type(model).__name__}"
    with state_of(model):
        try:
            card, again = model.describe(), model.describe()
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise UserError(f"{what}: its describe() fails: {error_line(error)}") from error
    if not isinstance(card, Card):
        raise UserError(
            f"{what}: its describe() gave {short_repr(card)}, an i2vbench Card was expected"
        )
    for name in ("name", "version", "weights"):
        value = getattr(card, name)
        if not isinstance(value, str) or (not value.strip() and name != "weights"):
            raise UserError(f"{what}: its card's {name} is {short_repr(value)}; accepted is text")
        if name == "name" and len(value) > _MAX_NAME:
            raise UserError(
                f"{what}: its card's name has {len(value)} characters; at most {_MAX_NAME}"
            )
    if not isinstance(card.options, Mapping):
        raise UserError(f"{what}: its card's options are {short_repr(card.options)}, not a mapping")
    options = {
        str(key): _json(value, f"{what}: its card's option {str(key)!r}")
        for key, value in card.options.items()
    }
    checked = replace(
        card,
        options=options,
        notes=(card.notes,) if isinstance(card.notes, str) else tuple(map(str, card.notes)),
        num_parameters=int(as_number(card.num_parameters, f"{what}: num_parameters", whole=True)),
    )
    for name in ("name", "version", "weights", "options"):
        before, after = getattr(card, name), getattr(again, name, None)
        if before != after:
            raise UserError(
                f"{what}: its card's {name} changes from call to call "
                f"({short_repr(before)}, then {short_repr(after)}); it is the identity of the run"
            )
    return checked


def asked_options(model: Model) -> dict[str, Any]:
    """The fields of the model's options that change its clips, as JSON.

    Raises:
        UserError: a value is no JSON.
    """
    options = model.options
    if not is_dataclass(options):
        return {}
    return {
        each.name: _json(
            getattr(options, each.name), f"model {type(model).__name__}: option {each.name!r}"
        )
        for each in fields(options)
        if each.metadata.get("changes_clips", True)
    }


def _json(value: Any, what: str) -> Any:  # noqa: ANN401
    """``value`` as JSON has it; numpy's whole numbers are taken as the numbers they are."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_json(each, what) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _json(each, what) for key, each in value.items()}
    raise UserError(
        f"{what} is {short_repr(value)} ({type(value).__name__}); accepted are JSON values: text, "
        "finite numbers, true, false, null, lists and mappings of them"
    )


def build_options(model_class: type[Model], values: Mapping[str, Any]) -> Options:
    """The adapter's options from ``-a key=value`` pairs.

    Raises:
        UserError: a key that the adapter does not have, a value of another type than the field is
            annotated with, or one that the adapter refuses.
    """
    return options_from(model_class.options_type, values, "model")


def load_model(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    device: str = "cpu",
    dtype: str | None = None,
) -> Model:
    """An adapter by name, ``path/to/file.py:Class``, ready to generate.

    What its construction does to torch's global state and to the current folder is in force again
    when it generates, and not before.

    Raises:
        UserError: an unknown name or option, or an adapter that cannot be built.
    """
    with state_of(None):
        model_class = MODELS.load(name)
        if not (isinstance(model_class, type) and issubclass(model_class, Model)):
            raise UserError(
                f"model {name!r} is {model_class!r}, not a subclass of i2vbench.model.Model"
            )
        missing = sorted(getattr(model_class, "__abstractmethods__", ()))
        if inspect.isabstract(model_class):
            raise UserError(f"model {name!r} does not define {', '.join(missing)}")
        asked = build_options(model_class, options or {})
        try:
            model = model_class(asked, device=device, dtype=dtype)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise UserError(f"model {name!r} cannot be built: {error_line(error)}") from error
        adopt(model)
    return model
