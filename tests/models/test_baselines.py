"""The two baseline models."""

import numpy as np
import pytest

from i2vbench.clip import Clip, Geometry
from i2vbench.errors import UnreadableClipError, UserError
from i2vbench.model import Request, load_model
from i2vbench.sample import Sample

GEOMETRY = Geometry(num_frames=3, height=16, width=24, fps=5)


def request(num_frames=5, size=(16, 24)):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (num_frames, *size, 3), dtype=np.uint8)
    sample = Sample(
        id="a",
        load_first_frame=lambda _: frames[0],
        load_reference=lambda _: Clip(frames=frames, fps=25),
    )
    return Request(sample=sample, take=0, seed=0, geometry=GEOMETRY), frames


def test_static_repeats_the_first_frame():
    asked, frames = request()
    (clip,) = load_model("static").generate([asked])
    assert clip.geometry == GEOMETRY
    assert np.array_equal(clip.frames, np.stack([frames[0]] * 3))


def test_reference_is_the_real_clip():
    asked, frames = request()
    (clip,) = load_model("reference").generate([asked])
    assert clip.geometry == GEOMETRY
    assert np.array_equal(clip.frames, frames[:3])


def test_reference_is_fitted_to_the_asked_size():
    asked, _ = request(size=(64, 64))
    (clip,) = load_model("reference").generate([asked])
    assert clip.geometry == GEOMETRY


def test_a_real_clip_may_be_too_short():
    asked, _ = request(num_frames=2)
    with pytest.raises(UnreadableClipError, match="the real clip of a has 2 frames, 3 are asked"):
        list(load_model("reference").generate([asked]))


@pytest.mark.parametrize("name", ["static", "reference"])
def test_geometry_is_an_option(name):
    model = load_model(name, {"num_frames": 8, "fps": 4})
    assert model.geometry == Geometry(num_frames=8, height=64, width=64, fps=4)
    assert model.describe().name == name
    with pytest.raises(UserError, match="num_frames must be positive"):
        load_model(name, {"num_frames": 0})
