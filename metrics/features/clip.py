"""Frame and prompt embeddings of OpenAI's CLIP, prepared as the benchmarks prepare frames.

CLIP: A. Radford et al., arXiv 2103.00020. The networks are open_clip's, read from OpenAI's own
files (their names, QuickGELU). What benchmarks do to a frame before it differs, and so do their
numbers; each extractor here is one of them.

Letters: T frames, C channels, H height, W width, D embedding width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, normalize, resize

from i2vbench.clip import Clip, Frames
from i2vbench.metric import Extractor
from i2vbench.weights import resolve, sha256_of

from .resize import as_float

logger = logging.getLogger(__name__)

BATCH_FRAMES = 16
"""A clip's frames go through in batches of this many, whatever other clips there are."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How a frame becomes the network's square."""

    prepare: Callable[[Frames, int], Tensor]
    """uint8 (T, H, W, 3) and a side -> float32 (T, 3, side, side) in about [0, 1]."""
    words: str
    """What ``prepare`` does, for the fingerprint."""


def prepare_by_pillow(frames: Frames, size: int) -> Tensor:
    """Shorter side to ``size`` by Pillow's bicubic, in whole levels; the centre cut out.

    So do OpenAI's own code, open_clip and the processor of Hugging Face that TorchMetrics' CLIP
    score takes.
    """
    squares = [
        center_crop(resize(Image.fromarray(frame), [size], InterpolationMode.BICUBIC), [size, size])
        for frame in frames
    ]
    return as_float(np.stack([np.asarray(square) for square in squares])) / 255.0


def prepare_by_vbench(frames: Frames, size: int) -> Tensor:
    """Shorter side to ``size``, bicubic on floats without antialiasing; the centre cut out.

    VBench's ``clip_transform``: the kernel overshoots, and nothing is clipped.
    """
    small_TCHW = resize(as_float(frames), [size], InterpolationMode.BICUBIC, antialias=False)
    square_TCHW: Tensor = center_crop(small_TCHW, [size, size])
    return square_TCHW / 255.0


PILLOW = Preset(prepare=prepare_by_pillow, words="shorter side, Pillow's bicubic, centre crop")
VBENCH = Preset(
    prepare=prepare_by_vbench,
    words="shorter side, bicubic on floats without antialias, centre crop",
)


class CLIPExtractor(Extractor):
    """Unit vectors (float32) of a clip of T frames and of its prompt, by ViT-B/32.

    - ``frames`` (T, D): each frame's square; what lies beyond it is not seen.
    - ``text`` (D,): the prompt; tokens beyond 77 (start and end counted) are cut off and a warning
      names the first such prompt.
    """

    name = "clip-vit-b32"
    version = "1"
    uses_prompt = True
    weights: ClassVar[str] = "clip-vit-b-32"
    """Name in the register of weights."""
    preset: ClassVar[Preset] = PILLOW

    def __init__(self, *, device: str = "cpu") -> None:
        super().__init__(device=device)
        path = resolve(self.weights)
        # Drawing weights that are replaced at once must not move the caller's random state.
        with torch.random.fork_rng(devices=[]):
            network = open_clip.load_openai_model(str(path), precision="fp32", device="cpu")
        self._network: nn.Module = network.requires_grad_(False).eval().to(device)
        self._size = _side(network.visual.image_size)
        self._tokenizer = SimpleTokenizer(context_length=network.context_length)
        self._warned = False

    @property
    def label(self) -> str:
        """The name: a preset is another number."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """The weights and how a frame becomes the network's input."""
        return {
            "weights_sha256": sha256_of(self.weights),
            "size_px": self._size,
            "resize": self.preset.words,
            "mean": list(OPENAI_DATASET_MEAN),
            "std": list(OPENAI_DATASET_STD),
        }

    @torch.inference_mode()
    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """``frames`` and ``text`` of each clip.

        Raises:
            ValueError: the numbers of clips and prompts differ.
        """
        pairs = zip(clips, prompts, strict=True)
        return [
            {"frames": self._frames(clip.frames).cpu().numpy(), "text": self._text(prompt)}
            for clip, prompt in pairs
        ]

    def _frames(self, frames: Frames) -> Tensor:
        """(T, D)."""
        parts = []
        for start in range(0, len(frames), BATCH_FRAMES):
            square = self.preset.prepare(frames[start : start + BATCH_FRAMES], self._size)
            batch_TCHW = normalize(square, list(OPENAI_DATASET_MEAN), list(OPENAI_DATASET_STD))
            parts.append(self._encoder.encode_image(batch_TCHW.to(self.device), normalize=True))
        return torch.cat(parts)

    def _text(self, prompt: str) -> NDArray[np.float32]:
        """(D,)."""
        length = self._encoder.context_length
        # Two more mark start and end.
        if not self._warned and len(self._tokenizer.encode(prompt)) + 2 > length:
            logger.warning("%s reads %d tokens; cut: %r", self.name, length, prompt)
            self._warned = True
        tokens_1L = self._tokenizer([prompt]).to(self.device)
        text: NDArray[np.float32] = (
            self._encoder.encode_text(tokens_1L, normalize=True)[0].cpu().numpy()
        )
        return text

    @property
    def _encoder(self) -> Any:  # noqa: ANN401
        """The network with the methods of open_clip, which has no types."""
        return self._network


class VBenchCLIPExtractor(CLIPExtractor):
    """The same network on frames as VBench's background consistency prepares them."""

    name = "clip-vit-b32-vbench"
    preset = VBENCH


class AestheticExtractor(CLIPExtractor):
    """LAION's aesthetic score of each frame: array ``aesthetic`` (T,) float32, about 0 to 1.

    A linear map of the unit embedding of ViT-L/14 (LAION-AI/aesthetic-predictor), over ten, on
    frames as VBench prepares them.
    """

    name = "clip-vit-l14"
    uses_prompt = False
    weights = "clip-vit-l-14"
    preset = VBENCH
    head_weights: ClassVar[str] = "laion-aesthetic"

    def __init__(self, *, device: str = "cpu") -> None:
        head = torch.load(resolve(self.head_weights), map_location=device, weights_only=True)
        super().__init__(device=device)
        self._weight_D, self._bias = head["weight"].float()[0], head["bias"].float()[0]

    @property
    def label(self) -> str:
        """Network and head."""
        return "clip-vit-l14, laion"

    def spec(self) -> dict[str, Any]:
        """Network, head and preprocessing."""
        return {**super().spec(), "head_sha256": sha256_of(self.head_weights)}

    @torch.inference_mode()
    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """``aesthetic`` of each clip; the prompts are not read."""
        return [
            {
                "aesthetic": ((self._frames(clip.frames) @ self._weight_D + self._bias) / 10.0)
                .cpu()
                .numpy()
            }
            for clip in clips
        ]


def _side(image_size: int | tuple[int, int]) -> int:
    return image_size if isinstance(image_size, int) else image_size[0]
