"""The roads of a convolution give one result; kernels change their order, not their values."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from i2vbench.device import has_arithmetic
from i2vbench.models.consisti2v import convolution as module
from i2vbench.models.consisti2v import winograd
from i2vbench.models.consisti2v.convolution import Conv3x3, channels_last, order_kernels
from i2vbench.models.consisti2v.temporal import TimeConv
from i2vbench.models.consisti2v.winograd import takes_winograd, winograd_conv


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 7)])
@pytest.mark.parametrize("few", [0, 10_000])
def test_either_road(monkeypatch, dtype, bound, size, few):
    monkeypatch.setattr(module, "_FEW_PIXELS", few)
    torch.manual_seed(0)
    layer, x = Conv3x3(24, 40).to(dtype), channels_last(torch.randn(6, 24, *size).to(dtype))
    products = []
    monkeypatch.setattr(module, "linear", lambda *t: products.append(1) or F.linear(*t))
    with torch.inference_mode():
        out = layer(x)
    has_kernel = torch.backends.mkldnn.is_available() and (
        dtype == torch.float32 or has_arithmetic("bf16")
    )
    assert len(products) == (few > 0 and has_kernel)
    assert out.is_contiguous(memory_format=torch.channels_last)
    expected = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)
    assert (out - expected).norm() / expected.norm() < bound


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (8, 8)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("piece", [1, 10_000, 2**20])
def test_winograd_is_the_same_convolution(monkeypatch, size, bias, piece):
    """In one piece, in several of which the last is short, and image by image."""
    monkeypatch.setattr(winograd, "_PIECE", piece)
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(24, 40, 3, padding=1, bias=bias)
    x = channels_last(torch.randn(7, 24, *size))
    with torch.inference_mode():
        out = winograd_conv(x, layer.weight, layer.bias)
        expected = layer.double()(x.double())
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert (out - expected).norm() / expected.norm() < 1e-6


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_winograd_takes_wide_even_float32_pictures(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "winograd_conv", lambda *t: calls.append(1) or winograd_conv(*t))
    layer, x = Conv3x3(256, 256), torch.randn(8, 256, 8, 8)
    with torch.inference_mode():
        wide = layer(channels_last(x))
        assert len(calls) == 1
        layer(x[:7])
        layer(torch.randn(40, 256, 5, 8))
        Conv3x3(256, 128)(x)
    layer(x).sum().backward()
    assert len(calls) == 1
    assert not takes_winograd(x.bfloat16(), layer.weight.detach().bfloat16())
    expected = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)
    assert (wide - expected).norm() / expected.norm() < 2e-6


def test_ordered_kernels_are_the_same_kernels():
    torch.manual_seed(0)
    network = torch.nn.Sequential(Conv3x3(16, 16), TimeConv(16))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    order_kernels(network)
    after = network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert network[0].weight.stride()[1] == network[1].weight.stride()[1] == 1
    assert network[1].weight.squeeze(-1).is_contiguous(memory_format=torch.channels_last)
