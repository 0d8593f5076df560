"""DINO's features at seeded weights against those of the original code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from i2vbench.metrics.features import dino as module
from i2vbench.metrics.features.dino import DINO, MEAN, STD, DINOExtractor, load_dino, prepare_whole

from .seeded_weights import seeded_clips, seeded_state

DATA = Path(__file__).parents[1] / "data" / "published_networks" / "dino.json"
SMALL = {"embed_dim": 96, "depth": 2, "num_heads": 3}


@pytest.fixture(scope="module")
def recorded():
    return json.loads(DATA.read_text())


@pytest.fixture(scope="module")
def small(recorded):
    network = DINO(**SMALL)
    network.vit.load_state_dict(seeded_state(recorded["small_keys"]), strict=True)
    return network.eval()


@pytest.mark.parametrize("size", ["224x224", "224x398", "300x224"])
def test_class_tokens_are_the_originals(recorded, small, size):
    """Also where the grid is no square and its positions are interpolated."""
    height, width = map(int, size.split("x"))
    generator = torch.Generator().manual_seed(height + width)
    with torch.no_grad():
        found = small(torch.randn(2, 3, height, width, generator=generator))[:, ::8]
    expected = torch.tensor(recorded["features"][size])
    assert (found - expected).norm() / expected.norm() < 1e-5


def test_names_and_shapes_are_the_published_ones(recorded):
    with torch.device("meta"):
        state = DINO().vit.state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == recorded["published_keys"]


def test_frames_keep_their_shape():
    (clip,) = seeded_clips(1, 2, 90, 160, seed=1)
    found = prepare_whole(clip.frames)
    levels = torch.from_numpy(clip.frames.astype(np.float32)).permute(0, 3, 1, 2)
    small = F.interpolate(levels, size=(224, 398), mode="bilinear", align_corners=False) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    torch.testing.assert_close(found, (small - mean) / std, rtol=0, atol=1e-4)


def test_the_extractor_gives_a_row_a_frame(small, monkeypatch):
    monkeypatch.setattr(module, "resolve", lambda _: None)
    monkeypatch.setattr(module, "load_dino", lambda _: small)
    clips = seeded_clips(2, 18, 64, 96, seed=2)
    extractor = DINOExtractor()
    together = extractor.extract(clips, ["", ""])
    (alone,) = extractor.extract(clips[1:], [""])
    assert together[0]["pooled"].shape == (18, 96)
    assert np.array_equal(together[1]["pooled"], alone["pooled"])


def test_another_network_does_not_load(tmp_path, recorded):
    state = seeded_state(recorded["small_keys"])
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(RuntimeError, match="size mismatch for cls_token"):
        load_dino(tmp_path / "other.pth")
