"""The known flow of a scene, against the pixels that `render` draws."""

import cv2
import numpy as np
import pytest

from i2vbench.suites.playground.flow import backward_flow
from i2vbench.suites.playground.rendering import render
from i2vbench.suites.playground.scenes import CAMERAS, MOTIONS, frame_time, scene_from_seed
from i2vbench.suites.playground.seeds import VALIDATION_SEED_START

SIZE = 160
FRAMES = 4
STRIDE = 6.0


def _scene(wanted):
    """The first validation scene of a motion under a still camera, or of a camera."""
    for seed in range(VALIDATION_SEED_START, VALIDATION_SEED_START + 2000):
        scene = scene_from_seed(seed)
        name = scene.motion if scene.camera == "static" else scene.camera
        if name == wanted:
            return scene
    raise AssertionError(wanted)


@pytest.mark.parametrize("wanted", [*MOTIONS[:-1], *CAMERAS[1:]])
def test_the_first_frame_moved_along_the_flow_is_the_frame(wanted):
    """But for what the first frame does not show, and for edges, which are drawn anew."""
    scene = _scene(wanted)
    video = render(scene, FRAMES, SIZE, SIZE, STRIDE).astype(np.float32)
    flow = backward_flow(scene, FRAMES, SIZE, SIZE, STRIDE)
    x, y = np.meshgrid(np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32))
    for index in range(1, FRAMES):
        from_x, from_y = x + flow[index, ..., 0] * SIZE, y + flow[index, ..., 1] * SIZE
        moved = cv2.remap(video[0], from_x, from_y, cv2.INTER_LINEAR, borderValue=(-1e6,) * 3)
        seen = moved.min(axis=-1) >= 0
        off = np.abs(moved - video[index]).mean(axis=-1)
        moves = np.abs(flow[index]).max(axis=-1) * SIZE > 1
        assert (off[seen] < 8).mean() > 0.85
        assert (off[seen & moves] < 8).mean() > 0.7


def test_sizes_are_grids_over_the_same_field():
    scene = _scene("zoom-in")
    fine = backward_flow(scene, FRAMES, 40, 80, STRIDE)
    coarse = backward_flow(scene, FRAMES, 8, 16, STRIDE)
    assert coarse.shape == (FRAMES, 8, 16, 2)
    assert coarse.dtype == np.float32
    # Five cells a cell: the middle one has the same centre. Outlines are rounded to the grid.
    same = np.abs(fine[:, 2::5, 2::5] - coarse).max(axis=-1) < 1e-6
    assert same.mean() > 0.98
    assert np.abs(fine[0]).max() < 1e-6


def test_stride_is_speed():
    scene = _scene("translate-up-left")
    slow, fast = backward_flow(scene, 4, 8, 8, 3.0), backward_flow(scene, 4, 8, 8, 9.0)
    assert frame_time(3, 3.0) == frame_time(1, 9.0)
    assert np.array_equal(slow[3], fast[1])
    assert fast[3].max() > 0.1, "it comes from the right and from below"
