"""A clip in memory: uint8 RGB frames with their rate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]  # (T, H, W, 3)
Picture = NDArray[np.uint8]  # (H, W, 3)


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
            if not getattr(self, name) > 0:
                raise ValueError(f"geometry: {name} must be positive, got {getattr(self, name)!r}")

    def __str__(self) -> str:
        return f"{self.num_frames} frames of {self.width}x{self.height} at {self.fps:g} fps"


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """Frames uint8 (T, H, W, 3), RGB, with ``fps``."""

    frames: Frames
    fps: float

    def __post_init__(self) -> None:
        shape, dtype = self.frames.shape, self.frames.dtype
        if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
            raise ValueError(f"a clip is uint8 (T, H, W, 3) with T, H, W > 0, got {dtype} {shape}")
        if not self.fps > 0:
            raise ValueError(f"a clip's fps must be positive, got {self.fps!r}")

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
