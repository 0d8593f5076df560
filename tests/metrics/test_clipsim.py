"""CLIPSIM."""

from __future__ import annotations

import numpy as np
import pytest

from i2vbench.clip import Clip
from i2vbench.metric import Example
from i2vbench.metrics.clipsim import CLIPSIM, clip_similarity


def an_example(frames_TD, text_D, prompt="a red circle") -> Example:
    clip = Clip(frames=np.zeros((len(frames_TD), 8, 8, 3), np.uint8), fps=8)
    features = {"tiny-clip": {"frames": np.asarray(frames_TD), "text": np.asarray(text_D)}}
    return Example(sample_id="s7", take=0, clip=clip, prompt=prompt, features=features)


def test_the_value_by_hand():
    # Cosines with (3, 4): 3/5, 4/5 and -1.
    frames = np.array([[2.0, 0.0], [0.0, 0.5], [-3.0, -4.0]])
    assert clip_similarity(frames, np.array([3.0, 4.0])) == pytest.approx((0.6 + 0.8 - 1) / 3)


def test_lengths_do_not_matter():
    rng = np.random.default_rng(0)
    frames, text = rng.normal(size=(5, 8)), rng.normal(size=8)
    scaled = clip_similarity(frames * rng.uniform(1, 5, (5, 1)), 3 * text)
    assert scaled == pytest.approx(clip_similarity(frames, text), abs=1e-12)


def test_negative_similarity_stays_negative():
    assert clip_similarity(np.array([[1.0, 0.0]]), np.array([-1.0, 0.0])) == -1.0


@pytest.mark.parametrize(
    ("frames", "text"), [((2, 3), (4,)), ((0, 3), (3,)), ((3,), (3,)), ((2, 3), (1, 3))]
)
def test_shapes_that_do_not_fit_are_refused(frames, text):
    with pytest.raises(ValueError, match=r"\(T, D\) and \(D,\)"):
        clip_similarity(np.ones(frames), np.ones(text))


def test_the_mean_over_clips_is_of_their_means():
    metric = CLIPSIM()
    metric.update([an_example([[1.0, 0.0]], [1.0, 0.0]), an_example([[0.0, 1.0]] * 3, [1.0, 0.0])])
    assert metric.compute() == 0.5


def test_an_example_without_a_prompt_is_refused_by_name():
    with pytest.raises(ValueError, match="s7: clipsim needs a prompt"):
        CLIPSIM().score_clip(an_example([[1.0, 0.0]], [1.0, 0.0], prompt=""))


def test_it_says_what_it_needs():
    assert CLIPSIM.needs == {"prompt"}
    assert CLIPSIM.extractors == ("tiny-clip",)
    assert CLIPSIM.higher_is_better
