"""NVIDIA's TorchScript of Inception-2015: the network of StyleGAN's FID and of clean-fid.

The file is ``inception-2015-12-05.pt`` of stylegan2-ada-pytorch, called as that repository calls
it. StyleGAN3, StyleGAN-V and long-video-gan name a ``.pkl`` of the same translation: a pickle that
brings its own program, which nothing here will run.

Letters: T frames, C channels, H height, W width, D = 2048 features, K = 1008 classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from i2vbench.clip import Frames

from .inception import InceptionExtractor, Preset
from .resize import squash_pillow
from .torchscript import exact, load_torchscript


class InceptionNVIDIAExtractor(InceptionExtractor):
    """The arrays of :class:`InceptionExtractor`; the file itself resizes the uint8 frames."""

    name = "inception-nvidia"
    dtypes = ("fp32",)
    backends = ("torch",)
    weights = "inception-2015-nvidia"

    def spec(self) -> dict[str, Any]:
        """The weights and how they are called."""
        return {
            "weights_sha256": self._weights_sha256,
            "input": "uint8 frames at their own size",
        }

    def _load(self) -> nn.Module:
        network, self._weights_sha256 = load_torchscript(self.weights, self.device)
        return network.to(memory_format=torch.channels_last)

    def _find_last_layer(self) -> tuple[Tensor, Tensor]:
        # Asked for probabilities, the file would run the whole network a second time.
        return self._network.output.weight, self._network.output.bias

    def _pooled(self, frames: Frames) -> Tensor:
        batch_TCHW = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()
        with exact():
            features_TD: Tensor = self._network(batch_TCHW.to(self.device), return_features=True)
        return features_TD


class CleanFIDExtractor(InceptionNVIDIAExtractor):
    """The same file behind the resize of clean-fid 0.1.35: what it calls mode ``clean``.

    G. Parmar et al.: On Aliased Resizing and Surprising Subtleties in GAN Evaluation, CVPR 2022.
    """

    name = "inception-clean"
    preset = Preset(resize=squash_pillow, words="squash, Pillow's bicubic on floats, clipped")

    def spec(self) -> dict[str, Any]:
        """The weights and how a frame becomes the network's input."""
        return {"weights_sha256": self._weights_sha256, **self.preset.spec()}

    def _pooled(self, frames: Frames) -> Tensor:
        batch_TCHW = self.preset(frames).to(self.device, memory_format=torch.channels_last)
        with exact():
            features_TD11: Tensor = self._network.layers(batch_TCHW)
        return features_TD11.flatten(1)
