"""Weights: found, checked and, where allowed, downloaded; never unpickled here.

A file is looked for in ``--weights-dir`` or ``$I2VBENCH_WEIGHTS``, then in the cache, then inside
an installed package; only then is it downloaded, into the cache. ``I2VBENCH_OFFLINE=1`` or
``HF_HUB_OFFLINE=1`` forbid that. What is found is hashed once a process and compared with the
register: weights of another hash are another network, and would give numbers all the same.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from i2vbench.download import DownloadError, download
from i2vbench.errors import MissingWeightsError, UserError, did_you_mean
from i2vbench.files import file_sha256, write_atomic
from i2vbench.weight_files import WEIGHT_FILES, WeightFile

_HEX_DIGITS = 64


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file of weights and the kind of place where it lies."""

    path: Path
    place: str
    """``weights dir``, ``cache`` or ``embedded``."""


def cache_root() -> Path:
    """The folder of all that can be made or fetched again: ``~/.cache/i2vbench``, or XDG's."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "i2vbench"


def cache_dir() -> Path:
    """Where downloaded weights lie."""
    return cache_root() / "weights"


def weight_file(name: str) -> WeightFile:
    """The entry of the register.

    Raises:
        UserError: no such name.
    """
    if name not in WEIGHT_FILES:
        raise UserError(f"weights {name!r} are unknown: {did_you_mean(name, WEIGHT_FILES)}")
    return WEIGHT_FILES[name]


def locate(name: str, weights_dir: Path | None = None) -> Found | None:
    """Where the file lies, unchecked; None where it is not here.

    Raises:
        UserError: no such name, or the weights folder does not exist.
    """
    entry = weight_file(name)
    places = [(_weights_dir(weights_dir), "weights dir"), (cache_dir(), "cache")]
    for folder, place in places:
        if folder is not None and (folder / entry.file).is_file():
            return Found(path=folder / entry.file, place=place)
    embedded = _embedded(entry)
    return None if embedded is None else Found(path=embedded, place="embedded")


def find(name: str, weights_dir: Path | None = None) -> Path | None:
    """The file, checked; None where it is not here. Downloads nothing.

    Raises:
        MissingWeightsError: a file of that name is here, but it is another one.
        UserError: no such name, or the weights folder does not exist.
    """
    found = locate(name, weights_dir)
    if found is None:
        return None
    checked_sha256(weight_file(name), found)
    return found.path


def resolve(name: str, weights_dir: Path | None = None) -> Path:
    """The file, checked; downloaded if it is not here.

    Args:
        name: in the register.
        weights_dir: looked at first; ``$I2VBENCH_WEIGHTS`` where None.

    Raises:
        MissingWeightsError: it is not here and cannot be had, or the file here is another one.
        UserError: no such name, or the weights folder does not exist.
    """
    path = find(name, weights_dir)
    if path is not None:
        return path
    entry = weight_file(name)
    if is_offline():
        raise MissingWeightsError(_how_to_get(entry, "offline mode is on"))
    if not entry.urls:
        raise MissingWeightsError(_how_to_get(entry, "no direct link is known"))
    target = cache_dir() / entry.file
    try:
        download(entry.urls, target, size=entry.size, sha256=entry.sha256)
    except (DownloadError, OSError) as error:
        raise MissingWeightsError(_how_to_get(entry, f"download failed: {error}")) from error
    checked_sha256(entry, Found(path=target, place="cache"))
    return target


def sha256_of(name: str, weights_dir: Path | None = None) -> str:
    """The hash for fingerprints: the register's, or that of the file where it states none.

    Raises:
        MissingWeightsError: the register states no hash and the file is not here.
    """
    entry = weight_file(name)
    if len(entry.sha256) == _HEX_DIGITS:
        return entry.sha256
    return _digest(resolve(name, weights_dir))


def checked_sha256(entry: WeightFile, found: Found) -> str:
    """The hash of a file that is what the register (or its first use) says.

    Raises:
        MissingWeightsError: it is not.
    """
    digest = _matching_sha256(entry, found.path)
    # What comes inside a package is the package's to keep whole.
    if len(entry.sha256) < _HEX_DIGITS and found.place != "embedded":
        _compare_with_first_use(entry, found.path, digest)
    return digest


def import_file(entry: WeightFile, source: Path) -> Path:
    """Copies a file that was fetched by hand into the cache, if it is the right one.

    Raises:
        MissingWeightsError: it is another file.
    """
    _matching_sha256(entry, source)
    target = cache_dir() / entry.file
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".import")
    shutil.copyfile(source, part)
    part.replace(target)
    return target


def is_offline() -> bool:
    """Whether the environment forbids downloads."""
    values = (os.environ.get(name, "") for name in ("I2VBENCH_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in ("1", "true", "yes", "on") for value in values)


def _weights_dir(given: Path | None) -> Path | None:
    text = os.environ.get("I2VBENCH_WEIGHTS", "")
    folder = given or (Path(text) if text else None)
    if folder is not None and not folder.is_dir():
        origin = "--weights-dir" if given else "I2VBENCH_WEIGHTS"
        raise UserError(f"{origin} {folder} is no folder; give the one that holds the weights")
    return folder


def _embedded(entry: WeightFile) -> Path | None:
    if entry.embedded is None:
        return None
    package, _, relative = entry.embedded.partition(":")
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        return None
    folders = [] if spec is None else spec.submodule_search_locations or []
    paths = (Path(folder) / relative for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def _digest(path: Path) -> str:
    state = path.stat()
    return _digest_of_state(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest_of_state(path: Path, size: int, mtime_ns: int) -> str:
    return file_sha256(path)


def _matching_sha256(entry: WeightFile, path: Path) -> str:
    size = path.stat().st_size
    if entry.size is not None and entry.size != size:
        raise _wrong(entry, path, f"{size} bytes, not {entry.size}")
    digest = _digest(path)
    if not digest.startswith(entry.sha256):
        raise _wrong(entry, path, f"of sha256 {digest[:16]}..., not {entry.sha256[:16]}...")
    return digest


def _compare_with_first_use(entry: WeightFile, path: Path, digest: str) -> None:
    record = path.with_name(path.name + ".sha256")
    if record.is_file():
        first = record.read_text(encoding="utf-8").strip()
        if first != digest:
            what = f"of sha256 {digest[:16]}..., on first use {first[:16]}... ({record.name})"
            raise _wrong(entry, path, what)
        return
    try:
        write_atomic(record, digest + "\n")
    except OSError:
        # A weights folder may be read-only; the hash is in every fingerprint all the same.
        return


def _wrong(entry: WeightFile, path: Path, what: str) -> MissingWeightsError:
    return MissingWeightsError(
        f"weights {entry.name!r}: {path} is {what}: another or a damaged file; "
        f"replace it from {_origin(entry)}"
    )


def _origin(entry: WeightFile) -> str:
    return entry.urls[0] if entry.urls else entry.source or "a fresh installation of i2vbench"


def _how_to_get(entry: WeightFile, reason: str) -> str:
    size = "" if entry.size is None else f", {entry.size / 1e6:.1f} MB"
    return (
        f"weights {entry.name!r} are not here ({reason}): put {entry.file}{size} from "
        f"{_origin(entry)} into {cache_dir()} or a folder named by --weights-dir or "
        f"$I2VBENCH_WEIGHTS; "
        f"without it works: {entry.works_without}"
    )
