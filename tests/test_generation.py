"""Plans, batches, failures and resumption."""

import dataclasses
import json

import numpy as np
import pytest

from i2vbench import generate
from i2vbench.clip import Clip, Geometry
from i2vbench.errors import SpecMismatchError, UnreadableClipError, UserError
from i2vbench.generation import GenerationOptions, clip_key, open_run, plan_run, run_spec
from i2vbench.model import build_options
from i2vbench.rundir import RunDir
from i2vbench.sample import Sample, Suite
from i2vbench.video_io import read_video
from tests.adapters import Drift, DriftOptions, Fragile, WrongSize

IDS = ["a", "b", "c", "d", "e"]


def test_every_take_is_made_and_recorded(make_suite, tmp_path):
    run = generate(Drift(), make_suite(IDS), tmp_path, num_takes=2, batch_size=3)
    takes = run.takes()
    assert [take.key for take in takes.values()] == [(i, k) for i in IDS for k in (0, 1)]
    assert all(take.status == "ok" and run.resolve(take).is_file() for take in takes.values())
    assert run.status == "generated"


def test_a_clip_depends_on_seed_id_and_take_alone(make_suite, tmp_path):
    runs = [
        generate(Drift(), make_suite(ids), tmp_path / str(size), num_takes=2, batch_size=size)
        for ids, size in ((IDS, 1), (IDS[::-1], 3), (IDS, 4))
    ]
    files = [{t.key: t.sha256 for t in run.takes().values()} for run in runs]
    # The suites differ in the picture that an id has, so only equal suites are compared by bytes.
    assert files[0] == files[2]
    first, second = (read_video(runs[0].video_path("a", take)).frames for take in (0, 1))
    assert not np.array_equal(first, second)


def test_a_second_call_makes_nothing(make_suite, tmp_path):
    class Counting(Drift):
        calls = 0

        def generate(self, requests):
            Counting.calls += 1
            return super().generate(requests)

    generate(Counting(), make_suite(IDS), tmp_path, batch_size=2)
    assert Counting.calls == 3
    run = generate(Counting(), make_suite(IDS), tmp_path, batch_size=2)
    assert Counting.calls == 3
    run.video_path("c", 0).unlink()
    generate(Counting(), make_suite(IDS), tmp_path, batch_size=2)
    assert Counting.calls == 4, "the batch of the lost video is formed again, and no other"


def test_a_failing_sample_costs_itself_alone(make_suite, tmp_path):
    Fragile.sizes.clear()
    run = generate(Fragile(), make_suite(["a", "bad", "c", "d"]), tmp_path, batch_size=4)
    states = {take.id: take.status for take in run.takes().values()}
    assert states == {"a": "ok", "bad": "failed", "c": "ok", "d": "ok"}
    # Out of memory halves; the half with the bad sample is then tried one by one.
    assert Fragile.sizes == [4, 2, 1, 1, 2]
    failed = run.takes()["bad", 0]
    assert failed.error == "RuntimeError: this sample"
    assert "is cursed" in failed.traceback


def test_an_unreadable_picture_costs_its_sample_alone(make_suite, tmp_path):
    def broken(geometry: Geometry):
        raise UnreadableClipError("x.png is truncated")

    samples = [*make_suite(["a", "b"]).samples, Sample(id="x", load_first_frame=broken)]
    samples.append(Sample(id="no-picture", prompt="words alone"))
    suite = Suite(name="small", version="1", samples=samples, content_sha256="1" * 64)
    run = generate(Drift(), suite, tmp_path, batch_size=4)
    errors = {take.id: take.error for take in run.takes().values()}
    assert errors["a"] == errors["b"] == ""
    assert errors["x"] == "UnreadableClipError: x.png is truncated"
    assert "no picture" in errors["no-picture"]


def test_a_clip_of_another_size_is_a_failure(make_suite, tmp_path):
    run = generate(WrongSize(), make_suite(["a"]), tmp_path)
    assert "asked were 4 frames of 32x32" in run.takes()["a", 0].error


