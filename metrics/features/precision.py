"""How a network's body runs: in torch or in OpenVINO, in float32 or in bfloat16.

In torch's bfloat16 the weights themselves are converted, rather than each operator's inputs as
autocast does: nothing is cast on the way. Frames are prepared, and features averaged and given out,
in float32, whatever the body runs in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from i2vbench.device import check_scoring

Body = Callable[[Tensor], Tensor]
"""A float32 batch, on any device -> what the network makes of it, float32, on the network's."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""How ``Extractor.dtype`` names them -> what a network's input must be in torch."""


def make_body(
    network: nn.Module,
    *,
    method: str = "forward",
    device: str = "cpu",
    dtype: str = "fp32",
    backend: str = "torch",
    memory_format: torch.memory_format = torch.contiguous_format,
    heads: Sequence[str] = (),
) -> Body:
    """``network.method``, run as asked.

    Args:
        network: with float32 weights; moved to the device, its layers but ``heads`` to ``dtype``.
        method: takes a batch and gives a tensor; whether it comes before the heads is the caller's.
        device: of torch; OpenVINO runs on the CPU.
        dtype: ``fp32`` or ``bf16``.
        backend: ``torch`` or ``openvino``.
        memory_format: of weights and batches in torch; OpenVINO finds its own.
        heads: layers that stay in float32 in torch. They are not rounded on the way.

    Raises:
        UserError: OpenVINO is not installed, or nothing computes in ``dtype`` here.
    """
    check_scoring(backend, dtype, device)
    if backend == "openvino":
        from .openvino_body import OpenVINOBody

        return OpenVINOBody(network, method, dtype)
    placed = place_network(
        network, device=device, dtype=dtype, memory_format=memory_format, heads=heads
    )
    run = getattr(placed, method)

    def body(batch: Tensor) -> Tensor:
        made: Tensor = run(
            batch.to(device=device, dtype=DTYPES[dtype], memory_format=memory_format)
        )
        return made.float()

    return body


def place_network(
    network: nn.Module,
    *,
    device: str,
    dtype: str,
    memory_format: torch.memory_format,
    heads: Sequence[str] = (),
) -> nn.Module:
    """``network`` on the device, its weights but those of the layers ``heads`` in ``dtype``."""
    keep = {id(tensor) for name in heads for tensor in network.get_submodule(name).parameters()}
    for tensor in network.parameters():
        if id(tensor) not in keep:
            tensor.data = tensor.data.to(DTYPES[dtype])
    return network.to(device).to(memory_format=memory_format)
