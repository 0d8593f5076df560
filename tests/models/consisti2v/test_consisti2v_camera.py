"""Camera motions: equal to the original's crops where it makes any, and as named elsewhere."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from i2vbench.models.consisti2v.camera import CAMERA_MOTIONS, moving_crops, zoom_boxes
from i2vbench.models.consisti2v.preprocess import fit


@pytest.mark.parametrize("motion", ["pan_left", "pan_right"])
def test_recorded_pans(frameinit_cases, motion):
    crops = moving_crops(frameinit_cases.tensors["camera.image"], motion, 8, 24, 24)
    torch.testing.assert_close(crops[[0, 1, 7]], frameinit_cases.tensors[f"camera.{motion}"])


@pytest.mark.parametrize("motion", ["zoom_in", "zoom_out"])
def test_recorded_zooms(frameinit_cases, motion):
    """zoom_out always fails in the original; recorded is what it means to compute."""
    crops = moving_crops(frameinit_cases.tensors["camera.image2x"], motion, 8, 24, 24)
    torch.testing.assert_close(crops[[0, 1, 7]], frameinit_cases.tensors[f"camera.{motion}.2x"])


def test_recorded_boxes():
    """Of 16 frames of a 512x768 picture, where the side of the square is no whole number."""

    def squares(*arguments):
        boxes = zoom_boxes(*arguments, (1, 1))
        assert all(height == width for _, _, height, width in boxes)
        return [box[:3] for box in boxes]

    zoom_in = squares("zoom_in", 16, (512, 768))
    assert zoom_in[:4] == [(0, 128, 512), (5, 133, 502), (10, 138, 491), (16, 144, 480)]
    assert zoom_in[12:] == [(64, 192, 384), (69, 197, 374), (74, 202, 363), (80, 208, 352)]
    zoom_out = squares("zoom_out", 16, (512, 768))
    assert zoom_out[:3] == [(85, 213, 341), (80, 208, 351), (75, 203, 362)]
    assert zoom_out[13:] == [(16, 144, 479), (11, 139, 490), (5, 133, 501)]
    # 50 // 1.5 = 33, so that 17 frames lose one pixel each.
    assert [side for _, _, side in squares("zoom_in", 17, (50, 60))][:3] == [50, 49, 48]


def ramp(height, width):
    """Red grows to the right, green downwards, both from 0 to 1."""
    red = torch.linspace(0, 1, width).expand(height, width)
    green = torch.linspace(0, 1, height)[:, None].expand(height, width)
    return torch.stack([red, green, torch.zeros(height, width)])


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (64, 64), (30, 200)])
@pytest.mark.parametrize(
    ("motion", "channel", "sign"),
    [("pan_right", 0, 1), ("pan_left", 0, -1), ("pan_down", 1, 1), ("pan_up", 1, -1)],
)
def test_pans_go_where_they_say_on_any_picture(size, motion, channel, sign):
    """At least an eighth of the frame is travelled, without a step backwards."""
    picture = ramp(*size)
    crops = moving_crops(picture, motion, 8, 32, 40)
    level = crops[:, channel].mean(dim=(1, 2)) * sign
    assert (level.diff() > 0).all()
    other = crops[:, 1 - channel].mean(dim=(1, 2))
    torch.testing.assert_close(other, other[:1].expand(8), rtol=0, atol=1e-4)
    frame = crops[0, channel].max() - crops[0, channel].min()
    assert level[-1] - level[0] > 0.09 * frame


@pytest.mark.parametrize("size", [(60, 90), (90, 60)])
def test_zooms_keep_the_aspect_of_the_frame(size):
    spans = {}
    for motion in ("zoom_in", "zoom_out"):
        crops = moving_crops(ramp(*size), motion, 8, 32, 48)
        red = (crops[:, 0].amax((1, 2)) - crops[:, 0].amin((1, 2))) * size[1]
        green = (crops[:, 1].amax((1, 2)) - crops[:, 1].amin((1, 2))) * size[0]
        torch.testing.assert_close(red / green, torch.full((8,), 1.5), rtol=0.08, atol=0)
        middle = crops[:, :2, 15:17, 23:25].mean(dim=(2, 3))
        torch.testing.assert_close(middle, torch.full((8, 2), 0.5), rtol=0, atol=0.02)
        spans[motion] = red
    assert (spans["zoom_in"].diff() < 0).all()
    assert (spans["zoom_out"].diff() > 0).all()


@pytest.mark.parametrize(("motion", "sign"), [("rotate_cw", 1), ("rotate_ccw", -1)])
@pytest.mark.parametrize("size", [(60, 90), (90, 60)])
def test_rotations_turn_the_picture_the_other_way(size, motion, sign):
    crops = moving_crops(ramp(*size), motion, 8, 32, 32)
    # Where the camera turns clockwise, its right edge dips: green grows towards the right.
    slope = (crops[:, 1, :, -1] - crops[:, 1, :, 0]).mean(dim=1) * sign
    assert abs(slope[0]) < 1e-6
    assert (slope.diff() > 0).all()
    # No crop leaves the picture: the corners continue the ramp of the middle.
    red = crops[-1, 0]
    assert (red.diff(dim=1) > 0).all()


def test_static_is_the_fitted_picture():
    picture = ramp(50, 70)
    crops = moving_crops(picture, "static", 3, 32, 32)
    assert torch.equal(crops, fit(picture, 32, 32).expand(3, -1, -1, -1))


@settings(max_examples=60, deadline=None)
@given(
    motion=st.sampled_from(CAMERA_MOTIONS),
    picture=st.tuples(st.integers(8, 120), st.integers(8, 120)),
    frame=st.tuples(st.integers(8, 48), st.integers(8, 48)),
    num_frames=st.integers(1, 5),
)
def test_any_picture_gives_full_frames(motion, picture, frame, num_frames):
    crops = moving_crops(torch.ones(3, *picture), motion, num_frames, *frame)
    assert crops.shape == (num_frames, 3, *frame)
    assert crops.min() > 0.999
