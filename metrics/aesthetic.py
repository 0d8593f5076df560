"""Aesthetic quality: what people would say of single frames, as LAION's predictor guesses it."""

# Shapes: T frames.

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from i2vbench.metric import ClipMetric, Example

from .consistency import features_of


class AestheticQuality(ClipMetric):
    """Mean mark of the frames by LAION's aesthetic predictor, divided by 10.

    The predictor is linear on the CLIP ViT-L/14 embedding. Range about [0, 1], since its training
    marks go from 1 to 10, but nothing clips it; higher is better. The mean over a clip's frames,
    then over the clips.

    Source: VBench (arXiv 2311.17982) ``aesthetic_quality``.

    Caveat: it looks at frames one by one, so a frozen clip of a good picture scores high.
    """

    name = "aesthetic_quality"
    title = "Aesthetic quality"
    version = "1"
    higher_is_better = True
    extractors = ("laion-aesthetic",)

    def score_clip(self, example: Example) -> float:
        """The mean mark of one clip over 10."""
        return float(np.mean(self.frame_values(example)))

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """Each frame's mark over 10."""
        (extractor,) = self.extractors
        marks_T: NDArray[np.float64] = features_of(example, extractor)["aesthetic"] / np.float64(10)
        return marks_T
