"""MUSIQ behind VBench's preparation: with a stand-in of pyiqa's network, and with pyiqa itself."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torchvision import transforms

from i2vbench.errors import MissingPackageError, MissingWeightsError
from i2vbench.metric import Example
from i2vbench.metric_runs import _extractor
from i2vbench.metrics.features import musiq
from i2vbench.metrics.features.musiq import MUSIQExtractor, prepare
from i2vbench.metrics.frame_quality import ImagingQuality

from .seeded_weights import seeded_clips, seeded_state

MODULE = "pyiqa.archs.musiq_arch"
SIZES = [(64, 96), (512, 300), (600, 561), (700, 1280)]


class StandIn(torch.nn.Module):
    """In the place of pyiqa's MUSIQ: a mark is the weight times the mean of one frame."""

    def __init__(self, *, pretrained):
        assert pretrained is False, "pyiqa would download"
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(1))

    def forward(self, frames):
        assert not self.training
        assert len(frames) == 1
        return self.weight * frames.mean((1, 2, 3))[:, None]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    path = tmp_path / "musiq.pth"
    torch.save({"weight": torch.tensor([100.0])}, path)
    monkeypatch.setattr(musiq, "resolve", lambda _: path)
    return path


@pytest.fixture
def stand_in(monkeypatch, weights):
    module = ModuleType(MODULE)
    module.MUSIQ = StandIn
    monkeypatch.setitem(sys.modules, MODULE, module)


def vbench(frames):
    """``transform(load_video(...), "longer")`` of vbench/imaging_quality.py."""
    images = torch.Tensor(frames).permute(0, 3, 1, 2)
    _, _, height, width = images.size()
    if max(height, width) > 512:
        scale = 512.0 / max(height, width)
        size = (int(scale * height), int(scale * width))
        images = transforms.Resize(size=size, antialias=False)(images)
    return images / 255.0


@pytest.mark.parametrize("size", SIZES)
def test_frames_are_prepared_as_in_vbench(size):
    (clip,) = seeded_clips(1, 2, *size, seed=1)
    assert torch.equal(prepare(clip.frames), vbench(clip.frames))


def test_a_longer_side_may_become_511_pixels():
    assert prepare(np.zeros((1, 561, 300, 3), np.uint8)).shape[2:] == (511, 273)


def test_every_frame_gets_a_mark_and_the_metric_their_mean(stand_in):
    (clip,) = seeded_clips(1, 3, 600, 561, seed=2)
    (found,) = MUSIQExtractor().extract([clip], [""])
    expected = 100 * vbench(clip.frames).mean((1, 2, 3)).numpy()
    assert found["marks"].dtype == np.float32
    assert np.allclose(found["marks"], expected, rtol=1e-6)
    example = Example(sample_id="a", take=0, clip=clip, features={"musiq": found})
    assert ImagingQuality().score_clip(example) == pytest.approx(expected.mean() / 100)
    assert np.allclose(ImagingQuality().frame_values(example), expected / 100)


def test_loading_leaves_the_random_state_alone(stand_in):
    before = torch.get_rng_state()
    MUSIQExtractor()
    assert torch.equal(torch.get_rng_state(), before)


def test_without_pyiqa_the_column_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, MODULE, None)
    monkeypatch.setattr(musiq, "resolve", lambda name: pytest.fail(f"looks for {name} in vain"))
    with pytest.raises(MissingPackageError, match=r"pip install 'i2vbench\[pyiqa\]'") as caught:
        MUSIQExtractor()
    assert "\n" not in str(caught.value)
    assert _extractor("musiq", "cpu", "fp32", "torch", {}) == str(caught.value)


def test_another_networks_file_is_refused_in_one_line(stand_in, weights):
    for stored in ({"bias": torch.ones(1)}, torch.ones(1)):
        torch.save(stored, weights)
        with pytest.raises(MissingWeightsError, match=r"is no MUSIQ \(.*\)") as caught:
            MUSIQExtractor()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(96, 160), (200, 640)])
def test_marks_are_pyiqas_own_as_vbench_asks_for_them(weights, size):
    """With the package itself, at seeded weights: loaded and run as VBench does it."""
    arch = pytest.importorskip(MODULE)
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in arch.MUSIQ(pretrained=False).state_dict().items()}
    torch.save(seeded_state(shapes), weights)
    (clip,) = seeded_clips(1, 2, *size, seed=3)
    network = arch.MUSIQ(pretrained_model_path=str(weights))
    network.training = False
    with torch.no_grad():
        expected = [float(network(frame[None])) for frame in vbench(clip.frames)]
    (found,) = MUSIQExtractor().extract([clip], [""])
    assert abs(expected[0] - expected[1]) > 1e-4
    assert np.allclose(found["marks"], expected, rtol=1e-6)
