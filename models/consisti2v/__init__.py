"""ConsistI2V: image-to-video generation (Ren et al., TMLR 2024), network, sampling and adapter.

Pipeline and network load on first use, so that the import costs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import ConsistI2VPipeline as ConsistI2VPipeline
    from .unet import ConsistI2VUNet as ConsistI2VUNet

_EXPORTS = {
    "ConsistI2VPipeline": "i2vbench.models.consisti2v.pipeline",
    "ConsistI2VUNet": "i2vbench.models.consisti2v.unet",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
