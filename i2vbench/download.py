"""Downloads: resumed where they broke, checked, and in place only when complete."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from i2vbench import __version__
from i2vbench.files import file_sha256
from i2vbench.weight_content import visible_damage

ATTEMPTS = 3
PAUSE_S = 1.0
_TIMEOUT_S = 30.0
_CHUNK_BYTES = 2**20


class DownloadError(Exception):
    """No address gave the file; one line with the reason of each."""


class _BrokenTransferError(Exception):
    """A transfer that stopped half way, or a server that is busy: worth another attempt."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to a file of this machine, to FTP, or from https to plain http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = (urlsplit(url).scheme.lower() for url in (req.full_url, newurl))
        if new not in ({"https"} if old == "https" else {"http", "https"}):
            raise DownloadError(f"sends on from {old} to {new or 'no'} address {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(urls: Sequence[str], target: Path, *, size: int | None, sha256: str) -> None:
    """Puts the file at ``target``, from the first address that gives the right one.

    A broken transfer is taken up where it stopped, now or by the next call, but only where
    ``sha256`` can tell whether the two halves belong together.

    Args:
        urls: http(s) addresses of the same bytes.
        target: the file; the part that came so far lies beside it, with the suffix ``.part``.
        size: bytes, or None where unknown.
        sha256: 64 hex digits, or the first ones, or empty where unknown.

    Raises:
        DownloadError: no address gave it.
    """
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with FileLock(target.with_name(target.name + ".lock")):
        if target.is_file():
            # Another process was faster.
            return
        reasons = []
        for url in urls:
            try:
                _fetch(url, part, can_resume=bool(sha256))
                _check(part, size, sha256)
            except (DownloadError, OSError) as error:
                reasons.append(f"{url}: {_reason(error)}")
                continue
            part.replace(target)
            return
    raise DownloadError("; ".join(reasons) or "no address is known")


def _fetch(url: str, part: Path, *, can_resume: bool) -> None:
    if not can_resume:
        part.unlink(missing_ok=True)
    attempt, furthest = 1, _size(part)
    while True:
        try:
            return _transfer(url, part, can_resume=can_resume)
        except _BrokenTransferError as error:
            if attempt == ATTEMPTS:
                raise DownloadError(f"{error}, {ATTEMPTS} times") from error
            # A large file over a bad line may break often; only standing still counts.
            attempt = 1 if can_resume and _size(part) > furthest else attempt + 1
            furthest = max(furthest, _size(part))
        time.sleep(PAUSE_S)


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _transfer(url: str, part: Path, *, can_resume: bool) -> None:
    start = _size(part) if can_resume else 0
    headers = {"User-Agent": f"i2vbench/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    if urlsplit(url).scheme.lower() not in ("http", "https"):
        raise DownloadError("is no address of http or https")
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (checked above)
    opener = urllib.request.build_opener(_Redirects)
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as response:
            if response.headers.get_content_type() == "text/html":
                raise DownloadError("gave a web page, not the file")
            # 200 is a server that does not know ranges and starts over.
            resumed = response.status == 206
            if resumed and not response.headers["Content-Range"].startswith(f"bytes {start}-"):
                raise DownloadError(f"answered with other bytes than asked from {start} on")
            length = response.headers.get("Content-Length")
            position = start if resumed else 0
            total = None if length is None else position + int(length)
            received = _store(response, part, position, total)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.unlink(missing_ok=True)
            raise _BrokenTransferError("what was there before does not fit the file") from error
        if error.code >= 500:
            raise _BrokenTransferError(f"HTTP {error.code}") from error
        raise DownloadError(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError:
        # No such host, or nobody listens: another attempt in a second meets the same.
        raise
    except (ConnectionError, TimeoutError, HTTPException) as error:
        raise _BrokenTransferError(f"the connection broke ({type(error).__name__})") from error
    if total is not None and received != total:
        raise _BrokenTransferError(f"the connection broke after {received} of {total} bytes")


def _store(response: HTTPResponse, part: Path, position: int, total: int | None) -> int:
    """Appends the answer to what is there; the number of bytes there then."""
    from tqdm import tqdm

    with (
        part.open("ab") as file,
        # disable=None: no bar where stderr is no terminal.
        tqdm(
            total=total,
            initial=position,
            desc=part.stem,
            unit="B",
            unit_scale=True,
            disable=None,
        ) as bar,
    ):
        file.truncate(position)
        # read() would wait for the whole chunk, and drop what came of it where the server stalls.
        while chunk := response.read1(_CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())
        return file.tell()


def _check(part: Path, size: int | None, sha256: str) -> None:
    found = part.stat().st_size
    digest = file_sha256(part)
    # With a hash there is no need to look for what is only likely.
    damage = None if sha256 else visible_damage(part)
    if (size is None or size == found) and digest.startswith(sha256) and damage is None:
        return
    # Kept, it would spoil the next attempt as well.
    part.unlink()
    if size is not None and size != found:
        raise DownloadError(f"gave {found} bytes, expected {size}")
    if damage is not None:
        raise DownloadError(f"gave what is {damage}")
    raise DownloadError(f"gave a file of sha256 {digest[:16]}..., expected {sha256[:16]}...")


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str(reason).split()) or type(error).__name__
