"""How a recording is held upright: the display matrix of a frame, applied as FFmpeg's tool does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from i2vbench.clip import Picture

if TYPE_CHECKING:
    import av

Matrix = tuple[float, float, float, float]
"""(a, b, c, d): the pixel (x, y) is shown at (a x + c y, b x + d y), moved into the picture
(ISO 14496-12, the box ``tkhd``)."""

IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0)


def display_matrix(frame: av.VideoFrame) -> Matrix:
    """The matrix that the container or the stream gives a frame; :data:`IDENTITY` without one."""
    from av.sidedata.sidedata import Type

    try:
        data: Any = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    except ValueError:
        # PyAV lists all side data or none, and does not know all kinds of newer FFmpegs. The angle
        # is always there; it cannot say "mirrored".
        angle = math.radians(frame.rotation)
        return math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
    if data is None:
        return IDENTITY
    numbers = np.frombuffer(bytes(data), np.int32)[:9] / 65536
    a, b, _, c, d = (float(number) for number in numbers[:5])
    return IDENTITY if a == b == c == d == 0 else (a, b, c, d)


def turn_upright(matrix: Matrix) -> Callable[[Picture], Picture] | None:
    """What brings a picture (H, W, 3) upright: a view of it. None where it is upright already.

    FFmpeg's tool adds ``transpose``, ``hflip`` and ``vflip``, alike for all eight matrices of
    quarter turns and mirrors; scales are left out, as there.

    Raises:
        ValueError: a turn more than 1 degree off a quarter. FFmpeg's tool cuts the corners off such
            a picture and fills the others with black: no frame to be scored.

    >>> turn_upright((0, 1, 1, 0))(np.zeros((4, 6, 3), np.uint8)).shape
    (6, 4, 3)
    """
    a, b, c, d = matrix
    tolerance = math.tan(math.radians(1)) * max(abs(number) for number in matrix)
    if max(abs(b), abs(c)) <= tolerance:
        if a > 0 and d > 0:
            return None
        across, down = np.sign(a) or 1, np.sign(d) or 1
        return lambda picture: picture[:: int(down), :: int(across)]
    if max(abs(a), abs(d)) <= tolerance:
        across, down = np.sign(c) or 1, np.sign(b) or 1
        return lambda picture: picture.swapaxes(0, 1)[:: int(down), :: int(across)]
    raise ValueError(f"turned by {math.degrees(math.atan2(b, a)) % 360:.0f} degrees")
