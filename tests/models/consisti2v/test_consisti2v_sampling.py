"""The range of every sampling option, both ends included, and the published values."""

import json
from dataclasses import asdict

import pytest

from i2vbench.errors import UserError
from i2vbench.models.consisti2v.sampling import CheckpointSampling, Sampling

RANGES = {
    "num_inference_steps": (1, 999),
    "guidance_scale_text": (0, 1000),
    "guidance_scale_image": (0, 1000),
    "guidance_rescale": (0, 1),
    "frame_stride": (1, 1000),
    "frameinit_noise_level": (0, 999),
    "frameinit_d_s": (0, 2),
    "frameinit_d_t": (0, 2),
    "frameinit_iterations": (1, 100),
    "noise_alpha": (0, 1000),
}
INTEGERS = {"num_inference_steps", "frameinit_noise_level", "frameinit_iterations"}


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_are_taken_and_nothing_beyond(name):
    low, high = RANGES[name]
    step, what = (1, "an integer") if name in INTEGERS else (0.001, "a number")
    for value in (low, high):
        assert asdict(Sampling(**{name: value}))[name] == value
    for value in (low - step, high + step, True, "1", None):
        with pytest.raises(UserError) as caught:
            Sampling(**{name: value})
        assert str(caught.value) == f"{name}={value!r}; accepted: {what} from {low} to {high}"
    if name in INTEGERS:
        with pytest.raises(UserError, match="accepted: an integer"):
            Sampling(**{name: float(high)})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("frameinit", 1, "frameinit=1; accepted: true or false"),
        ("negative_prompt", None, "negative_prompt=None; accepted: a text"),
        ("frameinit_filter", "", "frameinit_filter='': "),
        ("noise", "", "noise='': "),
        ("camera_motion", "", "camera_motion='': "),
    ],
)
def test_words_that_are_not_accepted(name, value, message):
    with pytest.raises(UserError, match=message):
        Sampling(**{name: value})


def test_the_scales_reach_the_guidance():
    made = Sampling(guidance_scale_text=2.0, guidance_scale_image=3.0, guidance_rescale=0.5)
    guidance = made.guidance
    assert (guidance.text_scale, guidance.image_scale, guidance.rescale) == (2.0, 3.0, 0.5)


def read(folder, content):
    (folder / "sampling.json").write_text(
        content if isinstance(content, str) else json.dumps(content)
    )
    return CheckpointSampling.read(folder)


def test_a_checkpoint_without_the_file_has_the_published_values(tmp_path):
    own = CheckpointSampling.read(tmp_path)
    assert (own.values, own.fps, own.height, own.width) == ({}, 8.0, None, None)


def test_a_checkpoint_says_what_differs(tmp_path):
    own = read(tmp_path, {"noise_alpha": 2.0, "fps": 7.5, "width": 320})
    assert (own.values, own.fps, own.height, own.width) == ({"noise_alpha": 2.0}, 7.5, None, 320)
    assert read(tmp_path, {"fps": 1, "height": 10_000, "width": 1}).height == 10_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "sampling.json is not JSON"),
        ('"text"', "sampling.json holds str; accepted: an object"),
        ({"fps": 0.5}, "sampling.json: fps=0.5; accepted: a number from 1 to 10000"),
        ({"fps": 10_001}, "sampling.json: fps=10001; accepted"),
        ({"height": 64.0}, "sampling.json: height=64.0; accepted: an integer from 1 to 10000"),
        ({"width": 0}, "sampling.json: width=0; accepted: an integer"),
        ({"noise_alpha": -1}, "sampling.json: noise_alpha=-1; accepted"),
        ({"noise_alfa": 1}, "sampling.json: unknown key 'noise_alfa': did you mean 'noise_alpha'"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, content)
