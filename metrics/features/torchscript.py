"""Published networks that come as TorchScript and run as they are."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from i2vbench.weight_loading import UnreadableWeightsError, fitting
from i2vbench.weights import require_trust, resolve


def load_torchscript(name: str, device: str) -> tuple[nn.Module, str]:
    """The network of the register's file ``name`` on ``device``, in eval mode, and its sha256.

    TorchScript is a program: it can read and write files, and parts of it run when it is loaded. So
    a file is opened only if the register, or the user, states its whole sha256.

    Raises:
        MissingWeightsError: the file is not here, is not trusted, or is no TorchScript.
    """
    path = resolve(name)
    with fitting(path, name=name, network="TorchScript"):
        if not zipfile.is_zipfile(path):
            raise UnreadableWeightsError("it is no archive, or was cut off")
    sha256 = require_trust(name, path)
    with fitting(path, name=name, network="TorchScript"), warnings.catch_warnings():
        # PyTorch wants new exports in another format; these files have no other.
        warnings.simplefilter("ignore", DeprecationWarning)
        network: nn.Module = torch.jit.load(path, map_location=device)
    return network.eval(), sha256


@contextmanager
def exact() -> Iterator[None]:
    """Inside, TorchScript gives the same numbers in the first call and in the third, and no TF32.

    Its optimiser watches the first calls and rewrites the network after them, which rounds in
    another way; TF32 would move features by 1e-3 on the GPUs that have it.
    """
    optimised = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False), optimised:
        yield
