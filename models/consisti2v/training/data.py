"""Training data: procedural scenes by the thousand, drawn when they are needed.

Item `i` of every stream is a function of `i` alone, so that any number of workers and any resumed
run see the same data. Training seeds start at `TRAIN_SEED_START`; the suite's test seeds and the
validation seeds lie below it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from i2vbench.suites.playground.captions import NUM_PHRASINGS, caption
from i2vbench.suites.playground.flow import backward_flow
from i2vbench.suites.playground.rendering import canvas_side, render
from i2vbench.suites.playground.scenes import CAMERAS, Scene, scene_from_seed
from i2vbench.suites.playground.seeds import TRAIN_SEED_START

STRIDES = (1, 5)
"""Published range of the frame stride, both ends included."""

_PLACES = 9
"""Of a window in a scene, along each side."""

_PICTURE_SHARE = 0.15
"""Of the clips: those that are a camera's move over a photograph."""

_SCENES_PER_SEED = 10_000_000


def first_scene(training_seed: int) -> int:
    """Returns the seed of a training's first scene: those of other seeds see other scenes."""
    return TRAIN_SEED_START + training_seed * _SCENES_PER_SEED


class SceneFrames(Dataset[torch.Tensor]):
    """Batches of frames, uint8 (N, 3, H, W): scenes, and crops of pictures if there are any."""

    def __init__(
        self,
        batch_size: int,
        size_px: int,
        pictures: Sequence[Path] = (),
        picture_share: float = 0.2,
    ) -> None:
        self._batch_size = batch_size
        self._size_px = size_px
        self._pictures = [_read_picture(path) for path in pictures]
        self._picture_share = picture_share if pictures else 0.0

    def __getitem__(self, index: int) -> torch.Tensor:
        rng = np.random.Generator(np.random.PCG64((index, 1)))
        frames: list[np.ndarray] = []
        num_crops = round(self._batch_size * self._picture_share)
        frames.extend(self._crop(rng) for _ in range(num_crops))
        seed = TRAIN_SEED_START + index * self._batch_size
        while len(frames) < self._batch_size:
            video = render(
                scene_from_seed(seed),
                4,
                self._size_px,
                self._size_px,
                frame_stride=float(rng.uniform(5.0, 20.0)),
            )
            frames.extend(video)
            seed += 1
        return (
            torch.from_numpy(np.stack(frames[: self._batch_size])).permute(0, 3, 1, 2).contiguous()
        )

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        picture = self._pictures[int(rng.integers(len(self._pictures)))]
        return _cropped(picture, self._size_px, self._size_px, rng)


