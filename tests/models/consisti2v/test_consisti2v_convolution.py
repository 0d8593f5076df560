"""The roads of a convolution give one result; kernels change their order, not their values."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from i2vbench.models.consisti2v import convolution as module
from i2vbench.models.consisti2v.convolution import Conv3x3, channels_last, order_kernels
from i2vbench.models.consisti2v.temporal import TimeConv


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
    assert len(products) == (few > 0 and torch.backends.mkldnn.is_available())
    assert out.is_contiguous(memory_format=torch.channels_last)
    expected = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)
    assert (out - expected).norm() / expected.norm() < bound


def test_ordered_kernels_are_the_same_kernels():
    torch.manual_seed(0)
    network = torch.nn.Sequential(Conv3x3(16, 16), TimeConv(16))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    order_kernels(network)
    after = network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert network[0].weight.stride()[1] == network[1].weight.stride()[1] == 1
    assert network[1].weight.squeeze(-1).is_contiguous(memory_format=torch.channels_last)
