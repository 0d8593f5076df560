"""Published networks that come as TorchScript and run as they are."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from i2vbench.errors import MissingWeightsError
from i2vbench.weights import resolve


def load_torchscript(name: str, device: str) -> nn.Module:
    """The network of the register's file ``name`` on ``device``, in eval mode.

    TorchScript is a program of tensor operations; unlike a pickle it cannot run anything else.

    Raises:
        MissingWeightsError: the file is not here, or it is no TorchScript.
    """
    path = resolve(name)
    try:
        with warnings.catch_warnings():
            # PyTorch wants new exports in another format; these files have no other.
            warnings.simplefilter("ignore", DeprecationWarning)
            network: nn.Module = torch.jit.load(path, map_location=device)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise MissingWeightsError(
            f"weights {name!r}: {path} is no TorchScript ({reason}); fetch it again"
        ) from error
    return network.eval()
