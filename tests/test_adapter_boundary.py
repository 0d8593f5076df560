"""What an adapter does wrong costs its own clip; the others are made, and scored."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from i2vbench import generate, score
from i2vbench.cli import cli
from i2vbench.clip import Clip, Geometry
from i2vbench.errors import FailingModelError, UserError
from i2vbench.failures import failed_clips
from i2vbench.generation import GenerationOptions, plan_run
from i2vbench.model import Card, Model, Request
from i2vbench.video_io import read_video

IDS = ["a", "b", "bad", "d", "e"]
GOOD = [sample_id for sample_id in IDS if sample_id != "bad"]
SIZE = Geometry(num_frames=3, height=16, width=16, fps=8)


def clip_of(request: Request, geometry: Geometry | None = None) -> Clip:
    """A clip that says whose it is: by its sample's id and take."""
    asked = geometry or request.geometry
    level = 10 * (1 + sum(map(ord, request.sample.id)) % 20) + request.take
    shape = (asked.num_frames, asked.height, asked.width, 3)
    return Clip(frames=np.full(shape, level, np.uint8), fps=asked.fps)


class Sound(Model):
    """A constant clip for each request."""

    @property
    def geometry(self) -> Geometry:
        return SIZE

    def describe(self) -> Card:
        return Card(name="sound", version="1")

    def make(self, request: Request) -> object:
        return clip_of(request)

    def generate(self, requests) -> Iterator[Clip]:
        for request in requests:
            yield self.make(request)  # type: ignore[misc]


class UnshowableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raising(error: BaseException) -> Callable[[Request], object]:
    def make(request: Request) -> object:
        raise error

    return make


def floats(request: Request) -> object:
    clip = clip_of(request)
    object.__setattr__(clip, "frames", clip.frames / 255)
    return clip


def written_over(request: Request) -> object:
    request.first_frame[...] = 0
    raise ValueError("after writing into the picture")


