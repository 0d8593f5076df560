"""Layers across frames, by hand."""

import math

import pytest
import torch

from i2vbench.models.consisti2v.temporal import Blend, Rotary, TimeConv, _sinusoid, _window


def test_rotary_frequencies_start_at_one_and_fall_to_ten_thousandths():
    assert Rotary(16).freqs.tolist() == pytest.approx([1.0, 0.1, 0.01, 0.001])


@pytest.mark.parametrize("grad", [True, False])
def test_the_first_half_of_the_channels_turns_with_the_frame(grad):
    rotary = Rotary(8)
    with torch.no_grad():
        rotary.freqs.copy_(torch.tensor([math.pi / 2, math.pi / 6]))
    x_BTSC = torch.tensor([1.0, 0.0, 1.0, 0.0, 5.0, 6.0, 7.0, 8.0]).repeat(1, 4, 1, 1)
    with torch.set_grad_enabled(grad):
        turned = rotary(x_BTSC.clone())[0, :, 0]
    by_quarters = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    by_twelfths = [[math.cos(t * math.pi / 6), math.sin(t * math.pi / 6)] for t in range(4)]
    torch.testing.assert_close(turned[:, :2], torch.tensor(by_quarters).float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(turned[:, 2:4], torch.tensor(by_twelfths), atol=1e-6, rtol=0)
    assert torch.equal(turned[:, 4:], x_BTSC[0, :, 0, 4:])


def test_sinusoids_alternate_and_fall_slower_than_usual():
    table = _sinusoid(3, 4)[:, 0]
    expected = [
        [math.sin(t), math.cos(t), math.sin(t * 10000**-0.25), math.cos(t * 10000**-0.25)]
        for t in range(3)
    ]
    torch.testing.assert_close(table, torch.tensor(expected), atol=1e-6, rtol=1e-6)


def test_the_window_is_the_eight_neighbours_with_edges_repeated():
    """Pixels of 3 rows and 4 columns, numbered row by row."""
    window_8S = _window(3, 4, torch.device("cpu"))
    assert window_8S.shape == (8, 12)
    assert sorted(window_8S[:, 5].tolist()) == [0, 1, 2, 4, 6, 8, 9, 10]
    assert sorted(window_8S[:, 0].tolist()) == [0, 0, 0, 1, 1, 4, 4, 5]
    assert sorted(window_8S[:, 11].tolist()) == [6, 7, 7, 10, 10, 11, 11, 11]


def test_time_convolution_sees_one_frame_before_and_one_after():
    conv = TimeConv(1)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([100.0, 10.0, 1.0]).view(1, 1, 3, 1, 1))
        conv.bias.fill_(0.5)
        two_clips = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).view(6, 1, 1, 1)
        out = conv(two_clips, 3).flatten().tolist()
    assert out == [12.5, 123.5, 230.5, 45.5, 456.5, 560.5]


@pytest.mark.parametrize(
    ("alpha", "expected"), [(1.0, 10.0), (0.25, 13.0), (-2.0, 14.0), (3.0, 10.0)]
)
def test_blending_is_clamped_and_its_gradient_is_not(alpha, expected):
    blend = Blend()
    assert blend.alpha.item() == 1.0
    with torch.no_grad():
        blend.alpha.fill_(alpha)
    out = blend.blend(torch.tensor([10.0]), torch.tensor([4.0]))
    assert out.item() == expected
    out.backward()
    assert blend.alpha.grad.item() == -4.0
    blend.project()
    assert blend.alpha.item() == min(max(alpha, 0.0), 1.0)
