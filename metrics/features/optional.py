"""Packages that only one network needs, and that not everybody may use."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

from i2vbench.errors import MissingPackageError
from i2vbench.metric import Extractor


def optional_module(module: str, extractor: type[Extractor]) -> ModuleType:
    """The module, imported; what its import does to torch's random state is undone.

    Args:
        module: dotted name in the extractor's ``package``.
        extractor: what needs it.

    Raises:
        MissingPackageError: it does not import.
    """
    # CoTracker's modules seed torch when they are imported.
    with torch.random.fork_rng(devices=[]):
        try:
            return importlib.import_module(module)
        except ImportError as error:
            raise MissingPackageError(
                f"extractor {extractor.name!r} needs the package {extractor.package} ({error}): "
                f"{extractor.install}"
            ) from error
