"""A limit on the time of a call, so that one clip that hangs costs only itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from i2vbench.errors import UserError

_AGAIN_S = 1.0
"""Between signals once the limit is over: an adapter may catch the first one."""


class ClipTimeout(BaseException):
    """A clip was not made in its time."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Ends the block after so many seconds; None for no limit.

    A call that never returns to Python (a hanging driver) cannot be ended this way.

    Raises:
        ClipTimeout: the time is over.
        UserError: the system has no interval timer, or this is not the main thread.
    """
    if seconds is None:
        yield
        return
    if not hasattr(signal, "setitimer") or (
        threading.current_thread() is not threading.main_thread()
    ):
        raise UserError("--timeout-s needs Linux or macOS and the main thread; leave it out")

    def over(_: int, __: FrameType | None) -> None:
        raise ClipTimeout(f"no clip after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
