"""What the networks of single frames have in common: a vector a frame, and one of a picture."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import nn

from i2vbench.clip import Clip, Frames, Picture
from i2vbench.metric import Extractor

from .precision import make_body
from .preparation import Preparation, batches
from .torchscript import exact

BATCH_FRAMES = 16


class PooledExtractor(Extractor):
    """Array ``pooled`` (T, D), float32: the network's vector of each of T frames."""

    preparation: ClassVar[Preparation]
    picture_preparation: ClassVar[Preparation | None] = None
    """Of a picture on its own; None where it is that of a frame."""

    def __init__(self, *, device: str = "cpu", dtype: str = "fp32", backend: str = "torch") -> None:
        """Loads the network onto ``device``, in ``dtype`` and ``backend``.

        Raises:
            MissingWeightsError: its published file is not here, or holds another network.
        """
        super().__init__(device=device, dtype=dtype, backend=backend)
        self._network = make_body(self._load(), device=device, dtype=dtype, backend=backend)

    @abstractmethod
    def _load(self) -> nn.Module:
        """The network on the CPU: float (T, 3, H, W), prepared, to (T, D)."""

    @property
    def label(self) -> str:
        """The name."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """How frames and pictures become the network's input; classes add their weights."""
        picture = self.picture_preparation
        return self.preparation.spec() | ({"picture": picture.spec()} if picture else {})

    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The array of each clip; one clip a pass, so that none depends on another."""
        return [self._pooled(clip.frames, self.preparation) for clip in clips]

    def extract_picture(self, picture: Picture) -> dict[str, NDArray[Any]]:
        """The array (1, D) of a picture on its own."""
        return self._pooled(picture[None], self.picture_preparation or self.preparation)

    def _pooled(self, frames: Frames, preparation: Preparation) -> dict[str, NDArray[Any]]:
        with torch.inference_mode(), exact():
            parts = [
                self._network(preparation(batch)).cpu() for batch in batches(frames, BATCH_FRAMES)
            ]
        return {"pooled": torch.cat(parts).numpy()}
