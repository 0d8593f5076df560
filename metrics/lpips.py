"""LPIPS of a clip: against the first frame it was given, or against the real clip.

LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924) with AlexNet and the heads v0.1 of the package
``lpips``. This is the published metric: backbone and heads are the authors'.
"""

# Shapes: T frames, C channels, H, W pixels.

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from i2vbench.clip import Frames, Picture
from i2vbench.fit import fit_frames
from i2vbench.metric import ClipMetric, Example, Extractor

from .consistency import require_frames
from .features.lpips_alexnet import LPIPSExtractor


class _LPIPS(ClipMetric):
    """What both share: the network, which compares two pictures and so stores no features."""

    version = "1"
    higher_is_better = False
    extractors = ("lpips-alexnet",)

    def __init__(self) -> None:
        """Starts with nothing added; without :meth:`use` the network is loaded on the CPU."""
        super().__init__()
        self._extractor: LPIPSExtractor | None = None

    def use(self, extractors: Sequence[Extractor]) -> None:
        """Takes the network.

        Raises:
            ValueError: a protocol put an extractor in its place that gives no distances.
        """
        (extractor,) = extractors
        if not isinstance(extractor, LPIPSExtractor):
            raise ValueError(f"{self.name}: extractor {extractor.name!r} gives no distances")
        self._extractor = extractor

    def spec(self) -> dict[str, Any]:
        """How a picture of another size is fitted."""
        return {"fit": "PIL bicubic, centre crop"}

    def _between(self, frames_THWC: Frames, others_NHWC: Frames) -> NDArray[np.float64]:
        return (self._extractor or _on_the_cpu()).distances(frames_THWC, others_NHWC)


@cache
def _on_the_cpu() -> LPIPSExtractor:
    """For a metric that is used without a scoring, as in a notebook."""
    return LPIPSExtractor()


class LPIPSFirstFrame(_LPIPS):
    """Mean LPIPS between the frames and the first frame that the model was given.

    Per clip: the mean of LPIPS(frame i, first frame) over i = 1 to T - 1. Frame 0 is left out: it
    is meant to be the first frame itself, and would measure a model's image codec and make longer
    clips look worse. Range >= 0, some 0.7 between unrelated pictures; lower is more faithful.

    A first frame of another size than the clip's is resized (bicubic, antialiased) until it covers
    the clip's frame, and cropped at the centre. Frames below 32 px are refused.

    Caveat: any motion raises it, and a frozen clip has the lowest. Read it beside the dynamic
    degree, or beside the number of the real clips.
    """

    name = "lpips_first_frame"
    title = "LPIPS to first frame"
    needs = frozenset({"first_frame"})

    def score_clip(self, example: Example) -> float:
        """The mean distance of one clip.

        Raises:
            ValueError: no first frame, a single frame, or frames below 32 px.
        """
        return float(self._distances(example).mean())

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """The distance of each frame; NaN for frame 0."""
        return np.append(np.nan, self._distances(example))

    def _distances(self, example: Example) -> NDArray[np.float64]:
        frames_THWC = example.clip.frames
        first: Picture | None = example.first_frame
        if first is None:
            raise ValueError(f"{example.sample_id}: lpips_first_frame needs a first frame")
        require_frames(len(frames_THWC), 2)
        first_1HWC = fit_frames(first[None], *frames_THWC.shape[1:3])
        return self._between(frames_THWC[1:], first_1HWC)


class LPIPSReference(_LPIPS):
    """Mean LPIPS between each frame and the real clip's frame of the same index.

    Per clip: the mean over all T frames, the first one included. Range >= 0; lower is closer. A
    reference of another size than the clip's is resized and cropped as a first frame is; one with
    more frames is cut, one with fewer is refused.

    Caveat: there are many good videos of one first frame and one prompt, and this asks for the real
    one. It is fair where the prompt says the motion.
    """

    name = "lpips_reference"
    title = "LPIPS to reference"
    needs = frozenset({"reference"})

    def score_clip(self, example: Example) -> float:
        """The mean distance of one clip.

        Raises:
            ValueError: no reference, one with fewer frames, or frames below 32 px.
        """
        return float(self._distances(example).mean())

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """The distance of each frame."""
        return self._distances(example)

    def _distances(self, example: Example) -> NDArray[np.float64]:
        frames_THWC = example.clip.frames
        if example.reference is None:
            raise ValueError(f"{example.sample_id}: lpips_reference needs a reference clip")
        if len(example.reference.frames) < len(frames_THWC):
            raise ValueError(
                f"the reference has {len(example.reference.frames)} frames, "
                f"the clip {len(frames_THWC)}"
            )
        reference = example.reference.frames[: len(frames_THWC)]
        fitted_THWC = fit_frames(reference, *frames_THWC.shape[1:3])
        return self._between(frames_THWC, fitted_THWC)
