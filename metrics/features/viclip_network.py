"""ViCLIP (InternVid, Y. Wang et al., ICLR 2024, arXiv 2307.06942), for inference alone.

Written anew on open_clip's blocks, under the names of the published file. The video tower is CLIP's
vision transformer over the patches of all frames at once: each patch has, besides its place in the
frame, that of its frame in the clip, and there is one class token for the whole clip.

Letters: B clips, T frames, C channels, H, W pixels or patches, P patches of a frame, D width,
L tokens of the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.transformer import QuickGELU, TextTransformer, Transformer
from torch import Tensor, nn

from i2vbench.weight_loading import fill, fitting, load_state_dict

WEIGHTS = "viclip"
HEAD_WIDTH = 64
TRAINING_ONLY = frozenset({"temp"})
"""The loss's temperature."""


class VideoTower(nn.Module):
    """Clips to embeddings."""

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        patch_px: int,
        num_patches: int,
        num_frames: int,
        embedding: int,
    ) -> None:
        super().__init__()
        kernel = (1, patch_px, patch_px)
        self.conv1 = nn.Conv3d(3, width, kernel, stride=kernel, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(1 + num_patches, width))
        self.temporal_positional_embedding = nn.Parameter(torch.empty(1, num_frames, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, width // HEAD_WIDTH, act_layer=QuickGELU)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, embedding))

    def forward(self, video_BTCHW: Tensor) -> Tensor:
        """The class token's embedding (B, D), not of unit length.

        Args:
            video_BTCHW: float, normalised; frames and size are those of the weights.
        """
        patches_BDTHW = self.conv1(video_BTCHW.transpose(1, 2))
        tokens_BTPD = patches_BDTHW.flatten(3).permute(0, 2, 3, 1) + self.positional_embedding[1:]
        tokens_BTPD = tokens_BTPD + self.temporal_positional_embedding[:, :, None]
        class_token_D = self.class_embedding + self.positional_embedding[0]
        class_token_B1D = class_token_D.expand(len(video_BTCHW), 1, -1)
        tokens_BLD = torch.cat([class_token_B1D, tokens_BTPD.flatten(1, 2)], dim=1)
        tokens_BLD = self.transformer(self.ln_pre(tokens_BLD))
        embedding_BD: Tensor = self.ln_post(tokens_BLD[:, 0]) @ self.proj
        return embedding_BD


class ViCLIP(nn.Module):
    """Both towers."""

    def __init__(self, vision_encoder: VideoTower, text_encoder: TextTransformer) -> None:
        super().__init__()
        self.vision_encoder = vision_encoder
        self.text_encoder = text_encoder

    @property
    def num_frames(self) -> int:
        """Of a clip that it reads."""
        return self.vision_encoder.temporal_positional_embedding.shape[1]

    @property
    def context_length(self) -> int:
        """Tokens of a prompt, start and end included."""
        return len(self.text_encoder.positional_embedding)


def network_of(shapes: Mapping[str, tuple[int, ...]]) -> ViCLIP:
    """A network without weights (on the device ``meta``) for tensors of these names and shapes.

    Raises:
        KeyError: a name that ViCLIP has is missing.
    """
    width, _, _, patch_px, _ = shapes["vision_encoder.conv1.weight"]
    vocabulary, text_width = shapes["text_encoder.token_embedding.weight"]
    with torch.device("meta"):
        video = VideoTower(
            width=width,
            layers=_num_layers(shapes, "vision_encoder"),
            patch_px=patch_px,
            num_patches=shapes["vision_encoder.positional_embedding"][0] - 1,
            num_frames=shapes["vision_encoder.temporal_positional_embedding"][1],
            embedding=shapes["vision_encoder.proj"][1],
        )
        text = TextTransformer(
            context_length=shapes["text_encoder.positional_embedding"][0],
            vocab_size=vocabulary,
            width=text_width,
            heads=text_width // HEAD_WIDTH,
            layers=_num_layers(shapes, "text_encoder"),
            output_dim=shapes["text_encoder.text_projection"][1],
            act_layer=QuickGELU,
        )
    return ViCLIP(video, text)


def _num_layers(shapes: Mapping[str, Any], tower: str) -> int:
    start = f"{tower}.transformer.resblocks."
    return sum(key.startswith(start) and key.endswith(".ln_1.weight") for key in shapes)


def load_viclip(path: Path) -> ViCLIP:
    """The network with the weights of the published file, in single precision and eval mode.

    Raises:
        MissingWeightsError: the file's tensors are not ViCLIP's.
    """
    stored = load_state_dict(path, name=WEIGHTS, network="ViCLIP", under="model")
    with fitting(path, name=WEIGHTS, network="ViCLIP"):
        state = {key: t.float() for key, t in stored.items() if key not in TRAINING_ONLY}
        network = network_of({key: tuple(tensor.shape) for key, tensor in state.items()})
        fill(network, state, assign=True)
    # It is no weight, and so it is still on the device without memory.
    network.text_encoder.attn_mask = network.text_encoder.build_causal_mask()
    return network.eval().requires_grad_(False)