def test_user_errors_stop_the_run(make_suite, tmp_path):
    class NoCheckpoint(Drift):
        def generate(self, requests):
            raise UserError("checkpoint x is missing")

    with pytest.raises(UserError, match="checkpoint x"):
        generate(NoCheckpoint(), make_suite(IDS), tmp_path)


def test_the_directory_is_named_by_what_changes_a_clip(make_suite, tmp_path):
    suite = make_suite(IDS)

    def path(model=None, batch_size=1, **options):
        plan = plan_run(suite, Drift().geometry, batch_size=batch_size, **options)
        return open_run(model or Drift(), plan, tmp_path).path

    same = path()
    # Views of one directory, which makes nothing twice.
    for view in ({"batch_size": 3}, {"limit": 2}, {"num_takes": 2}, {"samples": ["b"]}):
        assert path(**view) == same
    others = [path(seed=1), path(Drift(DriftOptions(step=2))), path(Drift(dtype="bf16"))]
    assert len({same, *others}) == 4


def test_another_spec_in_the_same_directory_names_the_fields(make_suite, tmp_path):
    suite = make_suite(IDS)
    specs = [run_spec(Drift(), plan_run(suite, Drift().geometry, seed=s)) for s in (0, 7)]
    RunDir.create(tmp_path / "run", specs[0])
    RunDir.create(tmp_path / "run", specs[0])
    with pytest.raises(SpecMismatchError, match=r"seed: 0 -> 7"):
        RunDir.create(tmp_path / "run", specs[1])


def test_a_torn_row_is_dropped_and_made_again(make_suite, tmp_path):
    suite = make_suite(IDS)
    run = generate(Drift(), suite, tmp_path)
    rows = run.takes_file().read_bytes()
    run.takes_file().write_bytes(rows[:-20])
    assert ("e", 0) not in run.takes()
    generate(Drift(), suite, tmp_path)
    lines = run.takes_file().read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == IDS


def test_two_processes_do_not_share_a_run(make_suite, tmp_path):
    suite = make_suite(IDS)
    run = generate(Drift(), suite, tmp_path)
    with run.lock(), pytest.raises(UserError, match="in use by another process"):
        generate(Drift(), suite, tmp_path)


@pytest.mark.parametrize("option", ["limit", "num_takes", "batch_size"])
def test_numbers_below_one_are_refused(make_suite, option):
    with pytest.raises(UserError, match="must be at least 1, got 0"):
        plan_run(make_suite(IDS), Drift().geometry, **{option: 0})


def test_unknown_and_bad_options_name_what_is_accepted():
    with pytest.raises(UserError, match=r"'stop' is unknown: did you mean 'step'\?"):
        build_options(Drift, {"stop": 1})
    with pytest.raises(UserError, match="step must not be negative, got -1"):
        build_options(Drift, {"step": -1})


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_limit_of_time_is_a_positive_number(seconds):
    with pytest.raises(UserError, match="--timeout-s must be a positive number"):
        GenerationOptions(timeout_s=seconds)


@pytest.mark.parametrize("keyed", [True, False])
def test_a_clip_of_a_model_that_sees_the_real_one_is_of_it(make_suite, keyed):
    suite = make_suite(["a"])

    def key(level, *, reads_reference):
        def load_reference(geometry):
            shape = (geometry.num_frames, geometry.height, geometry.width, 3)
            return Clip(frames=np.full(shape, level, np.uint8), fps=geometry.fps)

        sample = dataclasses.replace(
            suite.samples[0],
            load_reference=load_reference,
            reference_key=str(level) if keyed else "",
        )
        changed = dataclasses.replace(suite, samples=[sample])
        (request,) = plan_run(changed, Drift().geometry).requests
        return clip_key("run", request, reads_reference=reads_reference)

    assert key(1, reads_reference=True) == key(1, reads_reference=True)
    assert key(1, reads_reference=True) != key(2, reads_reference=True)
    assert key(1, reads_reference=False) == key(2, reads_reference=False)
