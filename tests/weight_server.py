"""A server that stands for the network, a cache of the test's own, and weights to register."""

from __future__ import annotations

import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from i2vbench import download as download_module
from i2vbench import weights
from i2vbench.errors import MissingWeightsError
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


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)
