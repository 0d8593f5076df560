"""CoTracker2 by way of its package: with a stand-in of the predictor, and with the package."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from i2vbench.errors import MissingPackageError, MissingWeightsError
from i2vbench.files import file_sha256
from i2vbench.fingerprint import canonical_json
from i2vbench.metric_runs import _extractor
from i2vbench.metrics.features import cotracker
from i2vbench.metrics.features.cotracker import CoTrackerExtractor

from .seeded_weights import seeded_clips

MODULE = "cotracker.predictor"
(CLIP,) = seeded_clips(1, 6, 96, 160, seed=1)


class StandIn(torch.nn.Module):
    """In the place of the predictor: the grid, moved by the frame's mean."""

    def __init__(self, *, checkpoint, window_len, v2):
        assert (checkpoint, window_len, v2) == (None, 8, True)
        super().__init__()
        self.model = torch.nn.Linear(1, 1)

    def forward(self, video, *, grid_size):
        assert video.dtype == torch.float32
        assert not self.training
        rows, columns = torch.meshgrid(*[torch.arange(grid_size)] * 2, indexing="ij")
        points = torch.stack([columns, rows], dim=-1).reshape(1, 1, -1, 2)
        tracks = points + self.model(video.mean((2, 3, 4))[..., None])[:, :, None]
        return tracks, torch.ones(tracks.shape[:3], dtype=torch.bool)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    path = tmp_path / "cotracker2.pth"
    torch.save({"weight": torch.ones(1, 1), "bias": torch.zeros(1)}, path)
    monkeypatch.setattr(cotracker, "resolve", lambda _: path)
    return path


@pytest.fixture
def stand_in(monkeypatch, weights):
    module = ModuleType(MODULE)
    module.CoTrackerPredictor = StandIn
    monkeypatch.setitem(sys.modules, MODULE, module)
    return module


def test_the_whole_clip_is_tracked_from_a_grid_row_by_row(stand_in):
    (found,) = CoTrackerExtractor().extract([CLIP], [""])
    means = CLIP.frames.mean((1, 2, 3))
    assert found["tracks"].shape == (6, 10, 10, 2)
    assert found["tracks"].dtype == np.float32
    assert found["tracks"][:, 3, 7] == pytest.approx(np.stack([7 + means, 3 + means], 1), rel=1e-5)


def test_a_clip_that_the_package_would_answer_with_zeros_is_refused(stand_in):
    short = type(CLIP)(frames=CLIP.frames[:4], fps=8)
    with pytest.raises(ValueError, match="needs 5 frames, got 4"):
        CoTrackerExtractor().extract([short], [""])


def test_without_the_package_the_column_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, MODULE, None)
    monkeypatch.setattr(cotracker, "resolve", lambda name: pytest.fail(f"looks for {name} in vain"))
    with pytest.raises(MissingPackageError, match=r"pip install git\+https://.*co-track") as caught:
        CoTrackerExtractor()
    assert "\n" not in str(caught.value)
    assert _extractor("cotracker", "cpu", "fp32", "torch", {}) == str(caught.value)


def test_an_old_package_is_named(stand_in):
    stand_in.CoTrackerPredictor = lambda checkpoint: None
    with pytest.raises(MissingPackageError, match=r"another release of cotracker \(.*window_len"):
        CoTrackerExtractor()


def test_another_networks_file_is_refused_in_one_line(stand_in, weights):
    for stored in ({"bias": torch.ones(1)}, torch.ones(1)):
        torch.save(stored, weights)
        with pytest.raises(MissingWeightsError, match=r"is no CoTracker2 \(.*\)") as caught:
            CoTrackerExtractor()
        assert "\n" not in str(caught.value)


def test_loading_leaves_the_random_state_alone(stand_in):
    before = torch.get_rng_state()
    CoTrackerExtractor()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_fingerprint_names_the_weights(stand_in, weights):
    assert CoTrackerExtractor().spec()["weights_sha256"] == file_sha256(weights)
    canonical_json(CoTrackerExtractor().spec())


@pytest.mark.slow
def test_tracks_are_the_packages_own(weights):
    """At random weights, made and asked as its hubconf.py and VBench do, but for the size."""
    package = pytest.importorskip(MODULE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = package.CoTrackerPredictor(checkpoint=None, window_len=8, v2=True)
    torch.save(network.model.state_dict(), weights)
    before = torch.get_rng_state()
    extractor = CoTrackerExtractor()
    assert torch.equal(torch.get_rng_state(), before)
    # Frames are brought to 384 x 512 px before they are tracked: minutes on a CPU.
    network.interp_shape = extractor._predictor.interp_shape = (96, 128)
    (found,) = extractor.extract([CLIP], [""])
    video = torch.from_numpy(CLIP.frames).permute(0, 3, 1, 2)[None].float()
    tracks, _ = network(video, grid_size=10)
    assert found["tracks"] == pytest.approx(tracks[0].reshape(6, 10, 10, 2).numpy(), abs=1e-3)
    assert np.ptp(found["tracks"][0, :, :, 0], axis=1).min() > 150
    assert np.abs(found["tracks"][-1] - found["tracks"][0]).max() > 1e-3
