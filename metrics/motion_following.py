"""Whether a playground clip moves as its caption asks, read without a network.

A playground scene is known: where the subject stands in the first frame, and how it and the camera
move. The pixels of the first frame are followed into later frames along every motion that a caption
can name, at several speeds; the motion along which they change least is the one that is read.

Letters: N points of the first frame, T frames, K motions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from i2vbench.clip import Frames
from i2vbench.metric import ClipMetric, Example
from i2vbench.suites.playground.rendering import render
from i2vbench.suites.playground.scenes import (
    CAMERAS,
    MOTIONS,
    Scene,
    carried,
    frame_time,
    scene_from_seed,
)

SPEEDS: Final = (0.2, 0.33, 0.5, 0.75, 1.0, 1.25)
"""Of the scene's own speed: a model may be asked for another stride, or move too slowly."""
MAX_ERROR: Final = 60.0
"""Differences of colours, 0 to 255, count up to here: what is beyond is covered or gone."""
VISIBLE_LEVELS: Final = 12.0
"""By how much a pixel must change, 0 to 255, to belong to what is painted over it."""
MARGIN: Final = 0.97
"""A motion is read only where it leaves less than this share of the error of standing still."""

Points = NDArray[np.float64]
"""(N, 2): x and y in the coordinates of the scene."""
Path = Callable[[Points, float], Points]
"""Where points of the first frame are at a time of the scene, on the screen."""


def read_motion(frames_THWC: Frames, scene: Scene) -> tuple[str, str]:
    """What the subject and the camera of a clip do.

    Args:
        frames_THWC: uint8; the first frame is the scene's.
        scene: what the clip should show.

    Returns:
        One of :data:`MOTIONS` and one of :data:`CAMERAS`.

    Raises:
        ValueError: fewer than 4 frames, or so small that the subject covers all of them.
    """
    if len(frames_THWC) < 4:
        raise ValueError(f"a motion needs at least 4 frames, got {len(frames_THWC)}")
    height, width = frames_THWC.shape[1:3]
    empty = replace(scene, shapes=())
    without_subject = replace(scene, shapes=scene.shapes[1:])
    whole, backdrop, behind = (
        render(each, 1, height, width)[0].astype(np.float64)
        for each in (scene, empty, without_subject)
    )
    background = np.abs(whole - backdrop).max(axis=-1) <= VISIBLE_LEVELS
    subject = np.abs(whole - behind).max(axis=-1) > VISIBLE_LEVELS
    if not background.any():
        raise ValueError(f"no pixel of {width}x{height} shows the background, so no camera is read")
    camera, camera_speed = _best(
        frames_THWC,
        background,
        ((name, speed, _camera_path(scene, name, speed)) for name, speed in _moves(CAMERAS[1:])),
        CAMERAS[0],
        _camera_path(scene, CAMERAS[0], 0.0),
    )
    if not subject.any():
        return "still", camera

    def path(motion: str, speed: float) -> Path:
        return _subject_path(scene, motion, speed, camera, camera_speed)

    motion, _ = _best(
        frames_THWC,
        subject,
        ((name, speed, path(name, speed)) for name, speed in _moves(MOTIONS[:-1])),
        "still",
        path("still", 0.0),
    )
    return motion, camera


