"""Group normalisation of small bf16 images: the same function, and no worse than torch's own."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from i2vbench.models.consisti2v import norm as module
from i2vbench.models.consisti2v.convolution import channels_last
from i2vbench.models.consisti2v.norm import GroupNorm


@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize("mean", [0.0, 5.0])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (32, 32)])
def test_small_bf16_images(monkeypatch, size, mean, activate):
    torch.manual_seed(0)
    layer = GroupNorm(4, 24, eps=1e-6).to(torch.bfloat16)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = channels_last((torch.randn(3, 24, *size) + mean).to(torch.bfloat16))
    calls, own = [], module._normalise
    monkeypatch.setattr(module, "_normalise", lambda *t: calls.append(1) or own(*t))
    with torch.inference_mode():
        out = layer.activate(x) if activate else layer(x)
    assert len(calls) == (size != (32, 32))
    assert out.is_contiguous(memory_format=torch.channels_last)
    expected = F.group_norm(x.double(), 4, layer.weight.double(), layer.bias.double(), 1e-6)
    expected = F.silu(expected) if activate else expected
    assert (out - expected).norm() / expected.norm() < (5e-3 if activate else 3e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_and_float32_take_torch(monkeypatch, dtype):
    monkeypatch.setattr(module, "_normalise", None)
    layer, x = GroupNorm(4, 24).to(dtype), channels_last(torch.randn(3, 24, 4, 4).to(dtype))
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.inference_mode():
        torch.testing.assert_close(layer.float()(x.float()), F.group_norm(x.float(), 4))
