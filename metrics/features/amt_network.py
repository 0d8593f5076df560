"""The frame interpolation network AMT-S (Z. Li et al., CVPR 2023, arXiv 2304.09790).

Written anew with the names of the published ``amt-s.pth``, so that the file loads as it is. That
file and the authors' code (github.com/MCG-NKU/AMT) are under CC BY-NC 4.0: not for commercial use.

Two frames give coarse flows to the frame between them, which are refined over four scales: three
times by looking up how well the frames correlate there (as RAFT does, in both directions), and at
last into three pairs of flows, whose warped frames are blended.
"""

# Shapes: B pairs, C channels, H, W pixels, P = H W positions, L taps of a correlation look-up,
# K = 3 flows. A flow is (B, 2, H, W): (x, y) in px of its own scale.

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

NUM_FLOWS = 3
RADIUS = 3
LEVELS = 4
CHANNELS = (20, 32, 44, 56)
"""Of the pyramid, from half the size to a sixteenth."""
SIDE_CHANNELS = 20
TIME = 0.5
"""Of the frame that is made, between 0 and 1; VBench asks for the middle alone."""
DIVISOR = 16
"""Sides must be multiples of it."""
MIN_SIDE_PX = 128
"""Below, the coarsest correlations are one position wide, where a look-up divides by zero."""


class AMTS(nn.Module):
    """The frame in the middle of two."""

    def __init__(self) -> None:
        super().__init__()
        c1, c2, c3, c4 = CHANNELS
        self.feat_encoder = _CorrelationEncoder()
        self.encoder = _Pyramid()
        self.decoder4 = _Decoder(2 * c4 + 1, 2 * c4, c3 + 4)
        self.decoder3 = _Decoder(3 * c3 + 4, 3 * c3, c2 + 4)
        self.decoder2 = _Decoder(3 * c2 + 4, 3 * c2, c1 + 4)
        self.decoder1 = _Decoder(3 * c1 + 4, 3 * c1, 8 * NUM_FLOWS)
        self.update4 = _Update(c3, 1)
        self.update3 = _Update(c2, 2)
        self.update2 = _Update(c1, 4)
        self.comb_block = nn.Sequential(
            nn.Conv2d(3 * NUM_FLOWS, 6 * NUM_FLOWS, 3, padding=1),
            nn.PReLU(6 * NUM_FLOWS),
            nn.Conv2d(6 * NUM_FLOWS, 3, 3, padding=1),
        )

    def forward(self, first_BCHW: Tensor, second_BCHW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] of two such batches; H and W are multiples of 16, at least 128."""
        batch = len(first_BCHW)
        both = torch.cat([first_BCHW, second_BCHW])
        mean_B111 = torch.stack([first_BCHW, second_BCHW]).mean((0, 2, 3, 4), keepdim=True)[0]
        both = both - mean_B111.repeat(2, 1, 1, 1)
        correlation = _Correlation(*self.feat_encoder(both).split(batch))
        levels = [level.split(batch) for level in self.encoder(both)]

        time = both.new_tensor(TIME).expand(batch, 1, *levels[3][0].shape[2:])
        made = self.decoder4(torch.cat([*levels[3], time], 1))
        flows, hidden = made[:, :4], made[:, 4:]
        flows, hidden = self._refined(self.update4, correlation, flows, hidden)
        for level, decoder, update in (
            (2, self.decoder3, self.update3),
            (1, self.decoder2, self.update2),
        ):
            made = decoder(_seen_from_between(hidden, levels[level], flows))
            flows, hidden = made[:, :4] + 2.0 * _resize(flows, 2.0), made[:, 4:]
            flows, hidden = self._refined(update, correlation, flows, hidden)

        made = self.decoder1(_seen_from_between(hidden, levels[0], flows))
        delta0, delta1, mask, residual = made.split(
            [2 * NUM_FLOWS, 2 * NUM_FLOWS, NUM_FLOWS, 3 * NUM_FLOWS], 1
        )
        coarse0, coarse1 = (2.0 * _resize(flows, 2.0)).chunk(2, 1)
        warped0, warped1 = (
            _warp(
                picture.repeat_interleave(NUM_FLOWS, 0),
                (delta + coarse.repeat(1, NUM_FLOWS, 1, 1))
                .unflatten(1, (NUM_FLOWS, 2))
                .flatten(0, 1),
            ).unflatten(0, (batch, NUM_FLOWS))
            for picture, delta, coarse in zip(
                both.split(batch), (delta0, delta1), (coarse0, coarse1), strict=True
            )
        )
        share_BK1HW = torch.sigmoid(mask)[:, :, None]
        candidates_BKCHW = (
            share_BK1HW * warped0
            + (1.0 - share_BK1HW) * warped1
            + mean_B111[:, None]
            + residual.unflatten(1, (NUM_FLOWS, 3))
        )
        blended: Tensor = candidates_BKCHW.mean(1) + self.comb_block(candidates_BKCHW.flatten(1, 2))
        return blended.clamp(0.0, 1.0)

    def _refined(
        self, update: _Update, correlation: _Correlation, flows: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Flows and features with what the correlations at the flows' ends add to them."""
        scale = 1.0 / update.scale
        coarse = flows if update.scale == 1 else scale * _resize(flows, scale)
        flow0, flow1 = coarse.chunk(2, 1)
        # Motion is taken as straight: the flow from between to a frame, stretched to the whole way.
        looked_up = correlation(flow1 / TIME, flow0 / (1.0 - TIME))
        delta_hidden, delta_flows = update(hidden, coarse, looked_up)
        return flows + delta_flows, hidden + delta_hidden


