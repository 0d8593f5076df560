"""Suites: by name, from a manifest, or from a folder of pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from i2vbench.errors import UserError, did_you_mean
from i2vbench.registry import SUITES
from i2vbench.sample import Suite

__all__ = ["load_suite"]


def load_suite(name_or_path: str | Path) -> Suite:
    """A suite by its name in the registry, or by the path of its folder or manifest.

    A name comes before a folder of the same name, which ``./name`` reaches.

    Raises:
        UserError: no such name or path, or a malformed manifest.
    """
    name = str(name_or_path)
    known = [entry.name for entry in SUITES.entries()]
    if name in known or ".py:" in name:
        suite = SUITES.load(name)()
        if not isinstance(suite, Suite):
            raise UserError(f"suite {name!r} gave {suite!r}, not an i2vbench.sample.Suite")
        source = name
    else:
        path = Path(name)
        if not path.exists():
            raise UserError(
                f"suite {name!r} is neither a name nor an existing folder or manifest: "
                f"{did_you_mean(name, known)}"
            )
        suite = _from_path(path)
        source = str(path.resolve())
    return dataclasses.replace(suite, source=source)


def _from_path(path: Path) -> Suite:
    from i2vbench.suites.manifest import find_manifest, load_manifest
    from i2vbench.suites.pictures import PROMPTS_NAME, load_pictures
    from i2vbench.suites.table import TABLE_SUFFIXES

    if path.is_dir():
        manifest = find_manifest(path)
        return load_pictures(path) if manifest is None else load_manifest(manifest)
    if path.name == PROMPTS_NAME:
        return load_pictures(path.parent)
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise UserError(f"{path} is no manifest; accepted: {', '.join(TABLE_SUFFIXES)}")
    return load_manifest(path)
