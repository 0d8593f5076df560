"""The CLIP extractor, on a random network of the same layout and on the embedded one."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from safetensors.torch import load_file, save_file

from i2vbench.clip import Clip
from i2vbench.errors import MissingWeightsError
from i2vbench.fingerprint import canonical_json
from i2vbench.metrics.features.tiny_clip import TinyCLIPExtractor

CONTEXT = 12
MODEL = {
    "embed_dim": 24,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": CONTEXT, "vocab_size": 0, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESSING = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.5, 0.25, 0.2],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A CLIP with random weights in half precision, and a tokenizer of letters."""
    path: Path = tmp_path_factory.mktemp("clip")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "re", "red</w>"]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    (path / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    config = json.loads(json.dumps(MODEL))
    config["text_cfg"] |= {"vocab_size": len(tokens), "eos_id": len(tokens) - 1}
    text = json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESSING})
    (path / "open_clip_config.json").write_text(text)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = CLIP(**config)
    state = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, path / "model.safetensors")
    return path


@pytest.fixture(scope="module")
def extractor(folder) -> TinyCLIPExtractor:
    return TinyCLIPExtractor(folder=folder)


def a_clip(num_frames: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> Clip:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
    return Clip(frames=frames, fps=8)


def test_arrays_are_unit_vectors(extractor):
    (features,) = extractor.extract([a_clip()], ["a red fox"])
    assert features["frames"].shape == (3, 24)
    assert features["text"].shape == (24,)
    assert features["frames"].dtype == features["text"].dtype == np.float32
    assert np.linalg.norm(features["frames"], axis=1) == pytest.approx(1.0, abs=1e-6)
    assert np.linalg.norm(features["text"]) == pytest.approx(1.0, abs=1e-6)


def test_frames_of_the_networks_size_are_only_scaled(extractor, folder):
    clip = a_clip()
    network = CLIP(**json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]).eval()
    state = load_file(folder / "model.safetensors")
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    scaled = (clip.frames / 255 - np.array(PREPROCESSING["mean"])) / np.array(PREPROCESSING["std"])
    with torch.inference_mode():
        expected = network.visual(torch.from_numpy(scaled).float().permute(0, 3, 1, 2)).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert extractor.encode_frames(clip.frames) == pytest.approx(expected, abs=1e-5)


def test_a_clip_has_the_same_bits_alone_and_among_others(extractor):
    clips, prompts = [a_clip(seed=1), a_clip(5, seed=2)], ["a", "red"]
    together = extractor.extract(clips, prompts)
    for clip, prompt, features in zip(clips, prompts, together, strict=True):
        (alone,) = extractor.extract([clip], [prompt])
        assert all(np.array_equal(alone[name], features[name]) for name in alone)


def test_long_clips_go_in_chunks(extractor, monkeypatch):
    frames = a_clip(5).frames
    whole = extractor.encode_frames(frames)
    monkeypatch.setattr("i2vbench.metrics.features.tiny_clip.FRAMES_AT_ONCE", 2)
    assert extractor.encode_frames(frames) == pytest.approx(whole, abs=1e-6)


def test_what_lies_beyond_the_central_square_is_not_seen(extractor):
    frames = a_clip(1, 32, 48).frames
    other = frames.copy()
    other[:, :, :8] = 0
    other[:, :, -8:] = 255
    assert np.array_equal(extractor.encode_frames(frames), extractor.encode_frames(other))
    other[:, :, 8:12] = 0
    assert not np.allclose(extractor.encode_frames(frames), extractor.encode_frames(other))


def test_larger_frames_are_smoothed_before_they_shrink(extractor):
    stripes = np.zeros((1, 128, 128, 3), np.uint8)
    stripes[:, :, ::2] = 255
    grey = np.full((1, 128, 128, 3), 127, np.uint8)
    similarity = extractor.encode_frames(stripes)[0] @ extractor.encode_frames(grey)[0]
    assert similarity > 0.99


def test_the_prompts_end_decides_and_not_what_pads_it(extractor):
    network, tokenizer = extractor._network, extractor._tokenizer
    tokens = tokenizer("a red fox")["input_ids"]
    end = tokenizer.eos_token_id
    assert tokens[-1] == end == max(tokens)
    padded = torch.tensor([tokens + [end] * (CONTEXT - len(tokens))])
    with torch.inference_mode():
        hidden = network.token_embedding(padded) + network.positional_embedding
        hidden = network.ln_final(network.transformer(hidden, attn_mask=network.attn_mask))
        expected = (hidden[0, len(tokens) - 1] @ network.text_projection).numpy()
    expected /= np.linalg.norm(expected)
    assert extractor.encode_text("a red fox") == pytest.approx(expected, abs=1e-5)


def test_case_does_not_matter_and_words_do(extractor):
    assert np.array_equal(extractor.encode_text("A RED fox"), extractor.encode_text("a red fox"))
    assert not np.allclose(
        extractor.encode_text("a red"), extractor.encode_text("red a"), atol=1e-3
    )
    assert np.isfinite(extractor.encode_text("")).all()


def test_a_long_prompt_is_cut_and_named_once(folder, caplog):
    extractor = TinyCLIPExtractor(folder=folder)
    # Start and end take two of the twelve tokens; "red" is one.
    fits, longer = " ".join(["red"] * 10), " ".join(["red"] * 10 + ["fox", "a"])
    with caplog.at_level(logging.WARNING):
        exact = extractor.encode_text(fits)
        assert not caplog.records
        assert np.array_equal(extractor.encode_text(longer), exact)
        extractor.encode_text(longer + " red")
    (record,) = caplog.records
    assert f"reads {CONTEXT} tokens" in record.getMessage()
    assert longer in record.getMessage()


def test_loading_moves_no_random_state(folder):
    state = torch.random.get_rng_state()
    TinyCLIPExtractor(folder=folder)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_specification_changes_with_every_file_that_matters(extractor, folder, tmp_path):
    spec = canonical_json(extractor.spec())
    assert canonical_json(TinyCLIPExtractor(folder=folder).spec()) == spec
    for name in ("merges.txt", "model.safetensors", "open_clip_config.json"):
        copy = shutil.copytree(folder, tmp_path / name)
        if name == "merges.txt":
            (copy / name).write_text("#version: 0.2\nr e\n")
        elif name == "model.safetensors":
            state = load_file(copy / name)
            state["visual.proj"] *= 1.5
            save_file(state, copy / name)
        else:
            (copy / name).write_text((copy / name).read_text().replace("0.4", "0.45"))
        assert canonical_json(TinyCLIPExtractor(folder=copy).spec()) != spec


@pytest.mark.parametrize("change", ["drop", "add"])
def test_a_file_that_does_not_fit_the_network_is_refused(folder, tmp_path, change):
    copy = shutil.copytree(folder, tmp_path / "copy")
    state = load_file(copy / "model.safetensors")
    if change == "drop":
        del state["ln_final.bias"]
    else:
        state["ln_second.bias"] = torch.zeros(3)
    save_file(state, copy / "model.safetensors")
    with pytest.raises(MissingWeightsError, match=r"ln_(final|second)\.bias"):
        TinyCLIPExtractor(folder=copy)


def test_it_says_that_prompts_matter(extractor):
    assert TinyCLIPExtractor.uses_prompt
    assert extractor.label == "tiny-clip"
    with pytest.raises(ValueError, match="zip"):
        extractor.extract([a_clip()], [])
