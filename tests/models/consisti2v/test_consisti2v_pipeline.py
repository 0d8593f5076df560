"""The sampling loop: replayed against the recordings of the original, and with real networks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from i2vbench.models.consisti2v.networks import load_scheduler, load_text_encoder, load_tokenizer
from i2vbench.models.consisti2v.noise import ParityDraws, SampleDraws
from i2vbench.models.consisti2v.pipeline import ConsistI2VPipeline, to_uint8
from i2vbench.models.consisti2v.sampling import Sampling
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

CASES = [
    "autoregress",
    "nocfg_global_rng",
    "pan_right",
    "text_frameinit",
    "textimg_noinit",
    "zoom_in",
]


def relative_error(out, expected):
    return ((out - expected).norm() / expected.norm()).item()


class RecordedUNet(torch.nn.Module):
    """Gives back what the original's network gave, and remembers what it was asked."""

    def __init__(self, tensors, prefix):
        super().__init__()
        self.config = SimpleNamespace(
            n_frames=8, use_frame_stride_condition=True, has_condition_frame=True
        )
        self.conv_in = SimpleNamespace(weight=torch.zeros(1))
        self.calls = []
        self._tensors, self._prefix = tensors, prefix

    def forward(self, sample, timestep, text, *, first_frame_latents, frame_stride):
        self.calls.append((sample, timestep, text, first_frame_latents, frame_stride))
        return self._tensors[f"{self._prefix}.unet.{len(self.calls) - 1}.out"]


class RecordedVAE(torch.nn.Module):
    """Gives back the recorded posterior, and remembers the pixels."""

    dtype = torch.float32
    config = SimpleNamespace(
        block_out_channels=(32, 32, 64, 64), scaling_factor=0.18215, latent_channels=4
    )

    def __init__(self, mean, log_variance):
        super().__init__()
        self.decoder = SimpleNamespace(up_blocks=())
        self.pixels = []
        self._posterior = mean, log_variance

    def encode(self, pixels):
        done = sum(len(chunk) for chunk in self.pixels)
        self.pixels.append(pixels)
        mean, log_variance = (part[done : done + len(pixels)] for part in self._posterior)
        return SimpleNamespace(
            latent_dist=SimpleNamespace(mean=mean, std=torch.exp(log_variance / 2))
        )


def replay(golden, components, name):
    case, tensors = golden.cases[name], golden.tensors
    call, low_pass = case["call"], case["filter"] or {"method": "gaussian", "d_s": 0, "d_t": 0}
    pipeline = ConsistI2VPipeline(
        unet=RecordedUNet(tensors, name),
        vae=RecordedVAE(tensors[f"{name}.posterior.mean"], tensors[f"{name}.posterior.logvar"]),
        text_encoder=load_text_encoder(components / "text_encoder"),
        tokenizer=load_tokenizer(components / "tokenizer"),
        scheduler=load_scheduler(components / "scheduler"),
    )
    sampling = Sampling(
        num_inference_steps=call["num_inference_steps"],
        guidance_scale_text=call["guidance_scale_txt"],
        guidance_scale_image=call["guidance_scale_img"],
        guidance_rescale=call["guidance_rescale"],
        frame_stride=call["frame_stride"],
        frameinit=call["use_frameinit"],
        frameinit_filter=low_pass["method"],
        frameinit_d_s=low_pass["d_s"],
        frameinit_d_t=low_pass["d_t"],
        noise=call["noise_sampling_method"],
        noise_alpha=call["noise_alpha"],
        negative_prompt=call["negative_prompt"],
        camera_motion=call.get("camera_motion") or "static",
    )
    seed = case["generator_seed"]
    draws = ParityDraws(None if seed is None else torch.Generator().manual_seed(seed))
    picture = np.asarray(Image.open(components / call["first_frame_paths"]).convert("RGB"))
    with torch.random.fork_rng():
        torch.manual_seed(case["global_seed"])
        latents = pipeline.sample(
            [call["prompt"]],
            [picture],
            draws,
            sampling,
            height=call["height"],
            width=call["width"],
            num_segments=call.get("autoregress_steps", 1),
        )
    return pipeline, latents


