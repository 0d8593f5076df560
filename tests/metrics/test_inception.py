"""Inception-2015 at seeded weights: against the peers' recorded features, and its TorchScript."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from i2vbench.clip import Clip
from i2vbench.errors import MissingWeightsError
from i2vbench.files import file_sha256
from i2vbench.metrics.features import inception, torchscript
from i2vbench.metrics.features.inception import (
    InceptionExtractor,
    TorchFidelityExtractor,
    TorchmetricsExtractor,
)
from i2vbench.metrics.features.inception_nvidia import CleanFIDExtractor, InceptionNVIDIAExtractor
from i2vbench.metrics.features.resize import as_float, squash_pillow
from i2vbench.metrics.frechet import frechet_distance
from i2vbench.registry import EXTRACTORS

from .seeded_weights import seeded_clips, seeded_state

DATA = Path(__file__).parents[1] / "data" / "published_networks"
EXTRACTOR_NAMES = ["inception", "inception-torch-fidelity", "inception-torchmetrics"]
CLIPS = [*seeded_clips(1, 2, 96, 128, seed=1), *seeded_clips(1, 2, 320, 400, seed=2)]


@pytest.fixture(scope="module")
def recorded():
    return load_file(DATA / "features.safetensors")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file with the keys and shapes of the published one."""
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(seeded_state(json.loads((DATA / "inception_keys.json").read_text())), path)
    return path


@pytest.fixture(scope="module")
def extractors(published):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "resolve", lambda _: published)
        return {
            kind.name: kind()
            for kind in (InceptionExtractor, TorchFidelityExtractor, TorchmetricsExtractor)
        }


def relative_error(found, expected):
    difference = found.astype(np.float64) - expected
    return np.linalg.norm(difference) / np.linalg.norm(expected.astype(np.float64))


@pytest.mark.parametrize("name", EXTRACTOR_NAMES)
@pytest.mark.parametrize("index", [0, 1])
def test_features_are_the_peers(extractors, recorded, name, index):
    (found,) = extractors[name].extract([CLIPS[index]], [""])
    keys = [key for key in recorded if key.startswith(f"{index}.{name}.")]
    assert keys
    for key in keys:
        array = found[key.rpartition(".")[2]]
        assert array.dtype == np.float32
        assert relative_error(array, recorded[key]) <= 1e-4, key


@pytest.mark.slow
def test_fid_of_64_clips_is_pytorch_fids(extractors):
    expected = json.loads((DATA / "distances.json").read_text())["pytorch-fid"]
    rows = [
        np.concatenate([clip.frames for clip in seeded_clips(64, 1, 64, 64, seed=s, contrast=c)])
        for s, c in ((3, 1.0), (4, 0.7))
    ]
    features = [
        each["pooled"]
        for each in extractors["inception"].extract(
            [Clip(frames=frames, fps=8) for frames in rows], ["", ""]
        )
    ]
    assert frechet_distance(*features) == pytest.approx(expected, rel=1e-3)


def test_clean_resize_is_pillows(recorded):
    for index, clip in enumerate(CLIPS):
        found = squash_pillow(as_float(clip.frames), 299)[:, :, ::13, ::17].numpy()
        assert np.abs(found - recorded[f"{index}.resize.clean"]).max() <= 2e-4


def test_a_clip_gives_the_same_bits_in_any_company(extractors):
    together = extractors["inception"].extract(CLIPS, ["", ""])
    alone = extractors["inception"].extract(CLIPS[1:], [""])
    for array, value in alone[0].items():
        assert np.array_equal(together[1][array], value)


def test_logits_are_with_and_without_the_bias(extractors):
    extractor = extractors["inception"]
    (found,) = extractor.extract(CLIPS[:1], [""])
    bias = extractor._network.fc.bias.numpy()
    assert np.allclose(found["logits_biased"] - found["logits"], bias, atol=1e-5)
    assert np.abs(bias).max() > 0.1


def test_another_network_does_not_load(tmp_path, published):
    state = torch.load(published, weights_only=True)
    del state["Mixed_6c.branch7x7dbl_4.conv.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(MissingWeightsError, match=r"Mixed_6c\.branch7x7dbl_4\.conv\.weight"):
        inception.load_inception(tmp_path / "cut.pth")


class StandIn(nn.Module):
    """The call signature and the two parts of NVIDIA's file, in small."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 8, 1))
        self.output = nn.Linear(8, 5)

    def forward(
        self,
        img: torch.Tensor,
        return_features: bool = False,
        use_fp16: bool = False,
        no_output_bias: bool = False,
    ) -> torch.Tensor:
        assert img.dtype == torch.uint8
        features = self.layers((img.float() - 128) / 128).flatten(1)
        if return_features:
            return features
        bias = None if no_output_bias else self.output.bias
        return nn.functional.linear(features, self.output.weight, bias).softmax(dim=1)


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    path = tmp_path / "inception-2015-12-05.pt"
    torch.manual_seed(0)
    script = torch.jit.script(StandIn().eval())
    torch.jit.save(script, path)
    monkeypatch.setattr(torchscript, "resolve", lambda _: path)
    monkeypatch.setenv("I2VBENCH_TRUST", file_sha256(path))
    return script


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nvidias_file_gets_uint8_frames_at_their_own_size(scripted, tmp_path):
    extractor = InceptionNVIDIAExtractor()
    (found,) = extractor.extract(CLIPS[:1], [""])
    frames = torch.from_numpy(CLIPS[0].frames).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = scripted(frames, return_features=True)
        probabilities = scripted(frames, no_output_bias=True)
    assert np.allclose(found["pooled"], expected, rtol=1e-5, atol=1e-6)
    softmax = torch.from_numpy(found["logits"]).softmax(dim=1)
    assert torch.allclose(softmax, probabilities, rtol=1e-5)
    biased = torch.from_numpy(found["logits_biased"]).softmax(dim=1)
    assert not torch.allclose(biased, probabilities, rtol=1e-3)
    assert extractor.spec()["weights_sha256"] == file_sha256(tmp_path / "inception-2015-12-05.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_clean_fid_gives_its_layers_resized_frames(scripted):
    (found,) = CleanFIDExtractor().extract(CLIPS[:1], [""])
    with torch.inference_mode():
        resized = squash_pillow(as_float(CLIPS[0].frames), 299)
        expected = scripted.layers((resized - 128) / 128).flatten(1)
    assert np.allclose(found["pooled"], expected, rtol=1e-5, atol=1e-6)


def test_what_is_no_torchscript_is_named(tmp_path, monkeypatch):
    path = tmp_path / "inception-2015-12-05.pt"
    path.write_bytes(b"<html>not found</html>")
    monkeypatch.setattr(torchscript, "resolve", lambda _: path)
    with pytest.raises(MissingWeightsError, match="is no TorchScript"):
        InceptionNVIDIAExtractor()


PUBLISHED = [
    entry.name
    for entry in EXTRACTORS.entries()
    if ".features.inception" in entry.target or ".i3d_published:" in entry.target
    or ".c3d:" in entry.target or ".clip_vit:" in entry.target or ".dino:" in entry.target
]  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_weights_say_what_to_do(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("I2VBENCH_OFFLINE", "1")
    monkeypatch.delenv("I2VBENCH_WEIGHTS", raising=False)
    with pytest.raises(MissingWeightsError, match="--weights-dir"):
        EXTRACTORS.load(name)()
