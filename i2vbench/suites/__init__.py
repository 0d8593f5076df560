"""Suites: by name, from a manifest, or from a folder of pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from i2vbench.errors import UserError, did_you_mean
from i2vbench.plain_text import error_line
from i2vbench.registry import SUITES
from i2vbench.sample import Suite
from i2vbench.suites.importer import Importer, split_source

__all__ = ["load_suite"]


def load_suite(name_or_path: str | Path, options: Mapping[str, object] | None = None) -> Suite:
    """A suite by its name in the registry, or by the path of its folder or manifest.

    A data set on disk is named with its place, ``ucf101:/data/UCF-101``, and may carry its options,
    ``ucf101:/data/UCF-101?seed=1``. A name comes before a folder of the same name, which ``./name``
    reaches.

    Args:
        name_or_path: what is wanted.
        options: of the importer, e.g. ``{"seed": 1}``; they come before those in the name.

    Raises:
        UserError: no such name or path, a malformed manifest, an unknown option, or a data set
            that is not whole.
    """
    name = str(name_or_path)
    known = [entry.name for entry in SUITES.entries()]
    head = name.partition(":")[0].partition("?")[0]
    if ".py:" in name or head in known:
        loaded = SUITES.load(name if ".py:" in name else head)
        if isinstance(loaded, Importer):
            _, place, written = split_source(name)
            whole = name.removeprefix(f"{head}:")
            if loaded.on_disk and written and Path(whole).expanduser().exists():
                # A path may look as if options ended it.
                place, written = whole, {}
            return loaded.open(place, {**written, **(options or {})})
        if name != head and ".py:" not in name:
            raise UserError(f"suite {name!r}: {head} is complete in itself; leave {head!r} alone")
        try:
            suite = loaded()
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # it may be a user's own code
            raise UserError(f"suite {name!r} cannot be made: {error_line(error)}") from error
        if not isinstance(suite, Suite):
            raise UserError(f"suite {name!r} gave {suite!r}, not an i2vbench.sample.Suite")
        source = name
    else:
        path = Path(name)
        if not path.exists():
            raise UserError(
                f"suite {name!r} is neither a name nor an existing folder or manifest: "
                f"{did_you_mean(head, known)}"
            )
        suite = _from_path(path)
        source = str(path.resolve())
    if options:
        raise UserError(
            f"suite {name!r} takes no options, got {', '.join(options)}; those of a folder or "
            "manifest go with 'folder:' or 'table:' before its path"
        )
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
