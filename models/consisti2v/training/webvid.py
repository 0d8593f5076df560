"""Captioned videos: lists in the layouts of WebVid and Pexels, and the clips cut out of them.

Clip `g` of a training is a function of the seed and `g` alone: which video, stride, start and flip.
Any number of processes and workers, and any resumed run, therefore see the same clips.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.transforms.functional import InterpolationMode, center_crop, resize

from i2vbench.errors import UnreadableClipError, UserError
from i2vbench.video_io import count_frames, read_video

from .recipe import Recipe

# Landscape, as the original takes them: height below 5/8 of the width.
_PEXELS_RATIO: Final = 0.625
_ATTEMPTS: Final = 32
"""Videos tried for one clip before the data are called unreadable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Video:
    """A captioned file."""

    path: Path
    text: str


class TrainingClip(NamedTuple):
    """One item of the training data."""

    frames_TCHW: torch.Tensor  # noqa: N815
    """float32 in [-1, 1]."""
    text: str
    stride: int
    """As drawn; a video too short for it is sampled more densely under the same label."""
    unreadable: tuple[str, ...]
    """One line for each file that was tried before; it begins with the path."""
    video: str
    """The path of the file that was read."""


def list_videos(recipe: Recipe) -> list[Video]:
    """All videos of the recipe, WebVid's before Pexels'.

    Raises:
        UserError: a list that does not exist, is not JSON lines, lacks a field, or is empty.
    """
    videos: list[Video] = []
    if recipe.webvid_json is not None:
        rows = _rows(Path(recipe.webvid_json), {"text": str, "file": str})
        folder = Path(recipe.webvid_folder)
        videos += [Video(path=_inside(folder, row["file"]), text=row["text"]) for row in rows]
    if recipe.pexels_json is not None and recipe.pexels_captions is not None:
        texts = {row["id"]: row["text"] for row in _rows(Path(recipe.pexels_captions), _CAPTION)}
        folder = Path(recipe.pexels_folder)
        for row in _rows(Path(recipe.pexels_json), _PEXELS):
            if row["height"] < _PEXELS_RATIO * row["width"] and row["id"] in texts:
                videos.append(Video(path=_inside(folder, row["file"]), text=texts[row["id"]]))
    if not videos:
        raise UserError(
            f"no videos in {recipe.webvid_json or recipe.pexels_json}; a line per video is needed "
            "(of Pexels, landscape ones with a caption)"
        )
    return videos


_NUMBER = (int, float)
_ID = (str, int)
_PEXELS: Final = {"id": _ID, "file": str, "width": _NUMBER, "height": _NUMBER}
_CAPTION: Final = {"id": _ID, "text": str}


def _rows(path: Path, needed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; a file of JSON lines {', '.join(needed)} is needed"
        )
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}:{number} is not JSON: {error}") from error
            for key, kind in needed.items():
                if not isinstance(row, dict) or not isinstance(row.get(key), kind):
                    found = row.get(key) if isinstance(row, dict) else row
                    raise UserError(
                        f"{path}:{number}: {key}={found!r}; accepted: lines with "
                        f"{', '.join(needed)}"
                    )
            yield row


