"""Profiles: the file, the counter, and `i2vbench profile` with a model that says nothing itself."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional

from i2vbench import profile_command
from i2vbench.cli import cli
from i2vbench.clip import Clip, Geometry
from i2vbench.errors import SpecMismatchError, UserError
from i2vbench.generation import generate
from i2vbench.model import Card, Model, Request, load_model
from i2vbench.profile import PROFILE_FILE, Part, Profile, ProfileSettings, load_profile
from i2vbench.profile_measure import count_flops, peak_memory_mib, profile_model

ADAPTERS = Path(__file__).parent / "adapters.py"
FIGURES = Profile(
    model="m",
    num_frames=16,
    height=64,
    width=64,
    dtype="fp32",
    device="A Fast Device",
    num_parameters=1_000_000,
    num_temporal_parameters=250_000,
    num_steps=10,
    flops_per_step=2 * 10**12,
    flops_per_clip=25 * 10**12,
    seconds_per_step=0.5,
    seconds_per_clip=6.0,
    peak_memory_mib=2048.0,
    parts=(Part(name="net", num_parameters=1_000_000, flops_per_clip=20 * 10**12),),
    notes=("a note",),
)


class Product(Model):
    """Multiplies (4, 8) by (8, 16) for each request: 1024 FLOPs a clip."""

    @property
    def geometry(self) -> Geometry:
        return Geometry(num_frames=2, height=8, width=8, fps=8)

    def describe(self) -> Card:
        return Card(name="product", version="1", num_parameters=128)

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        for request in requests:
            torch.ones(4, 8) @ torch.ones(8, 16)
            shape = (request.geometry.num_frames, request.geometry.height, request.geometry.width)
            yield Clip(frames=np.zeros((*shape, 3), np.uint8), fps=request.geometry.fps)


def invoke(*arguments):
    return CliRunner().invoke(cli, ["profile", *map(str, arguments)], catch_exceptions=True)


def test_a_file_gives_back_what_was_written(tmp_path):
    (tmp_path / PROFILE_FILE).write_text(FIGURES.to_json(), encoding="utf-8")
    assert load_profile(tmp_path) == FIGURES
    assert load_profile(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: "no JSON", "is not JSON"),
        (lambda data: data | {"schema_version": 7}, "schema_version 7, accepted: 1"),
        (lambda data: [data], "schema_version None"),
        (lambda data: data | {"seconds_per_clip": "fast"}, "seconds_per_clip='fast'"),
        (lambda data: data | {"seconds_per_clip": -1}, "seconds_per_clip=-1"),
        (lambda data: data | {"device": None}, "device=None"),
        (lambda data: data | {"colour": 1}, "colour"),
        (lambda data: data | {"parts": None}, "schema 1"),
    ],
)
def test_a_damaged_file_is_a_line_that_names_it(tmp_path, damage, words):
    changed = damage(json.loads(FIGURES.to_json()))
    text = changed if isinstance(changed, str) else json.dumps(changed)
    (tmp_path / PROFILE_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=PROFILE_FILE) as raised:
        load_profile(tmp_path)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_rate_is_of_a_step_where_there_is_one():
    assert FIGURES.tflop_per_s == pytest.approx(4.0)
    assert replace(FIGURES, flops_per_step=None).tflop_per_s == pytest.approx(25 / 6)
    assert replace(FIGURES, seconds_per_step=None, seconds_per_clip=None).tflop_per_s is None


def test_circumstances_are_short():
    assert FIGURES.circumstances == "A Fast Device, fp32"
    slow = replace(FIGURES, num_threads=2, batch_size=4)
    assert slow.circumstances == "CPU, 2 threads, fp32, batch 4"


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_counter_counts_what_networks_are_made_of(device):
    """2 x multiply-adds of each, by hand; inference mode has kernels of its own on the CPU."""
    with torch.inference_mode():
        x_BLC = torch.ones(2, 5, 6, device=device)
        weight, bias = torch.ones(7, 6, device=device), torch.ones(7, device=device)
        q_BHLE = torch.ones(2, 3, 40, 8, device=device)
        k_BHLE = torch.ones(2, 3, 50, 8, device=device)
        image = torch.ones(1, 3, 9, 9, device=device)
        kernel = torch.ones(4, 3, 3, 3, device=device)
        assert count_flops(lambda: functional.linear(x_BLC, weight)) == 2 * (2 * 5) * 6 * 7
        assert count_flops(lambda: functional.linear(x_BLC, weight, bias)) == 2 * (2 * 5) * 6 * 7
        assert count_flops(lambda: torch.matmul(q_BHLE, k_BHLE.mT)) == 2 * 2 * 3 * 40 * 50 * 8
        attention = count_flops(
            lambda: functional.scaled_dot_product_attention(q_BHLE, k_BHLE, k_BHLE)
        )
        assert attention == 2 * (2 * 2 * 3 * 40 * 50 * 8)
        assert (
            count_flops(lambda: functional.conv2d(image, kernel, padding=1)) == 2 * 81 * 4 * 3 * 9
        )


def test_any_model_is_measured_by_its_clips():
    profile = profile_model(Product(), ProfileSettings(batch_size=3))
    assert profile.flops_per_clip == 2 * 4 * 8 * 16
    assert profile.num_parameters == 128
    assert (profile.batch_size, profile.dtype) == (3, "default")
    assert profile.seconds_per_clip is not None
    assert profile.seconds_per_clip > 0
    assert profile.device
    assert profile.num_threads == torch.get_num_threads()
    assert profile.num_steps is None
    assert profile.notes == ()


def test_a_model_without_torch_has_time_alone():
    profile = profile_model(load_model("static"))
    assert profile.flops_per_clip is None
    assert profile.num_parameters is None
    assert "no FLOPs were seen" in profile.notes[0]


def test_peak_memory_is_the_process():
    peak = peak_memory_mib("cpu")
    assert peak is None or 50 < peak < 2**20


@pytest.mark.parametrize(
    ("settings", "option"),
    [({"num_steps": 3}, "--steps 3"), ({"count_only": True}, "--count-only")],
)
def test_what_needs_a_model_of_its_own_is_refused(settings, option):
    with pytest.raises(UserError, match=option):
        profile_model(Product(), ProfileSettings(**settings))


def test_a_model_that_profiles_itself_is_asked():
    class Own(Product):
        def profile(self, settings: ProfileSettings) -> Profile:
            return replace(FIGURES, batch_size=settings.batch_size)

    assert profile_model(Own(), ProfileSettings(batch_size=2)) == replace(FIGURES, batch_size=2)


def test_the_report_says_it_all():
    assert profile_command.report(FIGURES) == [
        "m: 16 frames of 64x64, batch 1, fp32, on A Fast Device",
        "parameters   1 M, 250 k of them temporal",
        "FLOPs        2 TFLOP per step, 25 TFLOP per clip of 10 steps",
        "time         0.5 s per step, 6 s per clip of 10 steps",
        "reached      4 TFLOP/s",
        "peak memory  2,048 MiB (allocated on the device)",
        "",
        "part  parameters  FLOP/clip  s/clip  TFLOP/s",
        "net          1 M       20 T       –        –",
        "",
        "- a note",
    ]


def test_command_measures_and_writes_json(tmp_path):
    result = invoke("-m", f"{ADAPTERS}:Drift", "--json", tmp_path / "new" / "figures.json")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("drift: 4 frames of 32x32, batch 1, default, on ")
    stored = json.loads((tmp_path / "new" / "figures.json").read_text(encoding="utf-8"))
    assert stored["model"] == "drift"
    assert stored["seconds_per_clip"] > 0


def test_command_keeps_the_figures_in_a_run_and_leaves_the_rest(tmp_path, make_suite):
    model = load_model(f"{ADAPTERS}:Drift", {"step": 2})
    run = generate(model, make_suite(["a"]), tmp_path)
    record = (run.path / "run.json").read_bytes()
    result = invoke("-m", f"{ADAPTERS}:Drift", "-a", "step=2", "--run", run.path)
    assert result.exit_code == 0, result.output
    profile = load_profile(run.path)
    assert profile is not None
    assert profile.model == "drift"
    assert (run.path / "run.json").read_bytes() == record
    shown = CliRunner().invoke(cli, ["show", str(run.path)])
    assert "drift: 4 frames of 32x32, batch 1" in shown.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [(["-a", "step=3"], "options.step: 2 -> 3"), (["-a", "step=2", "--dtype", "bf16"], "dtype")],
)
def test_a_run_of_another_model_is_refused(tmp_path, make_suite, options, words):
    run = generate(load_model(f"{ADAPTERS}:Drift", {"step": 2}), make_suite(["a"]), tmp_path)
    result = invoke("-m", f"{ADAPTERS}:Drift", *options, "--run", run.path)
    assert isinstance(result.exception, SpecMismatchError)
    assert words in str(result.exception)
    assert load_profile(run.path) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--steps", "2", "--count-only"], "nothing is timed"),
    ],
)
def test_impossible_options_are_one_line(options, words):
    result = invoke("-m", "static", *options)
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