MISDEEDS: dict[str, tuple[Callable[[Request], object], str]] = {
    "nothing": (lambda request: None, "the model gave None; an i2vbench"),
    "a list": (lambda request: [clip_of(request)], "an i2vbench.clip.Clip was expected"),
    "an array": (lambda request: clip_of(request).frames, "an i2vbench.clip.Clip was expected"),
    "a class": (lambda request: Clip, "an i2vbench.clip.Clip was expected"),
    "frames": (lambda r: clip_of(r, replace(SIZE, num_frames=4)), "made 4 frames of 16x16"),
    "size": (lambda r: clip_of(r, replace(SIZE, width=18)), "made 3 frames of 18x16"),
    "rate": (lambda r: clip_of(r, replace(SIZE, fps=24)), "at 24 fps"),
    "floats": (floats, "uint8"),
    "float clip": (lambda r: Clip(frames=np.zeros((3, 16, 16, 3)), fps=8), "got float64"),
    "tensor": (lambda r: Clip(frames=torch.zeros(3, 16, 16, 3), fps=8), "take .cpu().numpy()"),
    "rate of 0": (lambda r: Clip(frames=clip_of(r).frames, fps=0), "must be positive"),
    "exception": (raising(KeyError("prompt")), "KeyError: 'prompt'"),
    "out of memory": (raising(MemoryError()), "MemoryError"),
    "exit": (raising(SystemExit(0)), "SystemExit: 0"),
    "cancelled": (raising(asyncio.CancelledError()), "CancelledError"),
    "closed": (raising(GeneratorExit()), "GeneratorExit"),
    "end": (raising(StopIteration()), "StopIteration"),
    "unshowable": (raising(UnshowableError()), "UnshowableError: its text cannot be shown"),
    "escapes": (raising(ValueError("\x1b[31mred\u2028line")), "ValueError: red"),
    "half a character": (raising(ValueError("cut \ud83d")), "ValueError: cut"),
    "picture": (written_over, "after writing into the picture"),
}


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("name", MISDEEDS)
def test_a_misdeed_costs_its_own_clip(name, batch_size, make_suite, tmp_path):
    misdeed, message = MISDEEDS[name]

    class Bad(Sound):
        def make(self, request):
            return misdeed(request) if request.sample.id == "bad" else clip_of(request)

    suite = make_suite(IDS)
    run = generate(Bad(), suite, tmp_path, batch_size=batch_size)
    takes = {take.id: take for take in run.takes().values()}
    assert {i: take.status for i, take in takes.items()} == dict.fromkeys(GOOD, "ok") | {
        "bad": "failed"
    }
    assert message in takes["bad"].error
    assert takes["bad"].error.isprintable()
    assert takes["bad"].traceback
    (flicker,) = score(run, suite=suite, metrics=["temporal_flickering"]).scores
    assert (flicker.n_scored, flicker.n_expected) == (4, 5)
    assert [f.id for f in failed_clips(run, plan_run(suite, SIZE))] == ["bad"]
    for sample_id in GOOD:
        request = Request(sample=suite.samples[0], take=0, seed=0, geometry=SIZE)
        made = read_video(run.video_path(sample_id, 0)).frames
        level = 10 * (1 + sum(map(ord, sample_id)) % 20)
        assert np.array_equal(made, np.full_like(clip_of(request).frames, level))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_one_buffer_for_all_clips_gives_each_its_own(batch_size, make_suite, tmp_path):
    class Reusing(Sound):
        buffer = np.zeros((3, 16, 16, 3), np.uint8)

        def make(self, request):
            self.buffer[...] = clip_of(request).frames
            return Clip(frames=self.buffer, fps=8)

        def generate(self, requests):
            yield from super().generate(requests)
            self.buffer[...] = 255

    run = generate(Reusing(), make_suite(IDS), tmp_path / "one", batch_size=batch_size, num_takes=2)
    other = generate(Sound(), make_suite(IDS), tmp_path / "two", num_takes=2)
    assert [t.sha256 for t in run.takes().values()] == [t.sha256 for t in other.takes().values()]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_what_is_written_into_a_picture_nobody_else_sees(batch_size, make_suite, tmp_path):
    seen: list[str] = []

    class Scribbling(Sound):
        def make(self, request):
            seen.append(f"{request.sample.id} {int(request.first_frame.sum())}")
            request.first_frame[...] = 255
            request.sample.load_first_frame(request.geometry)[...] = 254
            return Clip(frames=np.stack([request.first_frame] * 3), fps=8)

    suite = make_suite(["a", "b"])
    generate(Scribbling(), suite, tmp_path, batch_size=batch_size, num_takes=2)
    sums = [int(s.load_first_frame(SIZE).sum()) for s in suite]
    assert seen == [f"{i} {n}" for i, n in zip("ab", sums, strict=True) for _ in range(2)]


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (lambda n: n - 1, "the model made {fewer} clips of {n} requests"),
        (lambda n: 0, "the model made 0 clips of {n} requests"),
        (lambda n: n + 1, "the model made more than the {n} clips that were requested"),
        (lambda n: 10**9, "the model made more than the {n} clips that were requested"),
    ],
)
def test_a_wrong_number_of_clips_fails_the_batches_that_have_it(
    count, message, make_suite, tmp_path
):
    class Miscounting(Sound):
        def generate(self, requests):
            wrong = any(request.sample.id == "bad" for request in requests)
            number = count(len(requests)) if wrong else len(requests)
            for position in range(number):
                yield clip_of(requests[min(position, len(requests) - 1)])

    for size in (1, 4):
        run = generate(Miscounting(), make_suite(IDS), tmp_path / str(size), batch_size=size)
        failed = [take for take in run.takes().values() if take.status == "failed"]
        assert [take.id for take in failed] == ["bad"]
        assert failed[0].error == f"RuntimeError: {message.format(n=1, fewer=0)}"


def test_what_is_no_iterator_of_clips_is_a_failure_and_a_list_is_accepted(make_suite, tmp_path):
    class Lists(Sound):
        def generate(self, requests):
            if any(request.sample.id == "bad" for request in requests):
                return None
            return [clip_of(request) for request in requests]

    run = generate(Lists(), make_suite(IDS), tmp_path, batch_size=2)
    assert [take.id for take in run.takes().values() if take.error] == ["bad"]
    assert "NoneType" in run.takes()["bad", 0].error


def test_the_user_can_always_stop(make_suite, tmp_path):
    class Stopped(Sound):
        def make(self, request):
            if request.sample.id == "bad":
                raise KeyboardInterrupt
            return clip_of(request)

    suite = make_suite(IDS)
    with pytest.raises(KeyboardInterrupt):
        generate(Stopped(), suite, tmp_path, batch_size=1)
    # What was made is there, and the lock is free.
    run = generate(Sound(), suite, tmp_path / "whole")
    (stopped,) = (tmp_path / "small").iterdir()
    assert len((stopped / "takes.0.jsonl").read_text().splitlines()) == 2
    generate(Stopped(), make_suite(GOOD), tmp_path)
    assert len(run.takes()) == 5


