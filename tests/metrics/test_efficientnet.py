"""EfficientNet-Lite0: the mapped weights, the folding and the extractor."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from i2vbench import weights
from i2vbench.clip import Clip
from i2vbench.metrics.features.efficientnet import (
    BATCH_FRAMES,
    EfficientNetExtractor,
    by_order,
    preprocess,
)

PHOTOS = files("i2vbench.suites.playground") / "photos"


@pytest.fixture(scope="module")
def extractor():
    return EfficientNetExtractor()


def clip(num_frames, height=40, width=56, seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
    return Clip(frames=frames, fps=8)


def features(extractor, *clips):
    return extractor.extract(clips, [""] * len(clips))


# ImageNet class numbers; measured 0.88, 0.96 and, over the three kinds of cat, 0.89.
@pytest.mark.parametrize(
    ("photo", "classes", "at_least"),
    [
        ("coffee.jpg", [967], 0.8),  # espresso
        ("photographer.jpg", [872], 0.9),  # tripod
        ("cat.jpg", [281, 282, 285], 0.8),  # tabby, tiger cat, Egyptian cat
    ],
)
def test_names_what_is_on_photographs(extractor, photo, classes, at_least):
    with (PHOTOS / photo).open("rb") as file:
        picture = np.asarray(Image.open(file).convert("RGB"))
    (found,) = features(extractor, Clip(frames=picture[None], fps=8))
    logits = found["logits"][0].astype(np.float64)
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    assert probabilities[classes].sum() > at_least


def test_folded_network_is_the_plain_one(extractor):
    state = torch.load(weights.resolve("efficientnet-lite0"), weights_only=True)
    plain = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    plain.load_state_dict(by_order(state, plain.state_dict()))
    plain.eval()
    frames = clip(3)
    with torch.inference_mode():
        maps = plain.forward_features(preprocess(frames.frames))
        expected = {"pooled": maps.mean(dim=(2, 3)), "logits": plain(preprocess(frames.frames))}
    (found,) = features(extractor, frames)
    for name, value in expected.items():
        difference = np.linalg.norm(found[name] - value.numpy())
        assert difference <= 1e-5 * np.linalg.norm(value.numpy()), name


def test_arrays_have_a_row_per_frame(extractor):
    found = features(extractor, clip(2), clip(BATCH_FRAMES + 1, 9, 300))
    assert [each["pooled"].shape for each in found] == [(2, 1280), (BATCH_FRAMES + 1, 1280)]
    assert [each["logits"].shape for each in found] == [(2, 1000), (BATCH_FRAMES + 1, 1000)]
    assert {array.dtype for each in found for array in each.values()} == {np.dtype(np.float32)}
    assert all(np.isfinite(array).all() for each in found for array in each.values())


def test_a_clip_gives_the_same_bits_in_any_company(extractor):
    first, second = clip(3, seed=1), clip(5, seed=2)
    together = features(extractor, first, second)
    alone = features(extractor, second)
    for name in ("pooled", "logits"):
        assert np.array_equal(together[1][name], alone[0][name])


def test_a_batch_does_not_mix_frames(extractor):
    whole = clip(4)
    (together,) = features(extractor, whole)
    (last,) = features(extractor, Clip(frames=whole.frames[3:], fps=8))
    assert np.allclose(together["pooled"][3], last["pooled"][0], atol=1e-4)
    assert not np.allclose(together["pooled"][2], last["pooled"][0], atol=1e-2)


def test_preprocessing():
    flat = np.empty((3, 30, 50, 3), np.uint8)
    flat[0], flat[1], flat[2] = 0, 255, 51
    values = preprocess(flat)
    assert values.shape == (3, 3, 224, 224)
    for t, expected in enumerate((-1.0, 1.0, -0.6)):
        assert torch.allclose(values[t], torch.tensor(expected), atol=1e-6)
    # Antialiased: a fine chequerboard becomes its mean, not the one pixel in the middle.
    chequered = np.indices((672, 672)).sum(axis=0) % 2 * 255
    fine = preprocess(np.repeat(chequered[None, ..., None], 3, axis=3).astype(np.uint8))
    assert fine[..., 20:-20, 20:-20].abs().max() < 0.02
    # Bicubic weights overshoot beside an edge; the network's input does not.
    edge = np.zeros((1, 20, 20, 3), np.uint8)
    edge[:, :, 10:] = 255
    assert preprocess(edge).abs().max() <= 1.0


def test_weights_of_another_network_are_refused():
    names = {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2)}
    with pytest.raises(ValueError, match="1 tensors, the network 2"):
        by_order({"x.weight": torch.zeros(2, 3)}, names)
    with pytest.raises(ValueError, match=r"x\.weight \(3, 2\) does not fit a\.weight \(2, 3\)"):
        by_order({"x.weight": torch.zeros(3, 2), "x.bias": torch.zeros(2)}, names)
    with pytest.raises(ValueError, match=r"x\.gain .* does not fit a\.bias"):
        by_order({"x.weight": torch.zeros(2, 3), "x.gain": torch.zeros(2)}, names)


def test_what_it_says_of_itself(extractor):
    assert (extractor.name, extractor.label) == ("efficientnet-lite0", "efficientnet-lite0")
    assert extractor.spec()["weights_sha256"] == weights.sha256_of("efficientnet-lite0")
    assert not extractor._network.training
    assert not any(p.requires_grad for p in extractor._network.parameters())
