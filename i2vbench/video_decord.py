"""Videos as published code sees them that reads with decord (VBench's).

decord wins where it differs from PyAV, as long as the file is whole: its pixels, its number of
frames (with copies where an edit list hides some) and its rate are given as they are, since those
are what the published numbers were computed from. Whether the file is whole is for our own checks,
which come first: decord gives copies of other frames for those that it cannot decode, without a
word. So a file is decoded twice; read in part (``max_frames``, ``keep``) it is not checked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from i2vbench.clip import Clip
from i2vbench.errors import UnreadableClipError
from i2vbench.video_pyav import Kept, missing_frame, too_large


def read_clip_decord(path: Path, max_frames: int | None, keep: range | None, max_mib: int) -> Clip:
    """The clip with the frames of ``decord.VideoReader`` in order, uint8 (T, H, W, 3) RGB.

    Args:
        path: a file that was checked.
        max_frames: stop after so many.
        keep: indices of the frames wanted, ascending.
        max_mib: bound of the frames' memory.

    Raises:
        UnreadableClipError: decord cannot read it, it is too large, or a frame of ``keep`` is not
            there.
    """
    import decord
    from decord import bridge

    # Arrays of decord's own, whatever bridge the process has set.
    with bridge._BridgeScope("native"):
        try:
            # One thread: parallel work is by clip.
            video = decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1)
            num_frames = min(len(video), max_frames or len(video))
            wanted = keep if keep is not None else range(num_frames)
            if len(wanted) and wanted[-1] >= num_frames:
                raise missing_frame(path, num_frames, wanted)
            kept = Kept(path=path, wanted=len(wanted), max_mib=max_mib)
            for index in range(num_frames):
                picture = video.next()
                if index in wanted:
                    pixels: np.ndarray = picture.asnumpy()
                    if pixels.ndim != 3 or pixels.shape[2] != 3:
                        # Rows of few pixels come with the padding that FFmpeg gave them.
                        raise UnreadableClipError(
                            f"{path}: decord gives no RGB for frames as narrow as "
                            f"{pixels.shape[1]} pixels; they need the reader 'pyav'"
                        )
                    if len(wanted) * pixels.nbytes > max_mib * 2**20:
                        raise too_large(path, pixels.shape, max_mib)
                    kept.add(pixels, index)
            return Clip(frames=kept.frames(), fps=float(video.get_avg_fps()))
        except (decord.DECORDError, RuntimeError, AssertionError, StopIteration) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise UnreadableClipError(f"{path}: decord cannot read it ({reason})") from error
