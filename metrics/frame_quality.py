"""VBench's two numbers on single frames: aesthetic quality and imaging quality.

Both are means of marks that a network gives each frame by itself, so a frozen clip of a good
picture scores high.
"""

# Shapes: T frames.

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from i2vbench.metric import ClipMetric, Example


class _FrameQuality(ClipMetric):
    """The mean mark of a clip's frames over the best mark."""

    version = "1"
    higher_is_better = True
    array: ClassVar[str]
    """Which of the extractor's arrays holds the marks (T,)."""
    best_mark: ClassVar[int]

    def score_clip(self, example: Example) -> float:
        """The mean mark of one clip over the best one."""
        return float(np.mean(self.frame_values(example)))

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """Each frame's mark over the best one."""
        marks_T = example.features_of(self)[self.array].astype(np.float64)
        values_T: NDArray[np.float64] = marks_T / self.best_mark
        return values_T


class AestheticQuality(_FrameQuality):
    """Mean mark of the frames by LAION's aesthetic predictor, divided by 10.

    The predictor is linear on the CLIP ViT-L/14 embedding. Range about [0, 1], since its training
    marks go from 1 to 10, but nothing clips it; higher is better. The mean over a clip's frames,
    then over the clips.

    Source: VBench (arXiv 2311.17982) ``aesthetic_quality``.

    Caveat: it looks at frames one by one, so a frozen clip of a good picture scores high.
    """

    name = "aesthetic_quality"
    title = "Aesthetic quality"
    extractors = ("laion-aesthetic",)
    array = "aesthetic"
    best_mark = 10


class ImagingQuality(_FrameQuality):
    """Mean mark of the frames by MUSIQ, trained on SPAQ's photographs, divided by 100.

    It sees distortions: blur, noise, over-exposure. Range about [0, 1], since its training marks go
    from 0 to 100, but nothing clips it; higher is better. The mean over a clip's frames, then over
    the clips.

    Source: VBench (arXiv 2311.17982) ``imaging_quality``; the values per video that its code
    writes are not divided by 100.

    Caveats: it looks at frames one by one, so a frozen clip of a good picture scores high. Frames
    of different sizes do not compare: small ones are not enlarged, and show less detail.
    """

    name = "imaging_quality"
    title = "Imaging quality"
    extractors = ("musiq",)
    array = "marks"
    best_mark = 100
