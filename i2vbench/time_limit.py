"""A limit on the time of a call, so that one clip that hangs costs only itself."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from i2vbench.errors import UserError

_AGAIN_S = 1.0
"""Between signals once the limit is over: an adapter may catch the first one."""

_LEAST_S = 1e-3
"""Zero would be no limit, and an alarm must not come before the block has begun."""


class ClipTimeout(BaseException):
    """A clip was not made in its time."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Ends the block after so many seconds; None for no limit.

    A call that never returns to Python (a hanging driver) cannot be ended this way.

    Raises:
        ClipTimeout: the time is over.
        UserError: the system has no interval timer, this is not the main thread, or the limit is
            no positive number.
    """
    if seconds is None:
        yield
        return
    if not hasattr(signal, "setitimer") or (
        threading.current_thread() is not threading.main_thread()
    ):
        raise UserError("--timeout-s needs Linux or macOS and the main thread; leave it out")

    if not 0 < seconds < math.inf:
        raise UserError(f"--timeout-s must be a positive number, got {seconds!r}")
    is_running = True

    def over(_: int, __: FrameType | None) -> None:
        if is_running:
            raise ClipTimeout(f"no clip after {seconds:g} s")

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, over)
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    try:
        try:
            # That of a block around this one may be over before.
            first = max(min(seconds, left or seconds), _LEAST_S)
            signal.setitimer(signal.ITIMER_REAL, first, _AGAIN_S)
            yield
        finally:
            # A signal may be on its way when the timer stops.
            is_running = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if left:
            remaining = max(left - (time.monotonic() - began), _LEAST_S)
            signal.setitimer(signal.ITIMER_REAL, remaining, interval)
