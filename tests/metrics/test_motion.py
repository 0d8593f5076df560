"""Temporal flickering, motion smoothness, dynamic degree."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from i2vbench.clip import Clip
from i2vbench.metric import Example
from i2vbench.metrics.features.flow import FlowExtractor
from i2vbench.metrics.motion import (
    DynamicDegree,
    MotionSmoothness,
    TemporalFlickering,
    is_dynamic,
    smoothness_from_errors,
    temporal_flickering,
)


def texture(seed: int, size: int) -> np.ndarray:
    """Smooth colour noise, uint8 (size, size, 3), over the whole range."""
    noise = np.random.default_rng(seed).normal(size=(size, size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    low, high = smooth.min(), smooth.max()
    return ((smooth - low) / (high - low) * 255).astype(np.uint8)


def moving_clip(steps_px: list[float], size: int = 64, fps: float = 8.0, seed: int = 0) -> Clip:
    """A texture that has gone ``steps_px[i]`` to the right in frame i."""
    large = texture(seed, size + 160)
    frames = []
    for step in steps_px:
        shift = np.array([[1, 0, 80 - step], [0, 1, 80]], np.float64)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        frames.append(cv2.warpAffine(large, shift, (size, size), flags=flags))
    return Clip(frames=np.stack(frames), fps=fps)


def with_flow(clip: Clip) -> Example:
    features = {"flow": FlowExtractor(method="dis").extract([clip], [""])[0]}
    return Example(sample_id="a", take=0, clip=clip, features=features)


def of_features(clip: Clip, **arrays: list[float]) -> Example:
    features = {"flow": {name: np.array(array) for name, array in arrays.items()}}
    return Example(sample_id="a", take=0, clip=clip, features=features)


def still(num_frames: int, fps: float = 8.0) -> Clip:
    return Clip(frames=np.repeat(texture(3, 64)[None], num_frames, 0), fps=fps)


class TestFlickering:
    def test_the_value_by_hand(self):
        frames = np.zeros((3, 1, 2, 3), np.uint8)
        frames[1, 0, 0] = (255, 30, 0)
        frames[2, 0, 1, 2] = 90
        # Sums of absolute differences over 6 values: 285, then 285 + 90.
        expected = (255 - (285 / 6 + 375 / 6) / 2) / 255
        assert temporal_flickering(frames) == pytest.approx(expected, abs=1e-15)

    def test_black_and_white_in_turn_is_zero(self):
        frames = np.zeros((5, 4, 4, 3), np.uint8)
        frames[1::2] = 255
        assert temporal_flickering(frames) == 0.0

    def test_a_static_clip_has_exactly_one(self):
        assert TemporalFlickering().score_clip(with_flow(still(4))) == 1.0

    def test_it_is_symmetric_in_time(self):
        frames = np.random.default_rng(0).integers(0, 256, (6, 5, 7, 3), dtype=np.uint8)
        assert temporal_flickering(frames) == pytest.approx(temporal_flickering(frames[::-1]))


class TestSmoothness:
    def test_the_value_by_hand(self):
        assert smoothness_from_errors(np.array([51.0, 0.0, 0.0])) == pytest.approx(1 - 17 / 255)

    def test_a_static_clip_has_exactly_one(self):
        assert MotionSmoothness().score_clip(with_flow(still(5))) == 1.0

    def test_even_motion_is_smooth_and_jerky_motion_is_not(self):
        even = MotionSmoothness().score_clip(with_flow(moving_clip([0, 2, 4, 6, 8, 10, 12])))
        jerky = MotionSmoothness().score_clip(with_flow(moving_clip([0, 4, 4, 5, 8, 12, 12])))
        assert even > 0.995
        assert jerky < 0.98

    def test_the_last_frame_of_an_even_length_does_not_count(self):
        clip = moving_clip([0, 1, 2, 3, 4, 5])
        other = clip.frames.copy()
        other[-1] = 0
        changed = Clip(frames=other, fps=clip.fps)
        whole, cut = (MotionSmoothness().score_clip(with_flow(c)) for c in (clip, changed))
        assert whole == cut
        other[-2] = 0
        assert MotionSmoothness().score_clip(with_flow(Clip(frames=other, fps=8))) < whole

    def test_two_frames_leave_nothing_to_interpolate(self):
        with pytest.raises(ValueError, match="needs at least 3 frames, got 2"):
            MotionSmoothness().score_clip(with_flow(still(2)))


class TestDynamicDegree:
    def test_the_threshold_is_six_px_at_256_and_must_be_passed(self):
        four = [1.5] * 4 + [0.0] * 11
        assert not is_dynamic(np.array(four), height=64, width=100)
        assert is_dynamic(np.array(four) + 1e-6, height=64, width=100)
        assert not is_dynamic(np.array(four) * 3.9, height=256, width=256)
        assert is_dynamic(np.array(four) * 4.1, height=256, width=300)

    @pytest.mark.parametrize(
        ("num_frames", "wanted"),
        # round(n / 4), halves to the even number; at least one where VBench would ask none.
        [(2, 1), (3, 1), (6, 2), (8, 2), (10, 2), (14, 4), (16, 4), (18, 4), (22, 6), (49, 12)],
    )
    def test_how_many_pairs_must_move(self, num_frames, wanted):
        pairs = np.zeros(num_frames - 1)
        pairs[: wanted - 1] = 99
        assert not is_dynamic(pairs, height=64, width=64)
        pairs[:wanted] = 99
        assert is_dynamic(pairs, height=64, width=64)

    def test_static_clips_do_not_move_however_short(self):
        for num_frames in (2, 3, 16):
            assert DynamicDegree().score_clip(with_flow(still(num_frames))) == 0.0

    def test_motion_over_the_threshold_is_seen_and_under_it_is_not(self):
        fast = with_flow(moving_clip([2.0 * i for i in range(8)]))
        slow = with_flow(moving_clip([1.0 * i for i in range(8)]))
        assert DynamicDegree().score_clip(fast) == 1.0
        assert DynamicDegree().score_clip(slow) == 0.0

    def test_the_rate_thins_the_clip(self):
        # 1 px a frame stays under 1.5 px at 8 fps; at 24 fps every third frame is looked at.
        steps = [1.0 * i for i in range(13)]
        metric = DynamicDegree()
        metric.update([with_flow(moving_clip(steps, fps=8)), with_flow(moving_clip(steps, fps=24))])
        assert metric.compute() == 0.5

    def test_features_of_another_rate_are_refused(self):
        clip = still(9, fps=16)
        with pytest.raises(ValueError, match="in steps of 1, 16 fps asks for 2"):
            DynamicDegree().score_clip(of_features(clip, top5_magnitude=[9.0] * 8, frame_step=[1]))

    def test_a_clip_that_the_rate_thins_to_one_frame_is_refused(self):
        with pytest.raises(ValueError, match=r"of 3 frames at 24 fps .* one in 3"):
            DynamicDegree().score_clip(with_flow(still(3, fps=24)))

    def test_a_frame_is_explained_by_how_far_it_moved_over_the_threshold(self):
        # At 16 fps every second frame is looked at; 64 px are the shorter side, 1.5 px enough.
        clip = still(8, fps=16)
        example = of_features(clip, top5_magnitude=[3.0, 0.75, 1.5], frame_step=[2])
        found = DynamicDegree().frame_values(example)
        nan = np.nan
        assert clip.frames.shape[1:3] == (64, 64)
        np.testing.assert_allclose(found, [nan, nan, 2.0, nan, 0.5, nan, 1.0, nan])

    def test_neither_end_is_better(self):
        assert DynamicDegree.higher_is_better is None
        assert DynamicDegree().spec() == {"moving_px_at_256": 6.0, "moving_pairs_of_16": 4}


@pytest.mark.parametrize(
    ("metric", "at_least"), [(TemporalFlickering, 2), (MotionSmoothness, 3), (DynamicDegree, 2)]
)
def test_one_frame_is_refused_by_name(metric, at_least):
    with pytest.raises(ValueError, match=f"needs at least {at_least} frames, got 1"):
        metric().score_clip(with_flow(still(1)))
