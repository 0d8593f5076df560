"""How pleasing frames are, by LAION's aesthetic predictor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from i2vbench.metric import ClipMetric, Example

from .consistency import features_of


class AestheticQuality(ClipMetric):
    """Mean of LAION's aesthetic score over the frames, over ten.

    Per clip: the mean over its frames; then the mean over the clips. About 0.3 to 0.7 for videos;
    the predictor is linear and has no bounds. Higher is better.

    Source: VBench ``aesthetic_quality``: CLIP ViT-L/14 and the linear head of
    LAION-AI/aesthetic-predictor, trained on ratings of pictures from 1 to 10.

    Caveat: it judges pictures, and a still one of a fine painting scores best.
    """

    name = "aesthetic_quality"
    title = "Aesthetic quality"
    version = "1"
    higher_is_better = True
    unit = "rating / 10"
    extractors = ("clip-vit-l14",)

    def score_clip(self, example: Example) -> float:
        """The mean score of one clip's frames."""
        return float(np.mean(self.frame_values(example)))

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """The score of each frame."""
        return features_of(example, "clip-vit-l14")["aesthetic"].astype(np.float64)
