"""Optimizers of the UNet's training: AdamW as published, or Muon for the matrices inside.

Muon (Jordan et al. 2024) replaces a matrix's update by the nearest semi-orthogonal matrix. A
network that starts from nothing learns with it in about half the steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

OPTIMIZERS = ("adamw", "muon")
_ADAM_BETAS = (0.9, 0.99)
# Of Jordan et al.: the slope at zero is steep, and what ends between 0.7 and 1.2 is near enough.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
# The maps between latents, numbers or text and the hidden state are no hidden matrices.
_OUTER = ("conv_in.", "conv_out.", "time_embedding.", "frame_stride_embedding.")


def build_optimizer(
    name: str,
    network: nn.Module,
    rate: float,
    weight_decay: float,
    *,
    bf16: bool = False,
    also: Iterable[nn.Parameter] = (),
) -> torch.optim.Optimizer | MatricesByMuon:
    """Returns the optimizer `name` over all parameters of `network` that are trained.

    With `bf16` Muon multiplies its matrices in it; the parameters stay in float32. Those of `also`
    are trained beside them, by AdamW.

    Raises:
        ValueError: If the name is unknown.
    """
    named = [(key, value) for key, value in network.named_parameters() if value.requires_grad]
    if name == "adamw":
        return _adamw([*(value for _, value in named), *also], rate, weight_decay)
    if name == "muon":
        inner = [v for k, v in named if v.ndim >= 2 and not k.startswith(_OUTER)]
        chosen = {id(value) for value in inner}
        rest = [value for _, value in named if id(value) not in chosen]
        dtype = torch.bfloat16 if bf16 else torch.float32
        adamw = _adamw([*rest, *also], rate, weight_decay)
        return MatricesByMuon(inner, adamw, rate, weight_decay, dtype=dtype)
    raise ValueError(f"optimizer={name!r}; accepted: {', '.join(map(repr, OPTIMIZERS))}")


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum; a convolution is a matrix (out, in * k * k).

    `torch.optim.Muon` takes nothing but matrices and multiplies them one at a time, in bf16, in
    which a CPU without bf16 takes a hundred times as long as in float32.
    """

    def __init__(
        self,
        matrices: list[nn.Parameter],
        rate: float,
        weight_decay: float,
        momentum: float = 0.95,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """With `dtype`, in which the matrices are multiplied."""
        super().__init__(matrices, {"lr": rate, "weight_decay": weight_decay, "momentum": momentum})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Moves all matrices that have a gradient."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            # Those of one shape together: most are small, and there are hundreds of them.
            of_shape: defaultdict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    of_shape[matrix.flatten(1).shape].append(matrix)
            for matrices in of_shape.values():
                ahead = [self._ahead(matrix, momentum).flatten(1) for matrix in matrices]
                updates = orthogonal(torch.stack(ahead)).float()
                # The root mean square of AdamW's steps (arXiv:2502.16982), so that one rate serves.
                size = 0.2 * max(updates.shape[1:]) ** 0.5
                for matrix, update in zip(matrices, updates, strict=True):
                    matrix.mul_(1 - rate * group["weight_decay"])
                    matrix.add_(update.view_as(matrix), alpha=-rate * size)

    def _ahead(self, matrix: nn.Parameter, momentum: float) -> torch.Tensor:
        """Adds the gradient to the average; returns Nesterov's, in the dtype of the products."""
        assert matrix.grad is not None
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        average: torch.Tensor = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(average, momentum).to(self._dtype)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """The semi-orthogonal matrices near `matrices` (N, rows, columns), dtype as given.

    Their singular values become about 1.
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x: torch.Tensor = matrices.mT if tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        polynomial = (gram @ gram).mul_(c).add_(gram, alpha=b)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        x = polynomial @ x
    return x.mT if tall else x


class MatricesByMuon:
    """Muon for `matrices`, AdamW for the rest."""

    def __init__(
        self,
        matrices: list[nn.Parameter],
        adamw: torch.optim.Optimizer,
        rate: float,
        weight_decay: float,
        *,
        dtype: torch.dtype,
    ) -> None:
        self._muon = Muon(matrices, rate, weight_decay, dtype=dtype)
        self._adamw = adamw

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both, for a schedule of the rate."""
        return [*self._muon.param_groups, *self._adamw.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients."""
        self._muon.zero_grad(set_to_none)
        self._adamw.zero_grad(set_to_none)

    def step(self) -> None:
        """Moves all parameters."""
        self._muon.step()
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])


def _adamw(
    parameters: list[nn.Parameter], rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=rate, betas=_ADAM_BETAS, weight_decay=weight_decay)
