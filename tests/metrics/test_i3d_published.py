"""I3D and C3D as papers took them: the peers' recorded logits, and the calls of TorchScript."""

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
from i2vbench.metrics.features import c3d, i3d, i3d_published, torchscript
from i2vbench.metrics.features.c3d import C3DExtractor
from i2vbench.metrics.features.i3d_published import (
    CdFVDExtractor,
    StyleGANVCroppedExtractor,
    StyleGANVExtractor,
    TATSExtractor,
    VideoGPTExtractor,
    preprocess_cropped,
)
from i2vbench.metrics.inception_score import class_sums

from .seeded_weights import seeded_clips, seeded_state

DATA = Path(__file__).parents[1] / "data" / "published_networks"
CLIPS = [*seeded_clips(1, 9, 96, 128, seed=5), *seeded_clips(1, 16, 320, 280, seed=6)]


@pytest.fixture(scope="module")
def recorded():
    return load_file(DATA / "features.safetensors")


@pytest.fixture(scope="module")
def extractors(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "i3d_pretrained_400.pt"
    torch.save(seeded_state(json.loads((DATA / "i3d_keys.json").read_text())), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(i3d, "resolve", lambda _: path)
        return {kind.name: kind() for kind in (TATSExtractor, CdFVDExtractor, VideoGPTExtractor)}


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("name", ["i3d-tats", "i3d-cd-fvd"])
@pytest.mark.parametrize("index", [0, 1])
def test_logits_are_the_peers(extractors, recorded, name, index):
    (found,) = extractors[name].extract([CLIPS[index]], [""])
    expected = recorded[f"{index}.{name}.logits"][0]
    assert found["logits"].shape == (400,)
    assert relative_error(found["logits"], expected) <= 1e-4


def test_at_256_the_loader_of_cd_fvd_changes_nothing():
    frames = seeded_clips(1, 2, 256, 256, seed=9)[0].frames
    assert torch.equal(i3d_published.preprocess_cd_fvd(frames), i3d.preprocess(frames))


def test_videogpt_cuts_what_tats_squashes(extractors):
    frames = np.zeros((1, 224, 400, 3), np.uint8)
    frames[:, :, 88:312] = 255
    assert preprocess_cropped(frames).shape == (1, 3, 1, 224, 224)
    assert torch.allclose(preprocess_cropped(frames), torch.tensor(1.0))
    assert i3d.preprocess(frames).min() == -1
    specs = [extractor.spec()["resize"] for extractor in extractors.values()]
    assert len(set(specs)) == 3


class I3DStandIn(nn.Module):
    """The call signature of StyleGAN-V's file; its numbers tell what it was given."""

    def forward(
        self,
        x: torch.Tensor,
        rescale: bool = False,
        resize: bool = False,
        return_features: bool = False,
    ) -> torch.Tensor:
        assert return_features
        assert rescale == (x.dtype == torch.uint8)
        assert resize == rescale
        means = x.float().mean(dim=(2, 3, 4))
        return torch.cat([means, torch.tensor([[float(x.shape[3]), float(x.shape[4])]])], dim=1)


class C3DStandIn(nn.Module):
    """The call signature of the file of C3D: uint8 in, probabilities out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.dtype == torch.uint8
        scores = torch.zeros(1, 101)
        scores[:, :3] = x.float().mean(dim=(2, 3, 4))
        scores[:, 3] = 1000.0 if bool((x == 0).all()) else 0.0
        return scores.softmax(dim=1)


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    def put(module):
        path = tmp_path / "network.pt"
        torch.jit.save(torch.jit.script(module), path)
        monkeypatch.setattr(torchscript, "resolve", lambda _: path)
        monkeypatch.setenv("I2VBENCH_TRUST", file_sha256(path))

    return put


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_stylegan_vs_file_gets_uint8_and_resizes_itself(scripted):
    scripted(I3DStandIn())
    (found,) = StyleGANVExtractor().extract(CLIPS[:1], [""])
    means = CLIPS[0].frames.astype(np.float64).mean(axis=(0, 1, 2))
    assert found["logits"] == pytest.approx([*means, 96, 128], rel=1e-5)
    (cropped,) = StyleGANVCroppedExtractor().extract(CLIPS[:1], [""])
    expected = preprocess_cropped(CLIPS[0].frames).mean(dim=(0, 2, 3, 4))
    assert cropped["logits"] == pytest.approx([*expected.tolist(), 224, 224], rel=1e-4)
    with pytest.raises(ValueError, match="at least 9 frames, this one has 8"):
        StyleGANVExtractor().extract(seeded_clips(1, 8, 16, 16, seed=0), [""])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_c3d_gives_what_the_inception_score_reads(scripted):
    scripted(C3DStandIn())
    black = Clip(frames=np.zeros((16, 16, 16, 3), np.uint8), fps=8)
    clips = [*seeded_clips(1, 16, 32, 32, seed=3), black]
    colourful, certain = C3DExtractor().extract(clips, ["", ""])
    means = clips[0].frames.astype(np.float64).mean(axis=(0, 1, 2))
    assert np.argmax(colourful["probabilities"]) == np.argmax(means)
    for found in (colourful, certain):
        assert found["probabilities"].shape == found["logits"].shape == (1, 101)
        probabilities = class_sums(found["logits"]).probabilities
        assert probabilities == pytest.approx(found["probabilities"][0], rel=1e-5, abs=1e-30)
    assert certain["probabilities"][0, 0] == 0
    with pytest.raises(ValueError, match=f"clips of {c3d.NUM_FRAMES} frames, this one has 9"):
        C3DExtractor().extract(CLIPS[:1], [""])


class Writes(torch.nn.Module):
    """A program that does more than compute."""

    def __init__(self, path):
        super().__init__()
        self.path: str = path

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path = state[0]
        # The result is kept, so that the compiler does not take the write for dead code.
        written = torch.from_file(self.path, True, 4).fill_(65.0)
        self.training = state[1] and bool(written.sum() > 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_of_unknown_hash_is_not_even_opened(tmp_path, monkeypatch):
    torch.jit.save(torch.jit.script(Writes(str(tmp_path / "written"))), tmp_path / "c3d_ucf101.pt")
    monkeypatch.setenv("I2VBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("I2VBENCH_TRUST", raising=False)
    with pytest.raises(MissingWeightsError, match="is a program") as caught:
        C3DExtractor()
    assert not (tmp_path / "written").exists()
    # Believed, it is run: only the hash stood between.
    monkeypatch.setenv("I2VBENCH_TRUST", file_sha256(tmp_path / "c3d_ucf101.pt"))
    assert f"set I2VBENCH_TRUST={file_sha256(tmp_path / 'c3d_ucf101.pt')}" in str(caught.value)
    extractor = C3DExtractor()
    assert (tmp_path / "written").exists()
    assert extractor.spec()["weights_sha256"] == file_sha256(tmp_path / "c3d_ucf101.pt")
