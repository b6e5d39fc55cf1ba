"""The event loop of workflows under test: its time is a ManualClock's, and the order of its callbacks can be chosen.

It is asyncio's own loop with another selector: the selector is asked whenever the loop has a moment, so that is where
time moves, and where the next callback is picked.
"""

import asyncio
import concurrent.futures
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from flyte._core import threads

from ._clock import ManualClock
from ._errors import DeadlockError
from ._waiting import describe_waits

_DEADLOCKED_S = 0.5
"""Real seconds without any sign of life before a wait that has no end is reported."""
_STANDING_S = 30.0
"""Real seconds after which a clock that nobody moves is reported."""
_POLL_S = 0.002
_SERIAL_S = 5.0
"""How long a sync body may run, in real seconds, before others run beside it although their order is chosen."""

_CALL_FROM_THREAD = "run_coroutine_threadsafe.<locals>.callback"
_PATIENT_WRITER = "flyte-journal"
"""The thread that waits where another process holds the journal."""

_Events = list[tuple[selectors.SelectorKey, int]]


class Order(Protocol):
    """Chooses which callback runs next."""

    def choose(self, ready: "deque[asyncio.Handle]") -> int:
        """The index of the callback to run; called once a turn, may raise to end everything."""
        ...


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop on a manual clock.

    :param clock: its time.
    :param order: chooses the next callback; None for the order in which they became ready.
    """

    _ready: "deque[asyncio.Handle]"

    def __init__(self, clock: ManualClock, order: Order | None = None) -> None:
        self._manual = clock
        self._working = 0
        self._bodies: set[asyncio.Future[Any]] = set()
        """Futures of the sync bodies that run in threads."""
        self._waits: dict[int, concurrent.futures.Future[Any]] = {}
        """Thread -> the latest call that it made to this loop, for which a body waits."""
        self.closing = False
        """The run has ended and what is left is being cancelled: no wait is an error any more."""
        super().__init__(_Selector(self, clock, order))
        clock._attach(self, self._wake)

    def time(self) -> float:
        """Seconds, by the manual clock."""
        return self._manual.monotonic()

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """As asyncio's; until the thread is done, time goes at its own pace."""
        future = super().run_in_executor(executor, func, *args)
        self._working += 1
        future.add_done_callback(self._worked)
        return future

    def thread_started(self, future: "asyncio.Future[Any]") -> None:
        """A sync body runs in a thread; ``future`` gets its result. Called by ``run_in_thread``."""
        self._bodies.add(future)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        """As asyncio's; it shows when a body ends, and when one waits for a call that it made."""
        try:
            return super().call_soon_threadsafe(callback, *args, context=context)
        finally:
            if callback is threads._settle:
                self._bodies.discard(args[0])
            elif getattr(callback, "__qualname__", "") == _CALL_FROM_THREAD:
                cells = dict(zip(callback.__code__.co_freevars, callback.__closure__ or (), strict=True))
                if "future" in cells:
                    self._waits[threading.get_ident()] = cells["future"].cell_contents

    def threads_at_work(self) -> int:
        """How many sync bodies run, those not counted that wait for a call they made."""
        if not self._bodies:
            return 0
        return max(0, len(self._bodies) - sum(not future.done() for future in list(self._waits.values())))

    def release_threads(self) -> None:
        """End the waits of sync bodies: nobody will answer them."""
        for future in list(self._waits.values()):
            future.cancel()

    def close(self) -> None:
        """As asyncio's."""
        self._manual._detach(self)
        super().close()

    def _worked(self, _future: Any) -> None:
        self._working -= 1

    def _wake(self) -> None:
        try:
            self.call_soon_threadsafe(_nothing)
        except RuntimeError:  # closed at this very moment
            pass


def _nothing() -> None:
    pass


