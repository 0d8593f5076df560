"""``i2vbench weights``, as it is typed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from i2vbench import weights
from i2vbench.cli import cli
from i2vbench.errors import UserError
from i2vbench.weight_files import WEIGHT_FILES
from tests.weight_server import CONTENT, SHA256, Server, cached, refusal, run

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE HTML><p>404", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(600), "cut off after 604 bytes"),
    ],
)
def test_without_a_hash_what_is_plainly_no_file_of_weights_is_refused(
    server: Server, register, content: bytes, what: str
) -> None:
    register(sha256="", size=None)
    cached(content)
    assert what in refusal()
    assert not list(weights.cache_dir().glob("*.sha256"))
    result = run("verify", "net")
    assert (result.exit_code, what in result.stderr) == (1, True)
    register(server.url(), sha256="", size=None)
    server.content = content
    cached(content)
    result = run("fetch", "net")
    assert (result.exit_code, "gave what is" in result.stderr) == (1, True)
    server.content = CONTENT
    assert run("fetch", "net").exit_code == 0
    assert weights.resolve("net").read_bytes() == CONTENT


def test_fetch_replaces_a_wrong_file_of_the_cache_and_no_other(
    server: Server, register, tmp_path: Path
) -> None:
    register(server.url())
    cached(b"wrong")
    assert run("fetch", "net").exit_code == 0
    assert weights.resolve("net").read_bytes() == CONTENT
    (tmp_path / "net.bin").write_bytes(b"mine")
    result = run("--weights-dir", str(tmp_path), "fetch", "net")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert (tmp_path / "net.bin").read_bytes() == b"mine"


def test_a_file_that_may_not_be_read_is_one_line(register, monkeypatch) -> None:
    def refuse(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    register()
    cached()
    monkeypatch.setattr(weights, "digest", refuse)
    assert "cannot be read (Permission denied)" in refusal()
    result = run("verify", "net")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_a_folder_that_may_not_be_entered_does_not_stop_the_list(register, monkeypatch) -> None:
    real = Path.is_file

    def is_file(path: Path) -> bool:
        if path.name == "net.bin":
            raise PermissionError(13, "Permission denied")
        return real(path)

    register()
    monkeypatch.setattr(Path, "is_file", is_file)
    result = run("list")
    assert result.exit_code == 1
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "unreadable" in rows["net"]
    assert "embedded" in rows["i3d-k400"]
    assert "cannot be looked at (Permission denied)" in result.stderr


def test_list_tells_of_a_weights_folder_that_is_gone(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("I2VBENCH_WEIGHTS", str(tmp_path / "nowhere"))
    result = run("list")
    assert result.exit_code == 1
    assert result.stderr.count("is no folder") == 1
    assert "i3d-k400" in result.stdout


def test_import_replaces_a_wrong_file_of_the_cache(tmp_path: Path, register) -> None:
    register(sha256="", size=None)
    path = cached(b"old")
    weights.resolve("net")
    path.write_bytes(b"damaged")
    (tmp_path / "net.bin").write_bytes(CONTENT)
    assert run("import", "--from", str(tmp_path)).exit_code == 0
    assert weights.resolve("net").read_bytes() == CONTENT


def test_list_shows_where_each_file_is(register) -> None:
    register()
    rows = {line.split()[0]: line for line in run("list").output.splitlines()}
    assert set(WEIGHT_FILES) <= set(rows)
    assert "missing" in rows["net"]
    cached()
    rows = {line.split()[0]: line for line in run("list").output.splitlines()}
    assert rows["net"].split() == ["net", "MIT", "1.0", "MB", "cache", "fvd"]


def test_fetch_goes_on_after_a_failure(
    server: Server, register, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = register(server.url())
    unlinked = replace(net, name="unlinked", file="unlinked.bin", urls=(), source="a shelf")
    monkeypatch.setitem(WEIGHT_FILES, "unlinked", unlinked)
    result = run("fetch", "unlinked", "net")
    assert result.exit_code == 1
    assert "no direct link is known" in result.output
    assert f"net: fetched {weights.cache_dir() / 'net.bin'}" in result.output
    result = run("fetch", "net")
    assert result.exit_code == 0
    assert "net: here already (cache)" in result.output


def test_verify_finds_the_damaged_file(register) -> None:
    register()
    assert run("verify", "net").exit_code == 1
    path = cached()
    result = run("verify", "net")
    assert (result.exit_code, f"net: ok, sha256 {SHA256}" in result.output) == (0, True)
    path.write_bytes(CONTENT[:-1] + b"?")
    result = run("verify")
    assert (result.exit_code, "net: WRONG" in result.output) == (1, True)


def test_import_takes_files_by_name_and_content(tmp_path: Path, register) -> None:
    register()
    folder = tmp_path / "stick"
    (folder / "sub").mkdir(parents=True)
    result = run("import", "--from", str(folder))
    assert isinstance(result.exception, UserError)
    assert "net.bin" in str(result.exception)
    (folder / "sub" / "net.bin").write_bytes(b"wrong")
    result = run("import", "--from", str(folder))
    assert (result.exit_code, weights.find("net")) == (1, None)
    (folder / "sub" / "net.bin").write_bytes(CONTENT)
    result = run("import", "--from", str(folder))
    assert result.exit_code == 0
    assert weights.find("net") == weights.cache_dir() / "net.bin"
    assert "here already" in run("import", "--from", str(folder)).output
    assert not list(weights.cache_dir().glob("*.import"))


def test_import_takes_the_right_one_of_several_files_of_the_name(tmp_path: Path, register) -> None:
    register()
    for folder, content in (("a", b"wrong"), ("b", CONTENT), ("c", b"wrong too")):
        (tmp_path / "stick" / folder).mkdir(parents=True)
        (tmp_path / "stick" / folder / "net.bin").write_bytes(content)
    result = run("import", "--from", str(tmp_path / "stick"))
    assert (result.exit_code, "b/net.bin ->" in result.stdout) == (0, True)
    assert weights.resolve("net").read_bytes() == CONTENT


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from i2vbench.weights_commands import weights;"
        "weights.main(['list'], standalone_mode=False);"
        "assert not {'torch', 'av', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_scoring_takes_a_weights_folder(
    tmp_path: Path, register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    monkeypatch.setenv("I2VBENCH_WEIGHTS", "")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "net.bin").write_bytes(CONTENT)
    arguments = ["run", "-m", "static", "-s", "playground", "--limit", "1", "--dry-run"]
    arguments += ["-o", str(tmp_path / "runs"), "--weights-dir"]
    result = CliRunner().invoke(cli, [*arguments, str(tmp_path / "mine")])
    assert result.exit_code == 0, result.output
    assert weights.resolve("net") == tmp_path / "mine" / "net.bin"
    result = CliRunner().invoke(cli, [*arguments, str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert "nowhere" in result.output
