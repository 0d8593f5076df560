"""FLOPs by hand, against the published network, and against what a run really does."""

import dataclasses

import pytest
import torch
from click.testing import CliRunner

from i2vbench.cli import cli
from i2vbench.model import load_model
from i2vbench.models.consisti2v import adapter as adapter_module
from i2vbench.models.consisti2v.config import UNetConfig
from i2vbench.models.consisti2v.flops import (
    PUBLISHED_UNET,
    Shapes,
    count_unet_flops,
    original_extra_flops,
)
from i2vbench.models.consisti2v.profiling import (
    PUBLISHED_GEOMETRY,
    TABLE_3_TFLOP,
    _compared,
    profile,
)
from i2vbench.profile import ProfileSettings
from i2vbench.profile_measure import count_flops, example_requests

LATENTS = {"height": 32, "width": 32}  # of 256x256 pixels
TERA = 1e12


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch):
    """Neither a cached checkpoint nor a GPU, whatever the machine has."""
    monkeypatch.setattr(adapter_module, "is_cached", lambda *_: False)
    monkeypatch.setattr(adapter_module.torch.cuda, "is_available", lambda: False)


def linear(rows, c_in, c_out):
    return 2 * rows * c_in * c_out


def small_network_by_hand(tokens):
    """One row of the small network on 8x8 latents: C = 32 throughout, T = 4, text width 32."""
    c, t, d = 32, 4, 32

    def resnet(s, c_in=c):
        shortcut = linear(t * s, c_in, c) if c_in != c else 0
        convolutions = linear(t * s, 9 * c_in, c) + linear(t * s, 9 * c, c)
        return convolutions + linear(1, 4 * c, c) + shortcut

    def temporal_convolution(s):
        return 2 * linear(t * s, 3 * c, c)

    def transformer(s, self_attention):
        projections = 2 + 4 + 2  # in and out; q, k, v, out; q and out of the text attention
        text = 2 * linear(tokens, d, c) + 4 * t * s * tokens * c
        feed_forward = linear(t * s, c, 8 * c) + linear(t * s, 4 * c, c)
        return projections * linear(t * s, c, c) + self_attention + text + feed_forward

    def spatial(s):
        return transformer(s, 4 * t * s * (2 * s) * c)  # own frame and first frame

    def temporal(s):
        return transformer(s, 4 * s * t * (t + 8) * c)  # frames and neighbours

    high, low = 64, 16  # pixels
    plain, half = resnet(high) + temporal_convolution(high), resnet(low) + temporal_convolution(low)
    return sum(
        [
            2 * (linear(1, c, 4 * c) + linear(1, 4 * c, 4 * c)),  # step and stride
            linear(t * high, 9 * 4, c),
            plain + linear(t * low, 9 * c, c),
            half + spatial(low) + temporal(low),
            half + spatial(low) + half,
            2 * (resnet(low, 2 * c) + temporal_convolution(low) + spatial(low) + temporal(low)),
            linear(t * low, 16 * c, c),
            2 * (resnet(high, 2 * c) + temporal_convolution(high)),
            linear(t * high, 9 * c, 4),
        ]
    )


@pytest.mark.parametrize("tokens", [7, 40], ids=["explicit attention", "fused attention"])
def test_small_network_by_hand(small_unet, small_unet_config, tokens):
    """On shapes and on the CPU, where few keys take one road of the attention and many another."""
    expected = small_network_by_hand(tokens)
    config = UNetConfig.from_dict(small_unet_config)
    assert count_unet_flops(config, height=8, width=8, num_tokens=tokens) == expected
    arguments = (torch.zeros(1, 4, 3, 8, 8), 500, torch.zeros(1, tokens, 32))
    with torch.inference_mode():
        counted = count_flops(
            lambda: small_unet(
                *arguments, first_frame_latents=torch.zeros(1, 4, 1, 8, 8), frame_stride=3
            )
        )
    assert counted == expected


def test_rows_share_the_embedding_of_step_and_stride_alone(small_unet_config):
    config = UNetConfig.from_dict(small_unet_config)
    one = count_unet_flops(config, height=8, width=8)
    two = count_unet_flops(config, height=8, width=8, num_rows=2)
    num_resnets = 2 + 2 + 4  # down, middle, up
    embedding = 2 * (linear(1, 32, 128) + linear(1, 128, 128)) + num_resnets * linear(1, 128, 32)
    assert 2 * one - two == embedding


def test_published_network_and_the_original_code():
    """4.174 TFLOP here and 5.39 in the original code, both without temporal augmentation.

    The difference is 1.213: text keys and values per pixel (0.901) and per frame (0.059), those of
    the first frame per frame (0.102), and equal pixels of doubled pictures (0.151).
    """
    plain = dataclasses.replace(PUBLISHED_UNET, augment_temporal_attention=False)
    here, extra = count_unet_flops(plain, **LATENTS), original_extra_flops(plain, **LATENTS)
    assert here / TERA == pytest.approx(4.174, abs=0.001)
    assert extra.text_per_pixel / TERA == pytest.approx(0.901, abs=0.001)
    assert extra.text_per_frame / TERA == pytest.approx(0.059, abs=0.001)
    assert extra.first_frame_per_frame / TERA == pytest.approx(0.102, abs=0.001)
    assert extra.neighbours_per_pixel == 0
    assert extra.doubled_pictures / TERA == pytest.approx(0.151, abs=0.001)
    assert (here + extra.total) / TERA == pytest.approx(5.39, rel=0.002)


