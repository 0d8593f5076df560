"""VBench's consistency of subject and background: how little a clip departs from its first frame.

VBench (arXiv 2311.17982, section 4.1) and I2V-Bench (arXiv 2402.04324, appendix C) report both
numbers; the networks here are others than theirs (see each class), the formula is the same.
"""

# Shapes: T frames, D features.

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from i2vbench.metric import ClipMetric, Example


def consistency_from_features(feats_TD: NDArray[np.floating]) -> float:
    """The mean over the frames i >= 1 of (max(0, c(i, i-1)) + max(0, c(i, 0))) / 2.

    c is the cosine similarity of two frames' features.

    Args:
        feats_TD: one vector a frame, any finite floats; need not have unit length.

    Returns:
        In [0, 1]; 1 for a clip whose features never change direction. A zero vector has cosine 0
        with everything.

    Raises:
        ValueError: fewer than 2 frames, or no (T, D) array.

    >>> consistency_from_features(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]))
    0.25
    """
    return float(np.mean(_frame_consistency(feats_TD)))


def _frame_consistency(feats_TD: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T - 1,): what each frame i >= 1 adds."""
    if feats_TD.ndim != 2:
        raise ValueError(f"features must be (T, D), got {feats_TD.shape}")
    require_frames(len(feats_TD), 2)
    feats = feats_TD.astype(np.float64)
    # The guard turns 0/0 into cosine 0 and changes no vector that a network gives.
    feats /= np.maximum(np.linalg.norm(feats, axis=1, keepdims=True), 1e-12)
    with_previous = np.clip(np.sum(feats[1:] * feats[:-1], axis=1), 0.0, 1.0)
    with_first = np.clip(feats[1:] @ feats[0], 0.0, 1.0)
    added: NDArray[np.float64] = (with_previous + with_first) / 2
    return added


def require_frames(num_frames: int, at_least: int) -> None:
    """Refuses a clip that is too short for a metric.

    Raises:
        ValueError: ``num_frames`` is below ``at_least``.
    """
    if num_frames < at_least:
        raise ValueError(f"needs at least {at_least} frames, got {num_frames}")


class SubjectConsistency(ClipMetric):
    """Mean cosine similarity of each frame with the previous and with the first frame.

    Per frame i >= 1: (max(0, cos(f_i, f_{i-1})) + max(0, cos(f_i, f_0))) / 2; the mean over the
    frames, then over the clips. Range [0, 1]; higher is steadier.

    Source: VBench ``subject_consistency``. There f is DINO ViT-B/16; here it is the pooled output
    of EfficientNet-Lite0 (ImageNet), so the numbers do not compare with published ones. VBench on
    one process weighs all frames of all videos alike; here each clip counts once, which is the
    same where all clips have one length.

    Caveat: a frozen clip scores 1. Read it beside the dynamic degree.
    """

    name = "subject_consistency"
    title = "Subject consistency"
    version = "1"
    higher_is_better = True
    unit = "cosine"
    extractors = ("efficientnet-lite0",)

    def score_clip(self, example: Example) -> float:
        """The consistency of one clip, in [0, 1].

        Raises:
            ValueError: the clip has one frame.
        """
        require_frames(len(example.clip.frames), 2)
        return consistency_from_features(example.features_of(self)["pooled"])

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """The mean of the frame's two cosines, in [0, 1]; NaN for the first frame."""
        return np.append(np.nan, _frame_consistency(example.features_of(self)["pooled"]))


class BackgroundConsistency(ClipMetric):
    """The same formula as :class:`SubjectConsistency` on the frame embeddings of a CLIP.

    Source: VBench ``background_consistency`` with CLIP ViT-B/32, whose embedding follows the scene
    as a whole more than its subject. Here it is the small CLIP trained on playground scenes: it
    knows shapes, colours and motions, and little of photographs. Range [0, 1]; higher is steadier;
    a frozen clip scores 1.
    """

    name = "background_consistency"
    title = "Background consistency"
    version = "1"
    higher_is_better = True
    unit = "cosine"
    extractors = ("tiny-clip",)

    def score_clip(self, example: Example) -> float:
        """The consistency of one clip, in [0, 1].

        Raises:
            ValueError: the clip has one frame.
        """
        require_frames(len(example.clip.frames), 2)
        return consistency_from_features(example.features_of(self)["frames"])

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """The mean of the frame's two cosines, in [0, 1]; NaN for the first frame."""
        return np.append(np.nan, _frame_consistency(example.features_of(self)["frames"]))
