"""CLIP and the LAION head at random weights, against open_clip's network and VBench's transform."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip import tokenize
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.transform import image_transform
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from i2vbench.errors import MissingWeightsError
from i2vbench.files import file_sha256
from i2vbench.metric import Example
from i2vbench.metrics.clipsim import CLIPSIM
from i2vbench.metrics.features import clip_vit, torchscript
from i2vbench.metrics.features.clip_vit import (
    CLIPExtractor,
    LAIONAestheticExtractor,
    VBenchCLIPExtractor,
)
from i2vbench.metrics.frame_quality import AestheticQuality

from .seeded_weights import seeded_clips

CLIPS = [*seeded_clips(1, 3, 240, 321, seed=1), *seeded_clips(1, 2, 200, 96, seed=2)]
PROMPT = "A cat, that plays the piano"
PRECISIONS = ("fp32", "bf16")
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def small_clip() -> CLIP:
    """CLIP's layout with two layers, its weights rounded to half precision as the files' are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CLIP(
            32,
            CLIPVisionCfg(layers=2, width=64, patch_size=32, image_size=224),
            CLIPTextCfg(width=64, heads=1, layers=1),
            quick_gelu=True,
        )
    return network.half().float().eval().requires_grad_(False)


def archive_of(state, path):
    """A TorchScript file that holds ``state`` in half precision, as OpenAI published theirs."""
    root = nn.Module()
    for key, value in state.items():
        *folders, leaf = key.split(".")
        module = root
        for folder in folders:
            if folder not in module._modules:
                module.add_module(folder, nn.Module())
            module = module.get_submodule(folder)
        module.register_parameter(leaf, nn.Parameter(value.half(), requires_grad=False))
    for name, number in (("input_resolution", 224), ("context_length", 77), ("vocab_size", 49408)):
        root.register_buffer(name, torch.tensor(number))
    with warnings.catch_warnings():
        # PyTorch deprecates TorchScript, in words that change with its version.
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(root), path)


@pytest.fixture(scope="module")
def network():
    return small_clip()


@pytest.fixture(scope="module")
def head():
    return {"weight": torch.linspace(-3, 4, 32)[None], "bias": torch.tensor([5.0])}


