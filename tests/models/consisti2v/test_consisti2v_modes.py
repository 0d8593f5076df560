"""Every way to use the model: schedulers, long video, text to video, camera, placement, compile."""

import json
import weakref

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from i2vbench.clip import Geometry
from i2vbench.errors import MissingWeightsError, UserError
from i2vbench.model import Request, load_model
from i2vbench.models.consisti2v import pipeline as pipeline_module
from i2vbench.models.consisti2v.networks import load_text_encoder, load_tokenizer, load_vae
from i2vbench.models.consisti2v.noise import SampleDraws, initial_noise
from i2vbench.models.consisti2v.pipeline import ConsistI2VPipeline
from i2vbench.models.consisti2v.sampling import Sampling
from i2vbench.models.consisti2v.schedulers import SCHEDULERS, build_scheduler
from i2vbench.models.consisti2v.unet import ConsistI2VUNet
from i2vbench.sample import Sample

GEOMETRY = Geometry(num_frames=4, height=32, width=32, fps=8)
QUICK = {"num_inference_steps": 2, "guidance_scale_text": 2.0}


def relative_error(out, expected):
    return ((out - expected).norm() / expected.norm()).item()


def picture(number, size=(40, 48)):
    return np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)


def draws_of(numbers):
    return SampleDraws([torch.Generator().manual_seed(100 + n) for n in numbers])


def sample(pipeline, numbers, sampling, **changed):
    return pipeline.sample(
        [f"clip {n}" for n in numbers],
        [picture(n) for n in numbers],
        draws_of(numbers),
        sampling,
        **{"height": 32, "width": 32, **changed},
    )


def request(number, geometry=GEOMETRY, *, with_picture=True):
    def first_frame(_):
        return picture(number)

    content = Sample(
        id=f"s{number}",
        prompt=f"clip {number}",
        load_first_frame=first_frame if with_picture else None,
    )
    return Request(sample=content, take=0, seed=0, geometry=geometry)


@pytest.fixture
def pipeline(checkpoint):
    return ConsistI2VPipeline.from_pretrained(checkpoint)


def test_six_clips_however_they_are_batched(pipeline):
    """The noise contract: bits of noise, and latents, follow from the sample alone."""
    sampling, everyone = Sampling(**QUICK), list(range(6))
    shape = (4, 4, 8, 8)

    def made(order, size):
        latents, noise = {}, {}
        for start in range(0, 6, size):
            batch = order[start : start + size]
            for n, clip in zip(batch, sample(pipeline, batch, sampling), strict=True):
                latents[n] = clip
            draws = draws_of(batch)
            posterior = draws.posterior((len(batch), 4, 8, 8))
            initial = initial_noise("pyoco_mixed", 1.0, (len(batch), *shape), draws)
            for n, *bits in zip(batch, posterior, initial, strict=True):
                noise[n] = bits
        return latents, noise

    expected, bits = made(everyone, 1)
    for order, size in ((everyone, 2), (everyone, 3), (everyone[::-1], 1), (everyone[::-1], 3)):
        latents, noise = made(order, size)
        for n in everyone:
            assert relative_error(latents[n], expected[n]) < 1e-4
            assert all(torch.equal(a, b) for a, b in zip(noise[n], bits[n], strict=True))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_give_each_clip_its_own_noise(pipeline, name):
    sampling = Sampling(**{**QUICK, "num_inference_steps": 4, "scheduler": name})
    together = sample(pipeline, [0, 1], sampling)
    assert together.isfinite().all()
    assert relative_error(sample(pipeline, [1], sampling), together[1:]) < 1e-4
    published = sample(pipeline, [0, 1], Sampling(**{**QUICK, "num_inference_steps": 4}))
    # Euler's is the same step in other variables.
    assert (relative_error(together, published) < 1e-5) == (name in ("ddim", "euler"))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_find_the_clip_that_a_perfect_network_knows(pipeline, name):
    """A network that knows the clean clip leads every scheduler to it."""
    clean = torch.randn(1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    scheduler = build_scheduler(name, pipeline.scheduler)

    def perfect(noisy, step, *_, **__):
        a = pipeline.scheduler.alphas_cumprod[int(step)]
        return (noisy - a.sqrt() * clean) / (1 - a).sqrt()

    pipeline._predict = perfect
    sampling = Sampling(
        num_inference_steps=30, guidance_scale_text=1.0, scheduler=name, frameinit=False
    )
    latents = sample(pipeline, [0], sampling)
    assert relative_error(latents[:, :, 1:], clean) < 0.05, type(scheduler).__name__


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dpm", "accepted: ddim, ddpm"),
        ("NoSuchScheduler", "is not in diffusers"),
        ("FlowMatchEulerDiscreteScheduler", "is for another kind of network"),
        (3, "scheduler=3"),
    ],
)
def test_wrong_schedulers_are_named(pipeline, name, message):
    with pytest.raises(UserError, match=message):
        build_scheduler(Sampling(scheduler=name).scheduler, pipeline.scheduler)


