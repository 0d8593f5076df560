"""What a log says of a run: how far it is, and which clip hangs."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from i2vbench.progress import BarProgress, LineProgress, SilentProgress, on_stderr


def lines_of(patience_s: float = 60, interval_s: float = 60) -> tuple[LineProgress, list[str]]:
    lines: list[str] = []
    made = LineProgress("drift", lines.append, patience_s=patience_s, interval_s=interval_s)
    return made, lines


def wait_for(lines: list[str], number: int) -> None:
    end = time.monotonic() + 5
    while len(lines) < number and time.monotonic() < end:
        time.sleep(0.005)


def test_begin_end_and_counts() -> None:
    progress, lines = lines_of()
    progress.start("generate", 4, 1)
    progress.work_on("a, take 0")
    progress.advance()
    progress.advance(2)
    assert lines == ["generate drift: 1 of 4 clips done"]
    progress.finish()
    assert lines[1:] == ["generate drift: 4 of 4 clips done in 0 s"]
    progress.finish()
    progress.start("score", 2)
    progress.finish()
    assert lines[2:] == ["score drift: 0 of 2 clips done"]


def test_clips_are_counted_now_and_then() -> None:
    progress, lines = lines_of(interval_s=0)
    progress.start("generate", 3)
    progress.advance()
    progress.advance()
    assert lines[1:] == ["generate drift: 1 of 3 clips done", "generate drift: 2 of 3 clips done"]


def test_what_hangs_is_named_once_and_what_does_not_is_not() -> None:
    progress, lines = lines_of(patience_s=0.05)
    progress.start("generate", 3)
    for name in ("quick", "next"):
        progress.work_on(name)
    progress.advance()
    progress.work_on("slow\n\x1b[31mone")
    wait_for(lines, 2)
    time.sleep(0.15)
    assert lines[1:] == ["generate drift: working on slow one (1 of 3 clips done)"]
    progress.advance()
    progress.finish()
    assert lines[2:] == ["generate drift: 2 of 3 clips done in 0 s"]


def test_nothing_comes_after_the_end() -> None:
    progress, lines = lines_of(patience_s=0.002)
    for _ in range(30):
        progress.start("generate", 1)
        progress.work_on("a")
        time.sleep(0.002)
        progress.finish()
        lines.append("end")
    time.sleep(0.05)
    for before, line in itertools.pairwise(lines):
        assert before != "end" or line == "generate drift: 0 of 1 clips done"
    assert lines[-1] == "end"


def test_a_timer_that_went_off_before_it_was_cancelled_says_nothing() -> None:
    progress, lines = lines_of(patience_s=0.01)
    progress.start("generate", 1)
    # What the main thread holds while it cancels.
    with progress._lock:
        progress._timer = threading.Timer(0, progress._name_it, ("late",))
        late = progress._timer
        late.start()
        progress._timer = None
    late.join()
    assert lines == ["generate drift: 0 of 1 clips done"]


def test_a_timer_keeps_no_process_alive() -> None:
    progress, _ = lines_of()
    progress.start("generate", 1)
    progress.work_on("a")
    assert progress._timer is not None
    assert progress._timer.daemon
    progress.finish()


@pytest.mark.parametrize("kind", ["bar", "silent"])
def test_the_others_take_the_same_calls(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    progress = BarProgress("drift\n\x1b[31m") if kind == "bar" else SilentProgress()
    progress.start("generate", 2, 1)
    progress.work_on("scene\n\x1b]0;title\x07 3")
    progress.advance()
    progress.finish()
    progress.finish()
    printed = capsys.readouterr().err
    assert ("2/2 clips" in printed and "scene 3" in printed) == (kind == "bar")
    assert "\x1b[31m" not in printed
    assert "title" not in printed


def test_a_pipe_gets_lines_and_a_terminal_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = on_stderr("drift\x1b[31m")
    progress.start("generating", 2)
    assert capsys.readouterr().err == "generating drift: 0 of 2 clips done\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(on_stderr("drift"), BarProgress)
