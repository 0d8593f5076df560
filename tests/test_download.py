"""Downloads: resumed, checked, and never followed to another kind of address."""

from __future__ import annotations

from pathlib import Path

import pytest

from i2vbench import download as download_module
from i2vbench import weights
from tests.weight_server import CONTENT, SHA256, Server, cached, refusal

pytestmark = pytest.mark.usefixtures("own_cache")


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
