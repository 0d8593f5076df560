"""ViCLIP as VBench's overall consistency asks it: embeddings of the clip and of the prompt."""

# Shapes: T frames, C channels, H, W pixels, D embedding width.

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from i2vbench.clip import Clip
from i2vbench.metric import Extractor
from i2vbench.weights import resolve, sha256_of

from .clip_vit import VBENCH
from .prompts import PromptTokens
from .torchscript import exact
from .viclip_network import WEIGHTS, load_viclip

PREPARATION = dataclasses.replace(VBENCH, rounded=True)
"""``clip_transform`` of VBench on the 8-bit tensor that ``read_frames_decord_by_fps`` gives it."""


class ViCLIPExtractor(Extractor):
    """ViCLIP-L/14, InternVid-10M-FLT: one embedding a clip, one a prompt.

    Arrays (float32, unit length, D = 768):

    - ``video`` (D,): of the frames in the middle of 8 equal parts of the clip; what a shorter clip
      lacks is its last frame again.
    - ``text`` (D,): the prompt, cut to 32 tokens with start and end; a warning names the first
      prompt that was cut.

    Source: ``overall_consistency`` of VBench, commit 45e79ec.
    """

    name = "viclip"
    version = "1"
    uses_prompt = True

    def __init__(self, *, device: str = "cpu") -> None:
        """Loads both towers onto ``device``.

        Raises:
            MissingWeightsError: the published file is not here, or holds another network.
        """
        super().__init__(device=device)
        self._network = load_viclip(resolve(WEIGHTS)).to(device)
        self._tokens = PromptTokens(self.name, self._network.context_length)

    @property
    def label(self) -> str:
        """``viclip``."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """The weights, which frames are looked at and how they become the network's input."""
        return {
            "weights_sha256": sha256_of(WEIGHTS),
            "frames": f"the middle ones of {self._network.num_frames} parts",
            **PREPARATION.spec(),
        }

    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The arrays of each clip; one clip a pass, so that none depends on another."""
        return [
            {"video": self._encode_video(clip), "text": self._encode_text(prompt)}
            for clip, prompt in zip(clips, prompts, strict=True)
        ]

    def _encode_video(self, clip: Clip) -> NDArray[np.float32]:
        looked_at = middle_frames(len(clip.frames), self._network.num_frames)
        video_TCHW = PREPARATION(clip.frames[looked_at]).to(self.device)
        with torch.inference_mode(), exact():
            video_1D = F.normalize(self._network.vision_encoder(video_TCHW[None]), dim=-1)
        video: NDArray[np.float32] = video_1D[0].cpu().numpy()
        return video

    def _encode_text(self, prompt: str) -> NDArray[np.float32]:
        with torch.inference_mode(), exact():
            tokens_1L = self._tokens(prompt).to(self.device)
            text_1D = F.normalize(self._network.text_encoder(tokens_1L), dim=-1)
        text: NDArray[np.float32] = text_1D[0].cpu().numpy()
        return text


def middle_frames(num_frames: int, wanted: int) -> list[int]:
    """Indices of the frames in the middle of ``wanted`` equal parts of a clip.

    A clip of fewer frames gives them all, and its last one until there are enough.

    >>> middle_frames(16, 8)
    [0, 2, 4, 6, 8, 10, 12, 14]
    >>> middle_frames(3, 5)
    [0, 1, 2, 2, 2]
    """
    parts = min(wanted, num_frames)
    edges = np.linspace(0, num_frames, parts + 1).astype(int)
    middles = [int(index) for index in (edges[:-1] + edges[1:] - 1) // 2]
    return middles + middles[-1:] * (wanted - parts)
