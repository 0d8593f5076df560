"""Files that survive a crash: whole files replaced atomically, rows appended and synced."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from i2vbench.fingerprint import canonical_json

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

_TEMPORARY = ".i2vbench-tmp"
"""Ends the names of files that are being written; what a killed writer left has it too."""
# Inside a JSON string these may be written as escapes; elsewhere they do not occur.
_AWKWARD = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replaces ``path`` by ``content``: a reader sees the old file or the new one, never half."""
    with errors_naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_TEMPORARY)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes files private; what a run leaves is for the group's eyes as well.
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Makes an error of the system within name ``path``.

    A write to a full disk names no file, one in a folder that cannot be written a temporary one.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or is_temporary(Path(os.fsdecode(error.filename))):
            error.filename = str(path)
            # Of a rename; None would be shown.
            del error.filename2
        raise


def is_temporary(path: Path) -> bool:
    """Whether the name is of a file that :func:`write_atomic` has not finished."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


def remove_temporary(folder: Path) -> None:
    """Deletes what killed writers left below ``folder``; call it only where nobody else writes."""
    for path in folder.rglob(f".*{_TEMPORARY}"):
        path.unlink(missing_ok=True)


def row_text(row: Mapping[str, Any]) -> str:
    r"""One line of JSON that holds any text: no line separator of any kind, no half character.

    >>> print(row_text({"error": "a\u2028b"}), end="")
    {"error":"a\u2028b"}
    """
    escaped = _AWKWARD.sub(lambda found: f"\\u{ord(found[0]):04x}", canonical_json(row))
    return escaped + "\n"


def with_checksum(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with ``crc32`` over its other fields, for :func:`without_checksum`."""
    return {**row, "crc32": _crc32(row)}


def without_checksum(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """What :func:`with_checksum` was given; None where a field has changed since."""
    fields = {name: value for name, value in row.items() if name != "crc32"}
    return fields if row.get("crc32") == _crc32(fields) else None


def _crc32(row: Mapping[str, Any]) -> int:
    return zlib.crc32(canonical_json(row).encode(errors="surrogatepass"))


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends JSON lines in one write and syncs them; half a line of a killed writer goes first."""
    text = "".join(map(row_text, rows))
    with errors_naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            _wait_for_others(file)
            _drop_torn_line(file)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())


def replace_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Makes ``path`` hold these rows and no others; a file that does so already is left alone."""
    text = "".join(map(row_text, rows)).encode()
    if not path.is_file() or path.read_bytes() != text:
        write_atomic(path, text)


def _wait_for_others(file: BinaryIO) -> None:
    """Locks the file until it is closed: what another process is writing is no torn line."""
    if sys.platform != "win32":
        # Some network file systems have no locks; there the run's own lock is all there is.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)


def _drop_torn_line(file: BinaryIO) -> None:
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file that this project wrote; none where it does not exist.

    A row that cannot be read counts as absent and is named in a warning, so that what it stood for
    is made again. A last line without its end is what a killed writer left: it is dropped.
    """
    if not path.is_file():
        return []
    complete, _, _ = path.read_bytes().rpartition(b"\n")
    rows, damaged = [], []
    # Not splitlines, which also splits at separators that a text may hold.
    for number, line in enumerate(complete.split(b"\n") if complete else [], start=1):
        try:
            row = json.loads(line.decode(), parse_constant=_no_number)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            damaged.append(number)
    if damaged:
        more = f" (and {len(damaged) - 1} more)" if damaged[1:] else ""
        logger.warning(
            "%s, line %d%s is no row of this file; what it stood for is made again",
            path,
            damaged[0],
            more,
        )
    return rows


def _no_number(text: str) -> None:
    """Refuses NaN and Infinity, which no row of ours holds."""
    raise ValueError(f"{text} is no JSON")


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
