"""CLIPSIM: how well the frames match the prompt (GODIVA, arXiv 2104.14806)."""

# Shapes: T frames, D features.

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from i2vbench.metric import ClipMetric, Example


def clip_similarity(frames_TD: NDArray[np.floating], text_D: NDArray[np.floating]) -> float:
    """The mean over the frames of cos(frame, text).

    Args:
        frames_TD: an image embedding a frame.
        text_D: the text embedding of the same network. Neither needs unit length.

    Returns:
        In [-1, 1].

    Raises:
        ValueError: no frame, or shapes that do not fit.

    >>> clip_similarity(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([3.0, 0.0]))
    0.5
    """
    return float(np.mean(_cosines(frames_TD, text_D)))


def _cosines(frames_TD: NDArray[np.floating], text_D: NDArray[np.floating]) -> NDArray[np.float64]:
    if frames_TD.ndim != 2 or text_D.shape != frames_TD.shape[1:] or not len(frames_TD):
        raise ValueError(
            f"embeddings must be (T, D) and (D,) with T > 0, got {frames_TD.shape}, {text_D.shape}"
        )
    frames, text = frames_TD.astype(np.float64), text_D.astype(np.float64)
    norms = np.linalg.norm(frames, axis=1) * np.linalg.norm(text)
    # The guard turns 0/0 into cosine 0 and changes no vector that a network gives.
    cosines: NDArray[np.float64] = frames @ text / np.maximum(norms, 1e-24)
    return cosines


class CLIPSIM(ClipMetric):
    """Mean cosine similarity of the frames with the prompt, by an image-text network.

    Per clip: the mean over all its frames of cos(image(frame), text(prompt)); then the mean over
    the clips. Range [-1, 1], not times 100; higher is better.

    Source: GODIVA; ConsistI2V (arXiv 2402.04324, appendix B.2) reports it with CLIP ViT-B/32, over
    all frames of all clips, which is the same where all clips have one length. Here the network is
    the small CLIP trained on playground scenes and captions, so the numbers do not compare with
    published ones, and mean little for prompts outside its words.

    Caveats: a still picture of the right thing scores as high as a video of it. What of a prompt
    lies beyond the network's context is not read.
    """

    name = "clipsim"
    title = "CLIPSIM"
    version = "1"
    higher_is_better = True
    unit = "cosine"
    needs = frozenset({"prompt"})
    extractors = ("tiny-clip",)

    def score_clip(self, example: Example) -> float:
        """The mean cosine of one clip, in [-1, 1].

        Raises:
            ValueError: the example has no prompt.
        """
        if not example.prompt:
            raise ValueError(f"{example.sample_id}: clipsim needs a prompt, got ''")
        features = example.features_of(self)
        return clip_similarity(features["frames"], features["text"])

    def frame_values(self, example: Example) -> NDArray[np.float64]:
        """The cosine of each frame with the prompt, in [-1, 1]."""
        features = example.features_of(self)
        return _cosines(features["frames"], features["text"])
