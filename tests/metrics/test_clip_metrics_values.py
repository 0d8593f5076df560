"""What each metric of single clips promises: its direction, its needs, its least number of frames.

A board ranks by the direction, the registry asks by the needs, and `explain` shows the frames.
"""

from __future__ import annotations

import numpy as np
import pytest

from i2vbench.clip import Clip
from i2vbench.metric import Example
from i2vbench.metrics import consistency
from i2vbench.metrics.camera_motion import CameraMotion, camera_motions
from i2vbench.metrics.clipsim import CLIPSIM
from i2vbench.metrics.consistency import BackgroundConsistency, SubjectConsistency
from i2vbench.metrics.frame_quality import AestheticQuality, ImagingQuality
from i2vbench.metrics.i2v_similarity import I2VBackground, I2VSubject, i2v_similarity
from i2vbench.metrics.inception_score import InceptionScore, class_sums
from i2vbench.metrics.motion import (
    DynamicDegree,
    MotionSmoothness,
    TemporalFlickering,
    is_dynamic,
    smoothness_from_errors,
)

NAN = float("nan")

# Metric -> name, title, direction, needs, extractors.
PROMISES = {
    TemporalFlickering: ("temporal_flickering", "Temporal flickering", True, set(), ()),
    MotionSmoothness: ("motion_smoothness", "Motion smoothness", True, set(), ("flow",)),
    DynamicDegree: ("dynamic_degree", "Dynamic degree", None, set(), ("flow",)),
    SubjectConsistency: (
        *("subject_consistency", "Subject consistency", True, set()),
        ("efficientnet-lite0",),
    ),
    BackgroundConsistency: (
        *("background_consistency", "Background consistency", True, set()),
        ("tiny-clip",),
    ),
    CLIPSIM: ("clipsim", "CLIPSIM", True, {"prompt"}, ("tiny-clip",)),
    I2VSubject: ("i2v_subject", "I2V subject", True, {"first_frame"}, ("dino-vit-b16-i2v",)),
    I2VBackground: ("i2v_background", "I2V background", True, {"first_frame"}, ("dreamsim",)),
    CameraMotion: (
        *("camera_motion", "Camera motion", True, {"extra.camera_motion"}),
        ("cotracker",),
    ),
    AestheticQuality: (
        *("aesthetic_quality", "Aesthetic quality", True, set()),
        ("laion-aesthetic",),
    ),
    ImagingQuality: ("imaging_quality", "Imaging quality", True, set(), ("musiq",)),
    InceptionScore: ("is", "IS", True, set(), ("efficientnet-lite0",)),
}


@pytest.mark.parametrize("metric", PROMISES, ids=lambda metric: metric.name)
def test_a_metric_keeps_its_promises(metric):
    name, title, higher, needs, extractors = PROMISES[metric]
    assert (metric.name, metric.title) == (name, title)
    assert metric.higher_is_better is higher
    assert (set(metric.needs), tuple(metric.extractors)) == (needs, extractors)
    assert metric.version.isdigit()


@pytest.mark.parametrize("metric", PROMISES, ids=lambda metric: metric.name)
def test_units(metric):
    cosines = {"subject_consistency", "background_consistency", "clipsim", "i2v_subject"}
    expected = "cosine" if metric.name in cosines | {"i2v_background"} else ""
    assert metric.unit == ("share" if metric is CameraMotion else expected)


def test_what_a_fingerprint_holds_of_the_metrics_constants():
    assert CameraMotion().spec() == {"moving_share": 0.005}
    assert DynamicDegree().spec() == {"moving_px_at_256": 6.0, "moving_pairs_of_16": 4}
    assert InceptionScore().spec() == {"splits": 1, "array": "logits"}
    assert InceptionScore(splits=10, shuffle_seed=42).spec() == {
        "splits": 10,
        "array": "logits",
        "shuffle_seed": 42,
    }


def an_example(num_frames, fps=8.0, **arrays):
    """Features by extractor, dashes in its name as underscores."""
    frames = np.zeros((num_frames, 8, 8, 3), np.uint8)
    features = {
        name.replace("_", "-"): {key: np.array(value) for key, value in made.items()}
        for name, made in arrays.items()
    }
    clip = Clip(frames=frames, fps=fps)
    return Example(sample_id="a", take=0, clip=clip, prompt="p", features=features)


