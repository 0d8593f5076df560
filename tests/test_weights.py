from __future__ import annotations

import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from i2vbench import download as download_module
from i2vbench import weights
from i2vbench.cli import cli
from i2vbench.errors import MissingWeightsError, UserError
from i2vbench.registry import EXTRACTORS, METRICS
from i2vbench.weight_files import WEIGHT_FILES, WeightFile
from i2vbench.weights_commands import weights as command

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Stands for the network: serves CONTENT, as well as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str]] = []
        """Path and Range header of each request."""
        self.content = CONTENT
        self.cuts: list[int] = []
        """After how many bytes each of the next answers breaks off."""
        self.knows_ranges = True
        self.statuses: list[int] = []
        """Of the next answers."""
        self.content_type = "application/octet-stream"
        self.redirect = ""
        """Where each answer sends the client instead."""
        self.stalls: list[float] = []
        """Seconds that each of the next answers sleeps half way."""

    def url(self, name: str = "file.bin") -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        given = self.headers.get("Range", "")
        self.server.asked.append((self.path, given))
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.server.statuses or self.path.startswith("/absent"):
            self.send_error(self.server.statuses.pop(0) if self.server.statuses else 404)
            return
        content, start = self.server.content, 0
        if given and self.server.knows_ranges:
            start = int(given.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Content-Type", self.server.content_type)
        self.end_headers()
        body = content[start:]
        if self.server.stalls:
            half = len(body) // 2
            self.wfile.write(body[:half])
            time.sleep(self.server.stalls.pop(0))
            body = body[half:]
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for name in ("I2VBENCH_WEIGHTS", "I2VBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download_module, "PAUSE_S", 0.0)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch):
    """Puts one entry, ``net``, into the register."""

    def put(*urls: str, **fields: object) -> WeightFile:
        values = {"size": len(CONTENT), "sha256": SHA256, "licence": "MIT", "used_by": ("fvd",)}
        entry = WeightFile(name="net", file="net.bin", urls=urls, **{**values, **fields})
        monkeypatch.setitem(WEIGHT_FILES, "net", entry)
        return entry

    return put


def cached(content: bytes = CONTENT) -> Path:
    path = weights.cache_dir() / "net.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def refusal(name: str = "net") -> str:
    with pytest.raises(MissingWeightsError) as caught:
        weights.resolve(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_download_lands_in_the_cache_and_stays(server: Server, register) -> None:
    register(server.url())
    path = weights.resolve("net")
    assert path == weights.cache_dir() / "net.bin"
    assert path.read_bytes() == CONTENT
    assert weights.resolve("net") == path
    assert server.asked == [("/file.bin", "")]
    assert {left.name for left in path.parent.iterdir()} == {"net.bin", "net.bin.lock"}


def test_a_cut_download_goes_on_where_it_broke(server: Server, register) -> None:
    register(server.url())
    server.cuts = 5 * [200_000]
    assert weights.resolve("net").read_bytes() == CONTENT
    assert [given for _, given in server.asked] == [
        "",
        *(f"bytes={start}-" for start in range(200_000, 1_000_001, 200_000)),
    ]


def test_a_server_that_stalls_is_left_and_asked_for_the_rest(
    server: Server, register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(server.url())
    monkeypatch.setattr(download_module, "_TIMEOUT_S", 0.2)
    server.stalls = [1.0]
    assert weights.resolve("net").read_bytes() == CONTENT
    assert len(server.asked) == 2
    assert server.asked[1][1].startswith("bytes=")


def test_a_slow_server_is_waited_for(
    server: Server, register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(server.url())
    monkeypatch.setattr(download_module, "_TIMEOUT_S", 5.0)
    server.stalls = [0.3]
    assert weights.resolve("net").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_the_next_call_takes_up_what_a_killed_one_left(server: Server, register) -> None:
    register(server.url())
    server.cuts = [500_000, 0, 0, 0, 0]
    assert "the connection broke after 500000 of 1048576 bytes, 3 times" in refusal()
    assert not (weights.cache_dir() / "net.bin").exists()
    server.asked.clear()
    server.cuts = []
    assert weights.resolve("net").read_bytes() == CONTENT
    assert server.asked == [("/file.bin", "bytes=500000-")]


def test_a_server_without_ranges_starts_over(server: Server, register) -> None:
    register(server.url())
    server.knows_ranges = False
    server.cuts = [300_000]
    assert weights.resolve("net").read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_what_is_left_of_a_longer_file_is_thrown_away(server: Server, register) -> None:
    register(server.url())
    cached().rename(weights.cache_dir() / "net.bin.part")
    assert weights.resolve("net").read_bytes() == CONTENT
    assert [given for _, given in server.asked] == ["bytes=1048576-", ""]


def test_halves_of_two_files_are_not_joined(server: Server, register) -> None:
    register(server.url())
    cached(b"x" * 1000).rename(weights.cache_dir() / "net.bin.part")
    assert f"expected {SHA256[:16]}" in refusal()
    assert weights.resolve("net").read_bytes() == CONTENT


def test_without_a_known_hash_nothing_is_resumed(server: Server, register) -> None:
    register(server.url(), sha256="", size=None)
    server.cuts = [300_000]
    assert weights.resolve("net").read_bytes() == CONTENT
    assert [given for _, given in server.asked] == ["", ""]


def test_a_busy_server_is_asked_again(server: Server, register) -> None:
    register(server.url())
    server.statuses = [503, 500]
    assert weights.resolve("net").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"sha256": "0" * 64}, f"gave a file of sha256 {SHA256[:16]}"),
        ({"sha256": "00c0ffee"}, "expected 00c0ffee"),
        ({"size": 5}, "gave 1048576 bytes, expected 5"),
    ],
)
def test_a_wrong_file_is_never_used(server: Server, register, fields, reason: str) -> None:
    register(server.url(), **fields)
    assert reason in refusal()
    assert not list(weights.cache_dir().glob("net.bin*[!k]"))


def test_a_web_page_is_not_a_file(server: Server, register) -> None:
    register(server.url(), sha256="", size=None)
    server.content_type = "text/html; charset=utf-8"
    assert "gave a web page" in refusal()


def test_addresses_are_tried_in_order(server: Server, register) -> None:
    register(server.url("absent.bin"), "http://127.0.0.1:9/nobody", server.url("mirror.bin"))
    assert weights.resolve("net").read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/absent.bin", "/mirror.bin"]


def test_the_error_says_what_where_and_what_works_without(server: Server, register) -> None:
    register(server.url("absent.bin"), works_without="all but fvd")
    message = refusal()
    for part in (
        "'net'",
        "HTTP 404",
        server.url("absent.bin"),
        str(weights.cache_dir()),
        "--weights-dir",
        "1.0 MB",
        "all but fvd",
    ):
        assert part in message


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


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://127.0.0.1/net.bin", "data:,net"])
def test_a_redirect_to_another_kind_of_address_is_not_followed(
    server: Server, register, to: str
) -> None:
    register(server.url(), sha256="", size=None)
    server.redirect = to
    message = refusal()
    # urllib refuses the kinds that it does not know before we are asked.
    assert "sends on from http to ftp address" in message or "is not allowed" in message
    assert not (weights.cache_dir() / "net.bin").exists()


def test_an_address_that_is_no_web_address_is_not_opened(tmp_path: Path, register) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    register((tmp_path / "secret").as_uri())
    assert "is no address of http or https" in refusal()


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


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


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
