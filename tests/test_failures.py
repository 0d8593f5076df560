"""What failed in a run, told alike everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from i2vbench import registry
from i2vbench.clip import Clip
from i2vbench.failures import FailedClip, failed_clips, failing_places, num_without_score
from i2vbench.generation import Plan, carry_out, plan_run
from i2vbench.metric import ClipMetric, Example
from i2vbench.model import Request
from i2vbench.rundir import RunDir
from i2vbench.sample import Suite
from i2vbench.scoring import score_run
from tests.adapters import Drift

MakeSuite = Callable[[list[str]], Suite]


class Cursed(Drift):
    """Fails on sample ``bad`` in a function of its own."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Clip]:
        for request in requests:
            if request.sample.id == "bad":
                _curse()
            yield from super().generate([request])


def _curse() -> None:
    raise RuntimeError("two\nlines \x1b[31mred")


class Picky(ClipMetric):
    """Refuses sample ``b``, in words that begin with its own name as many metrics' do."""

    name = "picky"
    version = "1"
    higher_is_better = True
    unit = ""

    def score_clip(self, example: Example) -> float:
        if example.sample_id == "b":
            raise ValueError("picky: does not like it")
        return float("nan") if example.sample_id == "c" else 1.0


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch) -> str:
    known = {**registry.METRICS._builtin, "picky": (f"{__name__}:Picky", "")}
    monkeypatch.setattr(registry.METRICS, "_builtin", known)
    return "picky"


def made(make_suite: MakeSuite, tmp_path: Path, ids: list[str]) -> tuple[RunDir, Plan]:
    suite = make_suite(ids)
    plan = plan_run(suite, Cursed().geometry, batch_size=2)
    return carry_out(Cursed(), plan, tmp_path), plan


def test_a_run_without_a_failure_has_none(make_suite: MakeSuite, tmp_path: Path) -> None:
    assert failed_clips(*made(make_suite, tmp_path, ["a", "b"])) == []


def test_failed_missing_and_unreadable_clips_are_told_in_order(
    make_suite: MakeSuite, tmp_path: Path
) -> None:
    run, plan = made(make_suite, tmp_path, ["a", "bad", "c"])
    (failed,) = failed_clips(run, plan)
    assert (failed.id, failed.take, failed.error) == ("bad", 0, "RuntimeError: two")
    assert failed.place.endswith("in _curse")
    assert str(failed) == f"bad, take 0: RuntimeError: two ({failed.place})"
    assert f"{Path(__file__).name}, line " in str(failed)

    run.video_path("c", 0).write_bytes(b"no video")
    score_run(run, plan, Cursed().card, metrics=["temporal_flickering"])
    wider = plan_run(make_suite(["z", "c", "a", "bad"]), Cursed().geometry)
    found = {each.id: each.error for each in failed_clips(run, wider)}
    assert list(found) == ["z", "c", "bad"]
    assert found["z"] == "the clip is missing: it was not made"
    assert found["c"]


def test_a_failure_is_one_line() -> None:
    failed = FailedClip(id="a\nb", take=1, error="x\x1b[31m\ny", place="file, line 3, in f")
    assert str(failed) == "a b, take 1: x y (file, line 3, in f)"


@pytest.mark.parametrize(
    ("trace", "number", "expected"),
    [
        ("", 2, []),
        ("ValueError: no frames", 2, []),
        (
            'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
            '  File "b c.py", line 2, in g\n    x = "  File "\nValueError: x',
            1,
            ["b c.py, line 2, in g"],
        ),
        (
            'T:\n  File "a.py", line 1, in f\n  File "b.py", line 2, in g\n',
            5,
            ["a.py, line 1, in f", "b.py, line 2, in g"],
        ),
    ],
)
def test_the_last_places_of_a_traceback(trace: str, number: int, expected: list[str]) -> None:
    assert failing_places(trace, number) == expected


def test_clips_without_a_score_are_counted_and_their_line_names_the_metric_once(
    make_suite: MakeSuite, tmp_path: Path, picky: str, caplog: pytest.LogCaptureFixture
) -> None:
    run, plan = made(make_suite, tmp_path, ["a", "b", "c", "d"])
    assert num_without_score(run, [picky], "embedded 1") == 0
    score_run(run, plan, Cursed().card, metrics=[picky, "temporal_flickering"])
    assert num_without_score(run, [picky], "embedded 1") == 2
    assert num_without_score(run, ["temporal_flickering", picky], "embedded 1") == 2
    assert num_without_score(run, ["temporal_flickering"], "embedded 1") == 0
    assert num_without_score(run, [], "embedded 1") == 0
    assert num_without_score(run, [picky], "another 1") == 0
    (line,) = [message for message in caplog.messages if "have no score" in message]
    assert line == "picky: 2 of 4 clips have no score; the first: b, take 0: does not like it"
