"""DINO at seeded weights: against the original's recorded features, timm, VBench's transforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from i2vbench.errors import MissingWeightsError
from i2vbench.metrics.features import dino
from i2vbench.metrics.features.dino import DINOExtractor, I2VSubjectDINOExtractor, load_dino

from .seeded_weights import seeded_clips, seeded_state

DATA = Path(__file__).parents[1] / "data" / "published_networks"
CLIPS = [*seeded_clips(1, 2, 240, 400, seed=3), *seeded_clips(1, 2, 200, 96, seed=4)]
NORMALIZE = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def small_vit():
    """The layout of DINO ViT-B/16 with two blocks of one head."""
    vit = VisionTransformer(num_classes=0, embed_dim=64, depth=2, num_heads=1)
    vit.load_state_dict(seeded_state({k: v.shape for k, v in vit.state_dict().items()}))
    return vit.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def published(tmp_path_factory, small_vit):
    path = tmp_path_factory.mktemp("weights") / "dino.pth"
    torch.save(small_vit.state_dict(), path)
    return path


@pytest.fixture
def network(published, monkeypatch):
    monkeypatch.setattr(dino, "resolve", lambda _: published)
    return load_dino(published)


@pytest.mark.parametrize("size", [(224, 224), (224, 398), (320, 224)])
def test_features_are_the_originals(network, size):
    """Also where the positions are stretched and where a row of pixels is left over."""
    random = np.random.RandomState(7)
    sizes = [(224, 224), (224, 398), (320, 224)]
    frames = {hw: random.standard_normal((2, 3, *hw)).astype(np.float32) for hw in sizes}
    expected = load_file(DATA / "dino.safetensors")[f"dino.{size[0]}x{size[1]}"]
    found = network(torch.from_numpy(frames[size]))
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_on_a_square_it_is_timms_forward(network, small_vit):
    frames = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(network(frames), small_vit(frames), atol=1e-6)


def vbench(clip, *resizing):
    transform = transforms.Compose(
        [*resizing, transforms.Lambda(lambda x: x.float().div(255.0)), NORMALIZE]
    )
    return transform(torch.Tensor(clip.frames).permute(0, 3, 1, 2))


@pytest.mark.parametrize("clip", CLIPS, ids=["wide", "tall"])
def test_subject_consistency_sees_whole_frames(network, clip):
    (found,) = DINOExtractor().extract([clip], [""])
    frames = vbench(clip, transforms.Resize(224, antialias=False))
    assert np.allclose(found["pooled"], network(frames), rtol=0, atol=1e-6)
    assert found["pooled"].dtype == np.float32


@pytest.mark.parametrize("clip", CLIPS, ids=["wide", "tall"])
def test_i2v_subject_sees_crops_and_resizes_the_picture_by_pillow(network, clip):
    extractor = I2VSubjectDINOExtractor()
    resizing = (
        transforms.Resize(256, interpolation=InterpolationMode.BICUBIC),
        transforms.CenterCrop(224),
    )
    (found,) = extractor.extract([clip], [""])
    assert np.allclose(found["pooled"], network(vbench(clip, *resizing)), rtol=0, atol=1e-6)
    picture = transforms.Compose([*resizing, transforms.ToTensor(), NORMALIZE])(
        Image.fromarray(clip.frames[0])
    )
    of_picture = extractor.extract_picture(clip.frames[0])["pooled"]
    assert np.allclose(of_picture, network(picture[None]), rtol=0, atol=1e-6)
    assert np.abs(of_picture[0] - found["pooled"][0]).max() > 1e-6


def test_presets_have_fingerprints_of_their_own(network, monkeypatch):
    monkeypatch.setattr(dino, "sha256_of", lambda name: name)
    assert DINOExtractor().spec() != I2VSubjectDINOExtractor().spec()


def test_another_network_does_not_load(tmp_path, published):
    state = torch.load(published, weights_only=True)
    del state["blocks.1.attn.proj.bias"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(MissingWeightsError, match=r"blocks\.1\.attn\.proj\.bias"):
        load_dino(tmp_path / "cut.pth")


@pytest.mark.bf16
def test_in_bfloat16_features_are_near(network):
    exact, found = (
        DINOExtractor(dtype=dtype).extract(CLIPS[:1], [""])[0]["pooled"]
        for dtype in ("fp32", "bf16")
    )
    assert found.dtype == np.float32
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.05
