"""Fixtures that several tests share; nothing here reaches a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"

from i2vbench.clip import Clip, Geometry, Picture
from i2vbench.device import has_arithmetic
from i2vbench.sample import Sample, Suite
from tests.weight_server import own_cache, register, server  # noqa: F401 (fixtures)

# The same examples everywhere: a gate that fails by chance teaches people to try it again.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs arithmetic that this CPU lacks; that it is refused has tests of its own."""
    if has_arithmetic("bf16"):
        return
    for item in items:
        if item.get_closest_marker("bf16"):
            item.add_marker(pytest.mark.skip(reason="this CPU has no bf16 arithmetic"))


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """No test reads or fills the user's caches."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def picture_of(seed: int, size: int = 32) -> Picture:
    """A picture with low frequencies, as photographs have."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


@pytest.fixture
def make_suite() -> Callable[..., Suite]:
    """A suite of drawn pictures with moving references, by ids."""

    def make(ids: list[str], *, reference: bool = True) -> Suite:
        samples = []
        for number, sample_id in enumerate(ids):

            def first(geometry: Geometry, number: int = number) -> Picture:
                return picture_of(number, geometry.height)

            def real(geometry: Geometry, number: int = number) -> Clip:
                base = picture_of(number, geometry.height)
                frames = [np.roll(base, 2 * i, 1) for i in range(geometry.num_frames)]
                return Clip(frames=np.stack(frames), fps=geometry.fps)

            samples.append(
                Sample(
                    id=sample_id,
                    prompt=f"picture {number}",
                    load_first_frame=first,
                    load_reference=real if reference else None,
                )
            )
        return Suite(name="small", version="1", samples=samples, content_sha256="0" * 64)

    return make


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of six pictures with prompts.csv."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rows = ["file,prompt"]
    for number in range(6):
        Image.fromarray(picture_of(number)).save(folder / f"p{number}.png")
        rows.append(f"p{number}.png,a picture")
    (folder / "prompts.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
