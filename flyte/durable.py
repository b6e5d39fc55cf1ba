"""Time and chance that are the same when a task runs again.

A task that is recovered, or repeated, goes the same way only if what it decides by is the same. Each of these is
remembered as a step of the running action, like a traced function; outside a run they are what their namesakes in
``time``, ``datetime`` and ``random`` are.
"""

import asyncio
import random as _chance
import time as _clock
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, ParamSpec, TypeVar

from flyte._core.context import TaskContext, current
from flyte._definition.flow import trace
from flyte._definition.task import wait_in_thread
from flyte.errors import SyncTaskCallInAsyncContextError

P = ParamSpec("P")
T = TypeVar("T")


class _Step(Generic[P, T]):
    """A function that may also be awaited as ``.aio(...)``."""

    def __init__(self, step: Callable[P, T]) -> None:
        self._step = step
        self.__doc__ = step.__doc__
        self.__name__ = step.__name__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._step(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, for async code."""
        return self._step(*args, **kwargs)


@trace
def durable_time() -> float:
    return _seconds()


@trace
def durable_random() -> float:
    return _chance.random()


@trace
def durable_sleep(seconds: float) -> float:
    """When the sleep began; its length is a parameter only to tell one sleep from another."""
    return _seconds()


@_Step
def time() -> float:
    """Seconds since the epoch, like ``time.time()``; when the action runs again, what it was the first time."""
    return durable_time()


@_Step
def now() -> datetime:
    """The time, like ``datetime.now(UTC)``; when the action runs again, what it was the first time."""
    return datetime.fromtimestamp(durable_time(), UTC)


@_Step
def random() -> float:
    """A number from 0 up to 1, like ``random.random()``; when the action runs again, the one it was the first time."""
    return durable_random()


class _Sleep:
    """``flyte.durable.sleep(seconds)``; also ``await flyte.durable.sleep.aio(seconds)``."""

    def __call__(self, seconds: float) -> None:
        """Sleep until ``seconds`` after the first time the action came here, however often it was begun since.

        :raises ValueError: negative seconds.
        :raises flyte.errors.SyncTaskCallInAsyncContextError: called from async code, which it would block.
        """
        context = current.get()
        if context is None:
            _clock.sleep(_checked(seconds))
            return
        if asyncio._get_running_loop() is not None:
            raise SyncTaskCallInAsyncContextError(
                "flyte.durable.sleep(...) would block the event loop; write 'await flyte.durable.sleep.aio(...)'"
            )
        began = durable_sleep(float(_checked(seconds)))
        wait_in_thread(context, _sleep_until(context, began + seconds))

    async def aio(self, seconds: float) -> None:
        """The same for async code."""
        context = current.get()
        if context is None:
            await asyncio.sleep(_checked(seconds))
            return
        began = durable_sleep(float(_checked(seconds)))
        await _sleep_until(context, began + seconds)


sleep = _Sleep()


def _checked(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"sleep takes seconds, but got {type(seconds).__name__} {seconds!r}")
    if not seconds >= 0:
        raise ValueError(f"sleep takes seconds that are not negative, but got {seconds!r}")
    return seconds


async def _sleep_until(context: TaskContext, moment: float) -> None:
    execution = context.execution
    left_s = moment - execution.clock.time()
    record, journal = context.calls.record, execution.journal
    if left_s <= 0:
        await asyncio.sleep(0)
        return
    if record is not None and journal is not None:
        journal.waits(record, f"the end of a sleep, {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC")
    # The machine may sleep too, or its clock be set: what counts is the time of day.
    while left_s > 0:
        await execution.clock.sleep(min(left_s, _LONGEST_S))
        left_s = moment - execution.clock.time()
    if record is not None and journal is not None:
        journal.waits(record, None)


_LONGEST_S = 60.0


def _seconds() -> float:
    context: Any = current.get()
    return _clock.time() if context is None else context.execution.clock.time()


__all__ = ["now", "random", "sleep", "time"]
