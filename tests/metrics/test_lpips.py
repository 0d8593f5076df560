"""LPIPS against the first frame and against the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from lpips import __file__ as lpips_file
from numpy.typing import NDArray
from safetensors.torch import load_file

from i2vbench import weights
from i2vbench.clip import Clip
from i2vbench.fit import fit_frames
from i2vbench.metric import Example
from i2vbench.metrics.features import lpips_alexnet
from i2vbench.metrics.features.lpips_alexnet import LPIPSExtractor
from i2vbench.metrics.features.tiny_clip import TinyCLIPExtractor
from i2vbench.metrics.lpips import LPIPSFirstFrame, LPIPSReference, _on_the_cpu


def pictures() -> list[NDArray[np.uint8]]:
    """Three patterns of 64x96: a, another one, and a with a fine dither."""
    y, x = np.mgrid[0:64, 0:96]
    a = np.stack([x * 2, y * 3, (x * y) % 256], -1).astype(np.uint8)
    b = np.stack([255 - x * 2, y * 3, (x + y) % 256], -1).astype(np.uint8)
    dither = ((x * 7 + y * 13) % 31 - 15)[..., None]
    return [a, b, np.clip(a.astype(int) + dither, 0, 255).astype(np.uint8)]


def random_frames(num_frames: int, height: int = 40, width: int = 48, seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


def an_example(frames, *, first=None, reference=None) -> Example:
    return Example(
        sample_id="s7",
        take=0,
        clip=Clip(frames=frames, fps=8),
        first_frame=first,
        reference=None if reference is None else Clip(frames=reference, fps=8),
    )


def lpips_distances(frames, others):
    return _on_the_cpu().distances(frames, others)


def by_formula(a_HWC: NDArray[np.uint8], b_HWC: NDArray[np.uint8]) -> float:
    """Equation 1 of the paper on torchvision's AlexNet, written out from its weight file."""
    conv = load_file(weights.resolve("lpips-alexnet"))
    heads = torch.load(
        lpips_file.replace("__init__.py", "weights/v0.1/alex.pth"),
        map_location="cpu",
        weights_only=True,
    )
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]

    def stages(picture):
        x = (torch.from_numpy(picture.copy()).permute(2, 0, 1) / 255 * 2 - 1 - shift) / scale
        x, found = x[None], []
        for number, stride, padding, pool in (
            (0, 4, 2, 0),
            (3, 1, 2, 1),
            (6, 1, 1, 1),
            (8, 1, 1, 0),
            (10, 1, 1, 0),
        ):
            if pool:
                x = F.max_pool2d(x, 3, 2)
            weight, bias = conv[f"features.{number}.weight"], conv[f"features.{number}.bias"]
            x = F.relu(F.conv2d(x, weight, bias, stride, padding))
            found.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    total = 0.0
    for number, (one, other) in enumerate(zip(stages(a_HWC), stages(b_HWC), strict=True)):
        head = heads[f"lin{number}.model.1.weight"].flatten()
        total += float((head[None, :, None, None] * (one - other) ** 2).sum(1).mean())
    return total


