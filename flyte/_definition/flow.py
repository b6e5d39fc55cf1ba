"""What a body writes besides calling tasks: ``flyte.map`` and ``flyte.trace``."""

import asyncio
import contextlib
import functools
import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, TypeVar, cast, overload

from flyte._core.context import TaskContext, current, group
from flyte._core.controller import Controller
from flyte.errors import SyncTaskCallInAsyncContextError
from flyte.syncify import iterate_blocking

from .task import AsyncFunctionTaskTemplate, F, R, TaskTemplate, controller_of, wait_in_thread

C = TypeVar("C", bound=Callable[..., Any])

DEFAULT_CONCURRENCY = 256
"""How many items ``flyte.map`` has in flight when not told: enough to wait with, and a bound on threads."""


class _Mapper:
    """``flyte.map``: one task over many items, in order, with bounded concurrency."""

    @overload
    def __call__(
        self,
        func: AsyncFunctionTaskTemplate[..., R, F] | functools.partial[R],
        *args: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: bool = True,
    ) -> Iterator[R | Exception]: ...
    @overload
    def __call__(
        self,
        func: Any,
        *args: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: bool = True,
    ) -> Iterator[Any]: ...
    def __call__(
        self,
        func: Any,
        *args: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: bool = True,
    ) -> Iterator[Any]:
        """Call a task for each item and give the results in the order of the items.

        :param func: a task, or a ``functools.partial`` of one that fixes its other parameters: the first ones by
            position, or later ones by name.
        :param args: an iterable for each parameter that varies, taken together as by ``zip``; read as far as
            ``concurrency`` needs, so it may be endless.
        :param group_name: name that the calls are shown under; ``map_<task>`` if not given.
        :param concurrency: how many calls run at once; 0 for the default of 256.
        :param return_exceptions: give a failed item's exception in its place; if False, raise the first one.
        :raises TypeError: ``func`` is not a task, or ``args`` is empty or not iterable.
        :raises ValueError: ``concurrency`` is negative.
        :raises flyte.errors.SyncTaskCallInAsyncContextError: in async code; use ``flyte.map.aio``.
        """
        task = _task_of(func, args, concurrency)
        if asyncio._get_running_loop() is not None:
            raise SyncTaskCallInAsyncContextError(
                f"flyte.map over {task.name!r} was called in the blocking way from async code; write "
                "'async for result in flyte.map.aio(...)' instead"
            )
        items = _map(func, task, args, group_name, concurrency, return_exceptions)
        context = current.get()
        if context is None:
            return iterate_blocking(items)
        return _iterate_from_thread(context, items)

    def aio(
        self,
        func: AsyncFunctionTaskTemplate[..., R, F] | functools.partial[R],
        *args: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: bool = True,
    ) -> AsyncIterator[R | Exception]:
        """The same for async code: ``async for result in flyte.map.aio(task, items)``."""
        task = _task_of(func, args, concurrency)
        return cast("AsyncIterator[R | Exception]", _map(func, task, args, group_name, concurrency, return_exceptions))


map = _Mapper()


def _task_of(func: Any, args: tuple[Any, ...], concurrency: int) -> TaskTemplate[Any, Any, Any]:
    task = func.func if isinstance(func, functools.partial) else func
    if not isinstance(task, TaskTemplate):
        raise TypeError(
            f"flyte.map takes a task, made with @env.task, but got {type(task).__name__} {task!r}; for a plain "
            "function use Python's own map()"
        )
    if isinstance(func, functools.partial):
        _check_partial(task, func, len(args))
    if not args:
        raise TypeError(f"flyte.map({task.short_name}, ...) needs an iterable for each parameter that varies")
    for items in args:
        if not isinstance(items, Iterable):
            raise TypeError(
                f"flyte.map({task.short_name}, ...) takes iterables, but got {type(items).__name__} {items!r}"
            )
    if not isinstance(concurrency, int) or concurrency < 0:
        raise ValueError(f"concurrency={concurrency!r} must be a positive number, or 0 for the default")
    return task


def _check_partial(task: TaskTemplate[Any, Any, Any], fixed: "functools.partial[Any]", varying: int) -> None:
    names = list(task.interface.inputs)
    by_position = names[: len(fixed.args) + varying]
    for name in fixed.keywords:
        if name not in names:
            raise TypeError(f"the partial fixes {name!r}, but task {task.name!r} has no such parameter")
        if name in by_position:
            raise TypeError(
                f"the partial fixes {name!r} of task {task.name!r}, which an iterable would fill as well: what varies "
                "comes first, by position"
            )