class _Correlation:
    """How alike each position of one frame is to all of the other, at four scales, both ways."""

    def __init__(self, first_BCHW: Tensor, second_BCHW: Tensor) -> None:
        batch, channels, self.height, self.width = first_BCHW.shape
        first_BPC = first_BCHW.flatten(2).transpose(1, 2)
        all_BPP = first_BPC @ second_BCHW.flatten(2) / channels**0.5
        size = (batch * self.height * self.width, 1, self.height, self.width)
        self._pyramids = []
        for maps_BPP in (all_BPP, all_BPP.transpose(1, 2)):
            pyramid = [maps_BPP.reshape(size)]
            for _ in range(LEVELS - 1):
                pyramid.append(F.avg_pool2d(pyramid[-1], 2))
            self._pyramids.append(pyramid)
        steps = torch.arange(-RADIUS, RADIUS + 1, device=first_BCHW.device, dtype=all_BPP.dtype)
        # The first axis of the window goes along x: RAFT's order, which the weights expect.
        self._window_LL2 = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1)
        rows, columns = (
            torch.arange(length, device=first_BCHW.device, dtype=all_BPP.dtype)
            for length in (self.height, self.width)
        )
        self._here_2HW = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))

    def __call__(self, forward_B2HW: Tensor, backward_B2HW: Tensor) -> Tensor:
        """(B, 2 * 4 * 49, H, W): around the ends of the flow to the second and to the first."""
        found = []
        for pyramid, flow in zip(self._pyramids, (forward_B2HW, backward_B2HW), strict=True):
            ends = (self._here_2HW + flow).permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
            for level, maps in enumerate(pyramid):
                places = ends / 2**level + self._window_LL2
                size = places.new_tensor([maps.shape[3] - 1, maps.shape[2] - 1])
                taps = F.grid_sample(maps, 2.0 * places / size - 1.0, align_corners=True)
                found.append(taps.view(-1, self.height, self.width, (2 * RADIUS + 1) ** 2))
        return torch.cat(found, -1).permute(0, 3, 1, 2)


class _CorrelationEncoder(nn.Module):
    """Features (B, 84, H/8, W/8) for the correlations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, stride=2, padding=3)
        self.layer1 = nn.Sequential(_Bottleneck(32, 32, 1), _Bottleneck(32, 32, 1))
        self.layer2 = nn.Sequential(_Bottleneck(32, 64, 2), _Bottleneck(64, 64, 1))
        self.layer3 = nn.Sequential(_Bottleneck(64, 96, 2), _Bottleneck(96, 96, 1))
        self.conv2 = nn.Conv2d(96, 84, 1)

    def forward(self, pictures_BCHW: Tensor) -> Tensor:
        out = F.relu(F.instance_norm(self.conv1(pictures_BCHW)))
        features: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(out))))
        return features


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs // 4, 1)
        self.conv2 = nn.Conv2d(outputs // 4, outputs // 4, 3, stride=stride, padding=1)
        self.conv3 = nn.Conv2d(outputs // 4, outputs, 1)
        # In a sequence of one, since the file calls its convolution downsample.0.
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride)) if stride != 1 else None
        )

    def forward(self, inputs: Tensor) -> Tensor:
        out = inputs
        for conv in (self.conv1, self.conv2, self.conv3):
            out = F.relu(F.instance_norm(conv(out)))
        if self.downsample is not None:
            inputs = F.instance_norm(self.downsample(inputs))
        return F.relu(inputs + out)


class _Pyramid(nn.Module):
    """Features at half the size, a quarter, an eighth and a sixteenth."""

    def __init__(self) -> None:
        super().__init__()
        for number, (inputs, outputs) in enumerate(
            zip((3, *CHANNELS), CHANNELS, strict=False), start=1
        ):
            halved = nn.Sequential(_conv(inputs, outputs, stride=2), _conv(outputs, outputs))
            self.add_module(f"pyramid{number}", halved)

    def forward(self, pictures_BCHW: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for stage in self.children():
            levels.append(stage(levels[-1] if levels else pictures_BCHW))
        return levels


class _Decoder(nn.Module):
    """Doubles the size: to flows and features, and at last to flows, masks and residuals."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            _conv(inputs, width),
            _SideResidual(width),
            nn.ConvTranspose2d(width, outputs, 4, stride=2, padding=1),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.convblock(inputs)
        return out


