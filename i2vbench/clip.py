"""A clip in memory: uint8 RGB frames with their rate."""

from __future__ import annotations

import hashlib
import numbers
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # (T, H, W, 3)
Picture = NDArray[np.uint8]  # (H, W, 3)


def as_number(value: object, what: str, *, whole: bool = False) -> float:
    """A number of Python, numpy, torch or ``fractions`` as the float or int that it is.

    Args:
        value: the number.
        what: how the error calls it.
        whole: whether an int is wanted.

    Raises:
        ValueError: no number, not finite, or not whole where that is wanted.
    """
    item = getattr(value, "item", None)
    if callable(item) and not isinstance(value, numbers.Real) and np.ndim(value) == 0:  # type: ignore[arg-type]
        value = item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise ValueError(f"{what} must be a number, got {type(value).__name__} {value!r:.60}")
    number = float(value)
    if not np.isfinite(number) or (whole and number != int(number)):
        raise ValueError(f"{what} must be a {'whole' if whole else 'finite'} number, got {value!r}")
    return int(number) if whole else number


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The size and rate of a clip."""

    num_frames: int
    """Frames, the first one included."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    fps: float
    """Frames per second."""

    def __post_init__(self) -> None:
        for name in ("num_frames", "height", "width", "fps"):
            value = as_number(getattr(self, name), f"geometry: {name}", whole=name != "fps")
            if not value > 0:
                raise ValueError(f"geometry: {name} must be positive, got {value!r}")
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return f"{self.num_frames} frames of {self.width}x{self.height} at {self.fps:g} fps"


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """Frames uint8 (T, H, W, 3), RGB, with ``fps``."""

    frames: Frames
    fps: float

    def __post_init__(self) -> None:
        if not isinstance(self.frames, np.ndarray):
            raise ValueError(
                f"a clip's frames are a numpy array, got {type(self.frames).__name__}; "
                "of a tensor take .cpu().numpy()"
            )
        shape, dtype = self.frames.shape, self.frames.dtype
        if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise ValueError(f"a clip is uint8 (T, H, W, 3) with T, H, W > 0, got {dtype} {shape}")
        fps = as_number(self.fps, "a clip's fps")
        if not fps > 0:
            raise ValueError(f"a clip's fps must be positive, got {fps!r}")
        object.__setattr__(self, "fps", fps)

    @property
    def geometry(self) -> Geometry:
        """Size and rate."""
        num_frames, height, width, _ = self.frames.shape
        return Geometry(num_frames=num_frames, height=height, width=width, fps=self.fps)

    @cached_property
    def sha256(self) -> str:
        """Hash of shape and pixels (not of the file, not of fps): the key of cached features."""
        digest = hashlib.sha256(repr(self.frames.shape).encode())
        digest.update(np.ascontiguousarray(self.frames).data)
        return digest.hexdigest()
