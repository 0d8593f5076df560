"""The autoencoder's training: its stages, what they leave, and what their losses tell apart."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from click.testing import CliRunner
from diffusers import AutoencoderKL

from i2vbench.models.consisti2v.training import vae as vae_training
from i2vbench.models.consisti2v.training.data import SceneFrames, to_unit_range
from i2vbench.models.consisti2v.training.vae import VAE_CONFIG, VaeTraining

VAE = {**VAE_CONFIG, "block_out_channels": [8, 8, 8], "norm_num_groups": 4}
OPTIONS = VaeTraining(
    steps=4, batch_size=4, size_px=16, warmup_steps=1, num_workers=0, save_every=2, bf16=False
)
MOVED = dataclasses.replace(OPTIONS, moved_weight=0.2, latent_noise=0.3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    vae_training.train(folder, OPTIONS, config=VAE)
    return folder / "vae"


def test_the_decoder_stage_leaves_the_latents(trained, tmp_path):
    before = AutoencoderKL.from_pretrained(trained)
    options = dataclasses.replace(OPTIONS, decoder_only=True)
    after = vae_training.train(tmp_path, options, initial=trained)
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(before.encode(image).latent_dist.mean, after.encode(image).latent_dist.mean)
    assert before.config.scaling_factor == after.config.scaling_factor
    assert not torch.equal(before.decoder.conv_in.weight, after.decoder.conv_in.weight)


def test_latents_have_about_unit_deviation(trained):
    vae = AutoencoderKL.from_pretrained(trained).eval()
    frames = to_unit_range(SceneFrames(32, 16)[100])
    with torch.no_grad():
        latents = vae.encode(frames).latent_dist.mean * vae.config.scaling_factor
    assert 0.5 < latents.std().item() < 2.0


def test_a_training_with_moves_goes_on_from_both_halves_of_an_autoencoder(trained, tmp_path):
    before = AutoencoderKL.from_pretrained(trained).state_dict()
    # A rate at which nothing but the start can tell.
    slow = dataclasses.replace(MOVED, peak_rate=1e-9)
    same = vae_training.train(tmp_path / "slow", slow, initial=trained).state_dict()
    after = vae_training.train(tmp_path / "moved", MOVED, initial=trained).state_dict()
    for key in ("encoder.conv_in.weight", "decoder.conv_in.weight"):
        torch.testing.assert_close(same[key], before[key])
        assert not torch.allclose(after[key], before[key])


class _Pooling(torch.nn.Module):
    """An autoencoder that averages cells of 4x4 pixels, and writes each place in its own way."""

    def __init__(self, *, own_way: bool) -> None:
        super().__init__()
        self._own_way = own_way

    def _written(self, latents):
        return latents * (torch.arange(latents.shape[-1]) % 2 * 2.0 - 1.0 if self._own_way else 1.0)

    def encode(self, frames):
        mean = self._written(F.avg_pool2d(frames, 4))
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean))

    def decode(self, latents):
        return SimpleNamespace(sample=F.interpolate(self._written(latents), scale_factor=4.0))


def _losses_of(*, own_way: bool, latent_noise: float = 0.0):
    options = dataclasses.replace(MOVED, size_px=64, latent_noise=latent_noise)
    frames = to_unit_range(SceneFrames(8, 128)[1])
    generator = torch.Generator().manual_seed(6)
    return vae_training._losses(_Pooling(own_way=own_way), frames, options, None, generator)


def test_latents_that_move_with_their_picture_are_told_from_those_that_do_not():
    fit, unfit = (_losses_of(own_way=own_way) for own_way in (False, True))
    assert 5 * fit["apart"] < unfit["apart"]
    # Without moves both draw the same: here the moved half of one is drawn wrong.
    assert 1.5 * fit["l1"] < unfit["l1"]
    for losses in (fit, unfit):
        drawn = losses["l1"] + MOVED.mse_weight * 4 * 10 ** (-losses["psnr"] / 10)
        expected = drawn + MOVED.moved_weight * losses["apart"]
        assert losses["loss"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_moved_latents_are_held_against_the_moved_picture():
    """Pooled colours drawn in their cells: moved, they are about as far off as unmoved."""
    frames = F.avg_pool2d(to_unit_range(SceneFrames(8, 128)[1]), 2)
    unmoved = (F.interpolate(F.avg_pool2d(frames, 4), scale_factor=4.0) - frames).abs().mean()
    assert 0.8 * unmoved < _losses_of(own_way=False)["l1"] < 1.3 * unmoved


def test_the_decoder_is_given_noisy_latents():
    clean, noisy = (_losses_of(own_way=False, latent_noise=noise) for noise in (0.0, 0.3))
    assert noisy["l1"] > 1.05 * clean["l1"]
    assert noisy["apart"] == clean["apart"]


def test_a_decoder_alone_cannot_be_told_how_latents_move():
    with pytest.raises(ValueError, match="moved_weight"):
        VaeTraining(decoder_only=True, moved_weight=0.2)


def test_a_decoder_alone_asks_for_its_encoder(tmp_path):
    result = CliRunner().invoke(vae_training.main, ["--output", str(tmp_path), "--decoder-only"])
    assert result.exit_code == 2
    assert "give --initial FOLDER" in result.output
    assert not list(tmp_path.iterdir())


def test_the_program_goes_on_from_what_it_is_given(trained, tmp_path):
    arguments = ["--output", str(tmp_path), "--initial", str(trained), "--steps", "0"]
    result = CliRunner().invoke(vae_training.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    before, after = (AutoencoderKL.from_pretrained(path) for path in (trained, tmp_path / "vae"))
    torch.testing.assert_close(after.state_dict(), before.state_dict())
