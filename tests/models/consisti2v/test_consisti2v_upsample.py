"""Upsampling without the larger picture equals upsampling with it."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from i2vbench.models.consisti2v.networks import load_vae
from i2vbench.models.consisti2v.upsample import UpsamplingConv, doubled_conv, speed_up_vae


def values(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8)])
@pytest.mark.parametrize("bias", [True, False])
def test_doubling(size, bias):
    x, weight, shift = values(2, 6, *size), values(4, 6, 3, 3), values(4) if bias else None
    expected = F.conv2d(F.interpolate(x, scale_factor=2), weight, shift, padding=1)
    torch.testing.assert_close(doubled_conv(x, weight, shift), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [None, (6, 10), (5, 10), (7, 11)])
def test_any_size(size):
    """Of odd latents the up path comes back one row or column short of twice."""
    conv, x = UpsamplingConv(4), values(2, 4, 3, 5)
    plain = F.interpolate(x, size=size or (6, 10), mode="nearest")
    expected = F.conv2d(plain, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(x, size), expected)
    with torch.inference_mode():
        torch.testing.assert_close(conv(x, size), expected, rtol=1e-5, atol=1e-5)


def test_a_faster_vae_is_the_same_vae(checkpoint):
    vae, plain = load_vae(checkpoint / "vae"), load_vae(checkpoint / "vae")
    speed_up_vae(vae)
    assert list(vae.state_dict()) == list(plain.state_dict())
    with torch.inference_mode():
        latents = plain.encode(values(2, 3, 32, 40)).latent_dist.mean
        torch.testing.assert_close(vae.encode(values(2, 3, 32, 40)).latent_dist.mean, latents)
        torch.testing.assert_close(
            vae.decode(latents).sample, plain.decode(latents).sample, rtol=1e-4, atol=1e-5
        )