class _SideResidual(nn.Module):
    """IFRNet's residual block: the last channels take a convolution of their own in between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _conv(width, width)
        self.conv2 = _conv(SIDE_CHANNELS, SIDE_CHANNELS)
        self.conv3 = _conv(width, width)
        self.conv4 = _conv(SIDE_CHANNELS, SIDE_CHANNELS)
        self.conv5 = nn.Conv2d(width, width, 3, padding=1)
        self.prelu = nn.PReLU(width)

    def forward(self, inputs: Tensor) -> Tensor:
        out = inputs
        for whole, side in ((self.conv1, self.conv2), (self.conv3, self.conv4)):
            out = whole(out)
            main, aside = out[:, :-SIDE_CHANNELS], out[:, -SIDE_CHANNELS:]
            out = torch.cat([main, side(aside)], 1)
        refined: Tensor = self.prelu(inputs + self.conv5(out))
        return refined


class _Update(nn.Module):
    """What correlations add to flows and features; it works at an eighth of the frame's size."""

    def __init__(self, features: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        hidden, motion, correlated, fused = 76, 20, 64, 68
        taps = 2 * LEVELS * (2 * RADIUS + 1) ** 2
        self.convc1 = nn.Conv2d(taps, correlated, 1)
        self.convf1 = nn.Conv2d(4, 2 * motion, 7, padding=3)
        self.convf2 = nn.Conv2d(2 * motion, motion, 3, padding=1)
        self.conv = nn.Conv2d(correlated + motion, fused, 3, padding=1)
        self.gru = _two_convs(fused + 4 + features, hidden, hidden)
        self.feat_head = _two_convs(hidden, hidden, features)
        self.flow_head = _two_convs(hidden, hidden, 4)

    def forward(self, hidden: Tensor, flows: Tensor, looked_up: Tensor) -> tuple[Tensor, Tensor]:
        if self.scale != 1:
            hidden = _resize(hidden, 1.0 / self.scale)
        motion = _leaky(self.convf2(_leaky(self.convf1(flows))))
        fused = _leaky(self.conv(torch.cat([_leaky(self.convc1(looked_up)), motion], 1)))
        out = self.gru(torch.cat([fused, flows, hidden], 1))
        delta_hidden, delta_flows = self.feat_head(out), self.flow_head(out)
        if self.scale != 1:
            delta_hidden = _resize(delta_hidden, self.scale)
            delta_flows = self.scale * _resize(delta_flows, self.scale)
        return delta_hidden, delta_flows


def _conv(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.PReLU(outputs))


def _two_convs(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(width, outputs, 3, padding=1),
    )


def _leaky(values: Tensor) -> Tensor:
    return F.leaky_relu(values, 0.1)


def _resize(maps_BCHW: Tensor, scale: float) -> Tensor:
    return F.interpolate(maps_BCHW, scale_factor=float(scale), mode="bilinear", align_corners=False)


def _warp(maps_BCHW: Tensor, flow_B2HW: Tensor) -> Tensor:
    """The maps read where the flow points to; beyond the rim, at the rim."""
    height, width = maps_BCHW.shape[2:]
    columns = torch.linspace(-1.0, 1.0, width, device=flow_B2HW.device)
    rows = torch.linspace(-1.0, 1.0, height, device=flow_B2HW.device)
    grid_2HW = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))
    half_21 = flow_B2HW.new_tensor([(width - 1) / 2, (height - 1) / 2])[:, None, None]
    places_BHW2 = (grid_2HW + flow_B2HW / half_21).permute(0, 2, 3, 1)
    return F.grid_sample(maps_BCHW, places_BHW2, padding_mode="border", align_corners=True)


def _seen_from_between(hidden: Tensor, level: tuple[Tensor, ...], flows: Tensor) -> Tensor:
    """The features between, both frames' features warped there, and the flows."""
    flow0, flow1 = flows.chunk(2, 1)
    return torch.cat([hidden, _warp(level[0], flow0), _warp(level[1], flow1), flows], 1)
