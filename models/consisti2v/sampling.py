"""The numbers that a sampling run depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from i2vbench.errors import UserError, did_you_mean

from .camera import CAMERA_MOTIONS
from .frameinit import FILTERS
from .guidance import Guidance
from .noise import NOISE_METHODS
from .schedulers import scheduler_class

_NUM_TRAIN_STEPS: Final = 1000
SAMPLING_FILE: Final = "sampling.json"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a clip is sampled; the defaults are those of the published configuration."""

    num_inference_steps: int = 50
    """Steps of the scheduler, 1 to 999."""
    scheduler: str = "ddim"
    """Of :data:`.schedulers.SCHEDULERS`, or the name of a Diffusers class."""
    guidance_scale_text: float = 7.5
    """At most 1: no text guidance."""
    guidance_scale_image: float = 1.0
    """At most 1: no image guidance; above, the network runs three times a step, or twice if the
    scales are equal."""
    guidance_rescale: float = 0.0
    """0 to 1; 0 is off."""
    frame_stride: float = 3
    """The speed asked of the network: source frames from one frame to the next in training; it may
    be a fraction, as its sinusoid takes any number."""
    frameinit: bool = True
    frameinit_noise_level: int = 850
    """Of 0 to 999: where the still video is noised to before the frequencies are mixed."""
    frameinit_filter: str = "gaussian"
    frameinit_d_s: float = 0.25
    """Spatial cutoff, share of the Nyquist frequency."""
    frameinit_d_t: float = 0.25
    """Temporal cutoff, likewise."""
    frameinit_iterations: int = 1
    """Published: 1. Above, the clip itself is the video of the next round, as in FreeInit."""
    noise: str = "pyoco_mixed"
    noise_alpha: float = 1.0
    """Weight of the noise that frames share."""
    negative_prompt: str = ""
    camera_motion: str = "static"
    """Of :data:`.camera.CAMERA_MOTIONS`; acts through FrameInit."""

    def __post_init__(self) -> None:
        _within("num_inference_steps", self.num_inference_steps, 1, _NUM_TRAIN_STEPS - 1, int)
        _within("guidance_scale_text", self.guidance_scale_text, 0, 1000)
        _within("guidance_scale_image", self.guidance_scale_image, 0, 1000)
        _within("guidance_rescale", self.guidance_rescale, 0, 1)
        _within("frame_stride", self.frame_stride, 1, 1000)
        _within("frameinit_noise_level", self.frameinit_noise_level, 0, _NUM_TRAIN_STEPS - 1, int)
        _within("frameinit_d_s", self.frameinit_d_s, 0, 2)
        _within("frameinit_d_t", self.frameinit_d_t, 0, 2)
        _within("frameinit_iterations", self.frameinit_iterations, 1, 100, int)
        _within("noise_alpha", self.noise_alpha, 0, 1000)
        _one_of("frameinit_filter", self.frameinit_filter, FILTERS)
        _one_of("noise", self.noise, NOISE_METHODS)
        _one_of("camera_motion", self.camera_motion, CAMERA_MOTIONS)
        scheduler_class(self.scheduler)
        if not isinstance(self.frameinit, bool):
            raise UserError(f"frameinit={self.frameinit!r}; accepted: true or false")
        if not isinstance(self.negative_prompt, str):
            raise UserError(f"negative_prompt={self.negative_prompt!r}; accepted: a text")

    @property
    def guidance(self) -> Guidance:
        """The guidance part."""
        return Guidance(
            text_scale=self.guidance_scale_text,
            image_scale=self.guidance_scale_image,
            rescale=self.guidance_rescale,
        )


@dataclass(frozen=True, kw_only=True)
class CheckpointSampling:
    """What a checkpoint folder says about its own sampling, in ``sampling.json``."""

    values: Mapping[str, Any]
    """Fields of :class:`Sampling` that replace the published defaults."""
    fps: float = 8.0
    """Of its clips; 8 for the published model."""
    height: int | None = None
    """Of its clips, pixels; None where the file does not say."""
    width: int | None = None
    """Likewise."""

    @classmethod
    def read(cls, folder: Path) -> CheckpointSampling:
        """The content of ``sampling.json``; the published defaults where the folder has none.

        Raises:
            UserError: not JSON, an unknown key or a value that is not accepted.
        """
        path = folder / SAMPLING_FILE
        if not path.is_file():
            return cls(values={})
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise UserError(f"{path} is not JSON: {error}") from error
        if not isinstance(stored, dict):
            raise UserError(f"{path} holds {type(stored).__name__}; accepted: an object")
        accepted = [field.name for field in fields(Sampling)]
        geometry = {key: stored.pop(key) for key in ("fps", "height", "width") if key in stored}
        for key in stored:
            if key not in accepted:
                raise UserError(f"{path}: unknown key {key!r}: {did_you_mean(key, accepted)}")
        try:
            for key, value in geometry.items():
                _within(key, value, 1, 10_000, float if key == "fps" else int)
            Sampling(**stored)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        return cls(values=stored, **geometry)


def _within(
    name: str, value: object, low: float, high: float, kind: type[int] | type[float] = float
) -> None:
    accepted = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, accepted) or not low <= value <= high:
        what = "an integer" if kind is int else "a number"
        raise UserError(f"{name}={value!r}; accepted: {what} from {low:g} to {high:g}")


def _one_of(name: str, value: object, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise UserError(f"{name}={value!r}: {did_you_mean(str(value), accepted)}")
