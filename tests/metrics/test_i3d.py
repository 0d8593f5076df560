"""I3D: the published check values, the folded network against a plain one, the extractor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file

from i2vbench import weights
from i2vbench.clip import Clip
from i2vbench.errors import MissingWeightsError
from i2vbench.metrics.features import i3d
from i2vbench.metrics.features.i3d import I3DExtractor, load_i3d, preprocess


@pytest.fixture(scope="module")
def extractor():
    return I3DExtractor()


def constant(value, num_frames, size=8):
    return Clip(frames=np.full((num_frames, size, size, 3), value, np.uint8), fps=8)


def noise(num_frames, height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


# Squared distance of the logits of an all-black and an all-white video. Published: 134 for 15
# frames (issue 1 of Araachie/frechet_video_distance-pytorch-), the rest from the README of
# JunyaoHu/common_metrics_on_video_quality, whose TensorFlow row for 30 frames, 151.392, is also
# what these weights give in float32 (151.3926). Own: these weights in half precision, on a CPU.
CHECK_VALUES = [
    (15, 134.0, 133.892),
    (16, 153.110, 152.976),
    pytest.param(24, 66.081, 66.273, marks=pytest.mark.slow),
    pytest.param(30, 151.392, 151.368, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("num_frames", "published", "own"), CHECK_VALUES)
def test_black_against_white_as_published(extractor, num_frames, published, own):
    clips = [constant(0, num_frames), constant(255, num_frames)]
    black, white = (
        each["logits"].astype(np.float64) for each in extractor.extract(clips, ["", ""])
    )
    distance = np.square(black - white).sum()
    assert distance == pytest.approx(published, rel=4e-3)
    assert distance == pytest.approx(own, rel=1e-4)


def plain_logits(state, video, epsilon):
    """The network unfolded: SAME padding, then convolution, then normalisation."""

    def pad(x, kernel, stride):
        sides = []
        for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
            total = max(k - s if size % s == 0 else k - size % s, 0)
            sides = [total // 2, total - total // 2, *sides]
        return F.pad(x, sides)

    def unit(name, x, kernel=1, stride=1):
        x = F.conv3d(
            pad(x, [kernel] * 3, [stride] * 3),
            state[f"{name}.conv3d.weight"].float(),
            stride=stride,
        )
        moments = state[f"{name}.bn.running_mean"], state[f"{name}.bn.running_var"]
        return F.relu(F.batch_norm(x, *moments, bias=state[f"{name}.bn.bias"], eps=epsilon))

    def pool(x, kernel, stride):
        return F.max_pool3d(pad(x, kernel, stride), kernel, stride)

    def mixed(name, x):
        one = unit(f"{name}.b1b", unit(f"{name}.b1a", x), 3)
        two = unit(f"{name}.b2b", unit(f"{name}.b2a", x), 3)
        three = unit(f"{name}.b3b", pool(x, (3, 3, 3), (1, 1, 1)))
        return torch.cat([unit(f"{name}.b0", x), one, two, three], dim=1)

    x = pool(unit("Conv3d_1a_7x7", video, 7, 2), (1, 3, 3), (1, 2, 2))
    x = pool(unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", x), 3), (1, 3, 3), (1, 2, 2))
    x = pool(mixed("Mixed_3c", mixed("Mixed_3b", x)), (3, 3, 3), (2, 2, 2))
    for letter in "bcdef":
        x = mixed(f"Mixed_4{letter}", x)
    x = pool(x, (2, 2, 2), (2, 2, 2))
    x = F.avg_pool3d(mixed("Mixed_5c", mixed("Mixed_5b", x)), (2, 7, 7), 1)
    x = F.conv3d(x, state["logits.conv3d.weight"].float(), state["logits.conv3d.bias"])
    return x.mean(dim=(2, 3, 4))


@pytest.mark.parametrize("num_frames", [9, 14])
def test_folded_network_is_the_plain_one(extractor, num_frames):
    # 9 and 14 frames meet every parity: 9-5-3-2 and 14-7-4-2.
    video = preprocess(noise(num_frames, 20, 28))
    state = load_file(weights.resolve("i3d-k400"))
    with torch.inference_mode():
        expected = plain_logits(state, video, 1e-3)
        found = extractor._network(video.contiguous(memory_format=torch.channels_last_3d))
    assert (found - expected).norm() <= 1e-5 * expected.norm()


def test_without_onednn_it_is_the_same(extractor, monkeypatch):
    clip = Clip(frames=noise(9, 20, 28), fps=8)
    (expected,) = extractor.extract([clip], [""])
    monkeypatch.setattr(i3d, "_HAS_ONEDNN", False)
    (found,) = extractor.extract([clip], [""])
    scale = np.abs(expected["logits"]).max()
    assert np.allclose(found["logits"], expected["logits"], rtol=0, atol=1e-5 * scale)


def test_a_published_state_dict_loads(tmp_path, extractor):
    # The PyTorch ports keep a scale of ones, a counter, and an epsilon of their own.
    state = {key: value.float() for key, value in load_file(weights.resolve("i3d-k400")).items()}
    for key in [key for key in state if key.endswith("running_var")]:
        unit = key.removesuffix(".running_var")
        state[f"{unit}.weight"] = torch.ones_like(state[key])
        state[f"{unit}.num_batches_tracked"] = torch.tensor(0)
        state[key] = state[key] + 1e-3 - 1e-5
    torch.save(state, tmp_path / "port.pt")
    ported = load_i3d(tmp_path / "port.pt", bn_epsilon=1e-5).state_dict()
    for key, value in extractor._network.state_dict().items():
        assert torch.allclose(ported[key], value, rtol=1e-5, atol=1e-6), key
    del state["Mixed_4d.b1a.conv3d.weight"]
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(MissingWeightsError, match=r"Mixed_4d\.b1a\.conv3d\.weight"):
        load_i3d(tmp_path / "cut.safetensors")


def test_a_clip_gives_the_same_bits_in_any_company(extractor):
    clips = [Clip(frames=noise(n, 24, 24, seed=n), fps=8) for n in (9, 10)]
    together = extractor.extract(clips, ["", ""])
    alone = extractor.extract(clips[1:], [""])
    assert np.array_equal(together[1]["logits"], alone[0]["logits"])
    assert together[0]["logits"].shape == (400,)
    assert together[0]["logits"].dtype == np.float32


@pytest.mark.parametrize("num_frames", [1, 8])
def test_short_clips_are_refused(extractor, num_frames):
    with pytest.raises(ValueError, match=f"at least 9 frames, this one has {num_frames}"):
        extractor.extract([constant(0, num_frames)], [""])


def test_preprocessing():
    video = preprocess(np.stack([constant(v, 1).frames[0] for v in (0, 255, 51)]))
    assert video.shape == (1, 3, 3, 224, 224)
    for t, expected in enumerate((-1.0, 1.0, -0.6)):
        assert torch.allclose(video[0, :, t], torch.tensor(expected), rtol=0, atol=1e-6)
    # Channels stay RGB, and the picture is squashed: its corners are still in it.
    frame = np.zeros((1, 50, 100, 3), np.uint8)
    frame[0, -1, 0] = (255, 0, 128)
    corner = preprocess(frame)[0, :, 0, -1, 0]
    assert corner.tolist() == pytest.approx([1.0, -1.0, 128 / 127.5 - 1], abs=1e-6)
    # Half-pixel bilinear without antialiasing: by a factor of three it picks every third pixel.
    large = noise(1, 672, 672)
    expected = torch.from_numpy(large[:, 1::3, 1::3].astype(np.float32)) / 127.5 - 1
    assert torch.allclose(preprocess(large)[0].permute(1, 2, 3, 0), expected, atol=1e-5)


def test_what_it_says_of_itself(extractor):
    assert (extractor.name, extractor.label) == ("i3d", "i3d-k400")
    assert extractor.spec()["weights_sha256"] == weights.sha256_of("i3d-k400")
    assert not any(p.requires_grad for p in extractor._network.parameters())
