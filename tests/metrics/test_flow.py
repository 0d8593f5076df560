"""The flow extractor: known motions, interpolation, and which method it takes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from i2vbench.clip import Clip
from i2vbench.errors import MissingWeightsError
from i2vbench.files import file_sha256
from i2vbench.fingerprint import canonical_json
from i2vbench.metrics.features import flow as flow_module
from i2vbench.metrics.features.flow import (
    FlowExtractor,
    frame_step,
    interpolate_midpoint,
    top_magnitude,
)
from i2vbench.registry import EXTRACTORS

from .test_motion import moving_clip, texture

DIS = FlowExtractor(method="dis")


def shifted_pair(height: int, width: int, dx: float, dy: float) -> tuple[np.ndarray, np.ndarray]:
    """A texture and the same gone (dx, dy) px to the right and down."""
    large = texture(5, max(height, width) + 40)
    views = []
    for x, y in ((0.0, 0.0), (dx, dy)):
        shift = np.array([[1, 0, 20 - x], [0, 1, 20 - y]], np.float64)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        views.append(cv2.warpAffine(large, shift, (width, height), flags=flags))
    return views[0], views[1]


@pytest.mark.parametrize("size", [(64, 64), (64, 112), (100, 72), (256, 256)])
@pytest.mark.parametrize("motion", [(1.0, 0.0), (0.5, -1.5), (3.0, 2.0), (-4.0, 3.0)])
def test_dis_finds_translations_within_a_third_of_a_pixel(size, motion):
    flow = DIS.flow(*shifted_pair(*size, *motion))
    assert flow.shape == (*size, 2)
    assert flow.dtype == np.float32
    # What enters at the rim has no counterpart in the other frame.
    inner = flow[10:-10, 10:-10]
    assert np.abs(inner - np.array(motion)).max() < 0.3


def test_dis_at_64_px_would_fail_without_scaling_up(monkeypatch):
    pair = shifted_pair(64, 64, -4.0, 3.0)
    inner = (slice(10, -10), slice(10, -10))
    scaled = np.abs(DIS.flow(*pair)[inner] - (-4.0, 3.0)).mean()
    monkeypatch.setattr(flow_module, "MIN_SIDE_PX", 64)
    assert np.abs(DIS.flow(*pair)[inner] - (-4.0, 3.0)).mean() > 3 * scaled


def test_equal_frames_have_no_flow_at_all():
    frame = texture(1, 64)
    assert not DIS.flow(frame, frame).any()


def test_the_number_of_threads_changes_no_bit():
    first, second = shifted_pair(256, 256, 5.0, -3.0)
    second = second.copy()
    second[90:150] = np.random.default_rng(0).integers(0, 256, (60, 256, 3))
    before = cv2.getNumThreads()
    try:
        flows = []
        for num_threads in (1, 2, 5):
            cv2.setNumThreads(num_threads)
            flows.append(DIS.flow(first, second))
    finally:
        cv2.setNumThreads(before)
    assert np.array_equal(flows[0], flows[1])
    assert np.array_equal(flows[0], flows[2])


def test_a_second_pair_does_not_remember_the_first():
    pair = shifted_pair(64, 64, 1.0, 1.0)
    fresh = FlowExtractor(method="dis").flow(*pair)
    DIS.flow(*shifted_pair(64, 64, -4.0, 3.0))
    assert np.array_equal(DIS.flow(*pair), fresh)


def test_top_magnitude_by_hand():
    flow = np.zeros((10, 10, 2), np.float32)
    flow[0, :4] = (3.0, 4.0)
    flow[5, 5] = (0.0, -10.0)
    flow[9, 9] = (1.0, 0.0)
    # 5 of 100 pixels: lengths 10, 5, 5, 5, 5; the sixth does not count.
    assert top_magnitude(flow) == 6.0
    assert top_magnitude(flow[:2, :2]) == 5.0


class TestMidpoint:
    def test_a_shift_with_known_flow_is_met_exactly_inside(self):
        first, second = shifted_pair(48, 60, 4.0, -2.0)
        middle = shifted_pair(48, 60, 2.0, -1.0)[1]
        forward = np.full((48, 60, 2), (4.0, -2.0), np.float32)
        made = interpolate_midpoint(first, second, forward, -forward)
        assert made.dtype == np.float32
        assert np.abs(made - middle)[2:-2, 3:-3].max() < 1.01

    def test_one_frame_fills_in_what_the_other_does_not_show(self):
        first, second = shifted_pair(48, 60, 8.0, 0.0)
        middle = shifted_pair(48, 60, 4.0, 0.0)[1]
        forward = np.full((48, 60, 2), (8.0, 0.0), np.float32)
        made = interpolate_midpoint(first, second, forward, -forward)
        # The left rim is outside of the first frame, the right one outside of the second.
        assert np.abs(made - middle)[:, :4].max() < 1.5
        assert np.abs(made - middle)[:, -4:].max() < 1.5

    def test_still_frames_come_back_as_they_are(self):
        frame = texture(2, 32)
        zero = np.zeros((32, 32, 2), np.float32)
        assert np.array_equal(interpolate_midpoint(frame, frame, zero, zero), frame)

    def test_flow_does_better_than_the_mean_of_both_frames(self):
        frames = moving_clip([0, 3, 6]).frames
        mean = (frames[0].astype(float) + frames[2]) / 2
        (features,) = DIS.extract([Clip(frames=frames, fps=8)], [""])
        assert features["interpolation_error"][0] < 0.1 * np.abs(mean - frames[1]).mean()


class TestArrays:
    def test_shapes_and_values_of_a_shift(self):
        (features,) = DIS.extract([moving_clip([0, 2, 4, 6, 8, 10])], [""])
        assert {name: (a.shape, a.dtype.kind) for name, a in features.items()} == {
            "top5_magnitude": ((5,), "f"),
            "interpolation_error": ((2,), "f"),
            "frame_step": ((1,), "i"),
        }
        assert features["top5_magnitude"] == pytest.approx(2.0, abs=0.3)

    def test_every_second_frame_at_16_fps_goes_twice_as_far(self):
        (features,) = DIS.extract([moving_clip([0, 1, 2, 3, 4, 5, 6], fps=16)], [""])
        assert features["frame_step"].tolist() == [2]
        assert features["top5_magnitude"].shape == (3,)
        assert features["top5_magnitude"] == pytest.approx(2.0, abs=0.3)

    def test_one_frame_gives_empty_arrays(self):
        (features,) = DIS.extract([moving_clip([0.0])], [""])
        assert features["top5_magnitude"].shape == features["interpolation_error"].shape == (0,)

    def test_clips_do_not_touch_each_other(self):
        clips = [moving_clip([0, 1, 2], seed=1), moving_clip([0, 3, 5], seed=2)]
        together = DIS.extract(clips, ["", ""])
        alone = [DIS.extract([clip], [""])[0] for clip in clips]
        for one, other in zip(together, alone, strict=True):
            assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("fps", "step"),
    [(1, 1), (8, 1), (11.9, 1), (12, 2), (16, 2), (20, 2), (23.976, 3), (25, 3), (30, 4), (60, 8)],
)
def test_frame_step_is_the_rounded_share_of_8_fps(fps, step):
    assert frame_step(fps) == step


class RightShift(torch.nn.Module):
    """In RAFT's place: says that all goes 8 px right, and keeps what it was asked."""

    asked: list[tuple[torch.Tensor, torch.Tensor, int]]

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.rand(1))
        self.asked = []

    def forward(self, first, second, num_flow_updates):
        self.asked.append((first, second, num_flow_updates))
        flow = torch.zeros(len(first), 2, *first.shape[2:])
        flow[:, 0] = 8.0
        flow[:, :, -8:] = 1e6  # the rim that was added
        return [flow * 0 - 1, flow]


