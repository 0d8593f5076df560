"""The training as a whole: resumed, on two processes, its parts that learn, what it writes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from i2vbench.errors import SpecMismatchError, UserError
from i2vbench.models.consisti2v.networks import is_dead, load_unet
from i2vbench.models.consisti2v.noise import SampleDraws
from i2vbench.models.consisti2v.pipeline import ConsistI2VPipeline
from i2vbench.models.consisti2v.sampling import Sampling
from i2vbench.models.consisti2v.training.diffusion import NoiseSchedule
from i2vbench.models.consisti2v.training.loop import ClipDraws, train
from i2vbench.models.consisti2v.training.network import (
    choose_trainable,
    recompute_layers,
    starting_unet,
    training_scheduler,
)
from i2vbench.models.consisti2v.training.recipe import load_recipe
from i2vbench.models.consisti2v.unet import ConsistI2VUNet

ROOT = Path(__file__).resolve().parents[4]
# Of torch's reducer: kernels of size 1 have several equally good strides.
QUIET = {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


def _train(folder, values, **changes):
    return train(folder, load_recipe(None, {**values, **changes}), quiet=True)


def _rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def _losses(folder):
    return [row["loss"] for row in _rows(folder)]


def _command(folder, values, launcher=()):
    start = [sys.executable, *launcher, "-m", "i2vbench", "train", "consisti2v", "--quiet"]
    pairs = [part for key, value in values.items() for part in ("-a", f"{key}={value}")]
    return [*start, "-o", str(folder), *pairs]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, quick_recipe):
    folder = tmp_path_factory.mktemp("unbroken")
    _train(folder, quick_recipe)
    return folder


def test_the_checkpoint_is_the_average_and_samples(unbroken, values):
    folder = unbroken / "checkpoint"
    pipeline = ConsistI2VPipeline.from_pretrained(folder)
    state = torch.load(
        unbroken / "states" / "step-0000005" / "custom_checkpoint_0.pkl", weights_only=True
    )
    for key, value in pipeline.unet.state_dict().items():
        assert torch.equal(value, state["shadow"][key]), key
    picture = torch.zeros(32, 32, 3, dtype=torch.uint8).numpy()
    draws = SampleDraws([torch.Generator().manual_seed(0)])
    sampling = Sampling(num_inference_steps=2, frameinit=False)
    clip = pipeline(["snow"], [picture], draws, sampling, height=32, width=32)
    assert clip.shape == (1, 4, 32, 32, 3)
    assert [row["step"] for row in _rows(unbroken)] == list(range(5))
    assert len({*_losses(unbroken)}) == 5


@pytest.mark.parametrize("cut", [1, 3])
def test_a_resumed_training_repeats_an_unbroken_one(unbroken, values, tmp_path, monkeypatch, cut):
    """Cut between two states, so that steps are done again."""
    from i2vbench.models.consisti2v.training import loop

    original = loop.set_learning_rate
    calls = []

    def dies(optimizer, rate):
        calls.append(rate)
        if len(calls) > cut:
            raise KeyboardInterrupt
        original(optimizer, rate)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "set_learning_rate", dies)
        with pytest.raises(KeyboardInterrupt):
            _train(tmp_path, values, ema=True)
    assert not (tmp_path / "checkpoint").exists()
    (tmp_path / "states" / "partial").mkdir(parents=True, exist_ok=True)
    _train(tmp_path, values, ema=True)
    assert _losses(tmp_path) == _losses(unbroken)
    for part in ("unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"):
        first, second = (f / "checkpoint" / part for f in (tmp_path, unbroken))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_kill_minus_nine_and_resume(unbroken, values, tmp_path):
    command = _command(tmp_path, {**values, "ema": True, "save_every": 1})
    environment = {**os.environ, **QUIET}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    log = tmp_path / "log.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if log.is_file() and log.read_bytes().count(b"\n") >= 2:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "checkpoint").exists()
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    # Another number of threads rounds otherwise.
    assert _losses(tmp_path) == pytest.approx(_losses(unbroken), rel=1e-5)


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(unbroken, values, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    command = _command(tmp_path, {**values, "ema": True, "batch_size": 1}, launcher)
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **QUIET}, timeout=300)
    assert _losses(tmp_path) == pytest.approx(_losses(unbroken), rel=1e-5)
    norms = [[row["grad_norm"] for row in _rows(folder)] for folder in (tmp_path, unbroken)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_accumulated_batches_have_the_losses_of_one(unbroken, values, tmp_path):
    _train(tmp_path, values, ema=True, batch_size=1, gradient_accumulation=2)
    assert _losses(tmp_path) == pytest.approx(_losses(unbroken), rel=1e-5)


def test_clips_draw_different_noise():
    """Two ranks hold neighbouring numbers."""
    drawn = [ClipDraws(42, [number]).noise((1, 4, 2, 2, 2)) for number in range(3)]
    together = ClipDraws(42, range(3)).noise((3, 4, 2, 2, 2))
    assert torch.equal(torch.cat(drawn), together)
    assert not torch.allclose(drawn[0], drawn[1])
    assert len({ClipDraws(42, [n]).timesteps().item() for n in range(50)}) > 40
    uniforms = torch.cat([ClipDraws(42, [n]).uniforms() for n in range(200)], dim=1)
    assert abs(torch.corrcoef(uniforms)[0, 1]) < 0.2
    assert ((uniforms < 0.1).float().mean(1) - 0.1).abs().max() < 0.06


def test_another_recipe_does_not_go_on_in_the_folder(unbroken, values):
    with pytest.raises(SpecMismatchError, match=r"learning_rate: 0\.001 -> 0\.01"):
        _train(unbroken, values, ema=True, learning_rate=0.01)
    with pytest.raises(SpecMismatchError, match="clips_per_step: 2 -> 3"):
        _train(unbroken, values, ema=True, batch_size=3)


def test_too_many_unreadable_videos_stop(values, videos, tmp_path):
    rows = [json.dumps({"text": "x", "file": f"{name}.mp4"}) for name in (0, 1, 8, 9)]
    (tmp_path / "list.jsonl").write_text("\n".join(rows))
    bad = {"webvid_json": str(tmp_path / "list.jsonl")}
    with pytest.raises(UserError, match=r"of 4 videos cannot be read, more than max_bad_fr"):
        _train(tmp_path / "run", values, **bad)
    _train(tmp_path / "lenient", values, **bad, max_bad_fraction=0.5, steps=2)
    assert len(_losses(tmp_path / "lenient")) == 2


def test_validation_changes_no_loss_and_shows_every_clip(unbroken, values, tmp_path):
    _train(tmp_path, values, ema=True, validate_every=2, validation_inference_steps=2, steps=4)
    assert _losses(tmp_path) == _losses(unbroken)[:4]
    with Image.open(tmp_path / "validation" / "step-0000002.gif") as animation:
        assert animation.n_frames == 4
        assert animation.size == (4 * 32 + 3 * 2, 32)
    with Image.open(tmp_path / "validation" / "step-0000004.png") as sheet:
        assert sheet.size == (4 * 32 + 3 * 2, 4 * 32 + 3 * 2)


def test_velocity_and_no_signal_at_the_end_reach_the_checkpoint(values, tmp_path):
    folder = _train(tmp_path, values, prediction="v_prediction", zero_snr=True, steps=1)
    pipeline = ConsistI2VPipeline.from_pretrained(folder)
    config = pipeline.scheduler.config
    assert (config.prediction_type, config.timestep_spacing) == ("v_prediction", "trailing")
    # Diffusers keeps its last step a hair off zero or at it, by release; ours is its schedule.
    torch.testing.assert_close(
        pipeline.scheduler.alphas_cumprod[:-1],
        NoiseSchedule(zero_snr=True).alpha_bar[:-1],
        rtol=1e-4,
        atol=1e-7,
    )
    assert NoiseSchedule(zero_snr=True).alpha_bar[-1] == 0
    pipeline.scheduler.set_timesteps(4)
    assert pipeline.scheduler.timesteps[0] == 999


def test_the_published_schedule_is_that_of_the_scheduler(values):
    scheduler = training_scheduler(load_recipe(None, values))
    torch.testing.assert_close(
        scheduler.alphas_cumprod, NoiseSchedule().alpha_bar, rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("precision", ["bf16"])
def test_a_lower_precision_trains_float32_weights(values, tmp_path, precision):
    folder = _train(tmp_path, values, mixed_precision=precision, steps=2)
    assert all(p.dtype == torch.float32 for p in load_unet(folder / "unet").parameters())
    assert all(0.1 < loss < 10 for loss in _losses(tmp_path))


def test_only_the_named_parts_learn(values, tmp_path, image_model):
    folder = _train(tmp_path, values, trainable="temporal", steps=3)
    before = starting_unet(image_model / "unet", load_recipe(None, values)).state_dict()
    after = load_unet(folder / "unet").state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    temporal = ("conv3ds.", "tempo_attns.", "frame_stride_embedding.")
    assert changed
    assert all(any(part in key for part in temporal) for key in changed)


def test_a_pattern_without_a_parameter_is_refused(small_unet_config):
    unet = ConsistI2VUNet.from_config(small_unet_config)
    choose_trainable(unet, "conv3ds.,tempo_attns.")
    trained = [name for name, p in unet.named_parameters() if p.requires_grad]
    assert trained
    assert all("conv3ds." in name or "tempo_attns." in name for name in trained)
    assert not any(is_dead(name) for name in trained)
    with pytest.raises(UserError, match=r"trainable='conv3ds\.,tempo_atns\.': .*'tempo_atns\.'"):
        choose_trainable(unet, "conv3ds.,tempo_atns.")


@pytest.mark.parametrize("mode", ["concat", "input_only", "conv2d"])
def test_recomputed_layers_give_the_same_gradients(small_unet_config, mode):
    """With the conditioning: the original's recomputation loses the first frame."""
    gradients = []
    for recomputed in (False, True):
        torch.manual_seed(0)
        unet = ConsistI2VUNet.from_config(
            {**small_unet_config, "first_frame_condition_mode": mode}
        ).train()
        with torch.no_grad():
            for name, parameter in unet.named_parameters():
                if name.endswith("alpha"):
                    parameter.fill_(0.5)
        if recomputed:
            recompute_layers(unet)
        inputs = (torch.randn(2, 4, 3, 8, 8), torch.tensor([10, 900]), torch.randn(2, 7, 32))
        first = torch.randn(2, 4, 1, 8, 8, requires_grad=True)
        out = unet(*inputs, first_frame_latents=first, frame_stride=torch.tensor([1, 5]))
        out.square().mean().backward()
        found = {n: p.grad for n, p in unet.named_parameters() if p.grad is not None}
        gradients.append({**found, "first_frame": first.grad, "out": out.detach()})
    assert gradients[0].keys() == gradients[1].keys()
    assert gradients[0]["first_frame"].abs().max() > 0
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, rtol=0, atol=0, msg=name)


def test_tensorboard_missing_is_one_line(values, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'i2vbench\[train\]'"):
        _train(tmp_path, values, tensorboard=True)


def test_tensorboard_holds_the_log(values, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _train(tmp_path, values, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for name in ("loss", "grad_norm", "learning_rate"):
        seen = [(event.step, event.value) for event in events.Scalars(f"train/{name}")]
        assert seen == [(row["step"], pytest.approx(row[name])) for row in _rows(tmp_path)]
