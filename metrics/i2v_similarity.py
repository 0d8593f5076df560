"""VBench-I2V's similarity of a clip with the picture that it was made from."""

# Shapes: T frames, D features.

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from i2vbench.metric import ClipMetric, Example

from .consistency import require_frames

MAX_WEIGHT = 0.4
MEAN_WEIGHT = 0.3
MIN_WEIGHT = 0.3
"""vbench2_beta_i2v/i2v_subject.py, commit 45e79ec."""


def i2v_similarity(picture_D: NDArray[np.floating], frames_TD: NDArray[np.floating]) -> float:
    """0.4 of the best frame's likeness to the picture, 0.3 of the mean and 0.3 of the least step.

    With c_i = max(0, cos(picture, frame_i)) and d_i = max(0, cos(frame_{i-1}, frame_i)):
    0.4 max(c) + 0.3 mean(d) + 0.3 min(d).

    Args:
        picture_D: the features of the picture.
        frames_TD: those of the frames. None needs unit length.

    Returns:
        In [0, 1].

    Raises:
        ValueError: fewer than 2 frames, or shapes that do not fit.

    >>> i2v_similarity(np.array([2.0, 0.0]), np.array([[1.0, 0.0], [3.0, 4.0]]))
    0.76
    """
    if frames_TD.ndim != 2 or picture_D.shape != frames_TD.shape[1:]:
        raise ValueError(
            f"features must be (D,) and (T, D), got {picture_D.shape} and {frames_TD.shape}"
        )
    require_frames(len(frames_TD), 2)
    vectors = np.vstack([picture_D, frames_TD]).astype(np.float64)
    # The guard turns 0/0 into cosine 0 and changes no vector that a network gives.
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    picture, frames = vectors[0], vectors[1:]
    to_picture = np.clip(frames @ picture, 0.0, 1.0)
    steps = np.clip(np.sum(frames[1:] * frames[:-1], axis=1), 0.0, 1.0)
    score = MAX_WEIGHT * to_picture.max() + MEAN_WEIGHT * steps.mean() + MIN_WEIGHT * steps.min()
    return float(score)


class _I2VSimilarity(ClipMetric):
    """:func:`i2v_similarity` of what a network of single frames makes of picture and frames."""

    version = "1"
    higher_is_better = True
    unit = "cosine"
    needs = frozenset({"first_frame"})

    def score_clip(self, example: Example) -> float:
        """The similarity of one clip, in [0, 1].

        Raises:
            ValueError: the clip has one frame, or the example no picture.
        """
        require_frames(len(example.clip.frames), 2)
        picture_1D = example.first_frame_features_of(self)["pooled"]
        return i2v_similarity(picture_1D[0], example.features_of(self)["pooled"])


class I2VSubject(_I2VSimilarity):
    """How well a clip keeps the subject of its picture, by DINO ViT-B/16.

    Per clip: 0.4 of the largest cosine of a frame with the picture, 0.3 of the mean and 0.3 of the
    smallest cosine of neighbouring frames, each not below 0; then the mean over the clips.
    Range [0, 1]; higher is better.

    Source: VBench++ (arXiv 2411.13503), ``i2v_subject`` of its code.

    Caveats: a frozen clip of the picture scores 1. VBench reads the picture's file; here it is the
    picture as the model got it, at the clip's size.
    """

    name = "i2v_subject"
    title = "I2V subject"
    extractors = ("dino-vit-b16-i2v",)


class I2VBackground(_I2VSimilarity):
    """How well a clip keeps the scene of its picture, by DreamSim's ensemble.

    Per clip the same formula as :class:`I2VSubject`; then the mean over the clips. Range [0, 1];
    higher is better.

    Source: VBench++ (arXiv 2411.13503), ``i2v_background`` of its code, whose README says DINO.

    Caveats: a frozen clip of the picture scores 1. VBench reads the picture's file; here it is the
    picture as the model got it, at the clip's size. Nothing masks the subject: its motion counts.
    """

    name = "i2v_background"
    title = "I2V background"
    extractors = ("dreamsim",)