def test_a_scheduler_shows_on_the_card(checkpoint):
    card = load_model("consisti2v", {"checkpoint": str(checkpoint), "scheduler": "dpmpp"})
    assert card.describe().options["scheduler"] == "dpmpp"
    assert "scheduler dpmpp; the published one is ddim" in card.describe().notes


def test_iterated_frameinit_keeps_the_first_frame(pipeline):
    one = sample(pipeline, [0, 1], Sampling(**QUICK))
    three = sample(pipeline, [0, 1], Sampling(**QUICK, frameinit_iterations=3))
    assert torch.equal(three[:, :, 0], one[:, :, 0])
    assert relative_error(three[:, :, 1:], one[:, :, 1:]) > 1e-3
    alone = sample(pipeline, [1], Sampling(**QUICK, frameinit_iterations=3))
    assert relative_error(alone, three[1:]) < 1e-4
    # Without FrameInit there is nothing to iterate.
    off = Sampling(**QUICK, frameinit=False)
    again = Sampling(**QUICK, frameinit=False, frameinit_iterations=3)
    assert torch.equal(sample(pipeline, [0], off), sample(pipeline, [0], again))


def test_segments_make_a_longer_clip(checkpoint):
    model = load_model("consisti2v", {"checkpoint": str(checkpoint), **QUICK, "segments": 3})
    assert model.geometry.num_frames == 3 * 3 + 1
    (long,) = model.generate([request(0, model.geometry)])
    short = load_model("consisti2v", {"checkpoint": str(checkpoint), **QUICK})
    (one,) = short.generate([request(0, short.geometry)])
    assert len(long.frames) == 10
    assert np.abs(long.frames[:4].astype(int) - one.frames.astype(int)).max() <= 1


def test_memory_does_not_grow_with_segments(pipeline, monkeypatch):
    """No more than one segment is ever decoded, or kept, at a time."""
    decoded = []
    decode = pipeline.decode
    monkeypatch.setattr(pipeline, "decode", lambda x: decoded.append(x.shape[2]) or decode(x))
    clip = pipeline(
        ["a"], [picture(0)], draws_of([0]), Sampling(**QUICK), height=32, width=32, num_segments=8
    )
    assert clip.shape[1] == 8 * 3 + 1
    assert decoded == [4] + [3] * 7
    alive = []
    arguments = (["a"], [picture(0)], draws_of([0]), Sampling(**QUICK), 32, 32, 8)
    for latents in pipeline._segments(*arguments):
        alive.append(weakref.ref(latents))
        del latents
        assert sum(reference() is not None for reference in alive) <= 1


