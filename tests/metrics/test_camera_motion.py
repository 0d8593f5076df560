"""VBench-I2V's camera motion: made tracks of every move, and VBench's reading of others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from i2vbench.clip import Clip
from i2vbench.metric import Example
from i2vbench.metrics.camera_motion import CameraMotion, camera_motions
from i2vbench.suites.vbench_i2v import CAMERA_MOTIONS

DATA = Path(__file__).parents[1] / "data" / "camera_motion"
SIZES = [(256, 256), (320, 512), (1024, 576)]


def grid(height, width):
    """Points like CoTracker's: 10 rows and columns, a little inside the frame."""
    margin = width / 64
    x, y = (np.linspace(margin, side - margin, 10) for side in (width, height))
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


def moved(points, motion, height, width, px=6.0):
    """Where what the points show is on the screen after the camera has moved."""
    centre = np.array([width / 2, height / 2])
    zoom = 1 + 2 * px / min(height, width)
    across, down = np.array([px, 0]), np.array([0, px])
    return {
        "pan_left": lambda: points + across,
        "pan_right": lambda: points - across,
        "tilt_up": lambda: points + down,
        "tilt_down": lambda: points - down,
        "zoom_in": lambda: centre + (points - centre) * zoom,
        "zoom_out": lambda: centre + (points - centre) / zoom,
        "static": lambda: points,
    }[motion]()


def random_cases():
    """Pairs of grids, and the size of the frame: moves of all kinds under tracks gone astray."""
    random = np.random.RandomState(5)
    for _ in range(400):
        height, width = SIZES[random.randint(len(SIZES))]
        first = grid(height, width) + random.uniform(-1, 1, (10, 10, 2))
        motion = [*CAMERA_MOTIONS.values()][random.randint(len(CAMERA_MOTIONS))]
        last = moved(first, motion, height, width, random.uniform(0, 6))
        yield (
            first,
            last + random.uniform(0, 3) * random.standard_normal((10, 10, 2)),
            height,
            width,
        )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("motion", CAMERA_MOTIONS.values())
def test_every_move_is_read_from_its_tracks(motion, size):
    first = grid(*size)
    last = moved(first, motion, *size)
    height, width = size
    assert camera_motions(first, last, height=height, width=width) == {motion}


def test_what_is_read_is_what_vbenchs_code_reads():
    expected = json.loads((DATA / "labels.json").read_text())
    found = [
        sorted(camera_motions(first, last, height=height, width=width))
        for first, last, height, width in random_cases()
    ]
    assert found == expected
    assert {name for names in expected for name in names} == {*CAMERA_MOTIONS.values()}
    assert [] in expected
    assert max(map(len, expected)) > 1


def test_a_pan_upwards_is_a_pan_and_a_tilt():
    first = grid(256, 256)
    last = moved(moved(first, "pan_left", 256, 256), "tilt_up", 256, 256)
    assert camera_motions(first, last, height=256, width=256) == {"pan_left", "tilt_up"}


def test_a_strong_zoom_into_a_wide_frame_reads_as_a_pan_too():
    """The points looked at lie half a cell beside the middle, in VBench as here."""
    first = grid(320, 512)
    last = moved(first, "zoom_in", 320, 512, px=12)
    assert camera_motions(first, last, height=320, width=512) >= {"zoom_in", "pan_left"}


def test_the_threshold_grows_with_the_shorter_side():
    first = np.floor(grid(600, 800))
    last = moved(first, "pan_left", 600, 800, px=4)
    assert camera_motions(first, last, height=600, width=800) == {"pan_left"}
    assert camera_motions(first, last, height=800, width=800) == {"static"}


def test_one_edge_alone_at_rest_is_no_static_camera():
    first = grid(256, 256)
    last = first.copy()
    last[:, -1] += (9, 0)  # the right edge moves; left and right then fit no rule
    assert camera_motions(first, last, height=256, width=256) == frozenset()


@pytest.mark.parametrize("shape", [(10, 9, 2), (100, 2), (10, 10, 3)])
def test_what_is_no_grid_is_refused(shape):
    with pytest.raises(ValueError, match=r"must be \(G, G, 2\)"):
        camera_motions(np.zeros(shape), np.zeros(shape), height=8, width=8)


def example(asked, tracks):
    clip = Clip(frames=np.zeros((len(tracks), 256, 256, 3), np.uint8), fps=8)
    return Example(
        sample_id="pan-left-0",  # a name that says something else is not read
        take=0,
        clip=clip,
        extra={"camera_motion": asked},
        features={"cotracker": {"tracks": tracks}},
    )


@pytest.mark.parametrize("asked", CAMERA_MOTIONS.values())
def test_a_clip_counts_if_the_asked_motion_is_seen_between_its_ends(asked):
    first = grid(256, 256)
    there_and_on = [first, moved(first, "pan_left", 256, 256), moved(first, "zoom_in", 256, 256)]
    found = CameraMotion().score_clip(example(asked, np.stack(there_and_on)))
    assert found == (1.0 if asked == "zoom_in" else 0.0)


def test_a_motion_of_another_name_is_refused_with_those_accepted():
    with pytest.raises(ValueError, match="camera_motion is 'orbit'; accepted: pan_left, pan_right"):
        CameraMotion().score_clip(example("orbit", np.stack([grid(256, 256)] * 2)))
