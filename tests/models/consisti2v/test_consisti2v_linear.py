"""The roads of the linear maps give one result, and each is taken where it should be."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from i2vbench.device import has_arithmetic
from i2vbench.models.consisti2v import linear as module
from i2vbench.models.consisti2v.linear import FeedForward, Linear


def values(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.fixture
def taken(monkeypatch):
    """Answers of the choice, in order."""
    answers, choose = [], module.takes_onednn
    monkeypatch.setattr(
        module, "takes_onednn", lambda *tensors: answers.append(choose(*tensors)) or answers[-1]
    )
    return answers


def feed_forward(layer, norm, x):
    """The formula, in float64: with norm and residual."""
    residual, x = x.double(), norm.double()(x.double())
    weight, bias = (t.double() for t in (layer.net[0].proj.weight, layer.net[0].proj.bias))
    value, gate = F.linear(x.double(), weight, bias).chunk(2, dim=-1)
    gate = 0.5 * gate * (1 + torch.erf(gate / 2**0.5))
    update = F.linear(value * gate, layer.net[2].weight.double(), layer.net[2].bias.double())
    return residual + update


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_maps(taken, dtype, bound, bias):
    layer = Linear(48, 80, bias=bias).to(dtype)
    x = values(3, 5, 48, dtype=dtype)
    expected = F.linear(x.double(), layer.weight.double(), layer.bias.double() if bias else None)
    with torch.inference_mode():
        out = layer(x)
    assert (out - expected).norm() / expected.norm() < bound
    has_kernel = torch.backends.mkldnn.is_available() and (
        dtype == torch.float32 or has_arithmetic("bf16")
    )
    assert taken == [has_kernel]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("tokens", [7, 1024, 2500])
def test_feed_forward(dtype, bound, tokens):
    """In one piece and in several, the last one short."""
    layer, norm = FeedForward(32).to(dtype), torch.nn.LayerNorm(32).to(dtype)
    x = values(1, tokens, 32, dtype=dtype)
    trained = layer(x, norm)
    with torch.inference_mode():
        out = layer(x.clone(), norm)
    assert out.shape == x.shape
    expected = feed_forward(layer, norm, x)
    assert (out - expected).norm() / expected.norm() < bound
    torch.testing.assert_close(trained, out, rtol=3e-2, atol=3e-2)


def test_pieces_change_no_bit(monkeypatch):
    layer, norm, x = FeedForward(64), torch.nn.LayerNorm(64), values(4, 1000, 64)
    with torch.inference_mode():
        in_pieces = layer(x.clone(), norm)
        monkeypatch.setattr(module, "_TOKENS", 4000)
        assert torch.equal(layer(x.clone(), norm), in_pieces)


def test_training_autocast_and_other_dtypes_take_the_plain_road(taken):
    layer, x = Linear(16, 16), values(2, 16)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with torch.inference_mode():
        layer.double()(x.double())
        layer.to("meta")(x.to("meta"))
    assert taken == [False] * 4
