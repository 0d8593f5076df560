"""Optimizers of the UNet's training: AdamW as published, or Muon for the matrices inside.

Muon (Jordan et al. 2024; `torch.optim.Muon`) replaces a matrix's update by the nearest
semi-orthogonal matrix. A network that starts from nothing learns with it in about half the steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

OPTIMIZERS = ("adamw", "muon")
_ADAM_BETAS = (0.9, 0.99)
# The maps between latents, numbers or text and the hidden state are no hidden matrices.
_OUTER = ("conv_in.", "conv_out.", "time_embedding.", "frame_stride_embedding.")


def build_optimizer(
    name: str, network: nn.Module, rate: float, weight_decay: float
) -> torch.optim.Optimizer | MatricesByMuon:
    """Returns the optimizer `name` over all parameters of `network` that are trained.

    Raises:
        ValueError: If the name is unknown, or torch is too old for it.
    """
    named = [(key, value) for key, value in network.named_parameters() if value.requires_grad]
    if name == "adamw":
        return _adamw([value for _, value in named], rate, weight_decay)
    if name == "muon":
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(f"optimizer='muon' needs torch 2.9, this is {torch.__version__}")
        inner = [v for k, v in named if v.ndim >= 2 and not k.startswith(_OUTER)]
        chosen = {id(value) for value in inner}
        rest = [value for _, value in named if id(value) not in chosen]
        return MatricesByMuon(inner, _adamw(rest, rate, weight_decay), rate, weight_decay)
    raise ValueError(f"optimizer={name!r}; accepted: {', '.join(map(repr, OPTIMIZERS))}")


class MatricesByMuon:
    """Muon for `matrices`, convolutions being matrices of (out, in * k * k); AdamW for the rest.

    Steps have the root mean square of AdamW's, so that one rate serves both.
    """

    def __init__(
        self,
        matrices: list[nn.Parameter],
        adamw: torch.optim.Optimizer,
        rate: float,
        weight_decay: float,
    ) -> None:
        self._matrices = matrices
        # Views: `torch.optim.Muon` takes nothing but matrices.
        self._flat = [nn.Parameter(matrix.detach().flatten(1)) for matrix in matrices]
        self._muon = torch.optim.Muon(
            self._flat, lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self._adamw = adamw

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both, for a schedule of the rate."""
        return [*self._muon.param_groups, *self._adamw.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients."""
        for matrix in self._matrices:
            matrix.grad = None
        self._adamw.zero_grad(set_to_none)

    def step(self) -> None:
        """Moves all parameters."""
        for matrix, flat in zip(self._matrices, self._flat, strict=True):
            flat.grad = None if matrix.grad is None else matrix.grad.flatten(1)
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
