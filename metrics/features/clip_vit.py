"""OpenAI's CLIP ViT-B/32 and ViT-L/14 (arXiv 2103.00020), and the LAION head on the latter.

The published files are TorchScript archives in half precision; their weights go into open_clip's
network, which runs in single precision. The activation is QuickGELU, as they were trained.

Letters: T frames, C channels, H, W pixels, D embedding width, L tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP, build_model_from_openai_state_dict
from torch import Tensor
from torchvision.transforms import InterpolationMode

from i2vbench.clip import Clip, Frames
from i2vbench.metric import Extractor
from i2vbench.weight_loading import fill, fitting, load_state_dict
from i2vbench.weights import resolve, sha256_of

from .precision import make_body
from .preparation import Preparation, batches
from .prompts import PromptTokens
from .torchscript import exact, load_torchscript

BATCH_FRAMES = 32

OPENAI = Preparation(
    shorter_side_px=224,
    crop_px=224,
    interpolation=InterpolationMode.BICUBIC,
    antialias=True,
    mean=OPENAI_DATASET_MEAN,
    std=OPENAI_DATASET_STD,
    pillow=True,
)
"""What CLIP itself does to a picture."""
VBENCH = dataclasses.replace(OPENAI, antialias=False, pillow=False)
"""``clip_transform`` of VBench (vbench/utils.py, commit 45e79ec)."""


class CLIPExtractor(Extractor):
    """CLIP ViT-B/32 with CLIP's own preprocessing: embeddings of the frames and of the prompt.

    Arrays of a clip of T frames (float32, unit length, D = 512):

    - ``frames`` (T, D): each frame, its shorter side brought to 224 px (Pillow, bicubic) and
      cropped at the centre.
    - ``text`` (D,): the prompt, cut to 77 tokens with start and end; a warning names the first
      prompt that was cut.
    """

    name = "clip-vit-b32"
    version = "1"
    uses_prompt = True
    dtypes = ("fp32", "bf16")
    backends = ("torch", "openvino")
    weights: ClassVar[str] = "clip-vit-b-32"
    """Name in the register of weights."""
    preparation: ClassVar[Preparation] = OPENAI

    def __init__(self, *, device: str = "cpu", dtype: str = "fp32", backend: str = "torch") -> None:
        """Loads both towers onto ``device``; that of the text stays in float32 and in torch.

        Raises:
            MissingWeightsError: the published file is not here, or holds no CLIP.
        """
        super().__init__(device=device, dtype=dtype, backend=backend)
        self._network = _load_clip(self.weights, device)
        self._encode_images = make_body(
            self._network.visual, device=device, dtype=dtype, backend=backend
        )
        self._tokens = PromptTokens(self.name, self._network.context_length)

    @property
    def label(self) -> str:
        """The name."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """The weights and how a frame becomes the network's input."""
        return {"weights_sha256": sha256_of(self.weights), **self.preparation.spec()}

    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The arrays of each clip; one clip a pass, so that none depends on another."""
        return [
            {"frames": self._encode_frames(clip.frames).numpy(), "text": self._encode_text(prompt)}
            for clip, prompt in zip(clips, prompts, strict=True)
        ]

    def _encode_frames(self, frames: Frames) -> Tensor:
        parts = []
        with torch.inference_mode(), exact():
            for batch in batches(frames, BATCH_FRAMES):
                embedded_TD = self._encode_images(self.preparation(batch))
                parts.append(F.normalize(embedded_TD, dim=-1).cpu())
        return torch.cat(parts)

    def _encode_text(self, prompt: str) -> NDArray[np.float32]:
        tokens_1L = self._tokens(prompt).to(self.device)
        with torch.inference_mode(), exact():
            text_1D = self._network.encode_text(tokens_1L, normalize=True)
        text: NDArray[np.float32] = text_1D[0].cpu().numpy()
        return text


class VBenchCLIPExtractor(CLIPExtractor):
    """CLIP ViT-B/32 behind the preprocessing of VBench: array ``frames`` alone.

    The frames are floats when they are resized, bicubic and without antialiasing, so that small
    details alias and values beyond 0..255 stay. VBench runs the network in half precision on a GPU.
    """

    name = "clip-vit-b32-vbench"
    uses_prompt = False
    preparation = VBENCH

    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The array of each clip; prompts are not read."""
        return [{"frames": self._encode_frames(clip.frames).numpy()} for clip in clips]


class LAIONAestheticExtractor(VBenchCLIPExtractor):
    """CLIP ViT-L/14 as VBench prepares its frames, with LAION's linear head on the embeddings.

    Arrays: ``frames`` (T, 768), float32, unit length; ``aesthetic`` (T,), float32, the head's
    output, which was trained on people's marks from 1 to 10.

    Source: github.com/LAION-AI/aesthetic-predictor, ``sa_0_4_vit_l_14_linear``.
    """

    name = "laion-aesthetic"
    weights = "clip-vit-l-14"
    head: ClassVar[str] = "laion-aesthetic"
    """Name of the head in the register of weights."""

    def __init__(self, *, device: str = "cpu", dtype: str = "fp32", backend: str = "torch") -> None:
        """Loads the network onto ``device``; the head stays on the CPU.

        Raises:
            MissingWeightsError: one of the two files is not here.
        """
        # The small file first: a missing one is known before the large one is read.
        path = resolve(self.head)
        state = load_state_dict(path, name=self.head, network="LAION head")
        super().__init__(device=device, dtype=dtype, backend=backend)
        with torch.random.fork_rng(devices=[]), fitting(path, name=self.head, network="LAION head"):
            self._head = torch.nn.Linear(self._network.text_projection.shape[1], 1)
            fill(self._head, state)
        self._head.requires_grad_(False)

    def spec(self) -> dict[str, Any]:
        """Both files and the preprocessing."""
        return {**super().spec(), "head_sha256": sha256_of(self.head)}

    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The arrays of each clip; prompts are not read."""
        arrays = []
        for clip in clips:
            frames_TD = self._encode_frames(clip.frames)
            marks_T1 = self._head(frames_TD)
            arrays.append({"frames": frames_TD.numpy(), "aesthetic": marks_T1[:, 0].numpy()})
        return arrays


def _load_clip(name: str, device: str) -> CLIP:
    stored, _ = load_torchscript(name, "cpu")
    # Drawing weights that are replaced at once must not move the caller's random state.
    with (
        torch.random.fork_rng(devices=[]),
        fitting(resolve(name), name=name, network="CLIP of OpenAI's"),
    ):
        # Named, the type also decides the norms: those for half precision take no bfloat16.
        network: CLIP = build_model_from_openai_state_dict(
            stored.state_dict(), cast_dtype=torch.float32
        )
    return network.float().eval().requires_grad_(False).to(device)
