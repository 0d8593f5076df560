"""The run directory: one model on one suite, on disk.

``run.json`` says what the run is, ``takes.<worker>.jsonl`` what was made, ``videos/`` holds the
clips, ``features/`` what extractors made of them, ``scores/`` the numbers per clip,
``results.json`` the whole. One writer per file; whole files are replaced atomically; a lock keeps a
second process out.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from i2vbench.checked_json import AtLeast, FieldError, Keys, OneOf, build, read_json
from i2vbench.errors import DamagedRunError, SpecMismatchError, UserError
from i2vbench.files import (
    append_rows,
    file_sha256,
    is_temporary,
    read_rows,
    remove_temporary,
    replace_rows,
    write_atomic,
)
from i2vbench.fingerprint import canonical_json, differing_fields, fingerprint
from i2vbench.plain_text import short_line, short_repr

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
EXISTING = "existing videos"
"""The version on the card of a model whose videos were made elsewhere."""
_OLDER_SCHEMAS = (1,)
_RUN_FILES = (
    ".lock",
    "videos",
    "features",
    "scores",
    "takes.*.jsonl",
    "clips.jsonl",
    "results.json",
    "board.*",
    "profile.json",
)
_TAKE_TEXTS = ("id", "status", "file", "sha256", "made_from", "error", "traceback")
_MAX_TAKES = 10**6
"""Of a sample; a row with a larger number is not ours."""
_PACKAGES = ("i2vbench", "torch", "torchvision", "diffusers", "transformers", "timm", "lpips", "av")


_Count = Annotated[int, AtLeast(1)]
_SPEC = Keys(
    required={
        "suite": Annotated[Mapping[str, Any], Keys(required={"name": str})],
        "model": Annotated[
            Mapping[str, Any],
            Keys(
                required={
                    "name": str,
                    "version": str,
                    "weights": str,
                    "options": Mapping[str, Any],
                },
                optional={"asked": Mapping[str, Any], "code_sha256": str},
            ),
        ],
        "seed": int,
    },
    optional={
        "geometry": Annotated[
            Mapping[str, Any],
            Keys(required={"num_frames": _Count, "height": _Count, "width": _Count, "fps": float}),
        ],
        "dtype": str,
    },
)
_VIEW = Keys(
    required={
        "suite": Annotated[
            Mapping[str, Any],
            Keys(
                required={
                    "name": str,
                    "version": str,
                    "content_sha256": str,
                    "num_samples": _Count,
                    "limit": _Count | None,
                },
                optional={"samples": list[str] | None, "num_takes": _Count},
            ),
        ],
        "num_takes": _Count,
    }
)
_CARD = Keys(required={}, optional={"name": str, "num_parameters": int, "notes": list[str]})


@dataclass(frozen=True, kw_only=True)
class _Record:
    """What ``run.json`` holds; a run of somebody else may hold anything."""

    schema_version: int
    status: Annotated[str, OneOf(("started", "generated", "scored"))]
    fingerprint: str
    spec: Annotated[Mapping[str, Any], _SPEC]
    environment: Mapping[str, Any]
    view: Annotated[Mapping[str, Any] | None, _VIEW] = None
    """From here on: once generation has ended."""
    card: Annotated[Mapping[str, Any] | None, _CARD] = None
    suite_source: str = ""
    board_key: str = ""
    results_sha256: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Take:
    """One row of ``takes.<worker>.jsonl``: the k-th clip of a sample."""

    id: str
    take: int
    seed: int
    status: str
    """``ok``, ``failed``, or ``skipped`` where the model cannot be asked for this sample."""
    file: str = ""
    """Relative to the run directory; absolute for videos that existed before the run."""
    sha256: str = ""
    """Of the file."""
    made_from: str = ""
    """Hash of all that made the clip (:func:`i2vbench.generation.clip_key`); empty for videos that
    existed before the run, which their own hash stands for."""
    seconds: float | None = None
    """Its share of the batch's generation time; None for videos that existed before."""
    error: str = ""
    traceback: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """What names the take inside its run."""
        return (self.id, self.take)

    @property
    def stem(self) -> str:
        """Its file name without the ending."""
        return f"{self.id}-{self.take}"


