"""Muon is Jordan's; AdamW has the parameters that are no hidden matrices."""

import pytest
import torch

from i2vbench.models.consisti2v.training.optimizer import Muon, build_optimizer, orthogonal


def test_muon_moves_matrices_and_adamw_the_rest():
    torch.manual_seed(0)
    network = torch.nn.ModuleDict(
        {"conv_in": torch.nn.Linear(4, 8), "hidden": torch.nn.Conv2d(8, 6, 3)}
    )
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimizer = build_optimizer("muon", network, 0.1, weight_decay=0.0)
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    moved = {name: value.detach() - before[name] for name, value in network.named_parameters()}
    # A matrix moves along all its directions alike, the others by the rate in each entry.
    singular = torch.linalg.svdvals(moved["hidden.weight"].flatten(1))
    assert singular.max() / singular.min() < 2
    for name in ("conv_in.weight", "conv_in.bias", "hidden.bias"):
        torch.testing.assert_close(moved[name].abs(), torch.full_like(moved[name], 0.1))
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has none")
def test_muon_is_that_of_torch():
    """Which multiplies in bf16: a hundredth of a step off."""
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.zeros(6, 40)) for _ in range(2))
    optimizers = (
        Muon([ours], 1e-2, weight_decay=0.1),
        torch.optim.Muon([theirs], 1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(4):
        ours.grad = torch.randn(6, 40)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
        assert (ours - theirs).norm() < 0.03 * theirs.norm()


def test_muon_makes_tall_matrices_orthogonal_too():
    matrices = torch.randn(3, 40, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonal(matrices), orthogonal(matrices.mT).mT)
    assert torch.linalg.svdvals(orthogonal(matrices)).sub(1).abs().max() < 0.4


def test_muon_moves_matrices_of_one_shape_apart_and_in_bf16_alike():
    torch.manual_seed(0)
    gradients = [torch.randn(8, 3, 3, 3), torch.randn(8, 27) * 1e-3, torch.randn(27, 8)]

    def moved(gradients, dtype=torch.float32):
        matrices = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
        for matrix, gradient in zip(matrices, gradients, strict=True):
            matrix.grad = gradient.clone()
        Muon(matrices, 0.1, weight_decay=0.0, dtype=dtype).step()
        return [matrix.detach() for matrix in matrices]

    together = moved(gradients)
    for gradient, exact in zip(gradients, together, strict=True):
        torch.testing.assert_close(moved([gradient])[0], exact)
    for exact, rounded in zip(together, moved(gradients, torch.bfloat16), strict=True):
        assert rounded.dtype == torch.float32
        assert (exact - rounded).norm() < 0.06 * exact.norm()


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="optimizer='sgd'; accepted: 'adamw', 'muon'"):
        build_optimizer("sgd", torch.nn.Linear(1, 1), 0.1, 0.0)