async def _map(
    func: Any,
    task: TaskTemplate[Any, Any, Any],
    args: tuple[Iterable[Any], ...],
    group_name: str | None,
    concurrency: int,
    return_exceptions: bool,
) -> AsyncIterator[Any]:
    first = func.args if isinstance(func, functools.partial) else ()
    fixed = func.keywords if isinstance(func, functools.partial) else {}
    limit = concurrency or DEFAULT_CONCURRENCY
    name = group_name or f"map_{task.short_name}"
    items = zip(*args, strict=False)
    window: deque[asyncio.Task[Any]] = deque()
    running = 0
    ended = asyncio.Event()

    async def call(item: tuple[Any, ...]) -> Any:
        nonlocal running
        try:
            with group(name):
                return await task.aio(*first, *item, **fixed)
        finally:
            running -= 1
            ended.set()

    exhausted = False
    try:
        while True:
            # An item starts as soon as a slot is free. Results wait only for those before them, at most `limit`.
            while not exhausted and running < limit and len(window) < 2 * limit:
                try:
                    item = next(items)
                except StopIteration:
                    exhausted = True
                else:
                    running += 1
                    window.append(asyncio.create_task(call(item)))
            if not window:
                return
            if not window[0].done():
                ended.clear()
                await ended.wait()
                continue
            try:
                result = window.popleft().result()
            except Exception as error:
                if not return_exceptions:
                    raise
                result = error
            yield result
    finally:
        for call_of_item in window:
            call_of_item.cancel()
        if window:
            await asyncio.wait(window)
        for call_of_item in window:
            if not call_of_item.cancelled():
                call_of_item.exception()  # seen: nobody will ask for the results after the first failure


def _iterate_from_thread(context: TaskContext, items: AsyncIterator[Any]) -> Iterator[Any]:
    """Iterate ``items``, which live on the run's event loop, from a sync body's thread."""

    async def step() -> Any:
        try:
            return (await anext(items),)
        except StopAsyncIteration:
            return None

    try:
        while (taken := wait_in_thread(context, step())) is not None:
            yield taken[0]
    finally:
        wait_in_thread(context, cast(Any, items).aclose())


def trace(func: C) -> C:
    """Record a function as one step of the task that calls it.

    The function may be sync or async, or a generator of either kind. Outside a run it is called as it is. Inside a run
    its arguments must fit its annotations, and it may not call tasks.

    :raises TypeError: not a function.
    :raises flyte.errors.TraceDoesNotAllowNestedTasksError: a task was called inside it.
    """
    if not callable(func):
        raise TypeError(f"@flyte.trace takes a function, but got {type(func).__name__} {func!r}")
    if inspect.isasyncgenfunction(func):

        @functools.wraps(func)
        async def traced_async_items(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            controller = _controller(func)
            items = func(*args, **kwargs) if controller is None else controller.trace_async_items(func, *args, **kwargs)
            async with contextlib.aclosing(cast(Any, items)):
                async for item in items:
                    yield item

        return cast(C, traced_async_items)
    if inspect.isgeneratorfunction(func):

        @functools.wraps(func)
        def traced_items(*args: Any, **kwargs: Any) -> Iterator[Any]:
            controller = _controller(func)
            if controller is None:
                yield from func(*args, **kwargs)
            else:
                yield from controller.trace_items(func, *args, **kwargs)

        return cast(C, traced_items)
    if inspect.iscoroutinefunction(func):

        @functools.wraps(func)
        async def traced(*args: Any, **kwargs: Any) -> Any:
            controller = _controller(func)
            if controller is None:
                return await func(*args, **kwargs)
            return await controller.trace(func, *args, **kwargs)

        return cast(C, traced)

    @functools.wraps(func)
    def traced_sync(*args: Any, **kwargs: Any) -> Any:
        controller = _controller(func)
        if controller is None:
            return func(*args, **kwargs)
        return controller.trace_sync(func, *args, **kwargs)

    return cast(C, traced_sync)


def _controller(func: Callable[..., Any]) -> Controller | None:
    context = current.get()
    return None if context is None else controller_of(context, func.__name__)


__all__ = ["map", "trace"]
