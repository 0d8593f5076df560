"""Validation: a few clips of the network as it is, as an animation and as a sheet of stills."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from i2vbench.clip import Picture
from i2vbench.files import write_atomic
from i2vbench.models.consisti2v.noise import SampleDraws
from i2vbench.models.consisti2v.pipeline import ConsistI2VPipeline
from i2vbench.models.consisti2v.sampling import Sampling
from i2vbench.pictures import read_picture

from .recipe import Recipe
from .webvid import ClipDataset

logger = logging.getLogger(__name__)

_NUM_DEFAULT: Final = 4
_NUM_STILLS: Final = 6
_FPS: Final = 8
_MARGIN_PX: Final = 2


class Validation:
    """Prompts and first frames, sampled with the same noise every time."""

    def __init__(self, recipe: Recipe, clips: ClipDataset) -> None:
        """Takes the recipe's, or those of the first training clips.

        Raises:
            UnreadableClipError: a first frame that cannot be read.
        """
        self._recipe = recipe
        self._prompts: list[str] = list(recipe.validation_prompts)
        self._first_frames: list[Picture] = [
            read_picture(Path(path)) for path in recipe.validation_first_frames
        ]
        if not self._prompts:
            for number in range(_NUM_DEFAULT):
                clip = clips[number]
                pixels = ((clip.frames_TCHW[0] + 1) * 127.5).round().to(torch.uint8)
                self._prompts.append(clip.text)
                self._first_frames.append(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))

    def run(self, pipeline: ConsistI2VPipeline, stem: Path) -> None:
        """Writes `stem`.gif and `stem`.png; clips side by side, and stills of each in a row.

        Published validation has no FrameInit. A network that gives NaN is a warning and no files:
        the training itself judges by its loss.
        """
        try:
            made = self._sample(pipeline)
        except FloatingPointError as error:
            logger.warning("no validation clips for %s: %s", stem.name, error)
            return
        write_grid(made, stem)

    def _sample(self, pipeline: ConsistI2VPipeline) -> list[NDArray[np.uint8]]:
        """One clip per prompt, uint8 (T, H, W, 3)."""
        sampling = Sampling(
            num_inference_steps=self._recipe.validation_inference_steps,
            frame_stride=self._recipe.validation_frame_stride,
            noise=self._recipe.noise,
            noise_alpha=self._recipe.noise_alpha,
            frameinit=False,
        )
        size = self._recipe.size_px
        return [
            pipeline(
                [prompt],
                [picture] if pipeline.needs_first_frame else None,
                SampleDraws([torch.Generator().manual_seed(self._recipe.seed + index)]),
                sampling,
                height=size,
                width=size,
            )[0]
            for index, (prompt, picture) in enumerate(
                zip(self._prompts, self._first_frames, strict=True)
            )
        ]


def write_grid(clips: Sequence[NDArray[np.uint8]], stem: Path) -> None:
    """Writes clips, uint8 (T, H, W, 3), as an animation side by side and as rows of stills."""
    frames = [
        Image.fromarray(_side_by_side([clip[t] for clip in clips])) for t in range(len(clips[0]))
    ]
    animation = io.BytesIO()
    frames[0].save(
        animation,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=1000 // _FPS,
        loop=0,
    )
    write_atomic(stem.with_suffix(".gif"), animation.getvalue())
    rows = []
    for clip in clips:
        places = np.linspace(0, len(clip) - 1, min(_NUM_STILLS, len(clip))).round().astype(int)
        rows.append(_side_by_side([clip[place] for place in places]))
    gap = np.full((_MARGIN_PX, *rows[0].shape[1:]), 255, np.uint8)
    sheet = np.concatenate([part for row in rows for part in (row, gap)][:-1])
    stills = io.BytesIO()
    Image.fromarray(sheet).save(stills, "PNG")
    write_atomic(stem.with_suffix(".png"), stills.getvalue())


def _side_by_side(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    gap = np.full((pictures[0].shape[0], _MARGIN_PX, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    return np.concatenate(parts, axis=1)
