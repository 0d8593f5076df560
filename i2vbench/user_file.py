"""``path/to/file.py:Name``: a user's own file, loaded with its folder importable."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from i2vbench.errors import UserError, did_you_mean
from i2vbench.plain_text import error_line
from i2vbench.source_code import LOADED_SHA256, code_sha256
from i2vbench.user_folder import FolderLoader, finder_of

_PREFIX = "i2vbench_user_"


def load_user_file(kind: str, path: Path, attribute: str) -> Any:  # noqa: ANN401
    """The object ``attribute`` of the file.

    Modules of the file's folder are importable from it, there and later. An unchanged file is
    executed once a process, a changed one again.

    Args:
        kind: what it should be, e.g. ``model``, for messages.
        path: the file.
        attribute: a name in it.

    Raises:
        UserError: no such file or name, or the file does not run; where, in one line.
    """
    if not path.is_file():
        raise UserError(f"{kind} file {path} does not exist; give path/to/file.py:Name")
    module = _loaded(kind, path)
    if not hasattr(module, attribute):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise UserError(f"{path} has no {attribute!r}: {did_you_mean(attribute, public)}")
    return getattr(module, attribute)


def _loaded(kind: str, path: Path) -> ModuleType:
    file = path.resolve()
    digest = code_sha256(file)
    # The stem, so that messages and pickles say something; the path, so that two files of one stem
    # are two modules.
    name = f"{_PREFIX}{file.stem}_{sha256(str(file).encode()).hexdigest()[:8]}"
    known = sys.modules.get(name)
    if known is not None and getattr(known, LOADED_SHA256, "") == digest:
        return known
    finder = finder_of(file.parent)
    finder.forget_if_edited()
    loader = FolderLoader(name, str(file), finder)
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up while the file is still being executed.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(
            f"{kind} file {path} does not load: {_where(error, file.parent)}"
        ) from error
    module.__dict__[LOADED_SHA256] = digest
    return module


def _where(error: BaseException, folder: Path) -> str:
    """The error with the line of the user's own that led to it."""
    line = error_line(error)
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return line
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen importlib")
        and Path(frame.filename).parent != Path(__file__).parent
    ]
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    if not frames:
        return line
    last = own[-1] if own else frames[-1]
    return f"{line} ({last.filename}, line {last.lineno})"
