"""ViCLIP at seeded weights: against what VBench's code made of them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from i2vbench.errors import MissingWeightsError
from i2vbench.fingerprint import canonical_json
from i2vbench.metric import Example
from i2vbench.metrics.features import viclip
from i2vbench.metrics.features.viclip import PREPARATION, ViCLIPExtractor, middle_frames
from i2vbench.metrics.features.viclip_network import load_viclip, network_of
from i2vbench.metrics.overall_consistency import OverallConsistency

from .seeded_weights import seeded_clips, seeded_state

DATA = Path(__file__).parents[1] / "data" / "viclip"
CLIPS = [*seeded_clips(1, 19, 240, 321, seed=1), *seeded_clips(1, 5, 200, 96, seed=2)]
PROMPTS = ["A cat, that &amp; its shadow  plays the piano", "a very long story of " * 9]


def viclip_state(shapes):
    """Seeded weights; norms and what is added to the tokens large enough to matter."""
    state = seeded_state({key: shape for key, shape in shapes.items() if key != "temp"})
    state["temp"] = torch.tensor(0.01)
    for key in state:
        if ".ln_" in key and key.endswith("weight"):
            state[key] += 1
        elif "embedding" in key:
            state[key] *= 3
    return state


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file with the keys of the published one, its widths and layers reduced."""
    path = tmp_path_factory.mktemp("weights") / "viclip.pth"
    shapes = json.loads((DATA / "small_keys.json").read_text())
    torch.save({"model": viclip_state(shapes)}, path)
    return path


@pytest.fixture(scope="module")
def extractor(published):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(viclip, "resolve", lambda _: published)
        return ViCLIPExtractor()


@pytest.fixture(scope="module")
def recorded():
    return load_file(DATA / "features.safetensors")


@pytest.mark.parametrize("index", [0, 1])
def test_embeddings_are_vbenchs(extractor, recorded, index):
    (found,) = extractor.extract([CLIPS[index]], [PROMPTS[index]])
    for array in ("video", "text"):
        expected = recorded[f"{index}.{array}"]
        assert found[array].dtype == np.float32
        assert np.linalg.norm(found[array] - expected) <= 1e-5
    other = recorded[f"{1 - index}.video"]
    assert np.linalg.norm(found["video"] - other) > 0.05


@pytest.mark.parametrize("index", [0, 1])
def test_frames_are_rounded_after_the_resize_as_vbench_does_it(recorded, index):
    looked_at = middle_frames(len(CLIPS[index].frames), 8)
    assert looked_at == recorded[f"{index}.frames"].tolist()
    found = PREPARATION(CLIPS[index].frames[looked_at])[:, :, ::37, ::41]
    assert np.allclose(found, recorded[f"{index}.prepared"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (1, [0] * 8),
        (5, [0, 1, 2, 3, 4, 4, 4, 4]),
        (8, [*range(8)]),
        (11, [0, 1, 2, 4, 5, 6, 8, 9]),
        (80, [4, 14, 24, 34, 44, 54, 64, 74]),
    ],
)
def test_frames_in_the_middle_of_eight_parts(num_frames, expected):
    assert middle_frames(num_frames, 8) == expected


def test_the_order_of_the_frames_matters(extractor):
    clip = CLIPS[0]
    (forwards, backwards) = extractor.extract(
        [clip, type(clip)(frames=clip.frames[::-1].copy(), fps=clip.fps)], ["", ""]
    )
    assert np.linalg.norm(forwards["video"] - backwards["video"]) > 1e-3


def test_a_prompt_beyond_32_tokens_is_named_once(published, monkeypatch, caplog):
    monkeypatch.setattr(viclip, "resolve", lambda _: published)
    extractor = ViCLIPExtractor()
    with caplog.at_level(logging.WARNING):
        extractor.extract(CLIPS[1:] * 2, [PROMPTS[1]] * 2)
    assert [record.getMessage()[:44] for record in caplog.records] == [
        "viclip reads 32 tokens, this prompt has 47 ("
    ]


def test_names_and_shapes_are_those_of_vbenchs_network():
    shapes = json.loads((DATA / "keys.json").read_text())
    assert shapes.pop("temp") == []
    found = {key: list(tensor.shape) for key, tensor in network_of(shapes).state_dict().items()}
    assert found == shapes


@pytest.mark.parametrize("lost", ["vision_encoder.proj", "text_encoder.ln_final.bias", "all"])
def test_another_networks_file_is_refused_in_one_line(tmp_path, published, lost):
    stored = torch.load(published, weights_only=True)
    if lost == "all":
        stored = {"state_dict": {}}
    else:
        del stored["model"][lost]
    torch.save(stored, tmp_path / "other.pth")
    with pytest.raises(MissingWeightsError, match=r"is no ViCLIP \(.*\); fetch it again") as caught:
        load_viclip(tmp_path / "other.pth")
    assert "\n" not in str(caught.value)


def test_loading_leaves_the_random_state_alone(published):
    before = torch.get_rng_state()
    load_viclip(published)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_fingerprint_names_what_changes_the_arrays(extractor, monkeypatch):
    monkeypatch.setattr(viclip, "sha256_of", lambda name: f"hash of {name}")
    assert extractor.spec()["weights_sha256"] == "hash of viclip"
    assert extractor.spec()["of"] == "8-bit tensors"
    canonical_json(extractor.spec())


def test_overall_consistency_is_the_cosine_of_clip_and_prompt(recorded):
    features = {"video": recorded["0.video"], "text": recorded["1.text"]}
    example = Example(
        sample_id="a", take=0, clip=CLIPS[0], prompt="x", features={"viclip": features}
    )
    expected = float(features["video"].astype(np.float64) @ features["text"])
    assert OverallConsistency().score_clip(example) == pytest.approx(expected, abs=1e-6)


def test_overall_consistency_without_a_prompt_is_refused():
    with pytest.raises(ValueError, match="a: overall_consistency needs a prompt"):
        OverallConsistency().score_clip(Example(sample_id="a", take=0, clip=CLIPS[0]))
