"""Rotations, pans and zooms of pictures whose pixels are numbered."""

import math

import pytest
import torch

from i2vbench.models.consisti2v.camera import moving_crops, zoom_boxes


def numbered(height, width):
    """Red is the row, green the column."""
    rows = torch.arange(height).float()[:, None].expand(height, width)
    columns = torch.arange(width).float().expand(height, width)
    return torch.stack([rows, columns, rows * 0])


@pytest.mark.parametrize("motion", ["rotate_cw", "rotate_ccw"])
def test_a_rotation_begins_with_the_middle_of_the_picture(motion):
    picture = numbered(32, 48)
    (crop,) = moving_crops(picture, motion, 1, 32, 32)
    torch.testing.assert_close(crop, picture[:, :, 8:40], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("motion", "sign"), [("rotate_cw", 1), ("rotate_ccw", -1)])
def test_a_rotation_turns_by_equal_steps_of_its_thirty_degrees(motion, sign):
    """In numbered pixels the slopes of rows and columns are the sine and cosine of the angle."""
    num_frames = 3
    crops = moving_crops(numbered(200, 300), motion, num_frames, 21, 21)
    for frame, crop in enumerate(crops):
        angle = sign * math.radians(30) * frame / num_frames
        down, right = (crop[0, 10, 20] - crop[0, 10, 0]), (crop[1, 10, 20] - crop[1, 10, 0])
        assert math.atan2(down.item(), right.item()) == pytest.approx(angle, abs=5e-3)
        # The centre of all frames is the picture's.
        assert crop[:2, 10, 10].tolist() == pytest.approx([99.5, 149.5], abs=1e-2)


def test_a_pan_over_a_wide_picture_goes_by_whole_pixels():
    """48 columns, a frame of 32: there is room for 16, of which 8 frames use 14."""
    picture = numbered(32, 48)
    right = moving_crops(picture, "pan_right", 8, 32, 32)
    assert right[:, 1, 0, 0].tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    left = moving_crops(picture, "pan_left", 8, 32, 32)
    assert left[:, 1, 0, 0].tolist() == [16, 14, 12, 10, 8, 6, 4, 2]
    assert torch.equal(right[3], picture[:, :, 6:38])
    down = moving_crops(picture.transpose(1, 2), "pan_down", 8, 32, 32)
    assert torch.equal(down, right.transpose(2, 3))
    up = moving_crops(picture.transpose(1, 2), "pan_up", 8, 32, 32)
    assert torch.equal(up, left.transpose(2, 3))


@pytest.mark.parametrize(
    ("size", "seen"),
    # Room of an eighth (4 of 32) is enough; below it the picture grows to 43 columns.
    [((32, 36), 36), ((32, 35), 43), ((32, 32), 43)],
)
def test_a_picture_without_room_grows(size, seen):
    crops = moving_crops(numbered(*size), "pan_right", 100, 32, 32)
    travelled = (crops[-1, 1, 0, 5] - crops[0, 1, 0, 5]) * seen / size[1]
    assert travelled.item() == pytest.approx(int((seen - 32) * 0.99), abs=0.01)


@pytest.mark.parametrize(
    ("picture", "frame", "first", "last_in"),
    [
        # The largest box of the frame's aspect; zooming in by a third less one step of 4.
        ((60, 90), (1, 1), (0, 15, 60, 60), (7, 22, 45, 45)),
        ((90, 60), (1, 1), (15, 0, 60, 60), (22, 7, 45, 45)),
        ((60, 90), (2, 3), (0, 0, 60, 90), (7, 11, 45, 68)),
        ((60, 60), (1, 2), (15, 0, 30, 60), (18, 7, 23, 45)),
    ],
)
def test_boxes_of_a_zoom(picture, frame, first, last_in):
    boxes = zoom_boxes("zoom_in", 4, picture, frame)
    assert (boxes[0], boxes[-1]) == (first, last_in)
    out = zoom_boxes("zoom_out", 4, picture, frame)
    sides = [box[2] for box in out]
    assert sides == sorted(sides)
    assert sides[0] == int(first[2] // 1.5)