class TestDistances:
    def test_equal_frames_have_exactly_zero(self):
        frames = random_frames(3)
        assert lpips_distances(frames, frames).tolist() == [0.0, 0.0, 0.0]

    def test_recorded_values_of_the_package(self):
        # lpips 0.1.4 with torch 2.15: LPIPS(net="alex", pnet_rand=True), its AlexNet filled by hand
        # from torchvision.models.alexnet with this backbone, im2tensor on both pictures.
        a, b, c = pictures()
        values = lpips_distances(np.stack([a, a, b]), np.stack([b, c, c]))
        assert values == pytest.approx([0.76053888, 0.00259171, 0.76484859], rel=2e-5)

    def test_black_against_white_is_the_published_number(self):
        # README of JunyaoHu/common_metrics_on_video_quality, commit 5f75173: 0.814015, as the mean
        # of the spatial map on a GPU; the plain mean over pixels differs by 1e-4.
        black = np.zeros((1, 64, 64, 3), np.uint8)
        assert lpips_distances(black, black + 255) == pytest.approx([0.814015], rel=2e-4)

    def test_it_is_the_formula_of_the_paper(self):
        a, b, c = pictures()
        assert lpips_distances(a[None], b[None])[0] == pytest.approx(by_formula(a, b), rel=1e-5)
        assert lpips_distances(a[None], c[None])[0] == pytest.approx(by_formula(a, c), rel=1e-4)

    def test_it_is_symmetric(self):
        a, b, _ = pictures()
        assert lpips_distances(a[None], b[None]) == pytest.approx(lpips_distances(b[None], a[None]))

    def test_one_picture_stands_for_all(self):
        frames, one = random_frames(5), random_frames(1, seed=1)
        against_copies = lpips_distances(frames, np.repeat(one, 5, 0))
        assert lpips_distances(frames, one) == pytest.approx(against_copies, rel=1e-5)

    def test_chunks_change_nothing(self, monkeypatch):
        frames, others = random_frames(5), random_frames(5, seed=1)
        whole = lpips_distances(frames, others)
        monkeypatch.setattr(lpips_alexnet, "CHUNK_PX", 2 * 40 * 48)
        assert lpips_distances(frames, others) == pytest.approx(whole, rel=1e-5)

    def test_small_frames_are_refused_and_the_least_size_is_not(self):
        assert lpips_distances(random_frames(1, 32, 32), random_frames(1, 32, 32, 1))[0] > 0
        with pytest.raises(ValueError, match="at least 32x32, got 48x31"):
            lpips_distances(random_frames(1, 31), random_frames(1, 31))

    @pytest.mark.parametrize(("count", "height"), [(2, 40), (3, 44)])
    def test_counts_and_sizes_must_fit(self, count, height):
        with pytest.raises(ValueError, match="frames of one size and count"):
            lpips_distances(random_frames(3), random_frames(count, height))

    def test_loading_is_silent_and_moves_no_random_state(self, capsys):
        state = torch.random.get_rng_state()
        LPIPSExtractor().distances(random_frames(1), random_frames(1))
        assert torch.equal(torch.random.get_rng_state(), state)
        assert capsys.readouterr() == ("", "")


class TestExtractor:
    def test_the_device_reaches_the_network(self):
        """On ``meta`` nothing is computed: a network that stayed on the CPU would give a value."""
        extractor = LPIPSExtractor(device="meta")
        assert {each.device.type for each in extractor.network.parameters()} == {"meta"}
        metric = LPIPSFirstFrame()
        metric.use([extractor])
        frames = random_frames(2)
        with pytest.raises(NotImplementedError, match="meta"):
            metric.score_clip(an_example(frames, first=frames[0]))

    def test_it_stores_nothing_and_adds_no_brackets_to_a_label(self):
        assert LPIPSExtractor.stores_features is False
        assert LPIPSExtractor().label == ""
        assert LPIPSExtractor.dtypes == ("fp32",)

    def test_another_extractor_in_its_place_is_refused(self):
        with pytest.raises(ValueError, match="extractor 'tiny-clip' gives no distances"):
            LPIPSReference().use([TinyCLIPExtractor()])


class TestFit:
    def test_frames_of_the_size_are_left_alone(self):
        frames = random_frames(2)
        assert fit_frames(frames, 40, 48) is frames

    def test_the_sides_of_a_wide_picture_are_cut(self):
        wide = np.zeros((1, 64, 128, 3), np.uint8)
        wide[:, :, 32:96] = 200
        narrow = fit_frames(wide, 32, 32)
        assert (narrow[:, :, 2:-2] == 200).all()
        # It is resized first, so the last two columns have seen what was cut off.
        assert (narrow[:, :, 0] == 187).all()
        # A shrunken picture is smoothed: stripes of one pixel become their mean.
        wide[:, :, 32:96:2] = 0
        assert fit_frames(wide, 16, 16)[0, 8, 2:-2] == pytest.approx(100, abs=3)


