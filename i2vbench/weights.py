"""Weights: found, checked and, where allowed, downloaded; never read or run here.

A file is looked for in ``--weights-dir`` or ``$I2VBENCH_WEIGHTS``, then in the cache, then inside
an installed package; only then is it downloaded, into the cache. ``I2VBENCH_OFFLINE=1`` or
``HF_HUB_OFFLINE=1`` forbid that. What is found is hashed once a process and compared with the
register: weights of another hash are another network, and would give numbers all the same.
TorchScript is a program: it is run where the register states its whole hash, or where
``I2VBENCH_TRUST`` does.
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
from i2vbench.weight_content import visible_damage
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
        MissingWeightsError: a folder may not be looked into.
        UserError: no such name, or the weights folder does not exist.
    """
    entry = weight_file(name)
    places = [(_weights_dir(weights_dir), "weights dir"), (cache_dir(), "cache")]
    for folder, place in places:
        if folder is not None and _is_file(entry, folder / entry.file):
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
    return digest(resolve(name, weights_dir))


def digest(path: Path) -> str:
    """The sha256 of a file; hashed once a process, as long as nobody touches it.

    Raises:
        OSError: it cannot be read.
    """
    state = path.stat()
    # The time of change and the inode tell a copy that kept size and date.
    mark = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    return _digest_of_state(path, mark)


def require_trust(name: str, path: Path) -> str:
    """The sha256 of a program that may be run: the register's, or one that the user trusts.

    Raises:
        MissingWeightsError: it is neither.
    """
    entry, found = weight_file(name), digest(path)
    trusted = os.environ.get("I2VBENCH_TRUST", "").lower().replace(",", " ").split()
    if found in (entry.sha256, *trusted):
        return found
    raise MissingWeightsError(
        f"weights {name!r}: {path} is TorchScript, which is a program, and its sha256 {found} is "
        f"not in the register, so it is not run; if you trust it, set I2VBENCH_TRUST={found}"
    )


def distrust(path: Path) -> None:
    """Forgets that a file was the first one seen, if it was: it turned out to be damaged."""
    record = _record_of(path)
    try:
        if record.read_text(encoding="utf-8").strip() == digest(path):
            record.unlink()
    except (OSError, UnicodeDecodeError):
        # No record, or none that may be changed: the file's damage is what the user must hear of.
        return


def origin_of(name: str) -> str:
    """Where to get a file of the register, for messages."""
    return _origin(weight_file(name))


def checked_sha256(entry: WeightFile, found: Found) -> str:
    """The hash of a file that is what the register (or its first use) says.

    Raises:
        MissingWeightsError: it is not.
    """
    sha256 = _matching_sha256(entry, found.path)
    # What comes inside a package is the package's to keep whole.
    if len(entry.sha256) < _HEX_DIGITS and found.place != "embedded":
        _compare_with_first_use(entry, found.path, sha256)
    return sha256


def import_file(entry: WeightFile, source: Path) -> Path:
    """Copies a file that was fetched by hand into the cache, if it is the right one.

    Raises:
        MissingWeightsError: it is another file, or it cannot be copied.
    """
    _matching_sha256(entry, source)
    target = cache_dir() / entry.file
    part = target.with_name(target.name + ".import")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, part)
            _record_of(target).unlink(missing_ok=True)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise MissingWeightsError(
            f"weights {entry.name!r}: {source} cannot be copied to {target} ({error.strerror}); "
            "make room there, or set XDG_CACHE_HOME"
        ) from error
    return target


def drop_wrong_copy(name: str) -> None:
    """Deletes a file from the cache that is not what the register (or its first use) says.

    What lies in a weights folder or in a package is the user's, and stays.
    """
    entry = weight_file(name)
    found = Found(path=cache_dir() / entry.file, place="cache")
    if not found.path.is_file():
        return
    try:
        checked_sha256(entry, found)
    except MissingWeightsError:
        found.path.unlink()
        _record_of(found.path).unlink(missing_ok=True)


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


def _is_file(entry: WeightFile, path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise MissingWeightsError(
            f"weights {entry.name!r}: {path} cannot be looked at ({error.strerror}); "
            "make its folder readable"
        ) from error


@functools.lru_cache(maxsize=64)
def _digest_of_state(path: Path, mark: tuple[int, ...]) -> str:
    return file_sha256(path)


def _matching_sha256(entry: WeightFile, path: Path) -> str:
    try:
        size = path.stat().st_size
        if entry.size is not None and entry.size != size:
            raise _wrong(entry, path, f"{size} bytes, not {entry.size}")
        if not entry.sha256 and (damage := visible_damage(path)):
            raise _wrong(entry, path, damage)
        found = digest(path)
    except OSError as error:
        raise MissingWeightsError(
            f"weights {entry.name!r}: {path} cannot be read ({error.strerror}); make it readable"
        ) from error
    if not found.startswith(entry.sha256):
        raise _wrong(entry, path, f"of sha256 {found[:16]}..., not {entry.sha256[:16]}...")
    return found


def _compare_with_first_use(entry: WeightFile, path: Path, found: str) -> None:
    record = _record_of(path)
    try:
        if record.is_file():
            first = record.read_text(encoding="utf-8", errors="replace").strip()
            if first != found:
                raise _wrong(
                    entry,
                    path,
                    f"of sha256 {found[:16]}..., on first use {first[:16]}... (delete "
                    f"{record.name} if the new one is right)",
                )
            return
        write_atomic(record, found + "\n")
    except OSError:
        # A weights folder may be read-only; the hash is in every fingerprint all the same.
        return


def _record_of(path: Path) -> Path:
    """Where the hash of the first file seen stands, if its publisher states none."""
    return path.with_name(path.name + ".sha256")


def _wrong(entry: WeightFile, path: Path, what: str) -> MissingWeightsError:
    return MissingWeightsError(
        f"weights {entry.name!r}: {path} is {what}: another or a damaged file; "
        f"fetch it again from {_origin(entry)}"
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
