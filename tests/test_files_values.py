"""Files that survive a crash: what is in them afterwards, byte by byte."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

import pytest

from i2vbench.files import append_rows, file_sha256, read_rows, write_atomic


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