@pytest.mark.parametrize(
    ("metric", "array"),
    [
        (SubjectConsistency, "efficientnet_lite0.pooled"),
        (BackgroundConsistency, "tiny_clip.frames"),
    ],
)
def test_a_frame_of_consistency_is_the_mean_of_its_two_cosines(metric, array):
    extractor, name = array.split(".")
    # With the one before 0.8 and 0.6, with the first 0.8 and 0.
    frames = [[2.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
    found = metric().frame_values(an_example(3, **{extractor: {name: frames}}))
    np.testing.assert_allclose(found, [NAN, 0.8, 0.3], atol=1e-12)


def test_a_frame_of_clipsim_is_its_cosine():
    made = {"frames": [[2.0, 0.0], [0.0, 5.0], [-3.0, -4.0]], "text": [3.0, 4.0]}
    found = CLIPSIM().frame_values(an_example(3, tiny_clip=made))
    np.testing.assert_allclose(found, [0.6, 0.8, -1.0], atol=1e-12)


def test_a_frame_of_smoothness_is_its_interpolation_error():
    made = {"interpolation_error": np.array([0.0, 102.0, 51.0], np.float32)}
    found = MotionSmoothness().frame_values(an_example(8, flow=made))
    np.testing.assert_allclose(found, [NAN, 1.0, NAN, 0.6, NAN, 0.8, NAN, NAN])
    assert MotionSmoothness().score_clip(an_example(7, flow=made)) == pytest.approx(0.8)


def test_a_frame_of_flickering_is_its_difference_from_the_one_before():
    frames = np.zeros((3, 2, 2, 3), np.uint8)
    frames[1] = 51
    example = Example(sample_id="a", take=0, clip=Clip(frames=frames, fps=8))
    np.testing.assert_allclose(TemporalFlickering().frame_values(example), [NAN, 0.8, 0.8])


@pytest.mark.parametrize(
    ("metric", "least"),
    [
        (TemporalFlickering, 2),
        (MotionSmoothness, 3),
        (DynamicDegree, 2),
        (SubjectConsistency, 2),
        (BackgroundConsistency, 2),
    ],
)
@pytest.mark.parametrize("method", ["score_clip", "frame_values"])
def test_clips_that_are_too_short_are_refused(metric, least, method):
    """Whatever the features say; the least number itself is taken."""

    def call(num_frames):
        flow = {"top5_magnitude": [1.0] * (num_frames - 1), "frame_step": [1]}
        flow["interpolation_error"] = [1.0] * ((num_frames - 1) // 2)
        return getattr(metric(), method)(
            an_example(
                num_frames,
                flow=flow,
                efficientnet_lite0={"pooled": np.ones((num_frames, 4))},
                tiny_clip={"frames": np.ones((num_frames, 4))},
            )
        )

    with pytest.raises(ValueError, match=f"needs at least {least} frames, got {least - 1}"):
        call(least - 1)
    call(least)


def test_what_no_clip_can_give_is_refused():
    with pytest.raises(ValueError, match="at least one interpolated frame"):
        smoothness_from_errors(np.array([]))
    with pytest.raises(ValueError, match="needs at least 2 frames, got 1"):
        is_dynamic(np.array([]), height=8, width=8)
    with pytest.raises(ValueError, match="needs at least 2 frames, got 1"):
        i2v_similarity(np.ones(2), np.ones((1, 2)))
    with pytest.raises(ValueError, match="a: there is no first frame to compare with"):
        an_example(2).first_frame_features_of(I2VBackground())


def test_cosines_stay_in_their_range_whatever_the_rounding():
    """Equal vectors whose unit products come out above 1 by a last bit."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        vector = rng.uniform(0.1, 1, 37)
        assert i2v_similarity(vector, np.stack([vector] * 3)) <= 1.0
        assert consistency.consistency_from_features(np.stack([vector] * 3)) <= 1.0
    opposed = np.array([[1.0, 0.0], [-1.0, 0.0], [-2.0, 0.0]])
    # With the one before: 0 and 1; with the first: 0 and 0.
    assert consistency.consistency_from_features(opposed) == 0.25
    # max(c) = 1, d = 0 and 1.
    assert i2v_similarity(opposed[0], opposed) == pytest.approx(0.4 + 0.3 * 0.5)


def test_a_zero_vector_is_like_nothing():
    zero = np.zeros((2, 3))
    assert i2v_similarity(np.ones(3), zero) == 0.0
    made = {"frames": zero, "text": np.ones(3)}
    assert CLIPSIM().score_clip(an_example(2, tiny_clip=made)) == 0.0


@pytest.mark.parametrize(
    ("metric", "extractor", "array", "best"),
    [
        (AestheticQuality, "laion_aesthetic", "aesthetic", 10),
        (ImagingQuality, "musiq", "marks", 100),
    ],
)
def test_marks_are_shares_of_the_best_one(metric, extractor, array, best):
    marks = np.array([best, best / 2, 0.0], np.float32)
    example = an_example(3, **{extractor: {array: marks}})
    np.testing.assert_allclose(metric().frame_values(example), [1.0, 0.5, 0.0])
    assert metric().score_clip(example) == pytest.approx(0.5)


def moved_points(**by_edge):
    """Tracks of a 4x4 grid whose middle points of the named edges move by (x, y)."""
    first = np.stack(np.meshgrid(np.arange(4) * 50, np.arange(4) * 50), axis=-1).astype(float)
    last = first.copy()
    places = {"top": (0, 2), "bottom": (3, 2), "left": (2, 0), "right": (2, 3)}
    for name, step in by_edge.items():
        last[places[name]] += step
    return first, last


@pytest.mark.parametrize(
    ("edges", "seen"),
    [
        ({"top": (0, -3), "bottom": (0, 3)}, {"zoom_in"}),
        ({"top": (0, 3), "bottom": (0, -3)}, {"zoom_out"}),
        ({"left": (-3, 0), "right": (3, 0)}, {"zoom_in"}),
        ({"left": (3, 0), "right": (-3, 0)}, {"zoom_out"}),
        ({"top": (3, 0), "bottom": (3, 0)}, {"pan_left"}),
        ({"top": (-3, 0), "bottom": (-3, 0)}, {"pan_right"}),
        ({"left": (0, 3), "right": (0, 3)}, {"tilt_up"}),
        ({"left": (0, -3), "right": (0, -3)}, {"tilt_down"}),
        ({"top": (3, 3), "bottom": (3, 3)}, {"pan_left", "tilt_up"}),
        ({"top": (3, 0), "bottom": (-3, 0)}, set()),
        ({}, {"static"}),
        # 1 px of 200 is the threshold of 0.005: a point must go further.
        ({"top": (1, 0), "bottom": (1, 0)}, {"static"}),
        ({"top": (2, 0), "bottom": (2, 0)}, {"pan_left"}),
        # Cut to whole px, not rounded.
        ({"top": (1.9, 0), "bottom": (1.9, 0)}, {"static"}),
    ],
)
def test_four_points_tell_the_camera(edges, seen):
    assert camera_motions(*moved_points(**edges), height=200, width=300) == seen
    assert camera_motions(*moved_points(**edges), height=300, width=200) == seen


def test_sums_of_an_inception_score():
    sums = class_sums([[0.0, 0.0], [800.0, 0.0]])
    assert sums.num_frames == 2
    np.testing.assert_allclose(sums.probabilities, [1.5, 0.5])
    assert sums.negative_entropy == pytest.approx(-np.log(2))
    both = sums + class_sums([[0.0, 800.0]])
    assert (both.num_frames, both.negative_entropy) == (3, pytest.approx(-np.log(2)))
    np.testing.assert_allclose(both.probabilities, [1.5, 1.5])


def test_fewer_rows_than_splits_are_refused():
    metric = InceptionScore(splits=3, shuffle_seed=42)
    for number in range(2):
        metric.update_features([[1.0, 0.0]], clip=f"c{number}")
    with pytest.raises(ValueError, match="2 rows do not fill 3 splits"):
        metric.compute()
    metric.update_features([[1.0, 0.0]], clip="c2")
    assert metric.compute() == pytest.approx(1.0)
