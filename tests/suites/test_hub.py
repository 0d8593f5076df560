from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from i2vbench.clip import Geometry
from i2vbench.suites import load_suite
from tests.suites.miniatures import put_video, refusal

GEOMETRY = Geometry(num_frames=3, height=16, width=16, fps=8)


def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (grey, grey, grey)).save(buffer, "PNG")
    return buffer.getvalue()


class Table:
    """The part of a data set's interface that is used."""

    def __init__(self, rows: list[dict], features: dict) -> None:
        self.rows, self.features = rows, features
        self.column_names = list(features)

    def cast_column(self, column: str, feature: object) -> Table:
        assert feature.decode is False
        return Table(self.rows, {**self.features, column: feature})

    def select(self, indices: range) -> Table:
        return Table([self.rows[i] for i in indices], self.features)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self):
        media = [c for c, f in self.features.items() if type(f).__name__ in ("Image", "Video")]
        assert all(not self.features[c].decode for c in media), "decoded by datasets"
        return iter(self.rows)


class FakeImage:
    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class FakeVideo(FakeImage):
    pass


FakeImage.__name__, FakeVideo.__name__ = "Image", "Video"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A stand-in for the package: what it was asked for, and what it gives."""
    state = SimpleNamespace(asked=None, gives=None, cache=tmp_path / "hf")

    def load_dataset(place, config, *, split, revision):
        state.asked = (place, config, split, revision)
        if isinstance(state.gives, Exception):
            raise state.gives
        return state.gives

    module = ModuleType("datasets")
    module.__version__ = "4.1.0"
    module.load_dataset, module.Image, module.Video = load_dataset, FakeImage, FakeVideo
    module.config = SimpleNamespace(HF_DATASETS_CACHE=str(state.cache))
    monkeypatch.setitem(sys.modules, "datasets", module)
    state.module = module
    return state


def rows() -> list[dict]:
    return [
        {"image": {"bytes": png(n), "path": f"{n}.png"}, "text": f"prompt {n}", "label": n % 2}
        for n in range(3)
    ]


FEATURES = {"text": "text", "label": SimpleNamespace(int2str=["cat", "dog"].__getitem__)}


def test_rows_become_samples(hub: SimpleNamespace) -> None:
    hub.gives = {"test": Table(rows(), {"image": FakeImage(), **FEATURES})}
    options = {"prompt": "text", "category": "label", "revision": "abc", "config": "small"}
    suite = load_suite("hub:owner/set", options)
    assert hub.asked == ("owner/set", "small", None, "abc")
    assert (suite.name, suite.notes) == ("set", ())
    assert [(s.id, s.prompt, s.category) for s in suite] == [
        ("row-000000", "prompt 0", "cat"),
        ("row-000001", "prompt 1", "dog"),
        ("row-000002", "prompt 2", "cat"),
    ]
    np.testing.assert_array_equal(suite.samples[2].load_first_frame(GEOMETRY)[0, 0], [2, 2, 2])
    assert load_suite(suite.source).content_sha256 == suite.content_sha256
    assert len(load_suite("hub:owner/set", {**options, "max_rows": 2})) == 2
    assert "give revision=COMMIT" in load_suite("hub:owner/set", {"prompt": "text"}).notes[0]


def test_videos_are_taken_from_the_cache_of_datasets_alone(
    hub: SimpleNamespace, tmp_path: Path
) -> None:
    inside = put_video(hub.cache / "v.mp4", num_frames=5)
    outside = put_video(tmp_path / "secret.mp4")
    table = [{"video": {"bytes": None, "path": str(inside)}}]
    hub.gives = Table(table, {"video": FakeVideo()})
    (sample,) = load_suite("hub:owner/set", {"reference": "video"})
    assert sample.load_reference(GEOMETRY).frames.shape == (3, 16, 24, 3)
    table[0]["video"]["path"] = str(outside)
    message = refusal("hub:owner/set", {"reference": "video"})
    assert "row 0: " in message
    assert "lies outside the data set" in message


def test_mistakes_are_one_line(hub: SimpleNamespace) -> None:
    hub.gives = {"train": Table(rows(), FEATURES), "test": Table(rows(), FEATURES)}
    assert "choose one with the option split=NAME: train, test" in refusal("hub:o/s")
    hub.gives = Table(rows(), FEATURES)
    assert "say which column is the prompt" in refusal("hub:o/s")
    assert "has no column 'txt' for prompt: did you mean 'text'?" in refusal(
        "hub:o/s", {"prompt": "txt"}
    )
    hub.gives = FileNotFoundError("no such\ndata set")
    assert "data set 'o/s' does not load: no such data set" in refusal("hub:o/s")
    hub.gives = Table([{"text": " "}], {"text": "text"})
    assert "row 0 has no prompt" in refusal("hub:o/s", {"prompt": "text"})
    hub.module.__version__ = "3.6.0"
    assert "needs datasets 4 or newer, 3.6.0 is installed: pip install 'i2vbench[hub]'" in refusal(
        "hub:o/s"
    )


def test_without_the_package_the_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert refusal("hub:o/s") == (
        "suite hub needs the package datasets: pip install 'i2vbench[hub]'"
    )
