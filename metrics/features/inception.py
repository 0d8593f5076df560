"""Inception-v3 of 2015, the network that FID and IS are defined on, and the extractors around it.

C. Szegedy et al.: Rethinking the Inception Architecture for Computer Vision, CVPR 2016. FID:
M. Heusel et al., NeurIPS 2017. The published weights are those of TensorFlow's
``inception-2015-12-05``, ported by pytorch-fid; torch-fidelity ships the same file. Modules are
named as in it. It is not torchvision's Inception: 1008 classes, averages that do not count the
padding, and a maximum where the last block should have an average.

What the packages of the field do to a frame before it differs, and so do their numbers; each
extractor here is one of them (pytorch-fid 0.3.0, torch-fidelity 0.4.0, torchmetrics 1.9.0).

Letters: T frames, C channels, H height, W width, D = 2048 features, K = 1008 classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
from .resize import as_float, squash, squash_tf1

WEIGHTS = "inception-2015"
SIZE_PX = 299
BN_EPSILON = 1e-3
BATCH_FRAMES = 16
"""A clip's frames go through in batches of this many, whatever other clips there are."""

Kernel = int | tuple[int, int]
Layer = tuple[str, int, Kernel]
"""Name, channels, kernel."""

# Branches of each kind of block: layers one after the other; several in one place stand side by
# side. Names and their order are those of the published file.
_POOL: list[list[Layer]] = [[("branch_pool", 192, 1)]]
_E_BRANCHES: list[list[list[Layer]]] = [
    [[("branch1x1", 320, 1)]],
    [
        [("branch3x3_1", 384, 1)],
        [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))],
    ],
    [
        [("branch3x3dbl_1", 448, 1)],
        [("branch3x3dbl_2", 384, 3)],
        [("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))],
    ],
    _POOL,
]


def _a_branches(pool_channels: int) -> list[list[list[Layer]]]:
    return [
        [[("branch1x1", 64, 1)]],
        [[("branch5x5_1", 48, 1)], [("branch5x5_2", 64, 5)]],
        [[("branch3x3dbl_1", 64, 1)], [("branch3x3dbl_2", 96, 3)], [("branch3x3dbl_3", 96, 3)]],
        [[("branch_pool", pool_channels, 1)]],
    ]


def _c_branches(channels: int) -> list[list[list[Layer]]]:
    return [
        [[("branch1x1", 192, 1)]],
        [
            [("branch7x7_1", channels, 1)],
            [("branch7x7_2", channels, (1, 7))],
            [("branch7x7_3", 192, (7, 1))],
        ],
        [
            [("branch7x7dbl_1", channels, 1)],
            [("branch7x7dbl_2", channels, (7, 1))],
            [("branch7x7dbl_3", channels, (1, 7))],
            [("branch7x7dbl_4", channels, (7, 1))],
            [("branch7x7dbl_5", 192, (1, 7))],
        ],
        _POOL,
    ]


_B_BRANCHES: list[list[list[Layer]]] = [
    [[("branch3x3", 384, 3)]],
    [[("branch3x3dbl_1", 64, 1)], [("branch3x3dbl_2", 96, 3)], [("branch3x3dbl_3", 96, 3)]],
]
_D_BRANCHES: list[list[list[Layer]]] = [
    [[("branch3x3_1", 192, 1)], [("branch3x3_2", 320, 3)]],
    [
        [("branch7x7x3_1", 192, 1)],
        [("branch7x7x3_2", 192, (1, 7))],
        [("branch7x7x3_3", 192, (7, 1))],
        [("branch7x7x3_4", 192, 3)],
    ],
]


class Unit(nn.Module):
    """A convolution and a ReLU; the batch normalisation between them is folded into its weights."""

    def __init__(
        self, in_channels: int, channels: int, kernel: Kernel, stride: int = 1, *, pad: bool = True
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if pad else 0
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding)

    def forward(self, x_TCHW: Tensor) -> Tensor:
        """The activations."""
        return F.relu_(self.conv(x_TCHW))


class Block(nn.Module):
    """Branches side by side, the last of them behind a pooling.

    ``pool``: ``average`` (3x3, its padding not counted) and ``max`` (3x3) keep the size and are
    followed by the layers of the last branch; ``halve`` has no layers, and then the last layer of
    each other branch has a stride of two and no padding.
    """

    def __init__(self, in_channels: int, branches: list[list[list[Layer]]], pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.branches = [[[name for name, _, _ in step] for step in branch] for branch in branches]
        for branch in branches:
            channels = in_channels
            for step in branch:
                halves = pool == "halve" and step is branch[-1]
                for name, out_channels, kernel in step:
                    unit = Unit(channels, out_channels, kernel, 1 + halves, pad=not halves)
                    self.add_module(name, unit)
                channels = sum(out_channels for _, out_channels, _ in step)

    def forward(self, x_TCHW: Tensor) -> Tensor:
        """The branches' channels, one after the other."""
        if self.pool == "halve":
            outputs = [self._run(branch, x_TCHW) for branch in self.branches]
            return torch.cat([*outputs, F.max_pool2d(x_TCHW, 3, stride=2)], dim=1)
        if self.pool == "average":
            pooled = F.avg_pool2d(x_TCHW, 3, stride=1, padding=1, count_include_pad=False)
        else:
            pooled = F.max_pool2d(x_TCHW, 3, stride=1, padding=1)
        outputs = [self._run(branch, x_TCHW) for branch in self.branches[:-1]]
        return torch.cat([*outputs, self._run(self.branches[-1], pooled)], dim=1)

    def _run(self, branch: list[list[str]], x_TCHW: Tensor) -> Tensor:
        for step in branch:
            outputs = [self.get_submodule(name)(x_TCHW) for name in step]
            x_TCHW = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
        return x_TCHW


BLOCKS: dict[str, Callable[[], Block]] = {
    "Mixed_5b": lambda: Block(192, _a_branches(32), "average"),
    "Mixed_5c": lambda: Block(256, _a_branches(64), "average"),
    "Mixed_5d": lambda: Block(288, _a_branches(64), "average"),
    "Mixed_6a": lambda: Block(288, _B_BRANCHES, "halve"),
    "Mixed_6b": lambda: Block(768, _c_branches(128), "average"),
    "Mixed_6c": lambda: Block(768, _c_branches(160), "average"),
    "Mixed_6d": lambda: Block(768, _c_branches(160), "average"),
    "Mixed_6e": lambda: Block(768, _c_branches(192), "average"),
    "Mixed_7a": lambda: Block(768, _D_BRANCHES, "halve"),
    "Mixed_7b": lambda: Block(1280, _E_BRANCHES, "average"),
    "Mixed_7c": lambda: Block(2048, _E_BRANCHES, "max"),
}


class Inception(nn.Module):
    """The network up to its features, and ``fc``, for inference alone."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, stride=2, pad=False)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3, pad=False)
        for name, block in BLOCKS.items():
            self.add_module(name, block())
        self.fc = nn.Linear(2048, 1008)

    def forward(self, frames_TCHW: Tensor) -> Tensor:
        """Features before the last layer (``pool3``).

        Args:
            frames_TCHW: float (T, 3, 299, 299) in about [-1, 1].

        Returns:
            (T, 2048), >= 0.
        """
        features_TD: Tensor = self.maps(frames_TCHW).float().mean(dim=(2, 3))
        return features_TD

    def maps(self, frames_TCHW: Tensor) -> Tensor:
        """The body: what ``forward`` takes -> the last maps, (T, 2048, 8, 8)."""
        x: Tensor = self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(frames_TCHW))
        x = F.max_pool2d(self.Conv2d_2b_3x3(x), 3, stride=2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, stride=2)
        for name in BLOCKS:
            x = self.get_submodule(name)(x)
        return x


def load_inception(path: Path) -> Inception:
    """The network with the weights of ``path``, a state dict with pytorch-fid's keys.

    Raises:
        MissingWeightsError: the file's tensors are not this network's.
    """
    state = load_state_dict(path, name=WEIGHTS, network="Inception-2015")
    with torch.device("meta"):
        network = Inception()
    with fitting(path, name=WEIGHTS, network="Inception-2015"):
        folded = fold_batch_norm(state, conv="conv", epsilon=BN_EPSILON)
        folded |= {key: value.float() for key, value in state.items() if key.startswith("fc.")}
        fill(network, folded, assign=True)
    return network.requires_grad_(False).eval()


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a package does to a frame before the network sees it."""

    resize: Callable[[Tensor, int], Tensor]
    """Float frames (T, 3, H, W) in [0, 255] and a side -> (T, 3, side, side)."""
    words: str
    """What ``resize`` does, for the fingerprint."""
    mean: float = 128.0
    std: float = 128.0

    def __call__(self, frames: Frames) -> Tensor:
        """uint8 (T, H, W, 3) -> float32 (T, 3, 299, 299) in [-1, 1]."""
        # In place: fresh pages cost more than the arithmetic.
        return self.resize(as_float(frames), SIZE_PX).sub_(self.mean).div_(self.std)

    def spec(self) -> dict[str, Any]:
        """The constants (JSON values)."""
        return {"size_px": SIZE_PX, "resize": self.words, "mean": self.mean, "std": self.std}


class InceptionExtractor(Extractor):
    """Three arrays of a clip's frames, float32, prepared as pytorch-fid does it.

    ``pooled`` (T, 2048) is what FID and KID compare. ``logits`` (T, 1008) are without the bias of
    the last layer: so IS was defined (T. Salimans et al., 2016), and torch-fidelity's name for
    them is ``logits_unbiased``. ``logits_biased`` (T, 1008) are the network's own.
    """

    name = "inception"
    version = "1"
    dtypes: ClassVar[tuple[str, ...]] = ("fp32", "bf16")
    backends: ClassVar[tuple[str, ...]] = ("torch", "openvino")
    weights: ClassVar[str] = WEIGHTS
    """Name in the register of weights."""
    preset: ClassVar[Preset] = Preset(
        resize=squash, words="squash, bilinear, no antialias, half-pixel centres",
        mean=127.5, std=127.5,
    )  # fmt: skip

    def __init__(self, *, device: str = "cpu", dtype: str = "fp32", backend: str = "torch") -> None:
        super().__init__(device=device, dtype=dtype, backend=backend)
        # Any: what a TorchScript has inside, no type says.
        self._network: Any = self._load()
        self._last_layer = self._find_last_layer()

    @property
    def label(self) -> str:
        """The name: a preset is another number."""
        return self.name

    def spec(self) -> dict[str, Any]:
        """The weights and how a frame becomes the network's input."""
        return {"weights_sha256": sha256_of(self.weights), **self.preset.spec()}

    @torch.inference_mode()
    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """Features of every frame, clip by clip."""
        # TF32 would move the features by 1e-3 on the GPUs that have it.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return [self._arrays(clip.frames) for clip in clips]

    def _load(self) -> nn.Module:
        network = load_inception(resolve(self.weights))
        self._maps = make_body(
            network,
            method="maps",
            device=self.device,
            dtype=self.dtype,
            backend=self.backend,
            # With the folding, 1.7 times the frames a second of the default layout on a CPU.
            memory_format=torch.channels_last,
            heads=("fc",),
        )
        return network

    def _find_last_layer(self) -> tuple[Tensor, Tensor]:
        return self._network.fc.weight, self._network.fc.bias

    def _pooled(self, frames: Frames) -> Tensor:
        return self._maps(self.preset(frames)).mean(dim=(2, 3))

    def _arrays(self, frames: Frames) -> dict[str, NDArray[Any]]:
        starts = range(0, len(frames), BATCH_FRAMES)
        pooled_TD = torch.cat([self._pooled(frames[i : i + BATCH_FRAMES]) for i in starts])
        weight_KD, bias_K = self._last_layer
        logits_TK = pooled_TD @ weight_KD.T
        arrays = {"pooled": pooled_TD, "logits": logits_TK, "logits_biased": logits_TK + bias_K}
        return {name: array.cpu().numpy() for name, array in arrays.items()}


class TorchFidelityExtractor(InceptionExtractor):
    """The same network on frames prepared as torch-fidelity does it, with TensorFlow 1's resize."""

    name = "inception-torch-fidelity"
    preset = Preset(resize=squash_tf1, words="squash, bilinear, no antialias, TensorFlow 1 corners")


class TorchmetricsExtractor(InceptionExtractor):
    """The same network on frames prepared as torchmetrics does it by default, antialiased."""

    name = "inception-torchmetrics"
    preset = Preset(
        resize=functools.partial(squash, antialias=True),
        words="squash, bilinear, antialias, half-pixel centres",
    )