def test_an_adapters_folder_and_torch_settings_stay_its_own(make_suite, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    seen: list[tuple[object, ...]] = []

    def state():
        return (
            Path.cwd(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_default_device(),
            torch.is_autocast_enabled("cpu"),
        )

    before = state()

    class Meddling(Sound):
        def make(self, request):
            seen.append(state())
            os.chdir(elsewhere)
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
            torch.set_num_threads(before[3] + 1)
            torch.use_deterministic_algorithms(True)
            torch.set_default_device("meta")
            torch.set_autocast_enabled("cpu", True)
            if request.sample.id == "bad":
                raise ValueError("and then it fails")
            return clip_of(request)

    suite = make_suite(IDS)
    run = generate(Meddling(), suite, "runs", batch_size=1)
    assert state() == before
    assert seen[0] == before
    assert len(set(seen[1:])) == 1, "what it set is in force again when it is called again"
    assert seen[1] != before
    assert run.path == tmp_path / "runs" / "small" / run.path.name
    assert not list(elsewhere.iterdir())
    other = generate(Sound(), suite, tmp_path / "other")
    (one,), (two,) = (
        score(each, suite=suite, metrics=["temporal_flickering"]).scores for each in (run, other)
    )
    assert one.value == two.value
    assert one.fingerprint == two.fingerprint


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_clip_that_hangs_is_a_failed_one(batch_size, make_suite, tmp_path):
    class Hanging(Sound):
        def make(self, request):
            while request.sample.id == "bad":
                try:
                    time.sleep(0.01)
                except Exception:  # a loop that tries for ever
                    continue
            return clip_of(request)

    options = GenerationOptions(timeout_s=0.15)
    started = time.monotonic()
    run = generate(Hanging(), make_suite(IDS), tmp_path, batch_size=batch_size, options=options)
    assert time.monotonic() - started < 5
    assert {take.id: take.error for take in run.takes().values() if take.error} == {
        "bad": "ClipTimeout: no clip after 0.15 s"
    }
    with pytest.raises(UserError, match="must be a positive number, got 0"):
        GenerationOptions(timeout_s=0)


@pytest.mark.parametrize(
    "misdeed", ["nothing", "exception", "frames", "exit", "unshowable", "float clip"]
)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_model_that_fails_alike_from_the_start_stops_the_run(
    misdeed, batch_size, make_suite, tmp_path
):
    asked: list[str] = []

    class Broken(Sound):
        def make(self, request):
            asked.append(request.sample.id)
            return MISDEEDS[misdeed][0](request)

    suite = make_suite([f"s{n}" for n in range(9)])
    with pytest.raises(FailingModelError, match="first 4 clips all failed alike") as stop:
        generate(Broken(), suite, tmp_path, batch_size=batch_size)
    assert "\n" not in str(stop.value)
    assert set(asked) == {"s0", "s1", "s2", "s3"}
    (path,) = (tmp_path / "small").iterdir()
    rows = [json.loads(line) for line in (path / "takes.0.jsonl").read_text().splitlines()]
    assert [row["status"] for row in rows] == ["failed"] * 4
    # Mended, the same command goes on in a run of its own code; this one is tried again.
    asked.clear()
    with pytest.raises(FailingModelError):
        generate(Broken(), suite, tmp_path, batch_size=batch_size)
    assert set(asked) == {"s0", "s1", "s2", "s3"}


def test_a_model_that_fails_for_different_reasons_or_later_does_not_stop(make_suite, tmp_path):
    class Picky(Sound):
        def make(self, request):
            raise ValueError(f"{sum(map(ord, request.sample.id))} is too many")

    run = generate(Picky(), make_suite([f"s{n}" for n in range(6)]), tmp_path)
    assert [take.status for take in run.takes().values()] == ["failed"] * 6

    class Late(Sound):
        def make(self, request):
            if request.sample.id == "s0":
                return clip_of(request)
            raise ValueError("too many")

    run = generate(Late(), make_suite([f"s{n}" for n in range(9)]), tmp_path / "late")
    assert [take.status for take in run.takes().values()] == ["ok"] + ["failed"] * 8


class WithNumbers(Sound):
    """Its rate and sizes are numbers of any kind."""

    rate: object = 8
    side: object = 16

    @property
    def geometry(self) -> Geometry:
        return Geometry(num_frames=3, height=self.side, width=self.side, fps=self.rate)

    def make(self, request):
        return Clip(frames=clip_of(request).frames, fps=self.rate)


@pytest.mark.parametrize(
    ("side", "rate"),
    [
        (np.int64(16), np.float32(8)),
        (np.array(16), np.array(8.0)),
        (torch.tensor(16), torch.tensor(8.0)),
        (16.0, Fraction(8)),
        (Fraction(16), Fraction(30000, 1001)),
        (16, np.float64(23.976)),
    ],
)
def test_numbers_are_taken_as_the_numbers_they_are(side, rate, make_suite, tmp_path):
    class Kind(WithNumbers):
        pass

    Kind.side, Kind.rate = side, rate
    suite = make_suite(["a", "b"])
    run = generate(Kind(), suite, tmp_path)
    Kind.side, Kind.rate = 16, float(rate)
    again = generate(Kind(), suite, tmp_path)
    assert run.path == again.path
    assert {take.status for take in run.takes().values()} == {"ok"}
    assert run.spec["geometry"]["fps"] == float(rate)
    results = score(run, suite=suite, metrics=["temporal_flickering"])
    assert results.geometry[0]["fps"] == pytest.approx(float(rate), rel=1e-6)


@pytest.mark.parametrize("number", [True, "8", None, float("nan"), float("inf"), 8j, -1])
def test_what_is_no_positive_number_is_refused(number):
    with pytest.raises(ValueError, match="fps must be"):
        Geometry(num_frames=3, height=16, width=16, fps=number)
    with pytest.raises(ValueError, match="height must be"):
        Geometry(num_frames=3, height=number, width=16, fps=8)


def test_half_a_pixel_is_refused():
    with pytest.raises(ValueError, match="width must be a whole number"):
        Geometry(num_frames=3, height=16, width=16.5, fps=8)


CARDS = """
import itertools
from i2vbench.clip import Geometry
from i2vbench.model import Card, Model

counter = itertools.count()

class Base(Model):
    geometry = Geometry(num_frames=2, height=16, width=16, fps=8)

    def generate(self, requests):
        raise AssertionError("a model with such a card is not asked for clips")

def model(make):
    class Carded(Base):
        def describe(self):
            return make()
    return Carded

Raises = model(lambda: 1 / 0)
Leaves = model(lambda: exit(0))
Nothing = model(lambda: None)
Changes = model(lambda: Card(name="a", version=str(next(counter))))
Sets = model(lambda: Card(name="a", version="1", options={"layers": {1, 2}}))
Deep = model(lambda: Card(name="a", version="1", options={"a": {"b": [object()]}}))
NotANumber = model(lambda: Card(name="a", version="1", options={"cfg": float("nan")}))
Keys = model(lambda: Card(name="a", version="1", options={"a": {1: 2}}))
Version = model(lambda: Card(name="a", version=1.5))
Name = model(lambda: Card(name="", version="1"))
Long = model(lambda: Card(name="a" * 300, version="1"))
Parameters = model(lambda: Card(name="a", version="1", num_parameters="many"))
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Raises", "its describe() fails: ZeroDivisionError"),
        ("Leaves", "its describe() fails: SystemExit: 0"),
        ("Nothing", "gave None, an i2vbench Card was expected"),
        ("Changes", "its card's version changes from call to call ('0', then '1')"),
        ("Sets", "option 'layers' is {1, 2} (set)"),
        ("Deep", "option 'a' is <object"),
        ("NotANumber", "option 'cfg' is nan"),
        ("Keys", "option 'a' is {1: 2}"),
        ("Version", "its card's version is 1.5; accepted is text"),
        ("Name", "its card's name is ''"),
        ("Long", "name has 300 characters; at most 100"),
        ("Parameters", "num_parameters must be a number"),
    ],
)
def test_a_card_that_says_nothing_sure_is_refused_before_anything_is_made(
    name, message, pictures, tmp_path
):
    file = tmp_path / "cards.py"
    file.write_text(CARDS)
    command = ["run", "-m", f"{file}:{name}", "-s", pictures, "-o", tmp_path / "runs"]
    done = CliRunner().invoke(cli, [*map(str, command), "--metrics", "temporal_flickering"])
    assert isinstance(done.exception, UserError | ValueError), done.output
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "runs").exists()


def test_the_exit_code_and_the_last_lines_name_the_failed_clips(pictures, tmp_path):
    file = tmp_path / "picky.py"
    file.write_text(
        "from tests.test_adapter_boundary import Sound, clip_of\n"
        "class Picky(Sound):\n"
        "    def make(self, request):\n"
        "        if request.sample.id == 'p3':\n"
        "            raise SystemExit(0)\n"
        "        return clip_of(request)\n"
    )
    command = ["run", "-m", f"{file}:Picky", "-s", pictures, "-o", tmp_path / "runs"]
    command += ["--metrics", "temporal_flickering", "--no-baselines"]
    for _ in range(2):
        done = CliRunner().invoke(cli, [*map(str, command)])
        assert done.exit_code == 1, done.output
        assert "failed: p3, take 0: SystemExit: 0" in done.output
        assert "line 5, in make" in done.output
        assert "All is done" not in done.output
    forgiven = CliRunner().invoke(cli, [*map(str, command), "--max-failures", "1"])
    assert forgiven.exit_code == 0
