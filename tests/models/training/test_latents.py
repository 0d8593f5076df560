"""Latents as the UNet's training sees them: windows of scenes, silence, weights of channels."""

import pytest
import torch
from diffusers import AutoencoderKL

from i2vbench.models.consisti2v.training.data import SceneClips
from i2vbench.models.consisti2v.training.diffusion import NoiseSchedule
from i2vbench.models.consisti2v.training.latents import FrozenParts, LatentBatch
from i2vbench.models.consisti2v.training.tiny_recipe import UNetTraining
from i2vbench.models.consisti2v.training.unet import diffusion_loss
from i2vbench.models.consisti2v.training.vae import VAE_CONFIG

SMALL = {**VAE_CONFIG, "block_out_channels": [8, 8, 8], "norm_num_groups": 4}


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return AutoencoderKL(**SMALL).eval().requires_grad_(False)


def _parts(vae):
    return FrozenParts(vae=vae, tokenizer=None, text_encoder=None)


def test_windows_are_parts_of_larger_scenes():
    windows, whole = SceneClips(2, 16, scene_sides=2), SceneClips(2, 32)
    places, compared = set(), 0
    for index in range(12):
        frames, text, stride = windows[index]
        all_frames, all_text, all_stride = whole[index]
        assert (text, stride) == (all_text, all_stride)
        assert frames.shape == (2, 3, 16, 16)
        found = [
            (top, left)
            for top in range(0, 17, 2)
            for left in range(0, 17, 2)
            if torch.equal(frames, all_frames[:, :, top : top + 16, left : left + 16])
        ]
        assert found
        places.add(found[0])
        # Sixteen cells of flow a scene's side: one each two pixels. A window's side is half of it.
        top, left = found[0][0] // 2, found[0][1] // 2
        expected = whole.flow(index, 16)[:, :, top : top + 8, left : left + 8] * 2
        if len(found) == 1:
            assert torch.equal(windows.flow(index, 8), expected)
            compared += 1
    assert len(places) > 4
    assert compared > 6


def test_a_channel_that_no_pixel_shows_has_no_weight(vae):
    vae.post_quant_conv.weight[:, 1] = 0.0
    vae.post_quant_conv.weight[:, 2] *= 4.0
    frames = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    weights_C = _parts(vae).pixel_weights(frames)
    assert weights_C.mean().item() == pytest.approx(1.0)
    assert weights_C[1].item() == 0.0
    assert weights_C.argmax().item() == 2
    assert torch.equal(weights_C, _parts(vae).pixel_weights(frames))


def test_weights_scale_the_squared_error_of_their_channel():
    class Zero(torch.nn.Module):
        def forward(self, noisy, *rest, **conditions):
            return torch.zeros_like(noisy)

    latents = torch.zeros(3, 2, 4, 4, 4)
    latents[:, 1] = 1.0
    batch = LatentBatch(latents, torch.zeros(3, 5, 8), torch.tensor([3, 3, 3]))
    options = UNetTraining(
        prediction="v_prediction", zero_snr=True, high_noise_share=1.0, high_noise_from=999
    )

    def loss(weights):
        return diffusion_loss(
            Zero(),
            batch,
            torch.zeros(5, 8),
            NoiseSchedule(zero_snr=True),
            options,
            torch.Generator().manual_seed(0),
            weights_C=weights,
        )

    # At the last step the target is the negative of the clip.
    assert loss(None).tolist() == pytest.approx([0.5] * 3, abs=1e-5)
    assert loss(torch.tensor([0.4, 1.6])).tolist() == pytest.approx([0.8] * 3, abs=1e-5)
