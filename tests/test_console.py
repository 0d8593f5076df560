"""What reaches the terminal."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from i2vbench.console import OneLineFormatter, echo, shown

HOSTILE = "a\x1b[31m\x1b]0;title\x07\u202eb\r\x9bc\ud800"


def test_what_is_printed_is_obeyed_by_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"{HOSTILE}\n\tnext")
    echo(HOSTILE, err=True, newline=False)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("abc\n\tnext\n", "abc")


def record_of(message: str, *args: object, is_failing: bool = False) -> logging.LogRecord:
    info = None
    if is_failing:
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            info = sys.exc_info()
    return logging.LogRecord("name", logging.WARNING, "file.py", 3, message, args, info)


def test_a_log_line_is_one_line() -> None:
    formatter = OneLineFormatter("%(levelname)s: %(message)s")
    line = formatter.format(record_of("clip %s:\n%s", HOSTILE, "x\u2028y"))
    assert line == "WARNING: clip a b c : x y"


def test_a_traceback_keeps_its_lines() -> None:
    lines = OneLineFormatter("%(message)s").format(record_of("failed", is_failing=True)).split("\n")
    assert lines[:2] == ["failed", "Traceback (most recent call last):"]
    assert lines[2].startswith('  File "')
    assert lines[-1] == "ValueError: abc"


def test_paths_are_shown_as_a_user_types_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "a" / "b") == "a/b"
    assert shown(tmp_path.parent) == str(tmp_path.parent)
    assert shown(Path("a")) == "a"
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert shown(tmp_path / "a") == str(tmp_path / "a")
