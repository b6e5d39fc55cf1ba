"""ManualClock: the time that a workflow under test sees."""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["ManualClock"]

_START = datetime(2030, 1, 1, tzinfo=UTC)
_STEP_S = 30.0
"""How long, in real seconds, :meth:`ManualClock.advance` waits for the workflow to do what there is to do."""


class ManualClock:
    """A clock that a test moves, or that moves by itself to the next sleeper as soon as nothing else is left to do.

    Under :func:`flyte.testing.run` everything that waits on the event loop waits by this clock: pauses between
    attempts, timeouts and deadlines, the age of cached results, and the workflow's own ``asyncio.sleep`` and
    ``asyncio.timeout``. While the workflow waits for the outside world (a socket, a subprocess, a thread at work) time
    goes at its own pace. ``time.time()`` and ``time.sleep()`` are the machine's.

    :param start: the moment it shows at first, with a time zone; 2030-01-01 00:00 UTC if not given.
    :param auto: whether it moves by itself; else only :meth:`advance` moves it.
    :param wait_for_io: whether an open socket or pipe counts as the outside world; False for a workflow that keeps
        connections open while it sleeps.
    :raises TypeError: ``start`` is not a datetime.
    :raises ValueError: ``start`` has no time zone.
    """

    def __init__(self, start: datetime = _START, *, auto: bool = True, wait_for_io: bool = True) -> None:
        if not isinstance(start, datetime):
            raise TypeError(f"start takes a datetime, but got {type(start).__name__} {start!r}")
        if start.tzinfo is None:
            raise ValueError(f"start={start!r} has no time zone; write for instance datetime(..., tzinfo=timezone.utc)")
        self.auto = auto
        self.wait_for_io = wait_for_io
        self._start_s = start.timestamp()
        self._now_s = 0.0
        self._allowed_s = 0.0
        """How far the event loop may move the time by itself when it is not ``auto``."""
        self._changed = threading.Condition()
        self._loops: dict[asyncio.AbstractEventLoop, Callable[[], None]] = {}
        self._idle: set[asyncio.AbstractEventLoop] = set()

    @property
    def elapsed_s(self) -> float:
        """Seconds that have passed since the clock was made."""
        return self._now_s

    def now(self) -> datetime:
        """The moment it shows, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def monotonic(self) -> float:
        """Seconds that have passed since the clock was made."""
        return self._now_s

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._start_s + self._now_s

    async def sleep(self, delay_s: float) -> None:
        """Wait until ``delay_s`` seconds have passed on this clock."""
        await asyncio.sleep(delay_s)

    def advance(self, seconds: float) -> None:
        """Move the time by ``seconds``; every sleeper whose time comes wakes at its own moment, in order.

        With a workflow running in another thread it returns when that has done what there was to do until then. Inside
        the workflow it returns at once, and time moves when nothing else is left to do. Between runs, and on a clock
        that moves by itself, time just leaps.

        :raises ValueError: a negative or infinite number.
        :raises TimeoutError: the workflow was still busy after 30 real seconds.
        """
        if not (isinstance(seconds, (int, float)) and math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"advance({seconds!r}) takes a number of seconds that is not negative")
        inside = asyncio._get_running_loop() in self._loops
        with self._changed:
            self._allowed_s = max(self._allowed_s, self._now_s) + seconds
            if self.auto or not self._loops:
                self._now_s += seconds
                return
            self._idle.clear()
            wakes = list(self._loops.values())
        for wake in wakes:
            wake()
        if not inside:
            self.settle()

    def settle(self) -> None:
        """Wait until every workflow on this clock has done what there is to do at this time, or has ended.

        :raises TimeoutError: one was still busy after 30 real seconds.
        """
        until = time.monotonic() + _STEP_S
        with self._changed:
            while self._loops.keys() - self._idle:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError(
                        f"the workflow was still busy {_STEP_S:g} real seconds after the clock was moved; does it "
                        "block its event loop, or wait for a thread or a socket?"
                    )
                self._changed.wait(left_s)

    def __repr__(self) -> str:
        return f"ManualClock({self.now().isoformat()}{'' if self.auto else ', auto=False'})"

    # What the event loop does ---------------------------------------------------------------------------------------

    def _attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        with self._changed:
            self._loops[loop] = wake

    def _detach(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._changed:
            self._loops.pop(loop, None)
            self._idle.discard(loop)
            self._changed.notify_all()

    def _jump(self, loop: asyncio.AbstractEventLoop, delay_s: float | None) -> bool:
        """Nothing is left to do before ``delay_s`` seconds from now: go there; False if that is not allowed."""
        with self._changed:
            if delay_s is not None:
                # At least one step that a float can show, or a sleeper far in the future would never be reached.
                target_s = max(self._now_s + delay_s, math.nextafter(self._now_s, math.inf))
                if self.auto or target_s <= self._allowed_s:
                    self._now_s = target_s
                    return True
            if not self.auto:
                self._now_s = max(self._now_s, self._allowed_s)
                self._idle.add(loop)
                self._changed.notify_all()
        return False

    def _pass(self, real_s: float) -> None:
        """Time goes at its own pace, because the outside world is waited for."""
        if self.auto:
            with self._changed:
                self._now_s += real_s
