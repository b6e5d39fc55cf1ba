"""Running a workflow under test: on a manual clock, with mocks, in a state folder of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from flyte._control.local import LocalController
from flyte._core.context import current
from flyte._core.environ import environment
from flyte._definition.task import F, P, R, TaskTemplate
from flyte._verbs.run import Run, Runner, with_runcontext

from ._clock import ManualClock
from ._errors import UnmockedTaskError
from ._home import test_home
from ._loop import drive
from ._mock import mock, mocked

__all__ = ["Started", "run", "with_testcontext"]

T = TypeVar("T")

_ENDING_S = 30.0


class TrialController(LocalController):
    """The local controller, with stand-ins for mocked tasks.

    :param unmocked: ``"error"`` to refuse the calls of tasks that are not mocked.
    """

    def __init__(self, unmocked: Literal["run", "error"] = "run") -> None:
        self._unmocked = unmocked

    def submit(self, task: TaskTemplate[Any, Any, Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Run the task or what stands in for it."""
        stand_in = mocked(task)
        context = current.get()
        if stand_in is None and self._unmocked == "error" and context is not None and context.parent is not None:
            raise UnmockedTaskError(
                f"task {task.name!r} was called by {context.task_name!r}, but it is not mocked; add "
                f"mock({task.short_name}, result=...), or leave out unmocked='error'"
            )
        return super().submit(stand_in or task, *args, **kwargs)


class Started(Generic[R]):
    """A workflow that runs in a thread of its own, while the test moves its clock."""

    def __init__(self, call: Callable[[], Run[R]], clock: ManualClock) -> None:
        self.clock = clock
        self._result: list[Run[R]] = []
        self._failure: list[BaseException] = []
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._work, call), name="flyte-test-run", daemon=True
        )
        self._thread.start()

    def _work(self, call: Callable[[], Run[R]]) -> None:
        try:
            self._result.append(call())
        except BaseException as error:
            self._failure.append(error)

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        if not self.clock._loops:  # its loop is closed: what is left of the thread takes no time
            self._thread.join(_ENDING_S)
        return not self._thread.is_alive()

    def wait(self, timeout_s: float | None = _ENDING_S) -> Run[R]:
        """The run, when it has ended.

        :param timeout_s: real seconds to wait at most; None for no limit.
        :raises TimeoutError: it has not ended by then.
        :raises Exception: what the root task raised.
        """
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError(f"the run has not ended after {timeout_s:g} real seconds; its clock shows {self.clock}")
        if self._failure:
            raise self._failure[0]
        return self._result[0]


