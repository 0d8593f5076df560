"""Pictures to tensors: values and sizes that one can work out by hand."""

import numpy as np
import pytest
import torch

from i2vbench.models.consisti2v.preprocess import (
    center_crop,
    fit,
    normalise,
    resize_shorter,
    to_tensor,
)


def numbered(height, width):
    """Red is the row, green the column."""
    rows = torch.arange(height).float()[:, None].expand(height, width)
    columns = torch.arange(width).float().expand(height, width)
    return torch.stack([rows, columns, rows * 0])


def test_bytes_become_shares_of_255_then_minus_one_to_one():
    picture = np.array([[[0, 51, 255]]], np.uint8)
    tensor = to_tensor(picture)
    assert tensor.shape == (3, 1, 1)
    assert tensor.flatten().tolist() == pytest.approx([0.0, 0.2, 1.0], abs=1e-7)
    wide = to_tensor(np.arange(0, 180, 10, dtype=np.uint8).reshape(2, 3, 3))
    assert wide.shape == (3, 2, 3)
    assert (wide[2, 1] * 255).tolist() == pytest.approx([110.0, 140.0, 170.0], abs=1e-4)
    assert normalise(tensor).flatten().tolist() == pytest.approx([-1.0, -0.6, 1.0], abs=1e-6)


@pytest.mark.parametrize(
    ("size", "shorter", "expected"),
    [
        ((30, 41), 20, (20, 27)),
        ((41, 30), 20, (27, 20)),
        ((30, 30), 20, (20, 20)),
        ((30, 40), 60, (60, 80)),
    ],
)
def test_the_longer_side_is_rounded_down(size, shorter, expected):
    assert resize_shorter(torch.zeros(3, *size), shorter).shape == (3, *expected)


def test_resizing_is_bilinear_on_pixel_centres():
    """Half the size takes the mean of two pixels, a third the middle one: no antialiasing."""
    line = torch.tensor([0.0, 2.0, 4.0, 10.0, 20.0, 40.0]).expand(3, 6, 6)
    assert resize_shorter(line, 3)[0, 0].tolist() == [1.0, 7.0, 30.0]
    assert resize_shorter(line, 2)[0, 0].tolist() == [2.0, 20.0]
    same = numbered(6, 7)
    assert torch.equal(resize_shorter(same, 6), same)


@pytest.mark.parametrize(
    ("size", "first"),
    [((7, 9), (2, 2)), ((6, 6), (2, 1)), ((8, 10), (2, 3)), ((9, 5), (3, 0))],
)
def test_the_crop_is_the_middle(size, first):
    """Of an odd margin the half is rounded to even: 3 / 2 and 5 / 2 both give 2, 1 / 2 gives 0."""
    cropped = center_crop(numbered(*size), 3, 4)
    assert cropped.shape == (3, 3, 4)
    assert (cropped[0, 0, 0].item(), cropped[1, 0, 0].item()) == first


@pytest.mark.parametrize(
    ("size", "frame", "resized_to"),
    [
        # A landscape's shorter side becomes the frame's height.
        ((40, 80), (32, 32), 32),
        ((40, 60), (32, 48), 32),
        # Too narrow for the frame then: it grows to the frame's width.
        ((40, 48), (32, 64), 54),
        ((40, 40), (32, 48), 48),
        # A portrait's shorter side becomes the frame's height as well, though less would do.
        ((80, 40), (32, 16), 32),
        ((80, 40), (32, 48), 48),
        ((48, 40), (16, 8), 16),
    ],
)
def test_the_shorter_side_is_as_published_or_covers_the_frame(size, frame, resized_to):
    picture = numbered(*size)
    expected = center_crop(resize_shorter(picture, resized_to), *frame)
    assert torch.equal(fit(picture, *frame), expected)