@pytest.fixture
def drawing_folder(tmp_path, checkpoint):
    """A Stable Diffusion pipeline of random weights that draws 32x32 pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 32),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=2,
            norm_num_groups=8,
            layers_per_block=1,
        )
    drawing = StableDiffusionPipeline(
        vae=load_vae(checkpoint / "vae"),
        text_encoder=load_text_encoder(checkpoint / "text_encoder"),
        tokenizer=load_tokenizer(checkpoint / "tokenizer"),
        unet=unet,
        scheduler=build_scheduler("ddim", ConsistI2VPipeline.from_pretrained(checkpoint).scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    drawing.save_pretrained(tmp_path / "drawing")
    return tmp_path / "drawing"


def test_text_to_video_by_way_of_a_picture(checkpoint, drawing_folder):
    options = {"checkpoint": str(checkpoint), **QUICK, "t2i": str(drawing_folder)}
    model = load_model("consisti2v", options)
    card = model.describe()
    assert len(card.options["t2i"]) == 64
    assert card.notes[-1].endswith("draws the first frames")
    clips = list(model.generate([request(n, with_picture=False) for n in (0, 1)]))
    assert [clip.geometry for clip in clips] == [GEOMETRY] * 2
    assert (clips[0].frames[0] != clips[1].frames[0]).mean() > 0.5
    # The sample's own picture plays no part, and neither does the batch.
    (alone,) = model.generate([request(1)])
    assert np.abs(alone.frames.astype(int) - clips[1].frames.astype(int)).max() <= 1
    (drawing_folder / "unet" / "config.json").write_text("{}")
    assert load_model("consisti2v", options).describe().options["t2i"] != card.options["t2i"]


def test_wrong_picture_sources_are_named(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    options = {"checkpoint": str(checkpoint), **QUICK}
    with pytest.raises(UserError, match=r"has no model_index\.json"):
        load_model("consisti2v", {**options, "t2i": str(tmp_path / "empty")}).describe()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = load_model("consisti2v", {**options, "t2i": "nobody/nothing"})
    with pytest.raises(MissingWeightsError, match="t2i='nobody/nothing' cannot be loaded"):
        list(model.generate([request(0, with_picture=False)]))


@pytest.fixture
def text_checkpoint(checkpoint, small_unet_config):
    """A network of mode ``none``, which needs no first frame."""
    config = {**small_unet_config, "first_frame_condition_mode": "none"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = ConsistI2VUNet.from_config(config)
    (checkpoint / "unet" / "config.json").write_text(json.dumps(config))
    save_file(unet.state_dict(), checkpoint / "unet" / "diffusion_pytorch_model.safetensors")
    return checkpoint


def test_text_to_video_by_the_network_itself(text_checkpoint):
    model = load_model("consisti2v", {"checkpoint": str(text_checkpoint), **QUICK})
    assert model.describe().options["frameinit"] is False
    clips = list(model.generate([request(n, with_picture=False) for n in (0, 1)]))
    assert [clip.geometry for clip in clips] == [GEOMETRY] * 2
    (alone,) = model.generate([request(1, with_picture=False)])
    assert np.abs(alone.frames.astype(int) - clips[1].frames.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"frameinit": True}, "frameinit=True needs a first frame"),
        ({"segments": 2}, "num_segments=2 needs a first frame"),
        ({"camera_motion": "zoom_in"}, "camera_motion='zoom_in' needs a first frame"),
        ({"guidance_scale_image": 2.0}, "image guidance needs a first frame"),
        ({"t2i": "nobody/nothing"}, "with a checkpoint that needs no first frame"),
    ],
)
def test_what_needs_a_first_frame_says_so(text_checkpoint, changed, message):
    model = load_model("consisti2v", {"checkpoint": str(text_checkpoint), **QUICK, **changed})
    with pytest.raises((UserError, ValueError), match=message):
        list(model.generate([request(0, model.geometry, with_picture=False)]))


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offload_changes_no_clip(checkpoint, pipeline, offload):
    expected = sample(pipeline, [0], Sampling(**QUICK))
    moved = ConsistI2VPipeline.from_pretrained(checkpoint, offload=offload)
    # Weights in other memory may take another kernel, with its own order of sums.
    assert relative_error(sample(moved, [0], Sampling(**QUICK)), expected) < 1e-5
    if offload == "sequential":
        assert moved.unet.conv_in.weight.is_meta


def test_a_saved_pipeline_makes_the_same_clips(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "saved", max_shard_bytes=100_000)
    again = ConsistI2VPipeline.from_pretrained(tmp_path / "saved")
    expected = sample(pipeline, [0], Sampling(**QUICK))
    assert torch.equal(sample(again, [0], Sampling(**QUICK)), expected)
    moved = ConsistI2VPipeline.from_pretrained(tmp_path / "saved", offload="sequential")
    with pytest.raises(UserError, match="has no weights to save"):
        moved.save_pretrained(tmp_path / "other")


def test_compile_wraps_the_network(checkpoint, monkeypatch):
    wrapped = []
    monkeypatch.setattr(torch, "compile", lambda network: wrapped.append(network) or network)
    model = load_model("consisti2v", {"checkpoint": str(checkpoint), **QUICK, "compile": True})
    list(model.generate([request(0)]))
    assert wrapped == [model.pipeline.unet]


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_stays_near(checkpoint, dtype):
    options = {"checkpoint": str(checkpoint), **QUICK}
    (exact,) = load_model("consisti2v", options).generate([request(0)])
    model = load_model("consisti2v", options, dtype=dtype)
    (half,) = model.generate([request(0)])
    difference = np.abs(exact.frames.astype(int) - half.frames.astype(int))
    assert 0 < difference.mean() < 4
    # float16 overflows in Stable Diffusion's autoencoder, bfloat16 does not.
    assert model.pipeline.vae.dtype == (torch.bfloat16 if dtype == "bf16" else torch.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": 0}, "segments=0; accepted: an integer from 1 to 1000"),
        ({"segments": True}, "segments=True"),
        ({"offload": "modell"}, "did you mean 'model'"),
        ({"compile": "yes"}, "compile='yes' is text; accepted: true or false"),
        ({"camera_motion": "pan"}, "camera_motion='pan'"),
        ({"frameinit_iterations": 0}, "frameinit_iterations=0"),
        ({"scheduler": "dmpp"}, "did you mean 'dpmpp'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        load_model("consisti2v", options)


class Watch(TorchDispatchMode):
    """Counts what would make a GPU wait, or move numbers to it, were this loop run there."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        on_device = [a for a in args if isinstance(a, torch.Tensor) and a.is_meta]
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal") and on_device:
            self.waits.append(name)
        moved = isinstance(out, torch.Tensor) and out.is_meta and not on_device
        sources = [a for a in args if isinstance(a, torch.Tensor) and not a.is_meta]
        if name in ("_to_copy", "copy_") and moved and sources:
            self.waits.append(f"{name} of {tuple(sources[0].shape)}")
        return out


