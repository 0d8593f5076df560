"""Motions that are read from pixels: those of real scenes, of frozen ones and of wrong ones."""

from dataclasses import replace

import numpy as np
import pytest

from i2vbench.clip import Clip
from i2vbench.metric import Example
from i2vbench.metrics.motion_following import MotionFollowing, read_motion
from i2vbench.suites import load_suite
from i2vbench.suites.playground.rendering import render
from i2vbench.suites.playground.scenes import scene_from_seed
from i2vbench.suites.playground.seeds import VALIDATION_SEED_START

SCENES = [scene_from_seed(VALIDATION_SEED_START + index) for index in range(24)]


def example(sample_id, frames, **extra):
    return Example(sample_id=sample_id, take=0, clip=Clip(frames=frames, fps=8.0), extra=extra)


@pytest.mark.parametrize("stride", [3.0, 1.0])
def test_real_scenes_are_read_as_they_are(stride):
    """At the reference's speed and at a third of it."""
    seen = [read_motion(render(scene, 16, 64, 64, stride), scene) for scene in SCENES]
    right = [s == (scene.motion, scene.camera) for s, scene in zip(seen, SCENES, strict=True)]
    assert sum(right) >= 22


def test_another_motion_is_read_as_that():
    """The clip decides, not the scene that was asked for."""
    asked = replace(SCENES[0], camera="static")
    for motion in ("translate-left", "translate-up", "rotate-clockwise", "grow", "still"):
        subject = replace(asked.shapes[0], motion=motion, kind="square", pattern="checkered")
        drawn = replace(asked, shapes=(subject,))
        wanted = replace(drawn, shapes=(replace(subject, motion="translate-right"),))
        assert read_motion(render(drawn, 16, 64, 64), wanted) == (motion, "static")


def test_a_frozen_clip_follows_nothing_and_the_real_one_what_is_asked():
    metric = MotionFollowing()
    samples = [s for s in load_suite("playground").samples if s.id in ("scene-000", "scene-003")]
    assert len(samples) == 2
    for sample in samples:
        scene = scene_from_seed(int(sample.extra["seed"]))
        real = render(scene, 16, 64, 64)
        assert metric.score_clip(example(sample.id, real, **sample.extra)) == 1.0
        frozen = np.repeat(real[:1], 16, axis=0)
        assert metric.score_clip(example(sample.id, frozen, **sample.extra)) == 0.0


def test_what_is_no_scene_is_refused():
    frames = render(SCENES[0], 16, 64, 64)
    with pytest.raises(ValueError, match=r"'x' is no scene of the playground: motion 'waving'"):
        MotionFollowing().score_clip(example("x", frames, seed=3, motion="waving", camera="static"))
    with pytest.raises(ValueError, match="at least 4 frames, got 3"):
        read_motion(frames[:3], SCENES[0])
