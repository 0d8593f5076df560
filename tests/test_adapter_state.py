"""What an adapter sets is in force in its own blocks and nowhere else."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from i2vbench.adapter_state import ProcessState, adopt, state_of
from i2vbench.clip import Clip
from i2vbench.generation import carry_out, plan_run
from i2vbench.model import Request
from i2vbench.sample import Suite
from tests.adapters import Drift

cudnn: Any = torch.backends.cudnn


def _autocast() -> None:
    torch.autocast("cpu", dtype=torch.bfloat16).__enter__()


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "dtype": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "device": (lambda: torch.set_default_device("meta"), lambda: torch.zeros(1).device.type),
    "grad": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "autocast": (_autocast, lambda: torch.is_autocast_enabled("cpu")),
    "autocast dtype": (
        lambda: torch.set_autocast_dtype("cpu", torch.float16),
        lambda: torch.get_autocast_dtype("cpu"),
    ),
    "deterministic": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
    ),
    "threads": (
        lambda: torch.set_num_threads(torch.get_num_threads() + 1),
        torch.get_num_threads,
    ),
    "matmul": (
        lambda: torch.set_float32_matmul_precision("medium"),
        torch.get_float32_matmul_precision,
    ),
    "folder": (lambda: os.chdir("/"), Path.cwd),
    "cudnn.enabled": (lambda: setattr(cudnn, "enabled", False), lambda: cudnn.enabled),
    "cudnn.benchmark": (lambda: setattr(cudnn, "benchmark", True), lambda: cudnn.benchmark),
    "cudnn.deterministic": (
        lambda: setattr(cudnn, "deterministic", True),
        lambda: cudnn.deterministic,
    ),
    "cudnn.allow_tf32": (lambda: setattr(cudnn, "allow_tf32", False), lambda: cudnn.allow_tf32),
    **{
        f"{name}.fp32_precision": (
            lambda place=place: setattr(place, "fp32_precision", "ieee"),
            lambda place=place: place.fp32_precision,
        )
        for name, place in {
            "backends": torch.backends,
            "matmul": torch.backends.cuda.matmul,
            "rnn": getattr(torch.backends.cudnn, "rnn", None),
        }.items()
        if hasattr(place, "fp32_precision")
    },
    "logging": (
        lambda: logging.disable(logging.CRITICAL),
        lambda: logging.getLogger("i2vbench").isEnabledFor(logging.ERROR),
    ),
}


class Adapter:
    pass


@dataclass(frozen=True)
class FrozenAdapter:
    x: int = 0


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = ProcessState.now()
    yield
    before.restore()


@pytest.mark.parametrize("kind", [Adapter, FrozenAdapter])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_lasts_between_the_adapter_s_blocks_and_is_not_seen_outside(
    name: str, kind: type
) -> None:
    change, current = SETTINGS[name]
    adapter, other = kind(), kind()
    plain = current()
    with state_of(adapter):
        change()
        changed = current()
    assert changed != plain
    assert current() == plain
    with state_of(other):
        assert current() == plain
    with state_of(adapter):
        assert current() == changed
        with state_of(other):
            # Built while another one works, as a wrapper of two models does.
            pass
        assert current() == changed
    assert current() == plain


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_ends_with_an_exception_too(name: str, error: type[BaseException]) -> None:
    change, current = SETTINGS[name]
    adapter, plain = Adapter(), current()
    changed = None
    with suppress(error), state_of(adapter):
        change()
        changed = current()
        raise error
    assert changed is not None
    assert current() == plain
    with state_of(adapter):
        assert current() == changed


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_set_while_it_is_built_is_the_adapter_s(name: str) -> None:
    change, current = SETTINGS[name]
    plain = current()
    with state_of(None):
        adapter = Adapter()
        change()
        changed = current()
        adopt(adapter)
    assert current() == plain
    with state_of(adapter):
        assert current() == changed


def test_an_adapter_that_deletes_its_folder_stops_nobody(tmp_path: Path) -> None:
    adapter, here = Adapter(), Path.cwd()
    with state_of(adapter):
        torch.set_default_dtype(torch.float64)
        (tmp_path / "gone").mkdir()
        os.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
    assert Path.cwd() == here
    assert torch.get_default_dtype() == torch.float32
    with state_of(adapter):
        assert torch.get_default_dtype() == torch.float64


def test_a_folder_that_is_deleted_meanwhile_is_left(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    with state_of(Adapter()):
        os.chdir(tmp_path)
        (tmp_path / "gone").rmdir()
    assert Path.cwd() == tmp_path


def test_the_state_without_a_change_is_the_same() -> None:
    before = ProcessState.now()
    with state_of(Adapter()):
        assert ProcessState.now() == before
    assert ProcessState.now() == before


class Suspended(Drift):
    """Its first answer is wrong, so that its generator is left where it is."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        torch.set_grad_enabled(False)
        with torch.enable_grad():
            yield from [None] * len(requests)  # type: ignore[misc]


def test_a_generator_that_is_left_changes_nothing_later(
    make_suite: Callable[[list[str]], Suite], tmp_path: Path
) -> None:
    model = Suspended()
    run = carry_out(model, plan_run(make_suite(["a", "b"]), model.geometry, batch_size=2), tmp_path)
    assert {take.status for take in run.takes().values()} == {"failed"}
    del run
    gc.collect()
    assert torch.is_grad_enabled()


def test_putting_a_state_back_loads_no_compiler() -> None:
    """It is part of each start; torch's compiler takes seconds to import."""
    code = (
        "import sys, torch\n"
        "from i2vbench.adapter_state import ProcessState\n"
        "ProcessState.now().restore()\n"
        "print('torch._inductor' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
