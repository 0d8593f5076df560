"""Which metrics cannot run here, said before anything is made."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from i2vbench import readiness
from i2vbench.errors import UserError
from i2vbench.protocol import load_protocol
from i2vbench.readiness import Unready, unready_metrics
from i2vbench.weight_files import WEIGHT_FILES

NAME = "i3d-tats"
"""Read by the FVD of two protocols, and in no package."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("I2VBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("I2VBENCH_OFFLINE", "1")
    return tmp_path


def missing(download: bool, protocol: str = "cd-fvd", *names: str) -> list[Unready]:
    chosen = load_protocol(protocol)
    return unready_metrics(names or chosen.metrics, chosen, download=download)


@pytest.mark.parametrize("download", [False, True])
def test_what_is_not_here_is_named_and_is_not_damaged(download: bool) -> None:
    (found,) = missing(download)
    assert (found.metric, found.weights, found.is_damaged) == ("fvd", NAME, False)
    assert found.reason.startswith(f"weights {NAME!r} are not here")
    assert "\n" not in found.reason


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"<html>not found</html>"], ids=len)
def test_a_damaged_file_is_told_from_none(folder: Path, content: bytes, download: bool) -> None:
    file = folder / WEIGHT_FILES[NAME].file
    file.write_bytes(content)
    (found,) = missing(download)
    assert (found.metric, found.is_damaged) == ("fvd", True)
    assert str(file) in found.reason


@pytest.mark.parametrize("download", [False, True])
def test_a_file_without_a_known_hash_is_looked_into(folder: Path, download: bool) -> None:
    (folder / WEIGHT_FILES["amt-s"].file).write_bytes(b"")
    found = missing(download, "vbench-i2v", "motion_smoothness")
    assert [(each.weights, each.is_damaged) for each in found] == [("amt-s", True)]


def test_a_sound_file_is_ready(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, content = WEIGHT_FILES[NAME], b"weights"
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(WEIGHT_FILES, NAME, replace(entry, sha256=digest, size=len(content)))
    (folder / entry.file).write_bytes(content)
    assert missing(True) == []


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "find_spec", lambda name: None)
    (found,) = missing(True, "vbench-i2v", "imaging_quality")
    assert (found.weights, found.is_damaged) == ("", False)
    assert "needs the package pyiqa: pip install 'i2vbench[pyiqa]'" in found.reason


def test_without_its_reader_no_metric_of_a_protocol_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    names = ("temporal_flickering", "motion_smoothness")
    found = missing(True, "vbench-i2v", *names)
    assert [each.metric for each in found] == list(names)
    assert all("the reader 'decord' is not installed" in each.reason for each in found)


def test_only_looking_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(readiness, "resolve", asked.append)
    assert len(missing(False)) == 1
    assert asked == []
    assert missing(True) == []
    assert asked == [NAME]


def test_what_a_protocol_declares_unavailable_is_not_among_them() -> None:
    protocol = load_protocol("i2v-bench")
    declared = [name for name in protocol.metrics if protocol.choice(name).unavailable]
    assert declared
    assert missing(False, "i2v-bench", *declared) == []
    found = {each.metric for each in missing(False, "i2v-bench")}
    assert found
    assert not found & set(declared)


def test_what_comes_with_the_package_and_what_is_optional_is_ready() -> None:
    assert missing(False, "embedded") == []


def test_a_file_of_two_extractors_is_named_once_for_each_metric() -> None:
    found = [(each.metric, each.weights) for each in missing(False, "vbench-i2v")]
    assert len(found) == len(set(found))
    readers = [metric for metric, weights in found if weights == "dino-vit-b-16"]
    assert readers == ["i2v_subject", "i2v_background", "subject_consistency"]


def test_an_unknown_metric_is_an_error() -> None:
    with pytest.raises(UserError, match="unknown"):
        missing(False, "cd-fvd", "no_such_metric")