class _RunMethod:
    """Gives ``run`` its ``.aio`` and ``.start``, typed like the task."""

    def __init__(self, context: "TrialContext") -> None:
        self._context = context

    def __call__(self, task: TaskTemplate[P, R, F], *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """Run ``task`` and wait for its end.

        :raises DeadlockError: the workflow waits for something that nothing can bring about.
        :raises Exception: what the task raised; also a :class:`flyte.errors.RuntimeUserError`.
        """
        context = self._context
        clock = context.new_clock()
        if asyncio._get_running_loop() is not None:
            return Started(lambda: context.execute(clock, task, args, kwargs), clock).wait(None)
        return context.execute(clock, task, args, kwargs)

    async def aio(self, task: TaskTemplate[P, R, F], *args: P.args, **kwargs: P.kwargs) -> Run[R]:
        """The same for async tests. The workflow has an event loop of its own, in another thread, whose time is the
        clock's; so it shares no lock or connection with the test's loop."""
        return await self._context.execute_beside(self._context.new_clock(), task, args, kwargs)

    def start(self, task: TaskTemplate[P, R, F], *args: P.args, **kwargs: P.kwargs) -> Started[R]:
        """Start the run in a thread, and return as soon as it waits for the clock, or has ended: then move the clock
        with ``clock.advance(seconds)``, which needs ``ManualClock(auto=False)``."""
        context, clock = self._context, self._context.new_clock()
        begun = threading.Event()
        started = Started(lambda: context.execute(clock, task, args, kwargs, begun), clock)
        while not begun.wait(0.005) and not started.done:
            pass
        clock.settle()
        return started


class TrialContext:
    """What :func:`with_testcontext` gives: :attr:`run`, sync, ``.aio`` and ``.start``."""

    def __init__(
        self,
        runner: Runner,
        clock: ManualClock | None,
        mocks: Iterable[mock],
        home: Path | None,
    ) -> None:
        self._runner = runner
        self._clock = clock
        self._mocks = tuple(mocks)
        self._home = home
        self.run = _RunMethod(self)

    def new_clock(self) -> ManualClock:
        """The clock of the next run."""
        return self._clock or ManualClock()

    def execute(
        self,
        clock: ManualClock,
        task: TaskTemplate[Any, Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        begun: threading.Event | None = None,
        started: list[tuple[asyncio.AbstractEventLoop, "asyncio.Task[Any]"]] | None = None,
    ) -> Run[Any]:
        """Run a task on this thread, which runs no event loop."""
        runner = replace(self._runner, clock=clock)

        async def main() -> Run[Any]:
            if begun is not None:
                begun.set()
            if started is not None:
                here = asyncio.current_task()
                assert here is not None
                started.append((asyncio.get_running_loop(), here))
            return await runner.start(task, args, kwargs)

        with ExitStack() as stack:
            for each in self._mocks:
                stack.enter_context(each)
            stack.enter_context(environment({"FLYTE_HOME": str(self._home or test_home())}))
            result: Run[Any] = drive(clock, main)
            return result

    async def execute_beside(
        self, clock: ManualClock, task: TaskTemplate[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Run[Any]:
        """Run a task on another thread, and await its end."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

        def call() -> Run[Any]:
            try:
                return self.execute(clock, task, args, kwargs, started=started)
            finally:
                loop.call_soon_threadsafe(_settle, ended)

        work = Started(call, clock)
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            for inner, main in started:
                try:
                    inner.call_soon_threadsafe(main.cancel)
                except RuntimeError:  # ended at this very moment
                    pass
            await asyncio.wait({ended}, timeout=_ENDING_S)
            raise
        return work.wait()


def _settle(ended: "asyncio.Future[None]") -> None:
    if not ended.done():
        ended.set_result(None)


def with_testcontext(
    clock: ManualClock | None = None,
    *,
    mocks: Iterable[mock] = (),
    unmocked: Literal["run", "error"] = "run",
    recover_from: str | None = None,
    home: str | Path | None = None,
    name: str | None = None,
    **options: Any,
) -> TrialContext:
    """Settings for a run under test: ``with_testcontext(mocks=[...]).run(task, x=1)``.

    :param clock: the time that the workflow sees; if not given, a new clock for each run, which moves by itself.
    :param mocks: in force while the run goes on, see :class:`mock`.
    :param unmocked: ``"error"``: a call of any task that is not mocked raises, but for the root.
    :param recover_from: name of an earlier run under test, or ``"last"``, as in :func:`flyte.with_runcontext`.
    :param home: state folder, with history and cache; if not given, one that the tests of this process share and that
        goes with it, so that nothing of a test stays in the user's own.
    :param name: of the run; made up if not given.
    :param options: ``env_vars``, ``custom_context``, ``recorder``, ``disable_run_cache`` and others of
        :func:`flyte.with_runcontext` that have a meaning for runs in this process.
    :raises TypeError: an option of the wrong type, or one that has no meaning here.
    :raises ValueError: an option with an unknown value.
    """
    if clock is not None and not isinstance(clock, ManualClock):
        raise TypeError(f"clock takes a flyte.testing.ManualClock, but got {type(clock).__name__} {clock!r}")
    if unmocked not in ("run", "error"):
        raise ValueError(f"unmocked={unmocked!r} is not known; use 'run' or 'error'")
    mocks = tuple(mocks)
    for each in mocks:
        if not isinstance(each, mock):
            raise TypeError(f"mocks takes flyte.testing.mock(...) objects, but got {type(each).__name__} {each!r}")
    for option in ("mode", "workers", "controller"):
        if option in options:
            raise TypeError(f"with_testcontext has no {option}: a run under test is in this process, on its own loop")
    runner = with_runcontext(
        "local", name=name, recover_from=recover_from, controller=TrialController(unmocked), **options
    ).run._runner
    return TrialContext(runner, clock, mocks, Path(home) if home is not None else None)


run = with_testcontext().run
"""Run a task under test: ``flyte.testing.run(main, 3)``, or ``await flyte.testing.run.aio(main, 3)``; the clock is a
new one that moves by itself."""