class TestRaft:
    @pytest.fixture
    def raft(self, monkeypatch, tmp_path) -> FlowExtractor:
        path = tmp_path / "raft.pth"
        torch.save({"bias": torch.tensor([4.0])}, path)
        monkeypatch.setattr(flow_module.weights, "find", {"raft-large": path}.__getitem__)
        monkeypatch.setattr(
            "torchvision.models.optical_flow.raft_large", lambda weights, progress: RightShift()
        )
        return FlowExtractor()

    def test_it_is_taken_where_its_weights_are_and_says_so(self, raft, tmp_path):
        assert raft.label == "raft"
        assert raft.spec()["weights_sha256"] == file_sha256(tmp_path / "raft.pth")
        assert raft.spec()["method"] == "raft"
        canonical_json(raft.spec())
        assert raft._between._network.bias.item() == 4.0
        assert FlowExtractor(method="dis").label == "dis"

    def test_raft_alone_never_falls_back(self, raft, monkeypatch):
        monkeypatch.setattr(flow_module.weights, "resolve", flow_module.weights.find)
        assert EXTRACTORS.load("raft")().label == "raft"

        def gone(name):
            raise MissingWeightsError(f"weights {name!r} are not here")

        monkeypatch.setattr(flow_module.weights, "resolve", gone)
        with pytest.raises(MissingWeightsError, match="weights 'raft-large' are not here"):
            EXTRACTORS.load("raft")()

    def test_the_network_gets_signed_pixels_in_eighths_and_its_rim_is_cut(self, raft):
        first, second = (np.full((260, 300, 3), level, np.uint8) for level in (0, 255))
        flow = raft.flow(first, second)
        ((one, two, updates),) = raft._between._network.asked
        assert one.shape == two.shape == (1, 3, 264, 304)
        # The picture stands in the corner from which the flow is cut.
        raft.flow(texture(0, 261), texture(1, 261))
        corner = raft._between._network.asked[1][0][0, :, :261, :261].permute(1, 2, 0)
        assert corner.numpy() == pytest.approx(texture(0, 261) / 127.5 - 1, abs=1e-6)
        assert (one == -1).all()
        assert (two == 1).all()
        assert updates == 20
        assert flow.shape == (260, 300, 2)
        assert np.array_equal(flow[:256], np.full((256, 300, 2), (8.0, 0.0)))

    def test_flow_of_a_small_frame_is_in_its_own_pixels(self, raft):
        flow = raft.flow(texture(0, 64), texture(1, 64))
        # 64 px are scaled to 256, so 8 px there are 2 here.
        assert flow[:60] == pytest.approx(np.broadcast_to((2.0, 0.0), (60, 64, 2)))

    def test_the_published_network_takes_its_own_state(self, monkeypatch, tmp_path):
        from torchvision.models.optical_flow import raft_large

        path = Path(tmp_path / "raft.pth")
        torch.save(raft_large(weights=None, progress=False).state_dict(), path)
        monkeypatch.setattr(flow_module.weights, "resolve", {"raft-large": path}.__getitem__)
        monkeypatch.setattr(flow_module, "MIN_SIDE_PX", 128)
        monkeypatch.setattr(flow_module, "RAFT_UPDATES", 1)
        state = torch.random.get_rng_state()
        extractor = FlowExtractor(method="raft")
        assert torch.equal(torch.random.get_rng_state(), state)
        clip = moving_clip([0, 1], size=64)
        one, two = (extractor.flow(*clip.frames) for _ in range(2))
        assert one.shape == (64, 64, 2)
        assert np.isfinite(one).all()
        assert np.array_equal(one, two)


