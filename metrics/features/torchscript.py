"""Published networks that come as TorchScript and run as they are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from i2vbench.errors import MissingWeightsError
from i2vbench.weights import resolve


def load_torchscript(name: str, device: str) -> nn.Module:
    """The network of the register's file ``name`` on ``device``, in eval mode.

    TorchScript is a program of torch's operators, not of Python: it is trusted as its sha256 is.

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


@contextmanager
def exact() -> Iterator[None]:
    """Inside, TorchScript gives the same numbers in the first call and in the third, and no TF32.

    Its optimiser watches the first calls and rewrites the network after them, which rounds in
    another way; TF32 would move features by 1e-3 on the GPUs that have it.
    """
    optimised = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False), optimised:
        yield