class SceneClips(Dataset[tuple[torch.Tensor, str, float]]):
    """Clips uint8 (T, 3, H, W) with caption and frame stride, one per index.

    Scenes and, if there are photographs, in the place of some a camera's move over one of these.
    """

    def __init__(
        self,
        num_frames: int = 16,
        size_px: int = 64,
        *,
        first_seed: int = TRAIN_SEED_START,
        strides: tuple[float, float] = STRIDES,
        stride_step: float = 1,
        scene_sides: int = 1,
        pictures: Sequence[Path] = (),
    ) -> None:
        """With `scene_sides`, windows of scenes that are so many times as large.

        The frame stride is the smaller of `strides` and a whole number of `stride_step`, up to the
        larger; scenes are drawn at any time, so it need not be whole.
        """
        self._num_frames = num_frames
        self._size_px = size_px
        self._first_seed = first_seed
        self._strides = strides
        self._stride_step = stride_step
        self._scene_sides = scene_sides
        self._pictures = [_read_picture(path) for path in pictures]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str, float]:
        scene, stride, rng = self._drawn(index)
        side = self._size_px * self._scene_sides
        canvas = None if scene.shapes else self._canvas(index)
        video = render(scene, self._num_frames, side, side, stride, canvas=canvas)
        text = caption(scene, int(rng.integers(NUM_PHRASINGS * 16)))
        frames = torch.from_numpy(self._window(video, index)).permute(0, 3, 1, 2).contiguous()
        return frames, text, stride

    def flow(self, index: int, cells: int) -> torch.Tensor:
        """Returns where clip `index` comes from in its first frame, (T, 2, cells, cells) float32.

        In sides of the frame, as `backward_flow` has it.
        """
        scene, stride, _ = self._drawn(index)
        side = cells * self._scene_sides
        flow_THW2 = backward_flow(scene, self._num_frames, side, side, stride)
        flow_THW2 = self._window(flow_THW2, index) * self._scene_sides
        return torch.from_numpy(flow_THW2).permute(0, 3, 1, 2)

    def _window(self, frames_THWC: np.ndarray, index: int) -> np.ndarray:
        """Returns the part of the scene's frames, or of fields over them, that a clip shows."""
        if self._scene_sides == 1:
            return frames_THWC
        rng = np.random.Generator(np.random.PCG64((index, 4)))
        side = frames_THWC.shape[1] // self._scene_sides
        # On whole cells of the latents, in which fields are given.
        apart = side * (self._scene_sides - 1) // (_PLACES - 1)
        top, left = (int(rng.integers(_PLACES)) * apart for _ in range(2))
        return frames_THWC[:, top : top + side, left : left + side]

    def _drawn(self, index: int) -> tuple[Scene, float, np.random.Generator]:
        rng = np.random.Generator(np.random.PCG64((index, 2)))
        scene = scene_from_seed(self._first_seed + index)
        smallest, largest = self._strides
        parts = math.floor((largest - smallest) / self._stride_step + 1e-9)
        stride = smallest + self._stride_step * int(rng.integers(parts + 1))
        chance = np.random.Generator(np.random.PCG64((index, 5)))
        if self._pictures and chance.random() < _PICTURE_SHARE:
            camera = CAMERAS[int(chance.integers(len(CAMERAS)))]
            scene = replace(scene, shapes=(), camera=camera)
        return scene, stride, rng

    def _canvas(self, index: int) -> np.ndarray:
        """Returns the part of a photograph over which clip `index` goes."""
        rng = np.random.Generator(np.random.PCG64((index, 6)))
        picture = self._pictures[int(rng.integers(len(self._pictures)))]
        side = canvas_side(self._size_px * self._scene_sides)
        return _cropped(picture, min(picture.shape[:2]) // 2, side, rng)


class SceneFramePairs:
    """Two frames of a scene and its caption, from a pool that is drawn once and held in memory."""

    _TIMES = 4
    """Frames kept of each scene, spread over the reference clip."""

    def __init__(
        self, num_scenes: int, size_px: int, *, first_seed: int = TRAIN_SEED_START
    ) -> None:
        self._scenes = [scene_from_seed(first_seed + index) for index in range(num_scenes)]
        self._frames = np.empty((num_scenes, self._TIMES, size_px, size_px, 3), np.uint8)
        for index, scene in enumerate(self._scenes):
            self._frames[index] = render(
                scene, self._TIMES, size_px, size_px, frame_stride=45 / (self._TIMES - 1)
            )

    def batch(self, step: int, size: int, seed: int) -> tuple[torch.Tensor, list[str]]:
        """Returns frames uint8 (size, 2, 3, H, W), the earlier one first, and captions."""
        rng = np.random.Generator(np.random.PCG64((seed, step, 3)))
        chosen = rng.choice(len(self._scenes), size, replace=size > len(self._scenes))
        # One pair of times for the whole batch: their distance must not give a caption away.
        first = int(rng.integers(self._TIMES - 2))
        second = int(rng.integers(first + 2, self._TIMES))
        frames = (
            torch.from_numpy(self._frames[chosen][:, [first, second]])
            .permute(0, 1, 4, 2, 3)
            .contiguous()
        )
        return frames, [
            caption(self._scenes[index], int(rng.integers(NUM_PHRASINGS * 16))) for index in chosen
        ]


def caption_of(index: int) -> str:
    """Returns the caption of training scene `index` in its own wording."""
    return caption(scene_from_seed(TRAIN_SEED_START + index))


def stream(
    dataset: Dataset[torch.Tensor], start: int, stop: int, num_workers: int
) -> Iterator[torch.Tensor]:
    """Yields items `start` to `stop - 1` of a dataset whose items are whole batches."""
    loader: DataLoader[torch.Tensor] = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(start, stop),
        num_workers=num_workers,
        prefetch_factor=4 if num_workers else None,
        worker_init_fn=_one_thread,
    )
    return iter(loader)


def to_unit_range(frames_uint8: torch.Tensor) -> torch.Tensor:
    """Returns float32 frames in [-1, 1]."""
    return frames_uint8.float() / 127.5 - 1.0


def find_pictures(folder: Path | None) -> list[Path]:
    """Returns the JPEG and PNG files of a folder, sorted; none for None.

    Raises:
        ValueError: If the folder holds none.
    """
    if folder is None:
        return []
    found = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    if not found:
        raise ValueError(f"no .jpg or .png file in {folder}")
    return found


def _read_picture(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"cannot read the picture {path}")
    return np.asarray(picture[..., ::-1])


def _cropped(
    picture: np.ndarray, smallest: int, size_px: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns a square of a picture, of `smallest` pixels or more and brought to `size_px`."""
    side = int(rng.integers(smallest, min(picture.shape[:2]) + 1))
    top = int(rng.integers(picture.shape[0] - side + 1))
    left = int(rng.integers(picture.shape[1] - side + 1))
    crop = picture[top : top + side, left : left + side]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    way = cv2.INTER_AREA if side >= size_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(crop), (size_px, size_px), interpolation=way))


def _one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