class _Selector(selectors.DefaultSelector):
    """Asked by the loop for events, at most every turn; ``timeout`` says what the loop knows of its next sleeper."""

    def __init__(self, loop: ManualLoop, clock: ManualClock, order: Order | None) -> None:
        super().__init__()
        self._loop = loop
        self._clock = clock
        self._order = order
        self._aside: deque[asyncio.Handle] = deque()

    def select(self, timeout: float | None = None) -> _Events:
        """Events that are there; waits, or moves the clock, when nothing is."""
        if self._order is not None:
            return self._select_in_order(timeout)
        if timeout is not None and timeout <= 0:
            return super().select(0)
        return self._wait(timeout)

    def _select_in_order(self, timeout: float | None) -> _Events:
        order, ready, aside = self._order, self._loop._ready, self._aside
        assert order is not None
        self._serialize()
        events = super().select(0)
        if events:
            return events  # they become callbacks, which are chosen from next time
        ready.extendleft(reversed(aside))
        aside.clear()
        if ready:
            if self._loop.closing:
                return []
            chosen = order.choose(ready)
            handle = ready[chosen]
            del ready[chosen]
            aside.extend(ready)
            ready.clear()
            ready.append(handle)
            return []
        if timeout is not None and timeout <= 0:
            return []
        return self._wait(timeout)

    def _serialize(self) -> None:
        until = time.monotonic() + _SERIAL_S
        while self._loop.threads_at_work() and time.monotonic() < until:
            time.sleep(0.00002)

    def _wait(self, timeout: float | None) -> _Events:
        """Nothing is ready: wait for the outside world, move the clock, or report that nothing will ever happen."""
        began = last = time.monotonic()
        while True:
            outside = self._is_outside_awaited()
            events = super().select(0)
            if events or self._loop._ready:
                return events
            if not outside:
                if self._clock._jump(self._loop, timeout):
                    return []
                self._check_end(timeout, time.monotonic() - began)
            elif timeout is not None and self._clock.auto and last - began >= timeout:
                return []
            events = super().select(_POLL_S)
            now = time.monotonic()
            if outside:
                self._clock._pass(now - last)
                began += 0 if timeout is not None else now - last
            last = now
            if events or self._loop._ready:
                return events

    def _check_end(self, timeout: float | None, idle_s: float) -> None:
        if self._loop.closing:
            return
        if timeout is None and idle_s > _DEADLOCKED_S:
            raise DeadlockError(f"nothing can end these waits:\n{describe_waits(self._loop)}")
        if timeout is not None and idle_s > _STANDING_S:
            raise DeadlockError(
                f"the clock stands still: nobody has called clock.advance() for {_STANDING_S:g} real seconds, and the "
                f"next sleeper wakes in {timeout:g} s. Waiting:\n{describe_waits(self._loop)}"
            )

    def _is_outside_awaited(self) -> bool:
        # The loop's own pipe, through which other threads wake it, is always there.
        return (
            (self._clock.wait_for_io and len(self.get_map()) > 1)
            or self._loop._working > 0
            or self._loop.threads_at_work() > 0
            or any(thread.name == _PATIENT_WRITER for thread in threading.enumerate())
        )


def drive(clock: ManualClock, call: Callable[[], Any], order: Order | None = None) -> Any:
    """Run ``call()``, which makes a coroutine, to its end on a loop of its own, on this thread.

    :raises DeadlockError: it waits for something that nothing can bring about.
    """
    from flyte._core.loop import _close, _Interrupt

    loop = ManualLoop(clock, order)
    asyncio.set_event_loop(loop)
    main = loop.create_task(call())
    try:
        interrupt = _Interrupt(loop, main)
        with interrupt:
            try:
                return loop.run_until_complete(main)
            except asyncio.CancelledError:
                if interrupt.count:
                    raise KeyboardInterrupt from None
                raise
    finally:
        loop.closing = True
        try:
            if main.done():  # the end of it, which stops the loop, may still be waiting to be chosen
                loop.call_soon(loop.stop)
                loop.run_forever()
            _close(loop)
        finally:
            asyncio.set_event_loop(None)