def test_augmentation_adds_one_percent_to_the_original_code():
    here = count_unet_flops(PUBLISHED_UNET, **LATENTS)
    extra = original_extra_flops(PUBLISHED_UNET, **LATENTS)
    assert here / TERA == pytest.approx(4.175, abs=0.001)
    assert (here + extra.total) / TERA == pytest.approx(5.39 * 1.01, rel=0.002)


def test_rows_of_table_3_differ_by_the_projections_of_the_original_code():
    """5.168, without temporal conditioning 5.117, without spatial conditioning either 5.015."""
    extra = original_extra_flops(PUBLISHED_UNET, **LATENTS)
    assert extra.neighbours_per_pixel / TERA == pytest.approx(5.168 - 5.117, abs=0.001)
    assert extra.first_frame_per_frame / TERA == pytest.approx(5.117 - 5.015, abs=0.001)


def test_published_model_is_counted_without_its_files():
    model = load_model("consisti2v", {"checkpoint": "published"})
    counted = profile(model, ProfileSettings(count_only=True))
    numbers = {part.name: part for part in counted.parts}
    assert numbers["UNet"].num_parameters == 1_249_975_241
    assert numbers["text encoder"].num_parameters == 340_387_840
    vae = [numbers[name].num_parameters for name in ("VAE encoder", "VAE decoder")]
    assert sum(vae) == 83_653_863
    assert counted.num_parameters == 1_249_975_241 + 340_387_840 + 83_653_863
    assert counted.num_temporal_parameters == 384_064_517
    assert numbers["VAE encoder"].flops_per_clip / TERA == pytest.approx(0.27, abs=0.005)
    assert numbers["VAE decoder"].flops_per_clip / TERA == pytest.approx(
        16 * (0.62 - 0.0966), rel=0.01
    )
    # Two rows, for text guidance.
    assert counted.flops_per_step / TERA == pytest.approx(2 * 4.175, abs=0.001)
    assert counted.num_steps == 50
    assert counted.flops_per_clip / TERA == pytest.approx(426.3, abs=0.1)
    assert (counted.device, counted.seconds_per_clip, counted.peak_memory_mib) == ("", None, None)
    assert f"{TABLE_3_TFLOP} TFLOP per UNet pass" in counted.notes[1]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"num_inference_steps": 10}, 10),
        ({"num_inference_steps": 10, "segments": 3}, 30),
        ({"num_inference_steps": 10, "frameinit_iterations": 2}, 20),
        ({"num_inference_steps": 10, "scheduler": "heun"}, 19),
    ],
)
def test_steps_are_evaluations_of_the_network(checkpoint, options, steps):
    model = load_model("consisti2v", {"checkpoint": str(checkpoint), **options})
    counted = profile(model, ProfileSettings(count_only=True))
    assert counted.num_steps == steps
    assert counted.parts[2].flops_per_clip == steps * counted.flops_per_step


def test_only_the_published_network_at_its_size_is_compared(small_unet_config):
    """(The published pair is among the notes of the published model, above.)"""
    small = dataclasses.replace(PUBLISHED_GEOMETRY, height=128, width=128)
    assert _compared(PUBLISHED_UNET, small) == []
    assert _compared(UNetConfig.from_dict(small_unet_config), PUBLISHED_GEOMETRY) == []


@pytest.mark.parametrize(
    "options",
    [{}, {"guidance_scale_image": 2.0}, {"segments": 2}, {"camera_motion": "pan_left"}],
    ids=str,
)
def test_the_count_is_that_of_a_run(checkpoint, options):
    model = load_model(
        "consisti2v", {"checkpoint": str(checkpoint), "num_inference_steps": 2, **options}
    )
    counted = profile(model, ProfileSettings(count_only=True))
    _ = model.pipeline
    requests = example_requests(model.geometry, 1)
    real = count_flops(lambda: list(model.generate(requests)))
    assert counted.flops_per_clip == real


def test_command_counts_the_published_model_without_its_files():
    arguments = ["profile", "-m", "consisti2v", "-a", "checkpoint=published", "--count-only"]
    result = CliRunner().invoke(cli, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "8.35 TFLOP per step, 426.3 TFLOP per clip of 50 steps" in result.stdout
    assert "5.168 TFLOP per UNet pass" in result.stdout


def test_seconds_are_those_of_the_parts(checkpoint):
    model = load_model("consisti2v", {"checkpoint": str(checkpoint), "num_inference_steps": 4})
    measured = profile(model, ProfileSettings(num_steps=2, batch_size=2))
    assert (measured.num_steps, measured.num_timed_steps) == (4, 2)
    assert "2 of 4 steps were timed" in measured.notes
    names = [part.name for part in measured.parts]
    assert names == ["text encoder", "VAE encoder", "UNet", "VAE decoder", "other"]
    seconds = [part.seconds_per_clip for part in measured.parts]
    assert all(second > 0 for second in seconds)
    assert measured.seconds_per_clip == pytest.approx(sum(seconds))
    assert measured.seconds_per_step == pytest.approx(seconds[2] / 4)
    assert measured.device
    assert measured.dtype == "fp32"
    # What was shortened for the clock is the model's own again.
    assert model.sampling.num_inference_steps == 4


def test_shapes_are_read_from_a_folder(checkpoint, small_unet_config):
    shapes = Shapes.read(checkpoint)
    assert shapes.unet == UNetConfig.from_dict(small_unet_config)
    assert shapes.vae_factor == 4
