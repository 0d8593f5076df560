"""Networks with bfloat16 weights: faster on CPUs with AMX or AVX-512 BF16, and on GPUs.

The weights themselves are converted, rather than each operator's inputs as autocast does: nothing
is cast on the way. Frames are prepared, and features averaged and given out, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""How ``Extractor.dtype`` names them -> what a network's input must be."""


def place_network(
    network: Network,
    *,
    device: str,
    dtype: str,
    memory_format: torch.memory_format,
    heads: Sequence[str] = (),
) -> Network:
    """``network`` on the device, its convolutions in ``dtype``, its layers ``heads`` in float32.

    Made from the loaded float32 weights: a head's are not rounded on the way.
    """
    keep = {id(tensor) for name in heads for tensor in network.get_submodule(name).parameters()}
    for tensor in network.parameters():
        if id(tensor) not in keep:
            tensor.data = tensor.data.to(DTYPES[dtype])
    return network.to(device).to(memory_format=memory_format)
