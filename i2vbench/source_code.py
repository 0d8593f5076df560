"""The hash of code that a user brings: a file, and the modules of its own folder that it imports.

An adapter or a metric given as ``path/to/file.py:Name`` has no version that anyone keeps, so its
text is part of the identity of what it makes.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path

_MAX_FILES = 2000
"""Of one folder: more is no adapter but a mistaken path."""


def code_sha256(file: Path) -> str:
    """The hash of a Python file and of all modules below its folder that it imports, in any depth.

    Imports inside functions count; those made by name at run time (``importlib``) cannot be seen.
    File names relative to the folder are hashed, not the folder itself: a moved folder is the same
    code.
    """
    folder = file.resolve().parent
    digest = hashlib.sha256()
    for path in sorted(_closure(file.resolve(), folder)):
        digest.update(f"{path.relative_to(folder).as_posix()}\x00".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def class_code_sha256(kind: type) -> str:
    """The hash of the code behind a class from outside this project; empty for one of its own.

    Also empty for a class without a file, such as one typed into a notebook.
    """
    if kind.__module__.partition(".")[0] == "i2vbench":
        return ""
    try:
        file = inspect.getsourcefile(kind)
    except (TypeError, OSError):
        return ""
    return code_sha256(Path(file)) if file and Path(file).is_file() else ""


def _closure(file: Path, folder: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [file]
    while waiting and len(found) < _MAX_FILES:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += _imported_files(path, folder)
    return found


def _imported_files(path: Path, folder: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        # It will not run either; its own bytes are in the hash.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(folder, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = folder
            if node.level:
                base = path.parents[node.level - 1]
                if not base.is_relative_to(folder):
                    continue
            words = node.module.split(".") if node.module else []
            yield from _files_of(base, words)
            for alias in node.names:
                yield from _files_of(base, [*words, alias.name])


def _files_of(base: Path, words: list[str]) -> Iterator[Path]:
    """The files that ``import a.b.c`` executes, as far as they lie below ``base``."""
    place = base
    for word in words:
        place = place / word
        for file in (place.with_name(f"{word}.py"), place / "__init__.py"):
            if file.is_file():
                yield file.resolve()
