"""The hash of code that a user brings: a file, and the modules of its own folder that it imports.

An adapter or a metric given as ``path/to/file.py:Name`` has no version that anyone keeps, so its
text is part of the identity of what it makes.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

_MAX_FILES = 2000
"""Of one folder: more is no adapter but a mistaken path."""
LOADED_SHA256 = "__i2vbench_sha256__"
"""The name under which a loaded module keeps the hash of the text that was executed."""


def code_sha256(file: Path) -> str:
    """The hash of a Python file and of all modules below its folder that it imports, in any depth.

    Imports inside functions count; those made by name at run time (``importlib``) cannot be seen.
    File names relative to the folder are hashed, not the folder itself: a moved folder is the same
    code.
    """
    folder = file.resolve().parent
    digest = hashlib.sha256()
    for path, content in sorted(_closure(file.resolve(), folder).items()):
        digest.update(f"{path.relative_to(folder).as_posix()}\x00".encode())
        digest.update(content)
    return digest.hexdigest()


def class_code_sha256(kind: type) -> str:
    """The hash of the code behind a class from outside this project; empty for one of its own.

    Also empty for a class without a file, such as one typed into a notebook.
    """
    if kind.__module__.partition(".")[0] in {"i2vbench", *sys.stdlib_module_names}:
        return ""
    # What runs is what was loaded, although its file may have been edited since.
    loaded = getattr(sys.modules.get(kind.__module__), LOADED_SHA256, "")
    if loaded:
        return str(loaded)
    try:
        file = inspect.getsourcefile(kind)
    except (TypeError, OSError):
        return ""
    return code_sha256(Path(file)) if file and Path(file).is_file() else ""


def _closure(file: Path, folder: Path) -> dict[Path, bytes]:
    """The file and the modules of ``folder`` that it imports -> the hash of each."""
    found: dict[Path, bytes] = {}
    waiting = [file]
    while waiting and len(found) < _MAX_FILES:
        path = waiting.pop()
        if path not in found:
            state = path.stat()
            # The time of change and the inode tell an edit that kept size and date.
            mark = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
            found[path], imports = _parsed(path, mark)
            for level, words in imports:
                # As many folders up as there are dots, of which the first is the file's own.
                base = folder if not level else Path(*path.parts[:-level])
                if base.is_relative_to(folder):
                    waiting += _files_of(base, words)
    return found


# The hash of a class is asked for with each of its fingerprints; reading its folder each time would
# cost more than all the rest.
@functools.lru_cache(maxsize=4 * _MAX_FILES)
def _parsed(path: Path, mark: tuple[int, ...]) -> tuple[bytes, list[tuple[int, list[str]]]]:
    """The hash of a file, and what it imports: relative level and the words between the dots."""
    content = path.read_bytes()
    imports: list[tuple[int, list[str]]] = []
    try:
        with warnings.catch_warnings():
            # Of its escapes and comparisons; who imports the file is told of them.
            warnings.simplefilter("ignore")
            nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # It will not run either; its own bytes are in the hash.
        nodes = []
    for node in nodes:
        if isinstance(node, ast.Import):
            imports += [(0, alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            words = node.module.split(".") if node.module else []
            imports += [(node.level, [*words, alias.name]) for alias in node.names]
    return hashlib.sha256(content).digest(), imports


def _files_of(base: Path, words: list[str]) -> Iterator[Path]:
    """The files that ``import a.b.c`` executes, as far as they lie below ``base``."""
    place = base
    for word in words:
        place = place / word
        for file in (place.with_name(f"{word}.py"), place / "__init__.py"):
            # Not resolved: a link to a file elsewhere is a module of this folder.
            if file.is_file():
                yield file