@pytest.mark.parametrize("name", CASES)
def test_recorded_runs(pipeline_cases, components, name):
    pipeline, latents = replay(pipeline_cases, components, name)
    case, tensors, calls = pipeline_cases.cases[name], pipeline_cases.tensors, pipeline.unet.calls
    assert relative_error(latents, tensors[f"{name}.final_latents"]) < 1e-6
    sample, _, text, first_frame, _ = calls[0]
    assert relative_error(sample, tensors[f"{name}.unet.0.sample"]) < 1e-6
    assert relative_error(first_frame, tensors[f"{name}.unet.0.first_frame_latents"]) < 1e-6
    assert relative_error(text, tensors[f"{name}.text_embeddings"]) < 1e-5
    segments = case["call"].get("autoregress_steps", 1)
    assert [call[1].item() for call in calls] == case["timesteps"] * segments
    assert {call[4].item() for call in calls} == {3}
    for key in ("pixels", "pixels.last"):
        if f"{name}.{key}" in tensors:
            expected = tensors[f"{name}.{key}"]
            torch.testing.assert_close(
                pipeline.vae.pixels[-1][-1:], expected, rtol=0, atol=1e-6, msg=key
            )


def test_recorded_steps(pipeline_cases, components):
    """Each step's latents, up to the one that the last call starts from."""
    pipeline, _ = replay(pipeline_cases, components, "text_frameinit")
    for number, call in enumerate(pipeline.unet.calls[1:]):
        expected = pipeline_cases.tensors[f"text_frameinit.step.{number}.latents"]
        assert relative_error(call[0], torch.cat([expected, expected])) < 1e-6


def test_recorded_tokens(pipeline_cases, components):
    """Padding is '!', number 0, as Stable Diffusion 2 has it."""
    tokenizer = load_tokenizer(components / "tokenizer")
    prompt = pipeline_cases.cases["text_frameinit"]["call"]["prompt"]
    tokens = tokenizer([prompt], padding="max_length", max_length=77, return_tensors="pt")
    expected = pipeline_cases.tensors["text_frameinit.input_ids"]
    assert tokens.input_ids.tolist() == expected.tolist()
    assert expected[0, -1] == 0


QUICK = Sampling(num_inference_steps=2, negative_prompt="blurry")


def pictures(count):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 48, 3), dtype=np.uint8) for _ in range(count)]


def sample(pipeline, numbers, sampling=QUICK, **changed):
    """Clips of the numbered samples, in that order, as one batch."""
    frames = pictures(3)
    draws = SampleDraws([torch.Generator().manual_seed(100 + n) for n in numbers])
    return pipeline.sample(
        [f"clip {n}" for n in numbers],
        [frames[n] for n in numbers],
        draws,
        sampling,
        **{"height": 32, "width": 32, **changed},
    )


@pytest.mark.parametrize("image_scale", [1.0, 2.0])
def test_a_clip_does_not_depend_on_its_batch(checkpoint, image_scale):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    sampling = Sampling(num_inference_steps=2, guidance_scale_image=image_scale)
    together = sample(pipeline, [0, 1, 2], sampling)
    assert together.shape == (3, 4, 4, 8, 8)
    assert relative_error(sample(pipeline, [2, 0, 1], sampling)[[1, 2, 0]], together) < 1e-4
    assert relative_error(sample(pipeline, [1], sampling), together[1:2]) < 1e-4
    assert relative_error(together[0], together[1]) > 0.1


def test_twice_the_same_call_is_equal_bit_for_bit(checkpoint):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    assert torch.equal(sample(pipeline, [0, 1]), sample(pipeline, [0, 1]))
    again = ConsistI2VPipeline.from_pretrained(checkpoint)
    assert torch.equal(sample(pipeline, [0, 1]), sample(again, [0, 1]))


def test_global_random_state_is_neither_used_nor_changed(checkpoint):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    before = torch.get_rng_state()
    first = sample(pipeline, [0])
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(sample(pipeline, [0]), first)


def test_long_video_continues_from_the_last_latent(checkpoint):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    one = sample(pipeline, [0])
    three = sample(pipeline, [0], num_segments=3)
    assert three.shape[2] == 3 * 3 + 1
    torch.testing.assert_close(three[:, :, :4], one)