class TestWithoutRaft:
    @pytest.fixture(autouse=True)
    def _nothing_here(self, monkeypatch, tmp_path):
        monkeypatch.setenv("I2VBENCH_WEIGHTS", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setenv("I2VBENCH_OFFLINE", "1")

    def test_dis_steps_in_and_says_so(self):
        extractor = FlowExtractor()
        assert extractor.label == "dis"
        assert extractor.spec()["preset"] == "medium"
        canonical_json(extractor.spec())

    def test_nothing_is_downloaded_unasked(self, monkeypatch):
        monkeypatch.delenv("I2VBENCH_OFFLINE")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(flow_module.weights, "download", pytest.fail)
        assert FlowExtractor().label == "dis"

    def test_raft_by_name_is_an_error_without_its_weights(self):
        with pytest.raises(MissingWeightsError, match="'raft-large' are not here"):
            FlowExtractor(method="raft")

    def test_a_damaged_file_is_an_error_and_not_a_reason_for_dis(self, tmp_path):
        (tmp_path / "raft_large_C_T_V1-22a6c225.pth").write_bytes(b"cut off")
        with pytest.raises(MissingWeightsError, match="another or a damaged file"):
            FlowExtractor()

    def test_an_unknown_method_is_an_error_that_names_the_known(self):
        with pytest.raises(ValueError, match="'farneback' is unknown; accepted: auto, raft, dis"):
            FlowExtractor(method="farneback")
