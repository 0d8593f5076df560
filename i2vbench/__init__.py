"""How good an image-to-video model is, how it compares, and how sure we are.

The names below are the notebook's road and the command line's own. They load on first use, so that
``import i2vbench`` costs no torch.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# An uninstalled checkout: metrics/, models/ and leaderboards/ lie beside this folder.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file() and str(_checkout) not in __path__:
    __path__.append(str(_checkout))

if TYPE_CHECKING:
    from i2vbench.clip import Clip as Clip
    from i2vbench.generation import generate as generate
    from i2vbench.model import load_model as load_model
    from i2vbench.sample import Sample as Sample
    from i2vbench.sample import Suite as Suite
    from i2vbench.scoring import score as score
    from i2vbench.suites import load_suite as load_suite

_EXPORTS = {
    "Clip": "i2vbench.clip",
    "Sample": "i2vbench.sample",
    "Suite": "i2vbench.sample",
    "generate": "i2vbench.generation",
    "load_model": "i2vbench.model",
    "load_suite": "i2vbench.suites",
    "score": "i2vbench.scoring",
}
__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'i2vbench' has no attribute {name!r}")
