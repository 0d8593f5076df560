"""Optical flow and what the motion metrics need of it: extractor ``flow``.

Two ways to the flow, the better one that is here: RAFT (arXiv 2003.12039) in torchvision's
``raft_large`` with the weights C_T_V1 (trained on FlyingChairs and FlyingThings), or OpenCV's DIS
(arXiv 1603.03590), which has no weights. Boards print which one it was.
"""

# Shapes: T frames, C channels, H, W pixels, P pairs of frames. A flow is float32 (H, W, 2): how far
# (x, y) in px each pixel of the first frame goes until the second.

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from i2vbench import weights
from i2vbench.clip import Clip, Frames, Picture
from i2vbench.metric import Extractor

Flow = NDArray[np.float32]  # (H, W, 2)

RAFT_WEIGHTS = "raft-large"
RAFT_UPDATES = 20
"""Iterations of RAFT, as in VBench; torchvision's own default is 12."""
MIN_SIDE_PX = 256
"""Smaller frames are scaled up for the flow. At 64 px the pyramid of DIS has a single level, and
motions of a few pixels are lost; RAFT refuses less than 128 px."""
MAX_SIDE_PX = 32_766
"""OpenCV's remap takes no longer side."""
TOP_SHARE = 0.05
"""VBench: the share of the fastest pixels that stands for a pair of frames."""
LOOKED_AT_FPS = 8.0
"""VBench: the rate that dynamic degree thins a clip to."""

Method = Literal["auto", "raft", "dis"]


def frame_step(fps: float) -> int:
    """Every how manyth frame dynamic degree looks at: max(1, round(fps / 8)).

    Halves go to the even number, as in VBench's code.

    >>> [frame_step(fps) for fps in (4, 8, 12, 20, 24, 30)]
    [1, 1, 2, 2, 3, 4]
    """
    return max(1, round(fps / LOOKED_AT_FPS))


def top_magnitude(flow_HW2: Flow, share: float = TOP_SHARE) -> float:
    """The mean length of the fastest vectors, in px.

    Args:
        flow_HW2: px.
        share: of all pixels; int(H W share) of them, at least one.
    """
    lengths = np.hypot(flow_HW2[..., 0], flow_HW2[..., 1]).ravel()
    count = max(1, int(lengths.size * share))
    return float(np.mean(np.partition(lengths, -count)[-count:], dtype=np.float64))


