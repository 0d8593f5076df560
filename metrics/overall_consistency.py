"""Overall consistency: how well a clip as a whole matches its prompt."""

from __future__ import annotations

from i2vbench.metric import ClipMetric, Example

from .clipsim import clip_similarity


class OverallConsistency(ClipMetric):
    """Cosine similarity of clip and prompt by ViCLIP, which sees 8 frames together.

    Per clip cos(video, text); then the mean over the clips. Range [-1, 1], not times 100, in
    practice below 0.4; higher is better.

    Source: VBench (arXiv 2311.17982) ``overall_consistency``; I2V-Bench (arXiv 2402.04324, appendix
    C) takes it over.

    Caveats: what of a prompt lies beyond 32 tokens is not read. It follows what is shown and what
    happens, and says little of how well; a frozen clip of the right thing scores well.
    """

    name = "overall_consistency"
    title = "Overall consistency"
    version = "1"
    higher_is_better = True
    unit = "cosine"
    needs = frozenset({"prompt"})
    extractors = ("viclip",)

    def score_clip(self, example: Example) -> float:
        """The cosine of one clip and its prompt, in [-1, 1].

        Raises:
            ValueError: the example has no prompt.
        """
        if not example.prompt:
            raise ValueError(f"{example.sample_id}: {self.name} needs a prompt, got ''")
        features = example.features_of(self)
        return clip_similarity(features["video"][None], features["text"])
