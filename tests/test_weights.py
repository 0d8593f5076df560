from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from i2vbench import weights
from i2vbench.errors import MissingWeightsError, UserError
from i2vbench.registry import EXTRACTORS, METRICS
from i2vbench.weight_files import WEIGHT_FILES, WeightFile
from tests.weight_server import CONTENT, SHA256, Server, cached, refusal

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize("variable", ["I2VBENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody(
    server: Server, register, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    register(server.url())
    monkeypatch.setenv(variable, "1")
    assert "offline mode is on" in refusal()
    assert server.asked == []
    cached()
    assert weights.resolve("net").read_bytes() == CONTENT
    (weights.cache_dir() / "net.bin").unlink()
    monkeypatch.setenv(variable, "0")
    weights.resolve("net")
    assert len(server.asked) == 1


def test_finding_downloads_nothing(server: Server, register) -> None:
    register(server.url())
    assert weights.find("net") is None
    assert server.asked == []
    path = cached()
    assert weights.find("net") == path


def test_the_order_of_places(tmp_path: Path, register, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "netpackage"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "n.bin").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    register(embedded="netpackage:data/n.bin")
    assert weights.resolve("net") == package / "data" / "n.bin"
    assert weights.resolve("net") != cached()
    assert weights.resolve("net") == cached()
    for folder in ("env", "given"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.bin").write_bytes(CONTENT)
    monkeypatch.setenv("I2VBENCH_WEIGHTS", str(tmp_path / "env"))
    assert weights.resolve("net") == tmp_path / "env" / "net.bin"
    assert weights.resolve("net", tmp_path / "given") == tmp_path / "given" / "net.bin"
    (tmp_path / "given" / "net.bin").unlink()
    assert weights.resolve("net", tmp_path / "given") == cached()


def test_a_weights_folder_that_does_not_exist_is_named(
    tmp_path: Path, register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    with pytest.raises(UserError, match=r"--weights-dir .*nowhere is no folder"):
        weights.resolve("net", tmp_path / "nowhere")
    monkeypatch.setenv("I2VBENCH_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"I2VBENCH_WEIGHTS .*nowhere is no folder"):
        weights.resolve("net")


def test_another_file_of_the_same_name_is_refused(register) -> None:
    register()
    path = cached(CONTENT[::-1])
    message = refusal()
    assert str(path) in message
    assert "another or a damaged file" in message
    path.write_bytes(b"short")
    assert "5 bytes, not 1048576" in refusal()


def test_a_known_hash_needs_no_file(register) -> None:
    register()
    assert weights.sha256_of("net") == SHA256


@pytest.mark.parametrize("known", ["", SHA256[:8]])
def test_the_first_file_seen_is_trusted_and_no_other(register, known: str) -> None:
    register(sha256=known, size=None)
    with pytest.raises(MissingWeightsError, match="no direct link is known"):
        weights.sha256_of("net")
    path = cached()
    assert weights.sha256_of("net") == SHA256
    assert path.with_name("net.bin.sha256").read_text().strip() == SHA256
    path.write_bytes(CONTENT + b"!")
    message = refusal()
    assert ("on first use" in message) == (not known)


def test_a_hash_of_eight_digits_is_checked_and_completed(server: Server, register) -> None:
    register(server.url(), sha256=SHA256[:8])
    assert weights.sha256_of("net") == SHA256


def test_a_read_only_weights_folder_works(
    tmp_path: Path, register, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    register(sha256="")
    (tmp_path / "net.bin").write_bytes(CONTENT)
    monkeypatch.setattr(weights, "write_atomic", refuse)
    assert weights.resolve("net", tmp_path) == tmp_path / "net.bin"


def test_another_file_of_the_same_size_and_date_is_noticed(register) -> None:
    register()
    path = cached()
    weights.resolve("net")
    date = path.stat().st_mtime_ns
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(date, date))
    assert "another or a damaged file" in refusal()


def test_a_program_is_trusted_by_its_whole_hash(register, monkeypatch: pytest.MonkeyPatch) -> None:
    register(sha256=SHA256[:8], size=None)
    path = cached()
    monkeypatch.delenv("I2VBENCH_TRUST", raising=False)
    with pytest.raises(MissingWeightsError, match=f"set I2VBENCH_TRUST={SHA256}$"):
        weights.require_trust("net", path)
    monkeypatch.setenv("I2VBENCH_TRUST", SHA256[:8])
    with pytest.raises(MissingWeightsError, match="so it is not run"):
        weights.require_trust("net", path)
    monkeypatch.setenv("I2VBENCH_TRUST", f"{'0' * 64}, {SHA256.upper()}")
    assert weights.require_trust("net", path) == SHA256
    monkeypatch.delenv("I2VBENCH_TRUST")
    register()
    assert weights.require_trust("net", path) == SHA256


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'lpips-alexnet'"):
        weights.resolve("lpips-alex")


@pytest.mark.parametrize("entry", WEIGHT_FILES.values(), ids=lambda entry: entry.name)
def test_entries_of_the_register_hold_together(entry: WeightFile) -> None:
    assert entry.embedded or entry.urls or entry.source
    assert all(url.startswith("https://") for url in entry.urls)
    assert set(entry.sha256) <= set("0123456789abcdef")
    assert len(entry.sha256) in (0, 8, 64)
    assert Path(entry.file).name
    assert ".." not in entry.file
    metrics = {known.name for known in METRICS.entries()}
    assert all(user in metrics or user.startswith("published: ") for user in entry.used_by)
    assert set(entry.loaded_by) <= {known.name for known in EXTRACTORS.entries()}


def test_files_of_the_register_do_not_share_a_name() -> None:
    assert len({entry.file.lower() for entry in WEIGHT_FILES.values()}) == len(WEIGHT_FILES)


@pytest.mark.parametrize("name", [entry.name for entry in WEIGHT_FILES.values() if entry.embedded])
def test_embedded_files_are_there_and_whole(name: str) -> None:
    entry = WEIGHT_FILES[name]
    found = weights.locate(name)
    assert found is not None
    assert found.place == "embedded"
    assert entry.size == found.path.stat().st_size
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() == entry.sha256
