"""Latents that move with their picture: the moves, the noise, and what the training is told."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from i2vbench.models.consisti2v.training import equivariance
from i2vbench.models.consisti2v.training import vae as vae_training
from i2vbench.models.consisti2v.training.data import SceneFrames, to_unit_range
from i2vbench.models.consisti2v.training.vae import VAE_CONFIG, VaeTraining

VAE = {**VAE_CONFIG, "block_out_channels": [8, 8, 8], "norm_num_groups": 4}
OPTIONS = VaeTraining(
    steps=4,
    batch_size=4,
    size_px=16,
    warmup_steps=1,
    num_workers=0,
    save_every=2,
    bf16=False,
    moved_weight=0.2,
    latent_noise=0.3,
)


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


class _Pooling(torch.nn.Module):
    """An autoencoder that averages cells of 4x4 pixels, and writes each place in its own way."""

    def __init__(self, own_way: float) -> None:
        super().__init__()
        self.own_way = own_way

    def encode(self, frames_BCHW):
        mean = F.avg_pool2d(frames_BCHW, 4)
        places = torch.arange(mean.shape[-1]) % 2 * 2.0 - 1.0
        mean = mean * (1 - self.own_way + self.own_way * places)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean))

    def decode(self, latents):
        return SimpleNamespace(sample=F.interpolate(latents, scale_factor=4.0))


def test_the_loss_tells_latents_that_move_with_their_picture_from_those_that_do_not():
    frames = to_unit_range(SceneFrames(8, 128)[1])
    apart = []
    for own_way in (0.0, 1.0):
        losses = vae_training._losses_of_moved(
            _Pooling(own_way),
            frames,
            dataclasses.replace(OPTIONS, size_px=64, latent_noise=0.0),
            None,
            torch.Generator().manual_seed(6),
        )
        plain = losses["l1"] + OPTIONS.mse_weight * 4 * 10 ** (-losses["psnr"] / 10)
        assert losses["loss"].item() == pytest.approx(
            (plain + OPTIONS.moved_weight * losses["apart"]).item(), rel=1e-4
        )
        apart.append(losses["apart"].item())
    assert 5 * apart[0] < apart[1]


def test_a_training_with_moves_goes_on_from_both_halves_of_an_autoencoder(tmp_path):
    plain = dataclasses.replace(OPTIONS, moved_weight=0.0, latent_noise=0.0)
    before = vae_training.train(tmp_path / "plain", plain, config=VAE).state_dict()
    # A rate at which nothing but the start can tell.
    slow = dataclasses.replace(OPTIONS, peak_rate=1e-9)
    same = vae_training.train(tmp_path / "slow", slow, initial=tmp_path / "plain" / "vae")
    after = vae_training.train(tmp_path / "moved", OPTIONS, initial=tmp_path / "plain" / "vae")
    for key in ("encoder.conv_in.weight", "decoder.conv_in.weight"):
        torch.testing.assert_close(same.state_dict()[key], before[key])
        assert not torch.allclose(after.state_dict()[key], before[key])


def test_a_decoder_alone_cannot_be_told_how_latents_move():
    with pytest.raises(ValueError, match="moved_weight"):
        VaeTraining(decoder_only=True, moved_weight=0.2)
