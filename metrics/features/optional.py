"""Packages that only one network needs, and that not everybody may use."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

from i2vbench.errors import MissingPackageError


def optional_module(module: str, *, extractor: str, how: str) -> ModuleType:
    """The module, imported; what its import does to torch's random state is undone.

    Args:
        module: dotted name; its first part is the package.
        extractor: what needs it, as the registry names it.
        how: the command that installs it, and its licence where that binds the user.

    Raises:
        MissingPackageError: it does not import.
    """
    # CoTracker's modules seed torch when they are imported.
    with torch.random.fork_rng(devices=[]):
        try:
            return importlib.import_module(module)
        except ImportError as error:
            package = module.partition(".")[0]
            raise MissingPackageError(
                f"extractor {extractor!r} needs the package {package} ({error}): {how}"
            ) from error
