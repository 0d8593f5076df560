"""Random weights and clips that need not be stored: the same numbers from the same names.

Used by the tests and by ``tests/data/published_networks/record.py``, which runs the peers on them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from i2vbench.clip import Clip


def seeded_state(shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
    """A state dict of float32 tensors, each drawn from a generator seeded by its own key.

    He's scale for kernels; normalisations near the identity, with a raised bias: a network of
    plain noise is chaotic, and rounding in its first layer would be all one sees at its end.
    """
    return {
        key: torch.from_numpy(_draw(key, tuple(shapes[key])).astype(np.float32))
        for key in sorted(shapes)
        if not key.endswith("num_batches_tracked")
    }


def _draw(key: str, shape: tuple[int, ...]) -> np.ndarray:
    # RandomState's stream is frozen; default_rng's may change with numpy.
    random = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        return random.uniform(0.5, 1.5, shape)
    if ".bn." in key:
        centre = {"weight": 1.0, "bias": 0.5, "running_mean": 0.0}[key.rpartition(".")[2]]
        return centre + 0.1 * random.standard_normal(shape)
    if len(shape) == 1:
        return 0.1 * random.standard_normal(shape)
    return random.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))


def seeded_clips(
    num_clips: int, num_frames: int, height: int, width: int, *, seed: int, contrast: float = 1.0
) -> list[Clip]:
    """Clips of coloured tiles that drift to the right, uint8, 8 fps."""
    random = np.random.RandomState(seed)
    clips = []
    for _ in range(num_clips):
        tiles = random.randint(0, 256, (-(-height // 8), -(-width // 8), 3))
        frame = np.kron(tiles, np.ones((8, 8, 1)))[:height, :width]
        grain = random.uniform(-20, 20, (num_frames, height, width, 3))
        frames = np.stack([np.roll(frame, 3 * t, axis=1) for t in range(num_frames)]) + grain
        frames = 128 + contrast * (frames - 128)
        clips.append(Clip(frames=frames.clip(0, 255).astype(np.uint8), fps=8))
    return clips