@pytest.mark.parametrize("position", ["rotary", "sinusoidal"])
def test_the_loop_neither_waits_for_the_device_nor_copies_to_it(
    pipeline, small_unet_config, monkeypatch, position
):
    """On the meta device; only the preparation before the first step may move tensors."""
    with torch.device("meta"):
        unet = ConsistI2VUNet.from_config({**small_unet_config, "temp_pos_embedding": position})
    unet(
        torch.zeros(2, 4, 3, 8, 8, device="meta"),
        1,
        torch.zeros(2, 5, 32, device="meta"),
        first_frame_latents=torch.zeros(2, 4, 1, 8, 8, device="meta"),
        frame_stride=3,
    )  # Tables that are made once.
    pipeline.unet, watch, starts = unet, Watch(), []

    def predict(*args, **kwargs):
        starts.append(len(watch.waits))
        return unet(*args, **kwargs)

    pipeline._predict = predict
    monkeypatch.setattr(pipeline_module.ConsistI2VPipeline, "device", torch.device("meta"))
    latents = torch.zeros(1, 4, 4, 8, 8, device="meta")
    text = torch.zeros(2, 5, 32, device="meta")
    with torch.inference_mode(), watch:
        pipeline._denoise(latents, latents, text, Sampling(num_inference_steps=4), draws_of([0]))
    assert len(starts) == 4
    assert watch.waits[starts[0] :] == []
    # The watch does see what it is there for.
    with watch:
        torch.zeros(3).to("meta")
    assert len(watch.waits) > starts[0]