class RunDir:
    """A run directory, opened by :meth:`create` or :meth:`open`."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        """Wraps an existing directory; use the class methods."""
        self.path = path
        self._record = record

    @classmethod
    def create(cls, path: Path, spec: Mapping[str, Any]) -> RunDir:
        """Opens ``path`` for ``spec``, making it where it does not exist yet.

        Raises:
            SpecMismatchError: the directory holds a run of another spec.
            UserError: the path is a file, or a folder that is no run.
        """
        # Absolute from here on: an adapter may change the current folder.
        path = path.absolute()
        if path.is_dir() and (path / "run.json").is_file():
            try:
                run = cls.open(path)
            except DamagedRunError as error:
                # Its folder's name says which run it is, each take's row what made it.
                logger.warning("%s; it is written again", error)
            else:
                # Through JSON, so that a tuple equals the list it was stored as.
                lines = differing_fields(run.spec, json.loads(canonical_json(spec)))
                if lines:
                    raise SpecMismatchError(
                        f"{path} holds another run; it differs in {'; '.join(lines)}; "
                        "choose another --output-dir or repeat the first command"
                    )
                return run
        elif path.exists() and not (path.is_dir() and _is_ours(path)):
            raise UserError(f"{path} exists and is no run directory; choose another --output-dir")
        elif any(path.glob("takes.*.jsonl")):
            logger.warning("%s is missing; it is written again", path / "run.json")
        record = {
            "schema_version": SCHEMA_VERSION,
            "status": "started",
            "fingerprint": fingerprint(spec),
            "spec": spec,
            "environment": _environment(),
        }
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path, record)
        run._write()
        return run

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Opens an existing run directory.

        Raises:
            UserError: there is no run, or one of another schema.
        """
        path = path.absolute()
        file = path / "run.json"
        if not file.is_file():
            raise UserError(f"{path} is no run directory: it has no run.json")
        try:
            record = read_json(file)
        except UserError as error:
            if isinstance(error.__cause__, OSError):
                raise
            raise DamagedRunError(str(error)) from error
        found = record.get("schema_version") if isinstance(record, dict) else None
        if found in _OLDER_SCHEMAS:
            raise UserError(
                f"{file} is of an older version of i2vbench (schema {found}); make the run anew, "
                f"or score its videos with `i2vbench score {path / 'videos'}`"
            )
        if found != SCHEMA_VERSION:
            raise DamagedRunError(
                f"{file}: schema_version {short_repr(found)}, accepted: {SCHEMA_VERSION}"
            )
        try:
            build(_Record, record)
        except FieldError as error:
            raise DamagedRunError(f"{file}: {error}") from error
        if record["fingerprint"] != fingerprint(record["spec"]):
            raise DamagedRunError(f"{file}: its fingerprint is not that of its spec")
        return cls(path, record)

    @property
    def spec(self) -> dict[str, Any]:
        """All that changes a clip, and nothing else."""
        spec: dict[str, Any] = self._record["spec"]
        return spec

    @property
    def fingerprint(self) -> str:
        """sha256 of the spec."""
        return str(self._record["fingerprint"])

    @property
    def is_existing(self) -> bool:
        """Whether its videos were made elsewhere."""
        return bool(self.spec["model"]["version"] == EXISTING)

    @property
    def status(self) -> str:
        """``started``, ``generated`` or ``scored``."""
        return str(self._record["status"])

    @property
    def view(self) -> dict[str, Any]:
        """What of the suite was asked for last: ``suite`` (version, content, limit) and takes."""
        view: dict[str, Any] = self._record.get("view") or {}
        return view

    @property
    def board_key(self) -> str:
        """Of which results its boards were drawn; empty before."""
        return str(self._record.get("board_key", ""))

    @property
    def card(self) -> dict[str, Any]:
        """``num_parameters`` and ``notes`` of the model; empty before generation has ended."""
        card: dict[str, Any] = self._record.get("card") or {}
        return card

    @property
    def suite_source(self) -> str:
        """What to give :func:`i2vbench.load_suite` for the suite; a folder for existing videos."""
        return str(self._record.get("suite_source", ""))

    @property
    def environment(self) -> dict[str, Any]:
        """Versions of Python and packages when the run began."""
        environment: dict[str, Any] = self._record["environment"]
        return environment

    def set_status(self, status: str, **fields: Any) -> None:  # noqa: ANN401
        """Records how far the run is; nothing is written where nothing changes."""
        before = canonical_json(self._record)
        self._record.update(status=status, **fields)
        if canonical_json(self._record) != before or not (self.path / "run.json").is_file():
            self._write()

    def _write(self) -> None:
        text = json.dumps(self._record, indent=2, sort_keys=True, allow_nan=False)
        write_atomic(self.path / "run.json", text + "\n")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes out; freed by the system when this one dies.

        Raises:
            UserError: another process holds it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
            # Nobody else writes here now, so these are what a killed process left.
            remove_temporary(self.path)
        except Timeout as error:
            raise UserError(
                f"{self.path} is in use by another process; wait for it or stop it"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def takes_file(self, worker: int = 0) -> Path:
        """Where worker ``worker`` appends its rows."""
        return self.path / f"takes.{worker}.jsonl"

    def takes(self) -> dict[tuple[str, int], Take]:
        """All takes that were recorded, a later row of the same take over an earlier one."""
        found: dict[tuple[str, int], Take] = {}
        for file in sorted(self.path.glob("takes.*.jsonl")):
            state = file.stat()
            found |= _takes_in(file, state.st_ino, state.st_size, state.st_mtime_ns)
        return found

    def add_takes(self, takes: Sequence[Take], worker: int = 0) -> None:
        """Appends the rows that say something new; a take's files must be on disk before."""
        known = self.takes()
        rows = [{**vars(take)} for take in takes if known.get(take.key) != take]
        if rows:
            append_rows(self.takes_file(worker), rows)

    def tidy_takes(self, sample_ids: Sequence[str], worker: int = 0) -> None:
        """One row a take, in the order of the suite: equal runs have equal files."""
        position = {sample_id: n for n, sample_id in enumerate(sample_ids)}
        takes = sorted(
            self.takes().values(),
            key=lambda take: (position.get(take.id, len(position)), take.id, take.take),
        )
        others = list(self.path.glob("takes.*.jsonl"))
        # Rows of several workers are the union of their files, each with its own writer.
        if others in ([], [self.takes_file(worker)]):
            replace_rows(self.takes_file(worker), ({**vars(take)} for take in takes))

    def check(self, take: Take) -> str:
        """Why the file of a good take cannot be believed, in one line; empty where it can."""
        path = self.resolve(take)
        try:
            is_inside = path.resolve().is_relative_to(self.path.resolve())
            # Only videos that were made elsewhere lie elsewhere, and are named in full.
            if not is_inside and not (self.is_existing and Path(take.file).is_absolute()):
                return f"{short_line(str(path))} lies outside of the run"
            if not path.is_file():
                return f"{path} does not exist"
            if not take.sha256:
                return f"{path} has no recorded hash"
            state = path.stat()
            digest = _hash_of(path, state.st_size, state.st_mtime_ns)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            reason = getattr(error, "strerror", None) or error
            return f"{short_line(str(path))} cannot be read ({reason})"
        return "" if digest == take.sha256 else f"{path} is not the file that was recorded"

    def video_path(self, sample_id: str, take: int) -> Path:
        """Where a take's video lies."""
        return self.path / "videos" / f"{sample_id}-{take}.mp4"

    def resolve(self, take: Take) -> Path:
        """The file of a take."""
        return self.path / take.file

    @property
    def results_file(self) -> Path:
        """The scores of the whole run."""
        return self.path / "results.json"

    def write_results(self, text: str) -> None:
        """Replaces ``results.json`` and records its hash; the run is scored then.

        A process that dies in between leaves the old file or the new one, and both hashes.
        """
        new = hashlib.sha256(text.encode()).hexdigest()
        known = self._record.get("results_sha256", [])
        if new not in known:
            self.set_status(self.status, results_sha256=[*known, new])
        if not self.results_file.is_file() or file_sha256(self.results_file) != new:
            write_atomic(self.results_file, text)
        self.set_status("scored", results_sha256=[new])

    def check_results(self) -> str:
        """Why ``results.json`` of a scored run cannot be believed, in one line; empty where it can.

        A run that is not scored yet need not have one.
        """
        known = self._record.get("results_sha256", [])
        try:
            if not known or file_sha256(self.results_file) in known:
                return ""
        except FileNotFoundError:
            return f"{self.results_file} is missing" if self.status == "scored" else ""
        except OSError as error:
            return f"{self.results_file} cannot be read ({error.strerror})"
        return f"{self.results_file} is not the file that was recorded"


# Hashed once a process while it stays as it is: generation checks a video, then scoring does.
@functools.lru_cache(maxsize=1 << 16)
def _hash_of(path: Path, size: int, mtime_ns: int) -> str:
    return file_sha256(path)


def _is_ours(folder: Path) -> bool:
    """Whether a folder without run.json is a run that a killed command had begun."""
    return all(
        is_temporary(path) or any(path.match(name) for name in _RUN_FILES)
        for path in folder.iterdir()
    )


# Read once while it stays as it is: each batch asks for it, and damage is named once. Whoever asks
# gets a copy.
@functools.lru_cache(maxsize=64)
def _takes_in(file: Path, inode: int, size: int, mtime_ns: int) -> dict[tuple[str, int], Take]:
    found: dict[tuple[str, int], Take] = {}
    damaged = []
    for row in read_rows(file):
        take = _take_of(row)
        if take is None:
            damaged.append(row)
        else:
            found[take.key] = take
    if damaged:
        text = "%s: %d of its rows are no rows of a take and are made again; the first: %s"
        logger.warning(text, file, len(damaged), short_repr(damaged[0]))
    return found


def _take_of(row: Mapping[str, Any]) -> Take | None:
    try:
        take = Take(**row)
    except TypeError:
        return None
    is_sound = (
        all(isinstance(getattr(take, name), str) for name in _TAKE_TEXTS)
        and type(take.take) is int
        and 0 <= take.take < _MAX_TAKES
        and type(take.seed) is int
        and take.status in ("ok", "failed", "skipped")
        and (take.seconds is None or isinstance(take.seconds, (int, float)))
    )
    return take if is_sound else None


def _environment() -> dict[str, Any]:
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "packages": packages,
    }
