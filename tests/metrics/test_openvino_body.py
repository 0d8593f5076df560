"""OpenVINO as a backend: what it says where it is missing, and equal features where it is here."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest
import torch
from torch import nn

from i2vbench import device
from i2vbench.device import check_scoring
from i2vbench.errors import UserError
from i2vbench.feature_store import extractor_fingerprint
from i2vbench.metrics.features.efficientnet import EfficientNetExtractor
from i2vbench.metrics.features.i3d import I3DExtractor
from i2vbench.metrics.features.openvino_body import OpenVINOBody

from .seeded_weights import seeded_clips

(CLIP,) = seeded_clips(1, 9, 64, 64, seed=3)
HOW = r"^backend openvino needs openvino: pip install 'i2vbench\[openvino\]'$"


def relative_error(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino")


@pytest.fixture
def missing(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda name: None)


@pytest.fixture
def pretended(monkeypatch):
    """Installed, as far as anybody asks; nothing is compiled before the first batch."""
    monkeypatch.setattr(device, "find_spec", lambda name: object())


def test_without_the_package_the_error_is_the_command_that_installs_it(missing):
    with pytest.raises(UserError, match=HOW):
        check_scoring("openvino", "fp32", "cpu")
    with pytest.raises(UserError, match=HOW):
        I3DExtractor(backend="openvino")
    check_scoring("torch", "fp32", "cuda:0")


def test_it_runs_on_the_cpu_alone(pretended):
    check_scoring("openvino", "fp32", "cpu")
    with pytest.raises(UserError, match="on the CPU alone, not on cuda:1; use --device cpu"):
        check_scoring("openvino", "fp32", "cuda:1")
    with pytest.raises(UserError, match="backend 'onnx': accepted are torch and openvino"):
        check_scoring("onnx", "fp32", "cpu")


@pytest.mark.bf16
def test_its_features_are_stored_apart_from_torchs(pretended):
    ways = [("fp32", "torch"), ("bf16", "torch"), ("fp32", "openvino"), ("bf16", "openvino")]
    made = [EfficientNetExtractor(dtype=dtype, backend=backend) for dtype, backend in ways]
    assert len({extractor_fingerprint(each) for each in made}) == 4
    assert all(each.spec() == made[0].spec() for each in made)


@pytest.mark.parametrize("kind", [I3DExtractor, EfficientNetExtractor], ids=lambda k: k.name)
def test_features_are_torchs(openvino, kind):
    exact, found = (kind(backend=name).extract([CLIP], [""])[0] for name in device.BACKENDS)
    assert set(found) == set(exact)
    for key in exact:
        assert found[key].dtype == np.float32
        assert relative_error(found[key], exact[key]) < 1e-5, key


def small_network():
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3))
    generator = torch.Generator().manual_seed(0)
    for tensor in network.parameters():
        tensor.data = torch.randn(tensor.shape, generator=generator)
    return network.eval().requires_grad_(False)


def test_each_shape_is_compiled_once_and_results_are_kept(openvino, monkeypatch):
    network = small_network()
    body = OpenVINOBody(network, "forward", "fp32")
    shapes = []
    core = openvino.Core.compile_model
    monkeypatch.setattr(
        openvino.Core,
        "compile_model",
        lambda self, model, *rest: (
            shapes.append(list(model.input().shape)) or core(self, model, *rest)
        ),
    )
    batches = [torch.randn(n, 3, 8, 12, generator=torch.Generator().manual_seed(n)) for n in (2, 3)]
    batches += [batches[0] + 1]
    # A layout that is not contiguous, as frames come from a resize.
    batches += [batches[0].to(memory_format=torch.channels_last)]
    made = [body(batch) for batch in batches]
    assert shapes == [[2, 3, 8, 12], [3, 3, 8, 12]]
    for found, batch in zip(made, batches, strict=True):
        assert torch.allclose(found, network(batch), rtol=1e-4, atol=1e-4)


class _SignalStack(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


_OTHER_STACK = ctypes.create_string_buffer(1 << 16)


def signal_stack():
    """Where this thread handles signals: address and size."""
    found = _SignalStack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    return found.at, found.size


@pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack of Linux")
def test_signals_keep_their_stack(openvino, monkeypatch):
    """Else the end of a child process is a crash, on CPUs with AVX-512; here it is as on those."""
    compile_model = openvino.Core.compile_model

    def disturbing(core, *arguments):
        other = _SignalStack(ctypes.addressof(_OTHER_STACK), 0, len(_OTHER_STACK))
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(other), None) == 0
        return compile_model(core, *arguments)

    monkeypatch.setattr(openvino.Core, "compile_model", disturbing)
    before = signal_stack()
    bodies = [OpenVINOBody(small_network(), "forward", "fp32") for _ in range(2)]
    for body in bodies:
        body(torch.zeros(1, 3, 8, 12))
        assert signal_stack() == before
    # The first goes first.
    while bodies:
        bodies.pop(0)
        assert signal_stack() == before


def test_bfloat16_is_computed_or_refused(openvino):
    network = small_network()
    batch = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    body = OpenVINOBody(network, "forward", "bf16")
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        found = body(batch)
        assert found.dtype == torch.float32
        # Much nearer would mean that it was float32 under another name.
        assert 1e-4 < relative_error(found.numpy(), network(batch).numpy()) < 0.05
    else:
        with pytest.raises(UserError, match="use --scoring-dtype fp32"):
            body(batch)
