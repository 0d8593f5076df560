"""Files that survive a crash: what is in them afterwards, byte by byte."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import pytest

from i2vbench.files import (
    append_rows,
    errors_naming,
    file_sha256,
    is_temporary,
    read_rows,
    remove_temporary,
    replace_rows,
    write_atomic,
)


def test_a_whole_file_is_replaced_and_readable_by_others(tmp_path):
    path = tmp_path / "new" / "folder" / "results.json"
    write_atomic(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["results.json"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_atomic(path, "old")
    with pytest.raises(TypeError):
        write_atomic(path, 3)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["results.json"]


def test_the_temporary_file_lies_beside_the_old_one(tmp_path, monkeypatch):
    """On another file system a rename would be a copy, which a crash can cut in half."""
    made = []
    mkstemp = tempfile.mkstemp

    def remember(*args, **kwargs):
        made.append(mkstemp(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkstemp", remember)
    write_atomic(tmp_path / "results.json", "new")
    assert [Path(name).parent for _, name in made] == [tmp_path]
    assert Path(made[0][1]).name.startswith(".results.json.")


def test_both_writers_sync_before_they_are_done(tmp_path, monkeypatch):
    """What os.fsync sees is the whole content: a later crash of the machine loses nothing."""
    sizes = []
    path = tmp_path / "file"

    def sync(handle):
        sizes.append(os.fstat(handle).st_size)

    monkeypatch.setattr("i2vbench.files.os.fsync", sync)
    write_atomic(path, "123456")
    append_rows(tmp_path / "rows", [{"a": 1}])
    assert sizes[:2] == [6, len('{"a":1}\n')]


def test_rows_are_appended_one_a_line_with_sorted_keys(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    append_rows(path, [{"b": 1, "a": "é"}, {"c": None}])
    append_rows(path, [{"d": 1.5}])
    assert path.read_bytes() == b'{"a":"\xc3\xa9","b":1}\n{"c":null}\n{"d":1.5}\n'
    assert read_rows(path) == [{"a": "é", "b": 1}, {"c": None}, {"d": 1.5}]


@pytest.mark.parametrize("torn", ["{", '{"b":2', '{"b":"' + "x" * 10_000])
@pytest.mark.parametrize("before", ["", '{"a":1}\n', '{"a":1}\n{"a":2}\n'])
def test_half_a_line_goes_before_the_next_rows(tmp_path, before, torn):
    path = tmp_path / "rows.jsonl"
    path.write_text(before + torn)
    assert len(read_rows(path)) == before.count("\n")
    append_rows(path, [{"c": 3}])
    assert path.read_text() == before + '{"c":3}\n'


def test_a_file_that_is_not_there_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "none.jsonl") == []
    assert read_rows(tmp_path) == []


def test_the_hash_of_a_file(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


TEXTS = {
    "separators": "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg",
    "line ends": "a\nb\rc\r\nd",
    "half characters": "\ud800 \udfff \udce9",
    "NUL": "\x00",
    "escapes": "\x1b[31mred\x9b0m\x7f",
    "backslashes": "\\ \\\\ \\u2028 \\\u2028 \\\ud800",
    "quotes": '" \' \\"',
    "plain": "naïve 🦊 \ufeff",
    "empty": "",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_is_one_line_and_comes_back(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [{"x": text, text: 1}, {"deep": [{"y": text}], "n": 10**30}]
    append_rows(path, rows)
    assert path.read_bytes().count(b"\n") == 2
    assert len(path.read_text().splitlines()) == 2
    assert read_rows(path) == rows


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes"])
def test_what_is_no_json_is_not_written(tmp_path: Path, value: object) -> None:
    path = tmp_path / "rows.jsonl"
    append_rows(path, [{"a": 1}])
    with pytest.raises((TypeError, ValueError)):
        append_rows(path, [{"b": 2}, {"x": value}])
    assert path.read_text() == '{"a":1}\n'


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{",
        b'{"a":2',
        b"[1]",
        b"3",
        b"null",
        b"\x00\x00\x00",
        b"\xff\xfe",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":1}{"a":2}',
    ],
    ids=lambda bad: bad[:12].decode("latin1"),
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bad_row_is_named_and_costs_itself(
    tmp_path: Path, bad: bytes, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [b'{"a":0}', b'{"a":1}']
    lines.insert(place, bad)
    path.write_bytes(b"\n".join(lines) + b"\n")
    with caplog.at_level(logging.WARNING):
        assert read_rows(path) == [{"a": 0}, {"a": 1}]
    (message,) = caplog.messages
    assert message.startswith(f"{path}, line {place + 1} is no row")


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b'{"a":0}\r\n{"a":1}\r\n')
    assert read_rows(tmp_path / "rows") == [{"a": 0}, {"a": 1}]


def test_equal_rows_leave_the_file_untouched(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    replace_rows(path, [{"b": 1, "a": 2}])
    before = path.stat()
    replace_rows(path, iter([{"a": 2, "b": 1}]))
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    replace_rows(path, [{"a": 3}])
    assert read_rows(path) == [{"a": 3}]
    replace_rows(path, [])
    assert path.read_bytes() == b""


def test_two_processes_append_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    code = (
        "import sys; from pathlib import Path; from i2vbench.files import append_rows\n"
        "for n in range(30):\n"
        "    append_rows(Path(sys.argv[1]), [{'who': sys.argv[2], 'n': n, 'x': 'y' * 400_000}])\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), who]) for who in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    rows = read_rows(path)
    for who in "ab":
        assert [row["n"] for row in rows if row["who"] == who] == list(range(30))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "mkstemp", "replace", "rows"])
def test_an_error_of_the_system_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """A full disk names no file, and nobody knows a temporary one."""
    path = tmp_path / "results.json"
    temporary = str(tmp_path / ".results.json.abc.i2vbench-tmp")
    names: dict[str, tuple[Any, ...]] = {
        "mkstemp": (temporary,),
        "replace": (temporary, None, str(path)),
    }

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code), *names.get(call, ()))

    write_atomic(path, "old")
    target = {"mkstemp": "tempfile.mkstemp", "replace": "Path.replace"}.get(call, "os.fsync")
    monkeypatch.setattr(f"i2vbench.files.{target}", fail)
    with pytest.raises(OSError, match="results") as caught:
        append_rows(path, [{"a": 1}]) if call == "rows" else write_atomic(path, "new")
    assert str(caught.value) == f"[Errno {code}] {os.strerror(code)}: {str(path)!r}"
    if call != "rows":
        assert path.read_text() == "old"
        assert [each.name for each in tmp_path.iterdir()] == ["results.json"]


def test_an_error_that_names_a_file_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), errors_naming(tmp_path / "mine"):
        (tmp_path / "other").read_bytes()
    with pytest.raises(ValueError, match="plain"), errors_naming(tmp_path / "mine"):
        raise ValueError("plain")


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").mkdir()
    with pytest.raises(OSError, match=r"results\.json'$"):
        write_atomic(tmp_path / "results.json", "new")
    assert [each.name for each in tmp_path.iterdir()] == ["results.json"]


def test_what_killed_writers_left_is_known_and_removed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    left = [tmp_path / ".a.json.x1.i2vbench-tmp", tmp_path / "deep" / ".b.y2.i2vbench-tmp"]
    kept = [tmp_path / "a.i2vbench-tmp", tmp_path / "deep" / ".hidden"]
    for path in (*left, *kept):
        path.touch()
    assert all(map(is_temporary, left))
    assert not any(map(is_temporary, kept))
    remove_temporary(tmp_path)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)