def interpolate_midpoint(
    first_HWC: Picture, second_HWC: Picture, forward_HW2: Flow, backward_HW2: Flow
) -> NDArray[np.float32]:
    """The frame half way between two frames: both warped along the flow, then blended.

    With the pixel's motion taken as v = (forward - backward) / 2 around it, the first frame is read
    at x - v / 2 and the second at x + v / 2 (the linear approximation of Super SloMo, arXiv
    1712.00080, equation 4, at t = 1/2). The two readings count alike; where one falls outside of
    the picture the other stands alone.

    Args:
        first_HWC: uint8.
        second_HWC: uint8.
        forward_HW2: flow from the first to the second.
        backward_HW2: flow from the second to the first.

    Returns:
        float32 (H, W, C) in [0, 255].
    """
    half_HW2 = (forward_HW2 - backward_HW2) / 4
    height, width = half_HW2.shape[:2]
    grid_HW2 = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    total_HWC = np.zeros(first_HWC.shape, np.float32)
    weight_HW1 = np.zeros((height, width, 1), np.float32)
    for picture, sign in ((first_HWC, -1), (second_HWC, 1)):
        place_HW2 = (grid_HW2 + sign * half_HW2).astype(np.float32)
        read_HWC = cv2.remap(
            picture.astype(np.float32),
            place_HW2[..., 0],
            place_HW2[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        inside_HW = np.all((place_HW2 >= 0) & (place_HW2 <= (width - 1, height - 1)), axis=-1)
        # A trace of the outside reading keeps the sum defined where both fall outside.
        share_HW1 = np.where(inside_HW, 1.0, 1e-3).astype(np.float32)[..., None]
        total_HWC += share_HW1 * read_HWC
        weight_HW1 += share_HW1
    return total_HWC / weight_HW1


class FlowExtractor(Extractor):
    """Motion statistics of a clip.

    Arrays of a clip of T frames (float64 but for the last):

    - ``top5_magnitude`` (P,): of each pair of neighbours among every ``frame_step``-th frame, the
      mean flow of the fastest 5 % pixels, in px of the clip.
    - ``interpolation_error`` ((T - 1) // 2,): of each odd frame between two even ones, the mean
      absolute difference in 0 to 255 to what the even ones give at half way.
    - ``frame_step`` (1,) int64: what the clip's fps made of it. It is here because stored features
      are found by pixels alone.

    A single frame gives empty arrays; it is for the metrics to refuse it.

    The flow is taken on frames whose shorter side is at least 256 px (smaller ones scaled up
    bilinearly) and scaled back to the clip's size and pixels. On shifted noise textures of 64 and
    256 px DIS is right within 0.3 px. It sees grey levels alone: two colours of one brightness are
    the same to it.
    """

    name = "flow"
    version = "1"
    uses_fps = True

    def __init__(self, *, device: str = "cpu", method: Method = "auto") -> None:
        """Loads RAFT onto ``device``, or takes DIS.

        Args:
            device: of RAFT; DIS runs on the CPU.
            method: ``auto`` takes RAFT if its weights are here already and DIS if not.

        Raises:
            MissingWeightsError: ``raft`` is asked for and its weights cannot be had, or a file of
                their name is here that is another one.
            ValueError: an unknown method.
        """
        super().__init__(device=device)
        if method not in ("auto", "raft", "dis"):
            raise ValueError(f"flow method {method!r} is unknown; accepted: auto, raft, dis")
        # Never downloaded unasked: the same command would then give two numbers.
        path = None
        if method != "dis":
            look = weights.resolve if method == "raft" else weights.find
            path = look(RAFT_WEIGHTS)
        self._weights_sha256 = None if path is None else weights.digest(path)
        self._between: _Raft | _Dis = _Dis() if path is None else _Raft(path, device)

    @property
    def label(self) -> str:
        """``raft`` or ``dis``."""
        return "raft" if isinstance(self._between, _Raft) else "dis"

    def spec(self) -> dict[str, Any]:
        """The method, its constants, and RAFT's weights."""
        spec: dict[str, Any] = {
            "method": self.label,
            "min_side_px": MIN_SIDE_PX,
            "top_share": TOP_SHARE,
            "looked_at_fps": LOOKED_AT_FPS,
        }
        if isinstance(self._between, _Raft):
            spec |= {"weights_sha256": self._weights_sha256, "updates": RAFT_UPDATES}
        else:
            spec |= {"preset": "medium"}
        return spec

    def extract(
        self, clips: Sequence[Clip], prompts: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The statistics of each clip; the prompts are not read."""
        return [self._statistics(clip) for clip in clips]

    def flow(self, first_HWC: Picture, second_HWC: Picture) -> Flow:
        """The flow from one uint8 RGB frame to another of the same size, in their pixels.

        Raises:
            ValueError: the longer side is too long once the shorter one has 256 px.
        """
        height, width = first_HWC.shape[:2]
        scale = max(1.0, MIN_SIDE_PX / min(height, width))
        size = (round(width * scale), round(height * scale))
        if max(size) > MAX_SIDE_PX:
            raise ValueError(
                f"optical flow needs frames of at most {MAX_SIDE_PX} px a side once the shorter "
                f"side has {MIN_SIDE_PX}; {width}x{height} would be {size[0]}x{size[1]}"
            )
        if scale == 1.0:
            return self._between(first_HWC, second_HWC)
        large = self._between(_enlarged(first_HWC, size), _enlarged(second_HWC, size))
        flow = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
        return flow.astype(np.float32) * np.array([width / size[0], height / size[1]], np.float32)

    def _statistics(self, clip: Clip) -> dict[str, NDArray[Any]]:
        step = frame_step(clip.fps)
        kept = clip.frames[::step]
        magnitudes = [top_magnitude(self.flow(now, after)) for now, after in pairwise(kept)]
        return {
            "top5_magnitude": np.array(magnitudes, np.float64),
            "interpolation_error": np.array(self._interpolation_errors(clip.frames), np.float64),
            "frame_step": np.array([step], np.int64),
        }

    def _interpolation_errors(self, frames_THWC: Frames) -> list[float]:
        errors = []
        for index in range(1, len(frames_THWC) - 1, 2):
            before, dropped, after = frames_THWC[index - 1 : index + 2]
            made = interpolate_midpoint(
                before, after, self.flow(before, after), self.flow(after, before)
            )
            errors.append(float(np.mean(np.abs(made - dropped), dtype=np.float64)))
        return errors


class RaftExtractor(FlowExtractor):
    """The same by RAFT and nothing else: what VBench's protocols ask for."""

    name = "raft"

    def __init__(self, *, device: str = "cpu") -> None:
        super().__init__(device=device, method="raft")


def _enlarged(frame_HWC: Picture, size: tuple[int, int]) -> Picture:
    return cv2.resize(frame_HWC, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8)


class _Dis:
    """OpenCV's dense inverse search, preset medium: the finest that is still fast.

    Its answer does not depend on the number of threads: OpenCV searches in eight stripes always.
    """

    def __init__(self) -> None:
        # OpenCV's type stubs forbid the None below, which its documentation allows.
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, first_HWC: Picture, second_HWC: Picture) -> Flow:
        first_HW, second_HW = (
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first_HWC, second_HWC)
        )
        # An array to fill would also be where the search begins.
        flow: Flow = self._dis.calc(first_HW, second_HW, None)
        return flow


class _Raft:
    """torchvision's RAFT, one pair at a time."""

    def __init__(self, path: Path, device: str) -> None:
        import torch
        from torchvision.models.optical_flow import raft_large

        from i2vbench.weight_loading import fill, fitting, load_state_dict

        self._device = device
        with torch.random.fork_rng(devices=[]):
            network = raft_large(weights=None, progress=False)
        state = load_state_dict(path, name=RAFT_WEIGHTS, network="RAFT")
        with fitting(path, name=RAFT_WEIGHTS, network="RAFT"):
            fill(network, state)
        self._network = network.eval().to(device)

    def __call__(self, first_HWC: Picture, second_HWC: Picture) -> Flow:
        import torch

        pair_2HWC = np.stack([first_HWC, second_HWC])
        height, width = pair_2HWC.shape[1:3]
        pair_2CHW = torch.from_numpy(pair_2HWC).to(self._device).permute(0, 3, 1, 2)
        # RAFT works on eighths; the rim is repeated up to the next multiple, then cut.
        padding = (0, -width % 8, 0, -height % 8)
        padded_2CHW = torch.nn.functional.pad(pair_2CHW / 127.5 - 1.0, padding, mode="replicate")
        with torch.inference_mode():
            flow_12HW = self._network(
                padded_2CHW[:1], padded_2CHW[1:], num_flow_updates=RAFT_UPDATES
            )[-1]
        flow: Flow = flow_12HW[0, :, :height, :width].permute(1, 2, 0).float().cpu().numpy()
        return flow
