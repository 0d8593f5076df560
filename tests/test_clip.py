from __future__ import annotations

import numpy as np
import pytest

from i2vbench.clip import Clip, Geometry

FRAMES = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)


def test_a_clip_knows_its_geometry() -> None:
    geometry = Clip(frames=FRAMES, fps=8).geometry
    assert geometry == Geometry(num_frames=2, height=3, width=4, fps=8)
    assert str(geometry) == "2 frames of 4x3 at 8 fps"


@pytest.mark.parametrize(
    "frames",
    [
        FRAMES.astype(np.float32),
        FRAMES[0],
        FRAMES[..., :1],
        FRAMES[:0],
        FRAMES.transpose(0, 3, 1, 2),
    ],
    ids=["float", "one picture", "grey", "no frame", "channels first"],
)
def test_only_uint8_rgb_frames_are_a_clip(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"a clip is uint8 \(T, H, W, 3\)"):
        Clip(frames=frames, fps=8)


@pytest.mark.parametrize("fps", [0, -1, float("nan")])
def test_a_rate_is_positive(fps: float) -> None:
    with pytest.raises(ValueError, match=r"fps must be (positive|a finite number)"):
        Clip(frames=FRAMES, fps=fps)


@pytest.mark.parametrize("field", ["num_frames", "height", "width", "fps"])
def test_a_geometry_is_positive(field: str) -> None:
    values = {"num_frames": 2, "height": 3, "width": 4, "fps": 8.0, field: 0}
    with pytest.raises(ValueError, match=f"{field} must be positive, got 0"):
        Geometry(**values)


def test_the_hash_is_of_pixels_and_shape_alone() -> None:
    clip = Clip(frames=FRAMES, fps=8)
    assert Clip(frames=FRAMES.copy(), fps=24).sha256 == clip.sha256
    assert Clip(frames=np.asfortranarray(FRAMES), fps=8).sha256 == clip.sha256
    changed = FRAMES.copy()
    changed[1, 2, 3, 2] += 1
    reshaped = FRAMES.reshape(2, 4, 3, 3)
    assert (
        len({c.sha256 for c in (clip, Clip(frames=changed, fps=8), Clip(frames=reshaped, fps=8))})
        == 3
    )
