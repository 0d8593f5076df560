"""The adapter: which checkpoint, which options, and that a clip is its request's alone."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from i2vbench.clip import Geometry
from i2vbench.errors import UserError
from i2vbench.model import Request, load_model
from i2vbench.models.consisti2v import adapter as module
from i2vbench.sample import Sample

GEOMETRY = Geometry(num_frames=4, height=32, width=32, fps=8)


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch):
    """Neither a cached checkpoint nor a GPU, whatever the machine has."""
    monkeypatch.setattr(module, "is_cached", lambda *_: False)
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)


def request(number, geometry=GEOMETRY, *, seed=0, with_picture=True):
    def first_frame(_):
        return np.random.default_rng(number).integers(0, 256, (32, 40, 3), dtype=np.uint8)

    sample = Sample(
        id=f"s{number}",
        prompt=f"clip {number}",
        load_first_frame=first_frame if with_picture else None,
    )
    return Request(sample=sample, take=0, seed=seed, geometry=geometry)


def load(checkpoint, **options):
    return load_model(
        "consisti2v", {"checkpoint": str(checkpoint), "num_inference_steps": 2, **options}
    )


def test_the_tiny_checkpoint_is_taken_on_a_bare_machine():
    model = load_model("consisti2v")
    card = model.describe()
    assert card.name == "consisti2v-tiny"
    assert card.notes[0].startswith("the embedded tiny checkpoint: TIGER-Lab/ConsistI2V is not in")
    assert card.num_parameters > 1e6
    assert len(card.weights) == 64


def test_the_published_checkpoint_is_taken_where_it_is_or_can_run(monkeypatch):
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: True)
    choice = module.choose_checkpoint(None, None)
    assert (choice.name, choice.source) == ("consisti2v", "TIGER-Lab/ConsistI2V")
    assert choice.reason.endswith("a CUDA device is there")
    monkeypatch.setattr(module, "is_cached", lambda *_: True)
    assert module.choose_checkpoint(None, None).reason.endswith("it is in the Hugging Face cache")
    assert module.choose_checkpoint("tiny", None).name == "consisti2v-tiny"
    assert module.choose_checkpoint("published", None).source == "TIGER-Lab/ConsistI2V"


def test_a_revision_needs_a_repository():
    with pytest.raises(UserError, match="revision='v1' without a Hugging Face checkpoint"):
        module.choose_checkpoint("tiny", "v1")


def test_published_defaults_then_the_checkpoints_then_the_users(checkpoint):
    assert load_model("consisti2v", {"checkpoint": str(checkpoint)}).describe().options == {
        "num_inference_steps": 50,
        "scheduler": "ddim",
        "guidance_scale_text": 7.5,
        "guidance_scale_image": 1.0,
        "guidance_rescale": 0.0,
        "frame_stride": 3,
        "frameinit": True,
        "frameinit_noise_level": 850,
        "frameinit_filter": "gaussian",
        "frameinit_d_s": 0.25,
        "frameinit_d_t": 0.25,
        "frameinit_iterations": 1,
        "noise": "pyoco_mixed",
        "noise_alpha": 1.0,
        "negative_prompt": "",
        "camera_motion": "static",
    }
    own = {"num_inference_steps": 20, "guidance_scale_text": 3.0, "fps": 6, "height": 24}
    (checkpoint / "sampling.json").write_text(json.dumps(own))
    model = load(checkpoint, guidance_scale_text=1.5, frameinit=False)
    options = model.describe().options
    assert options["num_inference_steps"] == 2
    assert options["guidance_scale_text"] == 1.5
    assert options["frameinit"] is False
    assert (
        load_model("consisti2v", {"checkpoint": str(checkpoint)}).sampling.num_inference_steps == 20
    )
    assert model.geometry == Geometry(num_frames=4, height=24, width=32, fps=6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"steps": 3}, "sampling.json: unknown key 'steps'"),
        ({"frame_stride": 0}, "sampling.json: frame_stride=0; accepted: a number from 1 to"),
        ({"fps": "8"}, "sampling.json: fps='8'; accepted: a number"),
        ([], "sampling.json holds list"),
    ],
)
def test_wrong_sampling_files_are_named(checkpoint, content, message):
    (checkpoint / "sampling.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        load(checkpoint).describe()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 3}, "'num_steps' is unknown"),
        ({"num_inference_steps": 1000}, "num_inference_steps=1000; accepted: an integer from 1"),
        (
            {"num_inference_steps": 2.5},
            "num_inference_steps=2.5 is a number; accepted: a whole number",
        ),
        ({"guidance_rescale": 2}, r"guidance_rescale=2\.0; accepted: a number from 0 to 1"),
        ({"frameinit_filter": "gauss"}, "did you mean 'gaussian'"),
        ({"noise": "white"}, "accepted: pyoco_mixed, pyoco_progressive, vanilla"),
        ({"frameinit": "yes"}, "frameinit='yes' is text; accepted: true or false"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        load_model("consisti2v", options)


def test_clips_do_not_depend_on_batch_or_order(checkpoint):
    model = load(checkpoint)
    clips = list(model.generate([request(0), request(1), request(2)]))
    assert [clip.geometry for clip in clips] == [GEOMETRY] * 3
    turned = list(model.generate([request(2), request(0)]))
    for one, other in ((clips[0], turned[1]), (clips[2], turned[0])):
        assert np.abs(one.frames.astype(int) - other.frames.astype(int)).max() <= 1
    (other_seed,) = model.generate([request(0, seed=1)])
    assert (other_seed.frames != clips[0].frames).mean() > 0.1


def test_long_clips_and_mixed_geometries(checkpoint):
    model = load(checkpoint)
    long = Geometry(num_frames=7, height=32, width=40, fps=8)
    clips = list(model.generate([request(0), request(1, long), request(2)]))
    assert [clip.geometry for clip in clips] == [GEOMETRY, long, GEOMETRY]


def test_requests_that_cannot_be_met(checkpoint):
    model = load(checkpoint)
    wrong = Geometry(num_frames=5, height=32, width=32, fps=8)
    with pytest.raises(
        ValueError, match=r"clips of 5 frames; consisti2v makes 4, or longer .* 7, 10"
    ):
        list(model.generate([request(0, wrong)]))
    with pytest.raises(ValueError, match="sample 's0' has no first frame"):
        list(model.generate([request(0, with_picture=False)]))


def test_the_tiny_checkpoint_makes_clips():
    model = load_model("consisti2v", {"num_inference_steps": 1})
    (clip,) = model.generate([request(0, model.geometry)])
    assert clip.geometry == model.geometry
    assert clip.geometry.height == 64


def test_pickled_checkpoints_are_read_only_when_asked(checkpoint):
    expected = [clip.frames for clip in load(checkpoint).generate([request(1)])]
    stored = checkpoint / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(stored), stored.with_suffix(".bin"))
    stored.unlink()
    with pytest.raises(UserError, match=r"\.bin files only with allow_pickle"):
        list(load(checkpoint).generate([request(1)]))
    model = load(checkpoint, allow_pickle=True)
    assert model.describe().num_parameters > 0
    assert np.array_equal([clip.frames for clip in model.generate([request(1)])], expected)
