"""What a damaged file of weights is instead, as far as its first bytes and its end show it.

Where a publisher states no hash this is all that stands between a web page and a network.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

_START_BYTES = 512
_ZIP_START = b"PK\x03\x04"


def visible_damage(path: Path) -> str | None:
    """What the file is instead of weights, to be put behind "is"; None where nothing is to be seen.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_START_BYTES)
    if not start:
        return "empty"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")):
        return "a web page"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (git lfs pull gets the file)"
    # A zip archive has its table of contents at its end.
    if start.startswith(_ZIP_START) and not zipfile.is_zipfile(path):
        return f"an archive that was cut off after {path.stat().st_size} bytes"
    return None