class MotionFollowing(ClipMetric):
    """Share of what a playground caption asks to move, subject and camera, that moves so.

    Of a clip 0, 1/2 or 1; a still subject and a static camera are not counted, so that a frozen
    clip scores 0. Guessing would be right once in 13 (subject) or 6 (camera); the real clips of the
    suite's 64 scenes score 0.98.

    Caveat: how far something moves is not judged, nor what it looks like at the end.
    """

    name = "motion_following"
    title = "Motion following"
    version = "1"
    higher_is_better = True
    unit = "share"
    # Two questions a clip at most, each answered by yes or no.
    interval_kind = "share"
    needs = frozenset({"extra.seed", "extra.motion", "extra.camera"})

    def spec(self) -> dict[str, Any]:
        """The constants of the reading."""
        return {
            "speeds": list(SPEEDS),
            "max_error": MAX_ERROR,
            "visible_levels": VISIBLE_LEVELS,
            "margin": MARGIN,
        }

    def score_clip(self, example: Example) -> float:
        """0, 1/2 or 1.

        Raises:
            ValueError: fewer than 4 frames, or a sample that is no playground scene.
        """
        extra = example.extra
        scene = scene_from_seed(int(extra["seed"]))
        asked = (scene.motion, scene.camera)
        if asked != (extra["motion"], extra["camera"]):
            raise ValueError(
                f"sample {example.sample_id!r} is no scene of the playground: motion "
                f"{extra['motion']!r} and camera {extra['camera']!r} are not those of its seed"
            )
        seen = read_motion(example.clip.frames, scene)
        rests = (MOTIONS[-1], CAMERAS[0])
        right = [s == a for s, a, rest in zip(seen, asked, rests, strict=True) if a != rest]
        return sum(right) / len(right)


def _moves(names: Sequence[str]) -> Iterator[tuple[str, float]]:
    return ((name, speed) for name in names for speed in SPEEDS)


def _best(
    frames_THWC: Frames,
    mask_HW: NDArray[np.bool_],
    moves: Iterator[tuple[str, float, Path]],
    rest: str,
    rest_path: Path,
) -> tuple[str, float]:
    """The move of the least error, and its speed; ``rest`` where none is much better."""
    best, best_speed = rest, 0.0
    least = MARGIN * _error(frames_THWC, mask_HW, rest_path)
    for name, speed, path in moves:
        error = _error(frames_THWC, mask_HW, path)
        if error < least:
            best, best_speed, least = name, speed, error
    return best, best_speed


def _error(frames_THWC: Frames, mask_HW: NDArray[np.bool_], path: Path) -> float:
    """How much the masked pixels of the first frame change along ``path``, 0 to MAX_ERROR."""
    height, width = mask_HW.shape
    side = min(height, width)
    rows, columns = np.nonzero(mask_HW)
    colours_NC = frames_THWC[0][rows, columns].astype(np.float32)
    start_N2 = np.stack([columns + 0.5 - width / 2, rows + 0.5 - height / 2], axis=1) / side
    errors = []
    for index in range(3, len(frames_THWC), 3):
        place_N2 = path(start_N2, frame_time(index)) * side
        x_N = place_N2[:, 0] + width / 2 - 0.5
        y_N = place_N2[:, 1] + height / 2 - 0.5
        seen_N = (x_N >= 0) & (x_N <= width - 1) & (y_N >= 0) & (y_N <= height - 1)
        # Too little is left in the frame to be told from anything else.
        if seen_N.mean() < 0.2:
            errors.append(MAX_ERROR)
            continue
        found_NC = cv2.remap(
            frames_THWC[index].astype(np.float32),
            x_N[seen_N].astype(np.float32)[:, None],
            y_N[seen_N].astype(np.float32)[:, None],
            cv2.INTER_LINEAR,
        )[:, 0]
        difference_N = np.abs(found_NC - colours_NC[seen_N]).mean(axis=1)
        errors.append(float(np.minimum(difference_N, MAX_ERROR).mean()))
    return float(np.mean(errors))


def _camera_path(scene: Scene, camera: str, speed: float) -> Path:
    moved = replace(scene, camera=camera)

    def path(start_N2: Points, time: float) -> Points:
        x, y, zoom = moved.view(speed * time)
        screen_N2: Points = (start_N2 - (x, y)) * zoom
        return screen_N2

    return path


def _subject_path(
    scene: Scene, motion: str, speed: float, camera: str, camera_speed: float
) -> Path:
    shape = replace(scene.shapes[0], motion=motion)
    camera_path = _camera_path(scene, camera, camera_speed)
    start = shape.pose(0.0)

    def path(start_N2: Points, time: float) -> Points:
        return camera_path(carried(start_N2, start, shape.pose(speed * time)), time)

    return path