class TestFirstFrame:
    def test_a_static_clip_of_the_first_frame_has_zero(self):
        frames = np.repeat(random_frames(1), 4, 0)
        assert LPIPSFirstFrame().score_clip(an_example(frames, first=frames[0])) < 1e-9

    def test_it_is_the_mean_over_all_frames_but_the_first(self):
        frames, first = random_frames(3), random_frames(1, seed=1)[0]
        expected = lpips_distances(frames[1:], first[None]).mean()
        value = LPIPSFirstFrame().score_clip(an_example(frames, first=first))
        assert value == pytest.approx(expected, rel=1e-12)
        frames[0] = 0
        assert LPIPSFirstFrame().score_clip(an_example(frames, first=first)) == value

    def test_a_first_frame_of_another_size_is_fitted(self):
        large = np.kron(random_frames(1, 40, 40)[0], np.ones((2, 2, 1), np.uint8))
        wide = np.concatenate([large[:, :20], large, large[:, -20:]], axis=1)
        frames = np.repeat(fit_frames(large[None], 40, 40), 2, 0)
        value = LPIPSFirstFrame().score_clip(an_example(frames, first=wide))
        assert value == pytest.approx(0.0, abs=1e-4)

    def test_what_is_missing_is_named(self):
        with pytest.raises(ValueError, match="s7: lpips_first_frame needs a first frame"):
            LPIPSFirstFrame().score_clip(an_example(random_frames(2)))
        with pytest.raises(ValueError, match="needs at least 2 frames, got 1"):
            LPIPSFirstFrame().score_clip(an_example(random_frames(1), first=random_frames(1)[0]))


class TestReference:
    def test_the_real_clip_itself_has_zero(self):
        frames = random_frames(3)
        assert LPIPSReference().score_clip(an_example(frames, reference=frames)) == 0.0

    def test_it_is_the_mean_over_all_frames_in_order(self):
        frames, real = random_frames(3), random_frames(3, seed=1)
        value = LPIPSReference().score_clip(an_example(frames, reference=real))
        assert value == pytest.approx(lpips_distances(frames, real).mean(), rel=1e-12)
        real[0] = frames[0]
        closer = LPIPSReference().score_clip(an_example(frames, reference=real))
        assert closer == pytest.approx(lpips_distances(frames, real)[1:].sum() / 3, rel=1e-6)
        reversed_ = LPIPSReference().score_clip(an_example(frames, reference=real[::-1]))
        assert reversed_ > closer

    def test_a_longer_reference_is_cut_and_a_larger_one_fitted(self):
        frames = random_frames(2, 40, 40)
        later = random_frames(2, 40, 40, seed=1)
        real = np.kron(np.concatenate([frames, later]), np.ones((1, 2, 2, 1), np.uint8))
        value = LPIPSReference().score_clip(an_example(frames, reference=real))
        expected = lpips_distances(frames, fit_frames(real[:2], 40, 40)).mean()
        assert value == pytest.approx(expected)

    def test_what_is_missing_is_named(self):
        with pytest.raises(ValueError, match="s7: lpips_reference needs a reference"):
            LPIPSReference().score_clip(an_example(random_frames(2)))
        with pytest.raises(ValueError, match="reference has 2 frames, the clip 3"):
            LPIPSReference().score_clip(an_example(random_frames(3), reference=random_frames(2)))


def test_the_specifications_name_the_weights_and_the_fit():
    assert LPIPSExtractor().spec()["weights_sha256"] == weights.sha256_of("lpips-alexnet")
    for metric in (LPIPSFirstFrame(), LPIPSReference()):
        assert metric.extractors == ("lpips-alexnet",)
        assert metric.spec() == {"fit": "PIL bicubic, centre crop"}
        assert metric.higher_is_better is False
