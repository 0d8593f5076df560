"""Training loops at toy size: a resumed run repeats an unbroken one, and exports load."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from transformers import CLIPTextModel, CLIPTokenizer

from i2vbench.errors import UserError
from i2vbench.models.consisti2v.training import clip as clip_training
from i2vbench.models.consisti2v.training import text as text_training
from i2vbench.models.consisti2v.training import unet as unet_training
from i2vbench.models.consisti2v.training import vae as vae_training
from i2vbench.models.consisti2v.training.data import SceneClips, SceneFramePairs
from i2vbench.models.consisti2v.training.diffusion import sampling_values
from i2vbench.models.consisti2v.training.export import SCHEDULER_CONFIG, export_checkpoint
from i2vbench.models.consisti2v.training.latents import latent_batch
from i2vbench.models.consisti2v.training.parallel import Team
from i2vbench.models.consisti2v.training.progress import (
    learning_rate,
    load_state,
    save_state,
    trapezoid_rate,
)
from i2vbench.models.consisti2v.training.tokenizer import CONTEXT_LENGTH, build_tokenizer
from i2vbench.models.consisti2v.unet import ConsistI2VUNet
from i2vbench.suites.playground.scenes import CAMERAS, MOTIONS, scene_from_seed

VAE = {**vae_training.VAE_CONFIG, "block_out_channels": [8, 8, 8], "norm_num_groups": 4}
VAE_OPTIONS = vae_training.VaeTraining(
    steps=4, batch_size=4, size_px=16, warmup_steps=1, num_workers=0, save_every=2, bf16=False
)
CLIP = {
    **clip_training.CLIP_CONFIG,
    "embed_dim": 16,
    "vision_cfg": {
        **clip_training.CLIP_CONFIG["vision_cfg"],
        "image_size": 16,
        "width": 32,
        "layers": 1,
    },
    "text_cfg": {**clip_training.CLIP_CONFIG["text_cfg"], "width": 32, "heads": 2, "layers": 2},
}
CLIP_OPTIONS = clip_training.ClipTraining(
    steps=4, batch_size=6, pool_scenes=8, warmup_steps=1, save_every=2, bf16=False
)
TEXT_OPTIONS = text_training.TextTraining(
    steps=4, batch_size=6, warmup_steps=1, save_every=2, bf16=False
)
UNET = {
    **unet_training.UNET_CONFIG,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [32, 32],
    "attention_head_dim": [1, 1],
    "n_frames": 4,
    "cross_attention_dim": 32,
}
UNET_OPTIONS = unet_training.UNetTraining(
    steps=4, batch_size=2, num_frames=4, size_px=16, warmup_steps=1, save_every=2, bf16=False
)


def _losses(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows]


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    build_tokenizer(folder / "tokenizer", num_captions=100)
    clip_training.train(folder, CLIP_OPTIONS, config=CLIP)
    return folder


@pytest.fixture(scope="module")
def vae_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    vae_training.train(folder, VAE_OPTIONS, config=VAE)
    return folder


@pytest.fixture(scope="module")
def parts(vae_run, text_run):
    return unet_training.load_parts(vae_run / "vae", text_run)


@pytest.fixture(scope="module")
def unet_run(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unet")
    unet_training.train(folder, parts, UNET_OPTIONS, config=UNET)
    return folder


class _KilledError(Exception):
    pass


def _kill_at(monkeypatch, module, step):
    """Lets the training loop die before `step`, after the checkpoint of an earlier one."""
    original = module.set_learning_rate
    calls = iter(range(step + 1))

    def set_rate(*rest):
        if next(calls) == step:
            raise _KilledError
        original(*rest)

    monkeypatch.setattr(module, "set_learning_rate", set_rate)


def _resumed(monkeypatch, module, run):
    with monkeypatch.context() as patch:
        _kill_at(patch, module, 3)
        with pytest.raises(_KilledError):
            run()
    run()


@pytest.mark.parametrize("changes", [{}, {"moved_weight": 0.2, "latent_noise": 0.3}])
def test_the_autoencoder_resumes_with_the_same_losses(tmp_path, monkeypatch, changes):
    options = dataclasses.replace(VAE_OPTIONS, **changes)
    vae_training.train(tmp_path / "whole", options, config=VAE)
    _resumed(
        monkeypatch,
        vae_training,
        lambda: vae_training.train(tmp_path / "killed", options, config=VAE),
    )
    # Steps 0 to 2, then 2 and 3 again from the checkpoint after step 1.
    unbroken = _losses(tmp_path / "whole")
    assert _losses(tmp_path / "killed") == [*unbroken[:3], *unbroken[2:]]


def test_the_clip_resumes_with_the_same_losses(text_run, tmp_path, monkeypatch):
    build_tokenizer(tmp_path / "tokenizer", num_captions=100)
    _resumed(
        monkeypatch, clip_training, lambda: clip_training.train(tmp_path, CLIP_OPTIONS, config=CLIP)
    )
    unbroken = _losses(text_run)
    assert _losses(tmp_path) == [*unbroken[:3], *unbroken[2:]]


def test_the_text_tower_resumes_with_the_same_losses(text_run, tmp_path, monkeypatch):
    text_training.train(tmp_path / "whole", text_run, TEXT_OPTIONS)
    killed = tmp_path / "killed"
    _resumed(
        monkeypatch, text_training, lambda: text_training.train(killed, text_run, TEXT_OPTIONS)
    )
    unbroken = _losses(tmp_path / "whole")
    assert _losses(killed) == [*unbroken[:3], *unbroken[2:]]
    CLIPTextModel.from_pretrained(killed / "text_encoder")
    CLIPTokenizer.from_pretrained(killed / "tokenizer")


def test_labels_name_what_a_caption_says():
    scenes = [scene_from_seed(seed) for seed in range(200)]
    bounds = [0, *np.cumsum(text_training.NUM_CLASSES)]
    assert bounds[-1] == sum(text_training.NUM_CLASSES)
    for scene in scenes:
        found = text_training.labels(scene)
        assert len(found) == len(text_training.NUM_CLASSES)
        for label, classes in zip(found, text_training.NUM_CLASSES, strict=True):
            assert label == text_training.IGNORED or 0 <= label < classes
        assert MOTIONS[found[3]] == scene.motion
        assert (found[4] == text_training.IGNORED) == (scene.motion == "still")
        said = [label != text_training.IGNORED for label in found[:15:5]]
        assert sum(said) == len(scene.shapes)
        assert CAMERAS[found[-3]] == scene.camera


def test_what_a_caption_does_not_say_is_not_asked():
    _, labels_BA = text_training.caption_batch(0, 16, 0)
    right = tuple(
        40.0 * torch.nn.functional.one_hot(labels_B.clamp(min=0), classes)
        for labels_B, classes in zip(labels_BA.unbind(1), text_training.NUM_CLASSES, strict=True)
    )
    # Class 0 where nothing is said: any other answer there must not matter either.
    moved = (labels_BA == text_training.IGNORED).unbind(1)
    other = tuple(
        torch.where(silent[:, None], logits.flip(1), logits)
        for silent, logits in zip(moved, right, strict=True)
    )
    for logits in (right, other):
        loss, accuracy = text_training.attribute_loss(logits, labels_BA)
        assert loss.item() < 1e-6
        assert accuracy.item() == 1.0
    wrong = tuple(logits.roll(1, 1) for logits in right)
    assert text_training.attribute_loss(wrong, labels_BA)[1].item() == 0.0


def test_the_unet_resumes_with_the_same_losses(unet_run, parts, tmp_path, monkeypatch):
    _resumed(
        monkeypatch,
        unet_training,
        lambda: unet_training.train(tmp_path, parts, UNET_OPTIONS, config=UNET),
    )
    unbroken = _losses(unet_run)
    assert _losses(tmp_path) == [*unbroken[:3], *unbroken[2:]]


@pytest.mark.parametrize(
    "changes", [{}, {"flow_weight": 0.5, "pixel_weights": True, "scene_sides": 2}]
)
def test_muon_resumes_with_the_same_losses(parts, tmp_path, monkeypatch, changes):
    options = dataclasses.replace(UNET_OPTIONS, optimizer="muon", **changes)
    unet_training.train(tmp_path / "whole", parts, options, config=UNET)
    _resumed(
        monkeypatch,
        unet_training,
        lambda: unet_training.train(tmp_path / "killed", parts, options, config=UNET),
    )
    unbroken = _losses(tmp_path / "whole")
    assert _losses(tmp_path / "killed") == [*unbroken[:3], *unbroken[2:]]


def test_the_exported_text_tower_equals_the_trained_one(text_run):
    tokenizer = CLIPTokenizer.from_pretrained(text_run / "tokenizer")
    config = json.loads((text_run / "clip" / "open_clip_config.json").read_text())["model_cfg"]
    torch.manual_seed(0)
    model = clip_training.ClipWithMotion(config).eval()
    tokens = clip_training.tokenize(tokenizer, ["a red circle moves to the right", ""])
    with torch.no_grad():
        exported = clip_training.text_encoder(model.clip, config)(tokens)
        assert torch.allclose(exported.last_hidden_state, model.text_states(tokens), atol=1e-5)
        pooled = exported.pooler_output @ model.clip.text_projection
        assert torch.allclose(pooled, model.clip.encode_text(tokens), atol=1e-5)


def test_padding_is_cut_without_effect(text_run):
    tokenizer = CLIPTokenizer.from_pretrained(text_run / "tokenizer")
    config = json.loads((text_run / "clip" / "open_clip_config.json").read_text())["model_cfg"]
    model = clip_training.ClipWithMotion(config).eval()
    tokens = clip_training.tokenize(tokenizer, ["a star", "a red ring"])
    short = clip_training.without_padding(tokens)
    assert short.shape[1] < CONTEXT_LENGTH
    with torch.no_grad():
        full = model.text_states(tokens)[:, : short.shape[1]]
        assert torch.allclose(model.text_states(short), full, atol=1e-5)


def test_any_text_encodes_and_comes_back(text_run):
    tokenizer = CLIPTokenizer.from_pretrained(text_run / "tokenizer")
    tokens = tokenizer("Wörld 猫 🚀 7", add_special_tokens=False)["input_ids"]
    assert tokenizer.eos_token_id not in tokens
    assert tokenizer.decode(tokens).replace(" ", "") == "wörld猫🚀7"
    assert tokenizer.eos_token_id == len(tokenizer) - 1 == max(tokenizer.get_vocab().values())


def test_a_caption_word_is_one_token(tmp_path):
    build_tokenizer(tmp_path, num_captions=400)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    for word in ("counterclockwise", "checkered", "background", "camera", "hexagon"):
        assert len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1


def test_the_checkpoint_folder_loads(unet_run, vae_run, text_run, tmp_path):
    export_checkpoint(unet_run, vae_run / "vae", text_run, tmp_path)
    AutoencoderKL.from_pretrained(tmp_path / "vae")
    CLIPTextModel.from_pretrained(tmp_path / "text_encoder")
    CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    ConsistI2VUNet.from_config(json.loads((tmp_path / "unet" / "config.json").read_text()))
    schedule = json.loads((tmp_path / "scheduler" / "scheduler_config.json").read_text())
    assert schedule["prediction_type"] == "epsilon"
    assert "rescale_betas_zero_snr" not in schedule
    written = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert str(vae_run) not in written
    assert str(text_run) not in written


def test_mixed_noise_shares_half_of_its_variance():
    noise = unet_training.mixed_noise((64, 4, 3, 8, 8), 1.0, torch.Generator().manual_seed(0))
    flat = noise.transpose(0, 2).flatten(1).numpy()
    assert np.allclose(np.corrcoef(flat)[np.triu_indices(3, 1)], 0.5, atol=0.03)
    assert abs(flat.std() - 1.0) < 0.02


def test_the_schedule_is_linear():
    alpha_bar = unet_training.NoiseSchedule().alpha_bar
    assert alpha_bar[0].item() == pytest.approx(0.99914998)
    assert alpha_bar[850].item() == pytest.approx(0.00842408, rel=1e-4)
    assert alpha_bar[999].item() == pytest.approx(0.00157896, rel=1e-4)


def test_the_condition_frame_is_not_in_the_loss(parts):
    """A network that predicts the noise of frames 1..T-1 exactly has loss 0."""
    options = dataclasses.replace(UNET_OPTIONS, image_dropout=0.0)
    pool_batch = unet_training.LatentBatch(
        torch.zeros(2, 4, 4, 4, 4), torch.zeros(2, 48, 32), torch.tensor([3, 3])
    )
    schedule = unet_training.NoiseSchedule()

    class Oracle(torch.nn.Module):
        def forward(self, noisy, t, text, *, first_frame_latents, frame_stride):
            assert noisy.shape[2] == 3
            assert torch.equal(first_frame_latents, torch.zeros(2, 4, 1, 4, 4))
            return noisy / (1 - schedule.alpha_bar[t]).sqrt().view(-1, 1, 1, 1, 1)

    loss = unet_training.diffusion_loss(
        Oracle(),
        pool_batch,
        torch.zeros(48, 32),
        schedule,
        options,
        torch.Generator().manual_seed(0),
    )
    assert loss.max().item() < 1e-6


def test_training_data_follow_from_the_index():
    clips = SceneClips(4, 16)
    first, text, stride = clips[5]
    again, same_text, same_stride = clips[5]
    assert torch.equal(first, again)
    assert (text, stride) == (same_text, same_stride)
    assert {clips[index][2] for index in range(40)} == {1, 2, 3, 4, 5}
    frames, texts = SceneFramePairs(4, 16).batch(0, 3, 0)
    assert frames.shape == (3, 2, 3, 16, 16)
    assert len(texts) == 3


def test_state_is_replaced_as_a_whole(tmp_path):
    module = torch.nn.Linear(2, 2)
    assert load_state(tmp_path, {"model": module}) == 0
    save_state(tmp_path, 7, {"model": module})
    (tmp_path / "state.pt.partial").write_bytes(b"torn")
    other = torch.nn.Linear(2, 2)
    assert load_state(tmp_path, {"model": other}) == 7
    assert torch.equal(other.weight, module.weight)


def test_a_longer_trapezoid_differs_only_where_the_rate_falls():
    short, long = (
        [trapezoid_rate(step, steps, 1.0, 10) for step in range(steps)] for steps in (90, 120)
    )
    assert short[:60] == long[:60]
    assert short[-1] == long[-1] == pytest.approx(0.02)
    assert np.all(np.diff(short[60:]) < 0)
    assert {trapezoid_rate(step, 90, 1.0, 10, fall=0) for step in range(10, 90)} == {1.0}


def test_a_share_of_the_timesteps_is_noisier():
    draw = unet_training.drawn_timesteps
    generator = torch.Generator().manual_seed(0)
    high = draw(10_000, 0.5, 900, generator) >= 900
    assert high.float().mean().item() == pytest.approx(0.5 + 0.5 * 0.1, abs=0.02)
    uniform = draw(10_000, 0.0, 600, generator)
    assert uniform.float().mean().item() == pytest.approx(499.5, abs=15)


def test_no_clip_is_seen_twice(parts, monkeypatch, tmp_path):
    seen = []
    original = unet_training.SceneClips.__getitem__
    monkeypatch.setattr(
        unet_training.SceneClips,
        "__getitem__",
        lambda self, number: seen.append(number) or original(self, number),
    )
    unet_training.train(tmp_path, parts, UNET_OPTIONS, config=UNET)
    assert seen == list(range(UNET_OPTIONS.steps * UNET_OPTIONS.batch_size))


def test_clips_that_are_encoded_together_stay_apart(parts):
    """Five clips of four frames, of which four go through the encoder at once, and the fifth."""
    clips = unet_training.SceneClips(4, 16, strides=(1, 3))
    batch = latent_batch(parts, clips, range(5), bf16=False)
    for number in range(5):
        frames, text, stride = clips[number]
        mean = parts.encode_clips(frames[None], bf16=False)[0]
        expected = mean * parts.vae.config.scaling_factor
        assert torch.allclose(batch.latents_BCTHW[number], expected, atol=1e-4)
        assert torch.allclose(batch.text_BLD[number], parts.encode_text([text])[0], atol=1e-5)
        assert batch.stride_B[number] == stride
    spread = (batch.latents_BCTHW[0] - batch.latents_BCTHW[1]).abs().max()
    assert spread > 0.1, "other clips are further away than the tolerance"


def test_zero_snr_is_told_to_the_sampling():
    values = {**SCHEDULER_CONFIG, **sampling_values("v_prediction", zero_snr=True)}
    scheduler = DDIMScheduler.from_config(values)
    scheduler.set_timesteps(8)
    assert scheduler.timesteps[0].item() == 999
    trained = unet_training.NoiseSchedule(zero_snr=True).alpha_bar
    assert torch.allclose(scheduler.alphas_cumprod, trained, atol=1e-6)
    with pytest.raises(ValueError, match="zero_snr=True needs"):
        dataclasses.replace(UNET_OPTIONS, zero_snr=True)


def test_the_rate_warms_up_and_falls():
    rates = [learning_rate(step, 100, 1.0, 10) for step in range(100)]
    assert rates.index(max(rates)) == 9
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.02)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="prediction='sample'"):
        unet_training.UNetTraining(prediction="sample")
    with pytest.raises(ValueError, match=r"fall=1.5; accepted: 0 to 1"):
        unet_training.UNetTraining(fall=1.5)


def test_velocity_gives_the_clip_back():
    schedule = unet_training.NoiseSchedule()
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 3, 4, generator=generator).unbind()
    t = torch.tensor([10, 500, 990])
    noisy = schedule.add_noise(clean, noise, t)
    velocity = schedule.velocity(clean, noise, t)
    a = schedule.alpha_bar[t][:, None]
    assert torch.allclose(a.sqrt() * noisy - (1 - a).sqrt() * velocity, clean, atol=1e-5)


def test_a_grown_network_starts_as_the_smaller_one(unet_run, parts):
    larger = {**UNET, "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]}
    smaller = {**UNET, "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"]}
    torch.manual_seed(0)
    small, grown = (ConsistI2VUNet.from_config(c).eval() for c in (smaller, larger))
    folder = unet_run.parent / "small"
    save_state(folder, 1, {"model": small})
    unet_training._grow(grown, folder)
    inputs = (torch.randn(1, 4, 3, 4, 4), 500, torch.randn(1, 48, 32))
    condition = {"first_frame_latents": torch.randn(1, 4, 1, 4, 4), "frame_stride": 3}
    with torch.no_grad():
        assert torch.allclose(small(*inputs, **condition), grown(*inputs, **condition), atol=1e-5)


def test_a_training_does_not_go_on_from_a_network_with_holes(tmp_path):
    whole = ConsistI2VUNet.from_config(UNET)
    holed = torch.nn.Module()
    holed.state_dict = lambda: {k: v for k, v in whole.state_dict().items() if k != "conv_in.bias"}
    save_state(tmp_path / "holed", 1, {"model": holed})
    with pytest.raises(UserError, match=r"lacks 'conv_in\.bias'"):
        unet_training._grow(whole, tmp_path / "holed")


def test_an_exported_autoencoder_gives_the_means_that_the_unet_knows(
    unet_run, vae_run, text_run, tmp_path
):
    export_checkpoint(unet_run, vae_run / "vae", text_run, tmp_path)
    frames = torch.rand(2, 3, 16, 16)
    trained, exported = (
        AutoencoderKL.from_pretrained(folder).encode(frames).latent_dist
        for folder in (vae_run / "vae", tmp_path / "vae")
    )
    assert trained.std.mean() > 1e-3
    assert torch.allclose(exported.mean, trained.mean, atol=0.02), "fp16"
    assert torch.allclose(exported.sample(), exported.mean, atol=1e-5)


def test_a_training_goes_on_from_a_checkpoint_folder(unet_run, vae_run, text_run, parts, tmp_path):
    export_checkpoint(unet_run, vae_run / "vae", text_run, tmp_path / "checkpoint")
    options = dataclasses.replace(UNET_OPTIONS, steps=1, peak_rate=0.0)
    trained = unet_training.train(
        tmp_path / "run", parts, options, config=UNET, initial=tmp_path / "checkpoint"
    )
    average = torch.load(unet_run / "state.pt", weights_only=True)["ema"]["shadow"]
    for name, tensor in trained.state_dict().items():
        torch.testing.assert_close(tensor, average[name].half().float(), msg=name)


@pytest.mark.slow
def test_two_processes_train_as_one_with_their_mean_gradient(tmp_path):
    program = (
        "import sys, torch; from pathlib import Path\n"
        "from i2vbench.models.consisti2v.training.parallel import Team\n"
        "rank = int(sys.argv[1]); team = Team(rank=rank, size=2)\n"
        "team.join(Path(sys.argv[2]))\n"
        "weight = torch.nn.Parameter(torch.zeros(3)); weight.grad = torch.full((3,), float(rank))\n"
        "team.average_gradients([weight]); assert weight.grad.tolist() == [0.5] * 3\n"
        "team.leave()\n"
    )
    command = [sys.executable, "-c", program]
    meeting_point = str(tmp_path / "meet")
    team = [subprocess.Popen([*command, str(rank), meeting_point]) for rank in range(2)]
    assert [process.wait(300) for process in team] == [0, 0]


def test_a_rank_outside_of_the_team_is_refused():
    with pytest.raises(ValueError, match="rank=2 with 2 processes"):
        Team(rank=2, size=2)
