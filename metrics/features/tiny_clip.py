"""Frame and prompt embeddings of a small CLIP: extractor ``tiny-clip``.

A CLIP (arXiv 2103.00020) of open_clip's kind, trained from scratch on playground scenes and their
captions. It knows that world alone; CLIPSIM with it does not compare with CLIPSIM with ViT-B/32.
"""

# Shapes: T frames, C channels, H, W pixels, D embedding width, L tokens.

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from transformers import CLIPTokenizer

from i2vbench import weights
from i2vbench.clip import Clip, Frames
from i2vbench.metric import Extractor
from i2vbench.weight_loading import fill, fitting, load_state_dict

logger = logging.getLogger(__name__)

WEIGHTS = "tiny-clip"
FRAMES_AT_ONCE = 64
"""Frames of one pass of the image tower; bounds memory on long clips."""


class TinyCLIPExtractor(Extractor):
    """Embeddings of a clip's frames and of its prompt.

    Arrays of a clip of T frames (float32, unit length, D = 128 for the embedded network):

    - ``frames`` (T, D): each frame, resized with its shorter side to the network's 64 px (PIL,
      bicubic) and cropped at the centre: what lies beyond a square is not seen.
    - ``text`` (D,): the prompt, lower-cased by the tokenizer. Tokens beyond the context (48 with
      start and end) are cut off and a warning names the prompt; an empty prompt has an embedding
      too, which means nothing.
    """

    name = "tiny-clip"
    version = "1"
    uses_prompt = True

    def __init__(self, *, device: str = "cpu", folder: Path | None = None) -> None:
        """Loads network and tokenizer.

        Args:
            device: where both towers run.
            folder: ``open_clip_config.json``, ``model.safetensors`` and the files of a
                ``CLIPTokenizer``, of another network of the same kind; None for the embedded one.

        Raises:
            MissingWeightsError: the network is not here, or one of its files is damaged.
        """
        super().__init__(device=device)
        self._folder = folder or weights.resolve(WEIGHTS).parent
        with fitting(self._folder, name=WEIGHTS, network="folder of a CLIP"):
            config = json.loads((self._folder / "open_clip_config.json").read_text("utf-8"))
            self._preprocessing: dict[str, Any] = config["preprocess_cfg"]
            self._network = _load_network(config["model_cfg"], self._folder).to(device)
            self._transform = image_transform_v2(
                PreprocessCfg(size=self._network.visual.image_size, **self._preprocessing),
                is_train=False,
            )
            self._tokenizer = CLIPTokenizer.from_pretrained(self._folder, local_files_only=True)
            self._hash = _hash_of(self._folder)
        self._warned = False

    @property
    def label(self) -> str:
        """``tiny-clip``."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """Hash of network, configuration and tokenizer; preprocessing."""
        return {
            "files_sha256": self._hash,
            "image_size": list(self._network.visual.image_size),
            "preprocessing": self._preprocessing,
            "context_length": self._network.context_length,
        }

    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """``frames`` and ``text`` of each clip; one clip a pass, so that none depends on another.

        Raises:
            ValueError: the numbers of clips and prompts differ.
        """
        return [
            {"frames": self.encode_frames(clip.frames), "text": self.encode_text(prompt)}
            for clip, prompt in zip(clips, prompts, strict=True)
        ]

    def encode_frames(self, frames_THWC: Frames) -> NDArray[np.float32]:
        """Unit vectors (T, D) of uint8 RGB frames."""
        parts = []
        for start in range(0, len(frames_THWC), FRAMES_AT_ONCE):
            pictures = [
                self._transform(Image.fromarray(frame))
                for frame in frames_THWC[start : start + FRAMES_AT_ONCE]
            ]
            batch_TCHW = torch.stack(pictures).to(self.device)
            with torch.inference_mode():
                parts.append(self._network.encode_image(batch_TCHW, normalize=True).cpu().numpy())
        return np.concatenate(parts)

    def encode_text(self, prompt: str) -> NDArray[np.float32]:
        """The unit vector (D,) of a prompt, cut to the network's context."""
        length = self._network.context_length
        tokens = self._tokenizer(prompt, verbose=False)["input_ids"]
        if len(tokens) > length:
            if not self._warned:
                logger.warning(
                    "tiny-clip reads %d tokens, this prompt has %d (and others may): %r",
                    length,
                    len(tokens),
                    prompt,
                )
                self._warned = True
            # The state of the end token is the embedding of the prompt.
            tokens = [*tokens[: length - 1], tokens[-1]]
        # The text tower takes its full length alone. It is causal, so what follows the end token
        # changes nothing; the end token is the highest number, which is how the tower finds it, and
        # padding with it (as the tokenizer would) leaves two to choose from.
        tokens = tokens + [0] * (length - len(tokens))
        tokens_1L = torch.tensor([tokens], device=self.device)
        with torch.inference_mode():
            text: NDArray[np.float32] = (
                self._network.encode_text(tokens_1L, normalize=True)[0].cpu().numpy()
            )
        return text


def _load_network(config: dict[str, Any], folder: Path) -> CLIP:
    path = folder / "model.safetensors"
    state = load_state_dict(path, name=WEIGHTS, network="tiny CLIP")
    # Drawing weights that are replaced at once must not move the caller's random state.
    with torch.random.fork_rng(devices=[]):
        network = CLIP(**config)
    # The file is half precision, which this widens.
    with fitting(path, name=WEIGHTS, network="tiny CLIP"):
        fill(network, state)
    return network.eval().requires_grad_(False)


def _hash_of(folder: Path) -> str:
    """sha256 of the names and bytes of the files that change an embedding."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".txt", ".safetensors"}:
            digest.update(path.name.encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
