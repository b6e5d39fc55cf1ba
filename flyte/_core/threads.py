"""Threads for the bodies of sync tasks.

The pool has no upper bound: a sync task that waits for a child holds its thread, so any bound could deadlock a nested
call. Threads are daemons, so that a body that never returns cannot keep the interpreter alive after Ctrl-C; the
standard pools join theirs at exit. An idle thread ends after :data:`IDLE_S` seconds.
"""

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

IDLE_S = 10.0
"""How long an unused thread waits for more work: longer than the pauses of a busy run, short enough not to linger."""

_Job = tuple[Callable[[], Any], "asyncio.AbstractEventLoop", "asyncio.Future[Any]"]


class _Worker:
    __slots__ = ("jobs",)

    def __init__(self, job: _Job) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.jobs.put(job)
        threading.Thread(target=self._work, name="flyte-sync-task", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                job = self.jobs.get(timeout=IDLE_S)
            except Empty:
                try:
                    _idle.remove(self)
                except ValueError:  # given a job at this very moment
                    continue
                return
            self._run(*job)
            del job  # nothing of a finished call is kept alive by an idle thread
            _idle.append(self)

    @staticmethod
    def _run(call: Callable[[], Any], loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]") -> None:
        try:
            result, error = call(), None
        except BaseException as raised:
            result, error = None, raised
        try:
            loop.call_soon_threadsafe(_settle, future, result, error)
        except RuntimeError:  # the loop is closed: nobody waits for this result any more
            pass
        finally:
            del error


_idle: list[_Worker] = []


def _settle(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():  # abandoned: the caller was cancelled or its time was up
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        # A future refuses StopIteration, because raising it inside a coroutine means something else.
        replacement = RuntimeError(f"StopIteration raised in a thread: {error}")
        replacement.__cause__ = error
        future.set_exception(replacement)
    else:
        future.set_exception(error)


def run_in_thread(call: Callable[..., T], *args: Any, **kwargs: Any) -> "asyncio.Future[T]":
    """Start ``call(*args, **kwargs)`` in a thread with a copy of this context; call it from a running event loop.

    The future may be cancelled or dropped; the thread then runs to its end and the result is discarded.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    # A loop whose time is not the system's wants to know what goes on beside it; see flyte.testing.
    if (told := getattr(loop, "thread_started", None)) is not None:
        told(future)
    context = copy_context()
    job = (lambda: context.run(call, *args, **kwargs), loop, future)
    try:
        _idle.pop().jobs.put(job)
    except IndexError:
        _Worker(job)
    return future