@pytest.fixture(scope="module", autouse=True)
def published(tmp_path_factory, network, head):
    """Small files in the places of the published ones."""
    folder = tmp_path_factory.mktemp("weights")
    archive_of(network.state_dict(), folder / "clip.pt")
    torch.save(head, folder / "head.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchscript, "resolve", lambda _: folder / "clip.pt")
        patch.setattr(clip_vit, "resolve", lambda _: folder / "head.pth")
        patch.setenv("I2VBENCH_TRUST", file_sha256(folder / "clip.pt"))
        yield folder


def vbench_frames(clip):
    """Frames as VBench's load_video and clip_transform hand them to the network."""
    transform = transforms.Compose([
        transforms.Resize(224, interpolation=InterpolationMode.BICUBIC, antialias=False),
        transforms.CenterCrop(224),
        transforms.Lambda(lambda x: x.float().div(255.0)),
        transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    return transform(torch.Tensor(clip.frames).permute(0, 3, 1, 2))


@pytest.mark.parametrize("clip", CLIPS, ids=["wide", "tall"])
def test_embeddings_are_open_clips(network, clip):
    (found,) = CLIPExtractor().extract([clip], [PROMPT])
    transform = image_transform(224, is_train=False)
    batch = torch.stack([transform(Image.fromarray(frame)) for frame in clip.frames])
    assert np.allclose(found["frames"], network.encode_image(batch, normalize=True), atol=2e-6)
    text = network.encode_text(tokenize([PROMPT]), normalize=True)[0]
    assert np.allclose(found["text"], text, atol=2e-6)
    assert found["frames"].dtype == found["text"].dtype == np.float32


@pytest.mark.bf16
def test_in_bfloat16_frames_are_near_and_the_prompt_is_the_same():
    exact, found = (CLIPExtractor(dtype=d).extract(CLIPS[:1], [PROMPT])[0] for d in PRECISIONS)
    assert found["frames"].dtype == np.float32
    assert np.allclose(np.linalg.norm(found["frames"], axis=1), 1, atol=1e-6)
    cosines = (found["frames"] * exact["frames"]).sum(axis=1)
    assert np.all(cosines > 0.999)
    assert np.abs(found["frames"] - exact["frames"]).max() > 1e-5, "nothing was cast"
    assert np.array_equal(found["text"], exact["text"])


@pytest.mark.parametrize("clip", CLIPS, ids=["wide", "tall"])
def test_vbench_frames_are_floats_without_antialiasing(network, clip):
    (found,) = VBenchCLIPExtractor().extract([clip], [""])
    expected = network.encode_image(vbench_frames(clip), normalize=True)
    assert np.allclose(found["frames"], expected, atol=2e-6)
    (own,) = CLIPExtractor().extract([clip], [""])
    assert np.abs(own["frames"] - found["frames"]).max() > 1e-4
    assert "text" not in found


def test_aesthetic_quality_is_vbenchs(network, head):
    extractor = LAIONAestheticExtractor()
    (found,) = extractor.extract(CLIPS[:1], [""])
    embeddings = F.normalize(network.encode_image(vbench_frames(CLIPS[0])), dim=-1)
    marks = (embeddings @ head["weight"].T + head["bias"]).squeeze()
    assert np.allclose(found["aesthetic"], marks, rtol=1e-5)
    example = an_example(CLIPS[0], "laion-aesthetic", found)
    assert AestheticQuality().score_clip(example) == pytest.approx(float(marks.mean()) / 10)


def an_example(clip, extractor, features):
    return Example(sample_id="a", take=0, clip=clip, prompt=PROMPT, features={extractor: features})


def test_clipsim_reads_its_arrays():
    (found,) = CLIPExtractor().extract(CLIPS[:1], [PROMPT])
    expected = float(np.mean(found["frames"].astype(np.float64) @ found["text"]))
    example = an_example(CLIPS[0], "tiny-clip", found)
    assert CLIPSIM().score_clip(example) == pytest.approx(expected, abs=1e-6)


def test_a_long_clip_goes_in_batches_and_gives_the_same(monkeypatch):
    extractor = CLIPExtractor()
    (whole,) = extractor.extract(CLIPS[:1], [PROMPT])
    monkeypatch.setattr(clip_vit, "BATCH_FRAMES", 2)
    (parts,) = extractor.extract(CLIPS[:1], [PROMPT])
    assert np.allclose(parts["frames"], whole["frames"], atol=2e-6)


def test_a_prompt_that_is_cut_is_named_once(caplog):
    extractor = CLIPExtractor()
    with caplog.at_level(logging.WARNING):
        extractor.extract(CLIPS[1:], ["word " * 75])
        assert not caplog.records
        extractor.extract(CLIPS[1:], ["word " * 76])
        extractor.extract(CLIPS[1:], ["more " * 90])
    assert [record.getMessage()[:52] for record in caplog.records] == [
        "clip-vit-b32 reads 77 tokens, this prompt has 78 (an"
    ]


def test_loading_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    CLIPExtractor()
    assert torch.equal(torch.get_rng_state(), before)


def test_an_archive_of_another_network_is_named(tmp_path, monkeypatch, network):
    state = network.state_dict()
    del state["ln_final.weight"]
    archive_of(state, tmp_path / "other.pt")
    monkeypatch.setattr(torchscript, "resolve", lambda _: tmp_path / "other.pt")
    monkeypatch.setattr(clip_vit, "resolve", lambda _: tmp_path / "other.pt")
    monkeypatch.setenv("I2VBENCH_TRUST", file_sha256(tmp_path / "other.pt"))
    with pytest.raises(MissingWeightsError, match=r"other\.pt is no CLIP of OpenAI's"):
        CLIPExtractor()


def test_presets_have_fingerprints_of_their_own(monkeypatch):
    monkeypatch.setattr(clip_vit, "sha256_of", lambda name: name)
    specs = [kind().spec() for kind in (CLIPExtractor, VBenchCLIPExtractor)]
    assert specs[0] != specs[1]
    assert LAIONAestheticExtractor().spec()["head_sha256"] == "laion-aesthetic"
