"""The folder of a training: what it is, what each step gave, and the states to resume from.

A state is written beside its place and moved there whole, so that a run may be killed at any
moment: it goes on from the newest whole state, and its log is cut back to that step.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from i2vbench.errors import SpecMismatchError, UserError
from i2vbench.files import append_rows, read_rows, write_atomic
from i2vbench.fingerprint import canonical_json, differing_fields

_EXTRA = "training.json"


class RunFolder:
    """`run.json`, `log.jsonl` and `states/step-*` under one path."""

    def __init__(self, path: Path, accelerator: Accelerator, *, keep: int) -> None:
        """Touches nothing; `keep` is the number of states to hold."""
        self.path = path
        self._accelerator = accelerator
        self._keep = keep
        self._log = path / "log.jsonl"
        self._states = path / "states"

    def open(self, spec: Mapping[str, Any]) -> None:
        """Writes `run.json`, or compares with the one that is there.

        Raises:
            SpecMismatchError: the folder holds a training by another recipe.
            UserError: its `run.json` cannot be read.
        """
        file = self.path / "run.json"
        # As JSON gives it back: lists for tuples.
        wanted = json.loads(canonical_json(spec))
        if not file.is_file():
            self._accelerator.wait_for_everyone()
            if self._accelerator.is_main_process:
                write_atomic(file, json.dumps(wanted, indent=2) + "\n")
            return
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file} is not JSON: {error}") from error
        self._accelerator.wait_for_everyone()
        if stored != wanted:
            lines = "; ".join(differing_fields(stored, wanted))
            raise SpecMismatchError(
                f"{self.path} holds a training by another recipe ({lines}); give the same options, "
                "or another --output"
            )

    def log(self, row: Mapping[str, Any]) -> None:
        """Appends the numbers of a step."""
        append_rows(self._log, [row])

    def save(self, step: int, extra: Mapping[str, Any]) -> None:
        """Stores the state after `step` steps; called by all processes."""
        main = self._accelerator.is_main_process
        place = self._states / f"step-{step:07d}"
        partial = self._states / "partial"
        if main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._accelerator.wait_for_everyone()
        self._accelerator.save_state(str(partial))
        self._accelerator.wait_for_everyone()
        if main:
            write_atomic(partial / _EXTRA, canonical_json({"step": step, "extra": dict(extra)}))
            partial.replace(place)
            for old in self._whole()[: -self._keep]:
                shutil.rmtree(old)
        self._accelerator.wait_for_everyone()

    def resume(self) -> tuple[int, dict[str, Any] | None]:
        """Restores the newest state; returns its step and what was stored with it, or 0 and None.

        Cuts the log back to that step.
        """
        whole = self._whole()
        step, extra = 0, None
        if whole:
            self._accelerator.load_state(str(whole[-1]))
            stored = json.loads((whole[-1] / _EXTRA).read_text(encoding="utf-8"))
            step, extra = int(stored["step"]), dict(stored["extra"])
        if self._accelerator.is_main_process:
            rows = read_rows(self._log)
            kept = [row for row in rows if row["step"] < step]
            if kept != rows or self._log.is_file():
                write_atomic(self._log, "".join(canonical_json(row) + "\n" for row in kept))
        self._accelerator.wait_for_everyone()
        return step, extra

    def _whole(self) -> list[Path]:
        """The states from oldest to newest."""
        return sorted(p for p in self._states.glob("step-*") if (p / _EXTRA).is_file())
