"""CLIP in OpenAI's file format at small random weights, and what each preset does to a frame."""

import logging

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.model import CLIP
from PIL import Image

from i2vbench.metric import Example
from i2vbench.metrics.features import clip as module
from i2vbench.metrics.features.clip import (
    AestheticExtractor,
    CLIPExtractor,
    VBenchCLIPExtractor,
    prepare_by_vbench,
)
from i2vbench.registry import METRICS

from .seeded_weights import seeded_clips

(CLIP_OF_THREE,) = seeded_clips(1, 3, 96, 128, seed=5)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A state dict as OpenAI's, with one layer a tower."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = CLIP(
            32,
            {"layers": 1, "width": 64, "patch_size": 32, "image_size": 224},
            {"layers": 1, "width": 64, "heads": 1},
            quick_gelu=True,
        )
    state = {k: v for k, v in network.state_dict().items() if k != "attn_mask"}
    path = tmp_path_factory.mktemp("clip") / "small.pt"
    torch.save(state, path)
    torch.save(
        {"weight": torch.arange(32.0)[None], "bias": torch.tensor([5.0])},
        path.with_name("head.pth"),
    )
    return path


@pytest.fixture
def weights(file, monkeypatch):
    places = {"laion-aesthetic": file.with_name("head.pth")}
    monkeypatch.setattr(module, "resolve", lambda name: places.get(name, file))
    monkeypatch.setattr(module, "sha256_of", lambda name: f"hash of {name}")


@pytest.fixture
def reference(file):
    """open_clip's own way: its loader, its transform, its tokenizer."""
    network = open_clip.load_openai_model(str(file), precision="fp32", device="cpu")
    transform = open_clip.image_transform(224, is_train=False)

    def embed(clip, prompt):
        with torch.no_grad():
            pictures = torch.stack([transform(Image.fromarray(f)) for f in clip.frames])
            tokens = open_clip.tokenize([prompt])
            return (
                network.encode_image(pictures, normalize=True).numpy(),
                network.encode_text(tokens, normalize=True)[0].numpy(),
            )

    return embed


@pytest.mark.usefixtures("weights")
def test_embeddings_are_open_clips(reference):
    (found,) = CLIPExtractor().extract([CLIP_OF_THREE], ["a red circle moves left"])
    frames, text = reference(CLIP_OF_THREE, "a red circle moves left")
    np.testing.assert_allclose(found["frames"], frames, atol=1e-5)
    np.testing.assert_allclose(found["text"], text, atol=1e-6)
    assert found["frames"].dtype == found["text"].dtype == np.float32


@pytest.mark.usefixtures("weights")
def test_a_long_prompt_is_cut_with_a_word(reference, caplog):
    prompt = "a very long story " * 40
    extractor = CLIPExtractor()
    with caplog.at_level(logging.WARNING):
        (found, _) = extractor.extract([CLIP_OF_THREE] * 2, [prompt] * 2)
    assert [r.message[:36] for r in caplog.records] == ["clip-vit-b32 reads 77 tokens; cut: '"]
    np.testing.assert_allclose(found["text"], reference(CLIP_OF_THREE, prompt)[1], atol=1e-6)


def test_vbench_neither_smooths_nor_clips():
    """Bicubic on floats, by torch's own interpolation: 224 x 298, then the middle."""
    levels = torch.from_numpy(CLIP_OF_THREE.frames.astype(np.float32)).permute(0, 3, 1, 2)
    whole = F.interpolate(levels, size=(224, 298), mode="bicubic", align_corners=False)
    expected = whole[..., 37 : 37 + 224] / 255.0
    found = prepare_by_vbench(CLIP_OF_THREE.frames, 224)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert found.min() < 0
    assert found.max() > 1


@pytest.mark.usefixtures("weights")
def test_presets_are_different_numbers():
    pillow, vbench = CLIPExtractor(), VBenchCLIPExtractor()
    assert pillow.spec() != vbench.spec()
    (one,), (other,) = (each.extract([CLIP_OF_THREE], ["x"]) for each in (pillow, vbench))
    assert np.abs(one["frames"] - other["frames"]).max() > 1e-4
    np.testing.assert_array_equal(one["text"], other["text"])


@pytest.mark.usefixtures("weights")
def test_aesthetic_score_is_linear_in_the_embedding():
    (found,) = AestheticExtractor().extract([CLIP_OF_THREE], [""])
    (plain,) = VBenchCLIPExtractor().extract([CLIP_OF_THREE], [""])
    expected = (plain["frames"] @ np.arange(32.0) + 5.0) / 10.0
    np.testing.assert_allclose(found["aesthetic"], expected, atol=1e-5)
    example = Example(sample_id="a", take=0, clip=CLIP_OF_THREE, features={"clip-vit-l14": found})
    metric = METRICS.load("aesthetic_quality")()
    assert metric.score_clip(example) == pytest.approx(expected.mean(), abs=1e-5)
