"""A call that hangs is ended; nothing of the limit outlives it."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from i2vbench import time_limit as module
from i2vbench.errors import UserError
from i2vbench.time_limit import ClipTimeout, time_limit


def busy() -> None:
    while True:
        pass


def asleep() -> None:
    time.sleep(20)


def waiting() -> None:
    threading.Event().wait(20)


def catching() -> None:
    while True:
        with suppress(Exception):
            time.sleep(20)


def catching_once() -> None:
    with suppress(BaseException):
        busy()
    busy()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.05)


@pytest.mark.parametrize("hang", [busy, asleep, waiting, catching, catching_once])
def test_what_hangs_is_ended(hang: Callable[[], None]) -> None:
    handler, began = signal.getsignal(signal.SIGALRM), time.monotonic()
    with pytest.raises(ClipTimeout, match=r"no clip after 0\.05 s"), time_limit(0.05):
        hang()
    assert time.monotonic() - began < 2
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is handler


def test_no_alarm_comes_after_the_block() -> None:
    for _ in range(100):
        # About as long as the limit: the alarm comes inside, at the end, or not at all.
        with suppress(ClipTimeout), time_limit(0.002):
            end = time.monotonic() + 0.002
            while time.monotonic() < end:
                pass
    time.sleep(0.1)
    with time_limit(0.01):
        result = 3
    time.sleep(0.05)
    assert result == 3


def test_a_signal_on_its_way_at_the_end_is_dropped() -> None:
    handlers = []
    with time_limit(10):
        handlers.append(signal.getsignal(signal.SIGALRM))
    (handler,) = handlers
    assert callable(handler)
    handler(signal.SIGALRM, None)


@pytest.mark.parametrize(("outer", "inner"), [(0.1, 0.03), (0.05, 20)])
def test_the_limit_around_goes_on(outer: float, inner: float) -> None:
    def both() -> None:
        with time_limit(outer):
            before = signal.getsignal(signal.SIGALRM)
            with suppress(ClipTimeout), time_limit(inner):
                asleep()
            assert signal.getsignal(signal.SIGALRM) is before
            asleep()

    began = time.monotonic()
    with pytest.raises(ClipTimeout, match=f"{outer:g} s"):
        both()
    assert outer <= time.monotonic() - began < outer + 2
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_earlier_handler_is_put_back() -> None:
    def mine(*_: object) -> None:
        """Does nothing."""

    before = signal.signal(signal.SIGALRM, mine)
    try:
        with pytest.raises(ZeroDivisionError), time_limit(10):
            raise ZeroDivisionError
        assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.signal(signal.SIGALRM, before)


def test_none_is_no_limit() -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with time_limit(None):
        assert signal.getsignal(signal.SIGALRM) is handler
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_limit_is_a_positive_number(seconds: float) -> None:
    with (
        pytest.raises(UserError, match="--timeout-s must be a positive number"),
        time_limit(seconds),
    ):
        pass


def test_a_tiny_limit_is_one() -> None:
    with pytest.raises(ClipTimeout), time_limit(1e-12):
        asleep()


def test_another_thread_is_refused() -> None:
    said: list[str] = []

    def use() -> None:
        try:
            with time_limit(1):
                said.append("inside")
        except UserError as error:
            said.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert said == ["--timeout-s needs Linux or macOS and the main thread; leave it out"]