def _inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`; a list cannot point out of it."""
    relative = Path(name)
    if relative.is_absolute():
        relative = Path(relative.name)
    if ".." in relative.parts:
        raise UserError(f"file {name!r} points out of {folder}; accepted: names inside of it")
    return folder / relative


class ClipDataset(Dataset[TrainingClip]):
    """Clips by their number in the training, which has no end."""

    def __init__(self, videos: Sequence[Video], recipe: Recipe) -> None:
        self._videos = videos
        self._recipe = recipe

    def __getitem__(self, number: int) -> TrainingClip:
        """Clip `number`, of another video where one cannot be read.

        Raises:
            UnreadableClipError: 32 videos one after another cannot be read; it lists them.
        """
        unreadable: list[str] = []
        for attempt in range(_ATTEMPTS):
            rng = np.random.default_rng((self._recipe.seed, number, attempt))
            # A second attempt leaves the shuffled order, which has no place for it.
            index = int(rng.integers(len(self._videos))) if attempt else self._shuffled(number)
            video = self._videos[index]
            stride = int(rng.integers(self._recipe.stride_min, self._recipe.stride_max + 1))
            try:
                frames = self._read(video.path, stride, rng)
            except (UnreadableClipError, OSError) as error:
                unreadable.append(str(error) or str(video.path))
                continue
            pixels = self._transform(frames, mirrored=bool(rng.random() < self._recipe.flip))
            return TrainingClip(pixels, video.text, stride, tuple(unreadable), str(video.path))
        raise UnreadableClipError(
            f"{_ATTEMPTS} videos in a row cannot be read: " + "; ".join(unreadable)
        )

    def _shuffled(self, number: int) -> int:
        """The video at `number` in epochs that are each shuffled anew, in O(1) memory."""
        epoch, place = divmod(number, len(self._videos))
        return _permuted(place, len(self._videos), (self._recipe.seed, epoch))

    def _read(self, path: Path, stride: int, rng: np.random.Generator) -> torch.Tensor:
        """uint8 (T, 3, H, W): frames trunc(linspace(start, start + L - 1, T)) of the source."""
        wanted = self._recipe.num_frames
        available = count_frames(path)
        if available < 1:
            raise UnreadableClipError(f"{path}: has no frames")
        length = min(available, (wanted - 1) * stride + 1)
        start = int(rng.integers(available - length + 1))
        if length == (wanted - 1) * stride + 1:
            frames = read_video(path, keep=range(start, start + length, stride)).frames
        else:
            frames = read_video(path, keep=range(start, start + length)).frames
            frames = frames[np.linspace(0, length - 1, wanted).astype(int)]
        return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)

    def _transform(self, frames_TCHW: torch.Tensor, *, mirrored: bool) -> torch.Tensor:
        """Mirror, shorter side to the size (bilinear, not antialiased), middle, to [-1, 1]."""
        size = self._recipe.size_px
        pixels = frames_TCHW.float() / 255.0
        if mirrored:
            pixels = pixels.flip(-1)
        pixels = resize(pixels, [size], InterpolationMode.BILINEAR, antialias=False)
        cropped: torch.Tensor = center_crop(pixels, [size, size])
        return (cropped * 2.0 - 1.0).contiguous()


def _permuted(place: int, size: int, key: tuple[int, int]) -> int:
    """`place` under a random permutation of `range(size)`.

    A Feistel cipher over the next square, walked until it lands inside: ten million entries per
    worker and epoch would cost seconds and 80 MiB.
    """
    half = max(1, int(np.ceil(np.sqrt(size))))
    while True:
        left, right = divmod(place, half)
        for turn in range(4):
            noise = np.random.default_rng((*key, turn, right)).integers(half)
            left, right = right, (left + int(noise)) % half
        place = left * half + right
        if place < size:
            return place


class ClipNumbers:
    """Sampler of one process: the numbers of its clips from step `start` on.

    A step takes consecutive numbers, dealt out to batches first and processes second, so that the
    clips of a step do not depend on how many processes share it.
    """

    def __init__(self, recipe: Recipe, *, start: int, rank: int, num_processes: int) -> None:
        self._recipe = recipe
        self._start = start
        self._rank = rank
        self._num_processes = num_processes

    def __iter__(self) -> Iterator[list[int]]:
        """The numbers of one batch after another, `gradient_accumulation` for each step."""
        size = self._recipe.batch_size
        per_step = self._recipe.gradient_accumulation
        for batch in range(self._start * per_step, self._recipe.steps * per_step):
            first = (batch * self._num_processes + self._rank) * size
            yield list(range(first, first + size))

    def __len__(self) -> int:
        return (self._recipe.steps - self._start) * self._recipe.gradient_accumulation
