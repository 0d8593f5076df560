"""AMT-S at seeded weights: against what its authors' code made of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from i2vbench.clip import Clip
from i2vbench.errors import MissingWeightsError
from i2vbench.files import file_sha256
from i2vbench.fingerprint import canonical_json
from i2vbench.metrics.features import amt
from i2vbench.metrics.features.amt import AMTExtractor
from i2vbench.metrics.features.amt_network import AMTS
from i2vbench.metrics.motion import smoothness_from_errors
from i2vbench.registry import EXTRACTORS

from .seeded_weights import seeded_clips, seeded_state

DATA = Path(__file__).parents[1] / "data" / "amt"
CLIPS = [*seeded_clips(1, 5, 128, 160, seed=1), *seeded_clips(1, 3, 150, 133, seed=2)]


def amt_state(shapes):
    """Seeded weights, their last layers scaled down: real flows stay in the frame, and what is
    added to the warped frames is little."""
    state = seeded_state(shapes)
    for key in state:
        if "convblock.2" in key:
            state[key] *= 0.02 if key.startswith("decoder1") else 0.1
        elif key.startswith("comb_block.2") or "flow_head.2" in key:
            state[key] *= 0.1
    return state


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file with the keys and shapes of the published one."""
    path = tmp_path_factory.mktemp("weights") / "amt-s.pth"
    state = amt_state(json.loads((DATA / "keys.json").read_text()))
    # Its trainer stored the learning rate as numpy computes it.
    torch.save({"state_dict": state, "epoch": 300, "lr": np.float64(2e-4)}, path)
    return path


@pytest.fixture(scope="module")
def extractor(published):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(amt.weights, "resolve", {"amt-s": published}.__getitem__)
        return AMTExtractor()


def padded_pair(clip):
    frames = [torch.tensor(clip.frames[i]).permute(2, 0, 1)[None] / 255.0 for i in (0, 2)]
    down, across = -frames[0].shape[2] % 16, -frames[0].shape[3] % 16
    rim = (across // 2, across - across // 2, down // 2, down - down // 2)
    return [torch.nn.functional.pad(frame, rim, mode="replicate") for frame in frames], rim


@pytest.mark.parametrize("index", [0, 1])
def test_the_frame_between_is_the_authors(extractor, index):
    expected = load_file(DATA / "frames.safetensors")[str(index)]
    pair, rim = padded_pair(CLIPS[index])
    with torch.inference_mode():
        made = extractor._network(*pair)[0].numpy()
    height, width = CLIPS[index].frames.shape[1:3]
    found = made[:, rim[2] : rim[2] + height, rim[0] : rim[0] + width][:, ::7, ::11]
    assert expected.std() > 0.05  # neither black nor white
    assert ((expected > 0) & (expected < 1)).mean() > 0.5
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) <= 1e-4


@pytest.mark.parametrize("index", [0, 1])
def test_between_is_cut_to_whole_levels(extractor, index):
    frames = CLIPS[index].frames
    expected = load_file(DATA / "frames.safetensors")[str(index)] * 255.0
    made = extractor.between(frames[0], frames[2])
    assert made.shape == frames.shape[1:]
    assert made.dtype == np.uint8
    above = expected - made[::7, ::11].transpose(2, 0, 1)
    assert above.min() > -0.05  # rounding would reach -0.5
    assert above.max() < 1.05


def test_errors_are_those_of_the_odd_frames(extractor):
    (features,) = extractor.extract([CLIPS[0]], [""])
    frames = CLIPS[0].frames.astype(float)
    expected = [
        np.abs(extractor.between(*CLIPS[0].frames[[i - 1, i + 1]]) - frames[i]).mean()
        for i in (1, 3)
    ]
    assert features["interpolation_error"].dtype == np.float64
    assert features["interpolation_error"] == pytest.approx(expected, abs=1e-12)
    assert 0.0 < smoothness_from_errors(features["interpolation_error"]) < 1.0


def test_a_pair_gives_the_same_in_a_batch(extractor):
    pair, _ = padded_pair(CLIPS[0])
    twice = [torch.cat([frame, frame.flip(3) / 2]) for frame in pair]
    with torch.inference_mode():
        together = extractor._network(*twice)
        alone = extractor._network(*(frame[1:] for frame in twice))
    assert together[1] == pytest.approx(alone[0], abs=5e-4)


@pytest.mark.parametrize("num_frames", [1, 2])
def test_too_short_a_clip_gives_an_empty_array(extractor, num_frames):
    clip = Clip(frames=CLIPS[0].frames[:num_frames], fps=8)
    (features,) = extractor.extract([clip], [""])
    assert features["interpolation_error"].shape == (0,)


def test_frames_that_the_network_cannot_look_up_are_refused(extractor):
    clip = seeded_clips(1, 3, 112, 200, seed=0)[0]
    with pytest.raises(ValueError, match="at least 113 px a side, got 200x112"):
        extractor.extract([clip], [""])
    smallest = seeded_clips(1, 3, 113, 113, seed=0)[0]
    assert np.isfinite(extractor.extract([smallest], [""])[0]["interpolation_error"]).all()


def test_names_and_shapes_are_those_of_the_authors_network():
    with torch.device("meta"):
        found = {key: list(tensor.shape) for key, tensor in AMTS().state_dict().items()}
    assert found == json.loads((DATA / "keys.json").read_text())


def test_another_networks_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "amt-s.pth"
    for stored in ({"weight": torch.ones(1)}, {"state_dict": {"weight": torch.ones(1)}}):
        torch.save(stored, path)
        with pytest.raises(
            MissingWeightsError, match=r"is no AMT-S \(.*\); fetch it again"
        ) as info:
            amt.load_amt(path)
        assert "\n" not in str(info.value)


def test_loading_does_not_move_the_callers_random_state(published):
    state = torch.random.get_rng_state()
    amt.load_amt(published)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_register_knows_it(extractor, published):
    assert EXTRACTORS.load("amt-s") is AMTExtractor
    assert extractor.label == "amt-s"
    assert extractor.spec()["weights_sha256"] == file_sha256(published)
    canonical_json(extractor.spec())
