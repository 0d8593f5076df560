"""Every metric on clips that are too short, too small or too long a side: a number or one line."""

from __future__ import annotations

import math

import numpy as np
import pytest

from i2vbench.clip import Clip
from i2vbench.errors import MissingPackageError, MissingWeightsError
from i2vbench.metric import ClipMetric, Example
from i2vbench.registry import METRICS
from i2vbench.suites.playground.scenes import scene_from_seed

CLIP_METRICS = [
    entry.name
    for entry in METRICS.entries()
    if entry.source == "built in" and issubclass(METRICS.load(entry.name), ClipMetric)
]
LEAST_FRAMES = {
    "background_consistency": 2,
    "camera_motion": 2,
    "dynamic_degree": 2,
    "i2v_background": 2,
    "i2v_subject": 2,
    "lpips_first_frame": 2,
    "motion_following": 4,
    "motion_smoothness": 3,
    "subject_consistency": 2,
    "temporal_flickering": 2,
}
"""Of the other metrics a single frame has a score."""


def an_example(num_frames, height=40, width=48):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
    clip = Clip(frames=frames, fps=8)
    scene = scene_from_seed(0)
    return Example(
        sample_id="s",
        take=0,
        clip=clip,
        prompt="a red ball",
        first_frame=frames[0],
        reference=clip,
        extra={
            "seed": 0,
            "motion": scene.motion,
            "camera": scene.camera,
            "camera_motion": "static",
        },
    )


def outcome(name, example):
    """The score, or the one line that says why there is none."""
    try:
        score = METRICS.load(name)().checked_score(example)
    except (MissingWeightsError, MissingPackageError) as error:
        pytest.skip(str(error).splitlines()[0])
    except ValueError as error:
        return str(error)
    assert math.isfinite(score)
    return score


@pytest.mark.parametrize(("name", "least"), LEAST_FRAMES.items())
def test_a_clip_with_too_few_frames_is_refused_before_any_network_runs(name, least):
    """No features are given: a metric that looked at them first would load its network."""
    said = outcome(name, an_example(least - 1))
    assert f"at least {least} frames, got {least - 1}" in said


@pytest.mark.parametrize("name", sorted(set(CLIP_METRICS) - {"camera_motion"}))
def test_the_least_number_of_frames_is_enough(name):
    score = outcome(name, an_example(LEAST_FRAMES.get(name, 1)))
    assert isinstance(score, float), score


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 2048)])
@pytest.mark.parametrize("name", CLIP_METRICS)
def test_odd_sizes_give_a_number_or_one_line(name, height, width):
    said = outcome(name, an_example(4, height, width))
    assert isinstance(said, float) or len(said.splitlines()) == 1


def test_a_side_that_opencv_cannot_take_is_named():
    said = outcome("dynamic_degree", an_example(2, 8, 2048))
    assert "at most 32766 px a side" in said
    assert "2048x8 would be 65536x256" in said
