"""Every road of the attention gives softmax(q k^T / sqrt(E)) v; rotations in place and not."""

import pytest
import torch

from i2vbench.models.consisti2v import attention as module
from i2vbench.models.consisti2v.attention import softmax_attention
from i2vbench.models.consisti2v.temporal import Rotary


def formula(q, k, v):
    """In float64."""
    q, k, v = q.double(), k.double(), v.double()
    return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1) @ v


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("keys", [5, 33, 150])
@pytest.mark.parametrize("tile", [1, 1000, 2**21])
@pytest.mark.parametrize("amx", [False, True])
def test_roads(monkeypatch, dtype, bound, keys, tile, amx):
    """Few keys, the fused kernel and, in bf16 without AMX, tiles of one query, several or all."""
    monkeypatch.setattr(module, "_TILE", tile)
    monkeypatch.setattr(module, "has_amx", lambda: amx)
    torch.manual_seed(0)
    # Tokens before heads in memory, as the projections leave them.
    q, k, v = (torch.randn(3, n, 4, 16).to(dtype).transpose(1, 2) for n in (70, keys, keys))
    tiled, run = [], module._tiled_attention
    monkeypatch.setattr(module, "_tiled_attention", lambda *t: tiled.append(1) or run(*t))
    with torch.inference_mode():
        out = softmax_attention(q, k, v)
    assert len(tiled) == (keys > 32 and dtype == torch.bfloat16 and not amx)
    expected = formula(q, k, v)
    assert out.shape == expected.shape
    assert (out - expected).norm() / expected.norm() < bound
    assert (softmax_attention(q, k, v) - expected).norm() / expected.norm() < bound


def test_training_never_takes_the_tiles(monkeypatch):
    """They write into memory, which has no gradient."""
    monkeypatch.setattr(module, "_tiled_attention", None)
    q = torch.randn(1, 2, 40, 16, dtype=torch.bfloat16, requires_grad=True)
    softmax_attention(q, q, q).sum().backward()
    assert q.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotation_in_place_is_the_rotation(dtype):
    torch.manual_seed(0)
    rotary, x = Rotary(32), torch.randn(2, 7, 5, 32).to(dtype)
    expected = rotary(x)
    assert not torch.equal(expected[:, 1:, :, :16], x[:, 1:, :, :16])
    assert torch.equal(expected[..., 16:], x[..., 16:])
    with torch.inference_mode():
        assert torch.equal(rotary(x.clone()), expected)
