"""The decoder's training on what a UNet leaves."""

import json

import pytest
import torch

from i2vbench.models.consisti2v.adapter import TINY_FOLDER
from i2vbench.models.consisti2v.training import decoder
from i2vbench.models.consisti2v.training.data import SceneClips
from i2vbench.models.consisti2v.training.diffusion import NoiseSchedule
from i2vbench.models.consisti2v.training.latents import latent_batch
from i2vbench.models.consisti2v.training.tiny_recipe import UNET_CONFIG
from i2vbench.models.consisti2v.training.unet import load_parts
from i2vbench.models.consisti2v.training.vae import VaeTraining
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

OPTIONS = VaeTraining(
    steps=4, batch_size=2, size_px=16, warmup_steps=1, save_every=2, bf16=False, seed=3
)
SMALL = {
    **UNET_CONFIG,
    "block_out_channels": [32, 32, 32],
    "attention_head_dim": [1, 1, 1],
    "n_frames": 4,
    "in_channels": 8,
    "out_channels": 8,
}


@pytest.fixture
def parts():
    return load_parts(TINY_FOLDER / "vae", TINY_FOLDER)


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return ConsistI2VUNet.from_config(SMALL).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def unbroken(unet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    parts = load_parts(TINY_FOLDER / "vae", TINY_FOLDER)
    vae = decoder.train(folder, unet, parts, OPTIONS, num_frames=4)
    return folder, vae


def _losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_only_the_decoder_is_trained(parts, unbroken):
    before, after = parts.vae.state_dict(), unbroken[1].state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "post_quant_conv"}
    assert (unbroken[0] / "vae" / "config.json").is_file()


def test_it_resumes_with_the_same_losses(parts, unet, unbroken, tmp_path, monkeypatch):
    class _KilledError(Exception):
        pass

    def rate(step, *rest):
        if step == 3:
            raise _KilledError
        return learning_rate(step, *rest)

    learning_rate = decoder.learning_rate
    with monkeypatch.context() as patch:
        patch.setattr(decoder, "learning_rate", rate)
        with pytest.raises(_KilledError):
            decoder.train(tmp_path, unet, parts, OPTIONS, num_frames=4)
    decoder.train(tmp_path, unet, parts, OPTIONS, num_frames=4)
    # Steps 0 to 2, then 2 and 3 again from the state after step 1.
    losses = _losses(unbroken[0])
    assert _losses(tmp_path) == [*losses[:3], *losses[2:]]


class _Seer(torch.nn.Module):
    """Knows the clip, so that its velocity is exact; and keeps what it was shown."""

    def __init__(self, latents_BCTHW):
        super().__init__()
        self.clean = latents_BCTHW[:, :, 1:]

    def forward(self, noisy, t_B, text, first_frame_latents, frame_stride):
        del text, frame_stride
        self.t_B, self.noisy, self.first = t_B, noisy, first_frame_latents
        a = NoiseSchedule(zero_snr=True).alpha_bar[t_B].view(-1, 1, 1, 1, 1)
        noise = (noisy - a.sqrt() * self.clean) / (1 - a).sqrt()
        return a.sqrt() * noise - (1 - a).sqrt() * self.clean


def test_the_estimate_of_a_perfect_network_is_the_clip(parts):
    clips = SceneClips(4, 16)
    batch = latent_batch(parts, clips, range(6), bf16=False)
    texts = [clips[number][1] for number in range(6)]
    seer = _Seer(batch.latents_BCTHW)
    generator = torch.Generator().manual_seed(5)
    found = decoder.estimated_latents(
        seer, parts, batch.latents_BCTHW, texts, batch.stride_B, generator
    )
    torch.testing.assert_close(found, batch.latents_BCTHW, atol=1e-3, rtol=0)
    assert torch.equal(seer.first, batch.latents_BCTHW[:, :, :1])
    assert len(set(seer.t_B.tolist())) > 1
    assert seer.t_B.max() <= decoder.LARGEST_TIMESTEP
    assert (seer.noisy - seer.clean).abs().max() > 0.1
