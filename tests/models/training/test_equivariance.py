"""Moves of pictures and of their latents, and the noise on these."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from i2vbench.models.consisti2v.training import equivariance
from i2vbench.models.consisti2v.training.data import SceneFrames, to_unit_range


def _shift(right: float, down: float) -> torch.Tensor:
    """In sides of the frame."""
    return torch.tensor([[[1.0, 0.0, 2 * right], [0.0, 1.0, 2 * down]]])


def test_a_move_says_where_what_is_seen_comes_from():
    frames = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(equivariance.moved(frames, _shift(0, 0)), frames, atol=1e-5, rtol=0)
    seen = equivariance.moved(frames, _shift(2 / 16, 3 / 16))
    torch.testing.assert_close(seen[..., :13, :14], frames[..., 3:, 2:], atol=1e-5, rtol=0)


def test_the_same_move_takes_pictures_and_latents_equally_far():
    frames = to_unit_range(SceneFrames(4, 128)[0])
    moves = equivariance.random_moves(4, torch.Generator().manual_seed(2))
    # Smooth, so that no detail is lost between the cells.
    frames = F.interpolate(F.avg_pool2d(frames, 16), scale_factor=16, mode="bicubic")
    of_moved = F.avg_pool2d(equivariance.moved(frames, moves), 8)
    moved = equivariance.moved(F.avg_pool2d(frames, 8), moves)
    apart = (of_moved - moved).square().mean() / F.avg_pool2d(frames, 8).var()
    still = (of_moved - F.avg_pool2d(frames, 8)).square().mean() / F.avg_pool2d(frames, 8).var()
    assert 20 * apart < still


def test_moves_turn_scale_and_shift_within_their_bounds_and_follow_from_the_generator():
    moves = equivariance.random_moves(500, torch.Generator().manual_seed(3))
    assert torch.equal(moves, equivariance.random_moves(500, torch.Generator().manual_seed(3)))
    scale = torch.linalg.det(moves[:, :, :2]).sqrt()
    angle = torch.atan2(moves[:, 1, 0], moves[:, 0, 0])
    for value, bound in (
        (scale.log(), 0.25),
        (angle, 0.35),
        (moves[:, 0, 2], 0.25),
        (moves[:, 1, 2], 0.25),
    ):
        assert 0.9 * bound < value.max() <= bound + 1e-6
        assert -bound - 1e-6 <= value.min() < -0.9 * bound
        assert abs(value.mean()) < 0.1 * bound


def test_noise_is_in_deviations_of_the_latents_and_trains_no_encoder_to_be_loud():
    latents = torch.randn(4000, 1, 2, 2, generator=torch.Generator().manual_seed(4))
    noise = [
        equivariance.small_noise(scale * latents, 0.3, torch.Generator().manual_seed(5))
        for scale in (1, 10)
    ]
    torch.testing.assert_close(noise[1], 10 * noise[0])
    # The mean square of a uniform deviation is a third of the largest one's.
    assert noise[0].std().item() == pytest.approx(0.3 / math.sqrt(3), rel=0.05)
    latents.requires_grad_(True)
    assert not equivariance.small_noise(latents, 0.3, torch.Generator()).requires_grad