def test_options_reach_the_clip(checkpoint):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    base = sample(pipeline, [0], Sampling(num_inference_steps=2))
    for changed in (
        {"frameinit": False},
        {"frameinit_noise_level": 400},
        {"frameinit_filter": "box"},
        {"frameinit_d_t": 0.8},
        {"noise": "vanilla"},
        {"noise_alpha": 3.0},
        {"frame_stride": 8},
        {"frame_stride": 3.25},
        {"guidance_scale_text": 1.0},
        {"guidance_scale_image": 3.0},
        {"guidance_rescale": 0.7},
        {"negative_prompt": "a dog"},
        {"camera_motion": "zoom_out"},
    ):
        other = sample(pipeline, [0], Sampling(**{"num_inference_steps": 2, **changed}))
        assert relative_error(other, base) > 1e-5, changed


def test_rescale_works_with_image_guidance(checkpoint):
    """The original raises there."""
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    both = {"num_inference_steps": 2, "guidance_scale_image": 3.0}
    plain = sample(pipeline, [0], Sampling(**both))
    rescaled = sample(pipeline, [0], Sampling(**both, guidance_rescale=1.0))
    assert rescaled[:, :, 1:].std() < plain[:, :, 1:].std()


def test_equal_scales_need_no_row_for_the_image_alone(checkpoint):
    """The clip of three rows, from two: scales that differ a little are not the same case."""
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    batches: list[int] = []
    pipeline.unet.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))

    def clip(image_scale: float, **options: float) -> torch.Tensor:
        scales = {"guidance_scale_text": 2.0, "guidance_scale_image": image_scale}
        return sample(pipeline, [0], Sampling(num_inference_steps=2, **scales, **options))

    for options in ({}, {"guidance_rescale": 0.7}):
        batches.clear()
        equal, other = clip(2.0, **options), clip(2.0 + 1e-6, **options)
        assert batches == [2, 2, 3, 3]
        assert relative_error(equal, other) < 1e-4
        assert relative_error(equal, clip(1.0, **options)) > 1e-3


def test_clips_are_uint8_frames(checkpoint):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    draws = SampleDraws([torch.Generator().manual_seed(0)])
    clips = pipeline(["a"], pictures(1), draws, QUICK, height=32, width=48)
    assert clips.dtype == np.uint8
    assert clips.shape == (1, 4, 32, 48, 3)


def test_frames_are_cut_off_not_rounded():
    frames = torch.tensor([0.0, 0.5, 0.9999, 1.0]).reshape(1, 4, 1, 1, 1).expand(1, 4, 3, 1, 1)
    assert to_uint8(frames)[0, :, 0, 0, 0].tolist() == [0, 127, 254, 255]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"height": 30}, "clips of 32x30 pixels: both sides must be multiples of 4"),
        ({"num_segments": 0}, "num_segments=0"),
    ],
)
def test_wrong_calls_are_named(checkpoint, changed, message):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    with pytest.raises(ValueError, match=message):
        sample(pipeline, [0], **changed)


def test_counts_must_agree(checkpoint):
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    with pytest.raises(ValueError, match="2 prompts for 1 first frames"):
        pipeline.sample(["a", "b"], pictures(1), SampleDraws([]), height=32, width=32)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    clips=st.integers(1, 2),
    segments=st.integers(1, 2),
    image_scale=st.sampled_from([1.0, 2.0]),
    picture=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_any_shape(checkpoint, height, width, clips, segments, image_scale, picture):
    """Odd latent sizes, pictures of one pixel, one and two prompts."""
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    made = pipeline(
        ["a"] * clips,
        [np.full((*picture, 3), 99, np.uint8)] * clips,
        SampleDraws([torch.Generator().manual_seed(n) for n in range(clips)]),
        Sampling(num_inference_steps=1, guidance_scale_image=image_scale),
        height=4 * height,
        width=4 * width,
        num_segments=segments,
    )
    assert made.shape == (clips, 3 * segments + 1, 4 * height, 4 * width, 3)


def test_a_network_of_one_frame(checkpoint, small_unet_config):
    """Mode ``none`` with a single frame is an image model."""
    config = {**small_unet_config, "n_frames": 1, "first_frame_condition_mode": "none"}
    pipeline = ConsistI2VPipeline.from_pretrained(checkpoint)
    pipeline.unet = pipeline._predict = ConsistI2VUNet.from_config(config).eval()
    made = pipeline(
        ["a"],
        None,
        SampleDraws([torch.Generator().manual_seed(0)]),
        Sampling(num_inference_steps=1, frameinit=False),
        height=32,
        width=32,
    )
    assert made.shape == (1, 1, 32, 32, 3)
