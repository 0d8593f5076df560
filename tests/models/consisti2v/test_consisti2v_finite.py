"""A network that gives NaN or infinity is an error, never a black or white clip."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from i2vbench.models.consisti2v.finite import all_finite, require_finite, require_finite_steps
from i2vbench.models.consisti2v.noise import SampleDraws
from i2vbench.models.consisti2v.pipeline import ConsistI2VPipeline
from i2vbench.models.consisti2v.sampling import Sampling
from i2vbench.models.consisti2v.text_to_image import _only_picture
from i2vbench.models.consisti2v.training.recipe import load_recipe
from i2vbench.models.consisti2v.training.validation import Validation

PICTURE = np.full((40, 48, 3), 90, np.uint8)


def clip(pipeline, **options):
    return pipeline(
        ["a"],
        [PICTURE],
        SampleDraws([torch.Generator().manual_seed(0)]),
        Sampling(num_inference_steps=3, **options),
        height=32,
        width=32,
    )


@pytest.fixture
def pipeline(checkpoint):
    return ConsistI2VPipeline.from_pretrained(checkpoint)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("part", "parameter", "message"),
    [
        ("unet", "conv_out.bias", r"the network gave NaN .*\(UNet, at step 1 of 3\)"),
        ("vae", "decoder.conv_out.bias", r"the network gave NaN .*\(decoder\)"),
        ("vae", "quant_conv.bias", r"the network gave NaN .*\(encoder of the first frame\)"),
        ("text_encoder", "final_layer_norm.bias", r"the network gave NaN .*\(text encoder\)"),
    ],
)
def test_each_network_is_looked_at(pipeline, part, parameter, value, message):
    found = getattr(pipeline, part).named_parameters()
    with torch.no_grad():
        next(tensor for name, tensor in found if name.endswith(parameter))[0] = value
    with pytest.raises(FloatingPointError, match=message):
        clip(pipeline)


def test_the_first_bad_step_is_named(pipeline):
    """Later steps are NaN too, for they start from the latents of this one."""
    predict, calls = pipeline.unet, []

    def diverging(*args, **kwargs):
        calls.append(args)
        return predict(*args, **kwargs) * (float("nan") if len(calls) == 2 else 1.0)

    pipeline._predict = diverging
    with pytest.raises(FloatingPointError, match="UNet, at step 2 of 3"):
        clip(pipeline)
    assert len(calls) == 3


def test_numbers_that_only_guidance_makes_infinite(pipeline):
    """Rows of the UNet that are finite, and whose guided sum is not."""
    far = torch.tensor([-3e38, 3e38])[:, None, None, None, None]
    pipeline._predict = lambda rows, *_, **__: far.expand_as(rows)
    with pytest.raises(FloatingPointError, match="UNet, after guidance and the last step"):
        clip(pipeline)


def test_every_round_of_frameinit_is_looked_at(pipeline):
    predict, calls = pipeline.unet, []

    def diverging(*args, **kwargs):
        calls.append(args)
        return predict(*args, **kwargs) * (float("inf") if len(calls) == 4 else 1.0)

    pipeline._predict = diverging
    with pytest.raises(FloatingPointError, match="UNet, at step 1 of 3"):
        clip(pipeline, frameinit_iterations=2)


def test_finite_numbers_pass():
    require_finite(torch.tensor([1e30, -1e30]), "x")
    require_finite(np.zeros((2, 2)), "x")
    require_finite_steps([torch.tensor(True)] * 2)
    for value in (float("nan"), float("inf"), float("-inf")):
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            bad = torch.zeros(3, 5, 77, dtype=dtype)
            bad[1, 3, 50] = value
            assert not all_finite(bad)
            assert not all_finite(bad.transpose(0, 2)[50])
            assert all_finite(bad[:, :, :50])
    with pytest.raises(FloatingPointError, match=r"\(x\)"):
        require_finite(np.array([0.0, np.nan]), "x")


def test_drawn_first_frames_are_looked_at():
    made = SimpleNamespace(images=[np.full((4, 4, 3), 0.5)])
    assert (_only_picture(made, "source") == 128).all()
    made.images[0][0, 0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="text-to-image pipeline"):
        _only_picture(made, "source")


def test_a_diverged_preview_is_a_warning_of_the_training(pipeline, tmp_path, caplog):
    """The training goes on to its own look at the loss, and draws no black picture."""
    recipe = load_recipe(
        None,
        {
            "webvid_json": "unused.json",
            "validation_prompts": ["a"],
            "validation_first_frames": ["unused.png"],
            "validation_inference_steps": 2,
            "size_px": 32,
        },
    )
    preview = Validation.__new__(Validation)
    preview._recipe, preview._prompts, preview._first_frames = recipe, ["a"], [PICTURE]
    preview.run(pipeline, tmp_path / "step-1")
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-1.gif", "step-1.png"]
    with torch.no_grad():
        pipeline.unet.conv_out.bias[0] = float("nan")
    with caplog.at_level(logging.WARNING):
        preview.run(pipeline, tmp_path / "step-2")
    assert "no validation clips for step-2: the network gave NaN" in caplog.text
    assert not list(tmp_path.glob("step-2*"))
