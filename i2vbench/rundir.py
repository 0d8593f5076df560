"""The run directory: one model on one suite, on disk.

``run.json`` says what the run is, ``takes.<worker>.jsonl`` what was made, ``videos/`` holds the
clips, ``features/`` what extractors made of them, ``scores/`` the numbers per clip,
``results.json`` the whole. One writer per file; whole files are replaced atomically; a lock keeps a
second process out.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from i2vbench.errors import SpecMismatchError, UserError
from i2vbench.files import append_rows, read_rows, write_atomic
from i2vbench.fingerprint import canonical_json, differing_fields, fingerprint

SCHEMA_VERSION = 1
_PACKAGES = ("i2vbench", "torch", "torchvision", "diffusers", "transformers", "timm", "lpips", "av")


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
        if path.is_dir() and (path / "run.json").is_file():
            run = cls.open(path)
            # Through JSON, so that a tuple equals the list it was stored as.
            lines = differing_fields(run.spec, json.loads(canonical_json(spec)))
            if lines:
                raise SpecMismatchError(
                    f"{path} holds another run; it differs in {'; '.join(lines)}; "
                    "choose another --output-dir or repeat the first command"
                )
            return run
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} exists and is no run directory; choose another --output-dir")
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
        file = path / "run.json"
        if not file.is_file():
            raise UserError(f"{path} is no run directory: it has no run.json")
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{file} is not JSON: {error}") from error
        found = record.get("schema_version") if isinstance(record, dict) else None
        if found != SCHEMA_VERSION:
            raise UserError(f"{file}: schema_version {found!r}, accepted: {SCHEMA_VERSION}")
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
    def status(self) -> str:
        """``started``, ``generated`` or ``scored``."""
        return str(self._record["status"])

    @property
    def score_key(self) -> str:
        """What the last complete scoring was asked for; empty before."""
        return str(self._record.get("score_key", ""))

    @property
    def card(self) -> dict[str, Any]:
        """``num_parameters`` and ``notes`` of the model; empty before generation has ended."""
        card: dict[str, Any] = self._record.get("card", {})
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
        """Records how far the run is."""
        self._record.update(status=status, **fields)
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
            for row in read_rows(file):
                take = Take(**row)
                found[take.key] = take
        return found

    def add_takes(self, takes: list[Take], worker: int = 0) -> None:
        """Appends rows; a take's files must be on disk before."""
        append_rows(self.takes_file(worker), ({**vars(take)} for take in takes))

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
