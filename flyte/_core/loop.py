"""Driving async code from sync code: the one place where the SDK blocks a thread on an event loop.

The calling thread runs a loop of its own, so that bodies of tasks run where the user started them (debuggers, prompts
and Ctrl-C work). A thread that already runs a loop, as in a notebook, gets a second thread for it.
"""

import _thread
import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

CLOSING_S = 0.5
"""How long what is left on a loop may clean up before the loop is closed all the same."""
_BLOCKED_S = 1.0
"""After Ctrl-C, how long a body that blocks the loop is given before it is interrupted itself."""


def run_blocking(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``call()`` to its end and give its result.

    Ctrl-C in the main thread cancels it, lets it clean up, and raises KeyboardInterrupt.

    :param call: makes the coroutine; called on the thread and in the context that runs it.
    """
    if asyncio._get_running_loop() is None:
        return _drive(call)
    return _drive_beside(call)


def _drive(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        main = loop.create_task(call())
        interrupt = _Interrupt(loop, main)
        with interrupt:
            try:
                return loop.run_until_complete(main)
            except asyncio.CancelledError:
                if interrupt.count:
                    raise KeyboardInterrupt from None
                raise
    finally:
        try:
            _close(loop)
        finally:
            asyncio.set_event_loop(None)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    left = [task for task in asyncio.all_tasks(loop) if not task.done()]
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=CLOSING_S))
        for task in left:
            # A task that ignores its cancellation has been reported by whoever cancelled it first.
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            if task.done() and not task.cancelled():
                task.exception()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


class _Interrupt:
    """Turns the first Ctrl-C into a cancellation of ``main``, and a second, or a body that blocks, into an error."""

    def __init__(self, loop: asyncio.AbstractEventLoop, main: "asyncio.Task[Any]") -> None:
        self.count = 0
        self._loop = loop
        self._main = main
        self._installed = False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> None:
        # Only the main thread gets signals, and a handler that the program installed itself is left alone.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._on_signal)
            self._installed = True

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt
        self._main.cancel()
        self._loop.call_soon_threadsafe(self._seen)  # wakes the loop, and tells whether it is free to act
        self._timer = threading.Timer(_BLOCKED_S, _interrupt_main_thread)
        self._timer.daemon = True
        self._timer.start()

    def _seen(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):
        # Sent to the main thread itself, so that it also wakes from a blocking system call.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _drive_beside(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    result: list[T] = []
    failure: list[BaseException] = []
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None
        started.append((asyncio.get_running_loop(), task))
        return await call()

    def work() -> None:
        try:
            result.append(_drive(main))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="flyte-run", daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        for loop, task in started:
            loop.call_soon_threadsafe(task.cancel)
        thread.join(timeout=2.0)
        raise
    if failure:
        raise failure.pop()
    return result[0]
