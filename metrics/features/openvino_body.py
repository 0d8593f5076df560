"""A network's body compiled by OpenVINO for the CPU: the quickest there, above all in bfloat16.

Each shape of batch is exported and compiled once and kept in memory: OpenVINO is at its best where
every size is known (with a free batch size, bfloat16 on AMX took twice the time).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from i2vbench.device import require_openvino
from i2vbench.errors import UserError

SHAPES_KEPT = 8
"""Compiled networks kept at once. Clips of one length need one or two."""
PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
"""How ``Extractor.dtype`` names them -> how OpenVINO does."""

Shape = tuple[int, ...]
Compiled = Callable[[Tensor], Tensor]


class OpenVINOBody:
    """``network.method`` for float32 batches; the network stays as it is, in float32."""

    def __init__(self, network: nn.Module, method: str, dtype: str) -> None:
        """Takes the network; it is compiled with the first batch of each shape.

        Raises:
            UserError: OpenVINO is not installed.
        """
        require_openvino()
        self._method = _Method(network, method).eval()
        self._dtype = dtype
        self._compiled = functools.lru_cache(maxsize=SHAPES_KEPT)(self._compile)

    def __call__(self, batch: Tensor) -> Tensor:
        """What the method gives, float32 on the CPU.

        Raises:
            UserError: OpenVINO cannot compute in the wanted type on this CPU.
        """
        return self._compiled(tuple(batch.shape))(batch)

    def _compile(self, shape: Shape) -> Compiled:
        import openvino

        model = _export(openvino, self._method, shape)
        wanted = PRECISIONS[self._dtype]
        options = {
            "INFERENCE_PRECISION_HINT": wanted,
            # One batch at a time, on the threads that torch may use.
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        # In a thread that ends here: where the CPU has AVX-512, OpenVINO gives the thread that
        # compiles another stack for signals. Two networks that go in the order in which they came
        # leave it memory that is freed, and the next signal, a child process's end, kills Python.
        with ThreadPoolExecutor(1) as thread:
            compiled = thread.submit(openvino.Core().compile_model, model, "CPU", options).result()
        # Where a CPU has no bfloat16 it computes in float32 and does not say so: another number
        # under the same name.
        got = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if got != wanted:
            raise UserError(
                f"OpenVINO computes in {got} on this CPU where {wanted} was asked for; "
                "use --scoring-dtype fp32"
            )
        request = compiled.create_infer_request()

        def run(batch: Tensor) -> Tensor:
            inputs = [np.ascontiguousarray(batch.numpy())]
            # A copy: the request's own memory is written over by the next batch.
            return torch.from_numpy(request.infer(inputs)[0].copy())

        return run


def _export(openvino: ModuleType, method: nn.Module, shape: Shape) -> object:
    """The OpenVINO model of one shape of batch."""
    with warnings.catch_warnings(), torch.no_grad():
        # Both packages warn of their own internals, in words that change with the version.
        warnings.simplefilter("ignore")
        program = torch.export.export(method, (torch.zeros(shape),), strict=False)
        model = openvino.convert_model(program)
    model.reshape(list(shape))
    return model


class _Method(nn.Module):
    """A method as a module of its own, since that is what can be exported."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, batch: Tensor) -> Tensor:
        made: Tensor = getattr(self.network, self.method)(batch)
        return made
