"""Leaderboards: runs side by side where they may be compared, apart where they may not.

``from i2vbench.leaderboards import Board`` is the way in from Python; it loads on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .board import Board as Board

_EXPORTS = {"Board": "i2vbench.leaderboards.board"}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
