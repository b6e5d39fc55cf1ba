"""One sync face over async code.

``@syncify`` turns an async function, method or generator function into one that blocks, with the async one as its
``.aio``. There is never a second, sync implementation.
"""

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, ParamSpec, TypeVar, overload

from flyte._core.loop import run_blocking

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["SyncFunction", "SyncGenerator", "Syncify", "syncify"]


class SyncFunction(Generic[P, R]):
    """An async function that blocks when called, and is awaited as ``.aio``."""

    def __init__(self, func: Callable[P, Coroutine[Any, Any, R]]) -> None:
        self.aio = func
        functools.update_wrapper(self, func)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function to its end in this thread."""
        return run_blocking(lambda: self.aio(*args, **kwargs))

    def __get__(self, instance: Any, owner: type | None = None) -> "SyncFunction[..., R]":
        return self if instance is None else SyncFunction(functools.partial(self.aio, instance))

    def __repr__(self) -> str:
        return f"<{getattr(self.aio, '__qualname__', self.aio)!s}, also .aio>"


class SyncGenerator(Generic[P, R]):
    """An async generator function that gives a plain iterator when called, and an async one as ``.aio``."""

    def __init__(self, func: Callable[P, AsyncIterator[R]]) -> None:
        self.aio = func
        functools.update_wrapper(self, func)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        """Iterate in this thread, which must not run an event loop."""
        return iterate_blocking(self.aio(*args, **kwargs))

    def __get__(self, instance: Any, owner: type | None = None) -> "SyncGenerator[..., R]":
        return self if instance is None else SyncGenerator(functools.partial(self.aio, instance))


def iterate_blocking(items: AsyncIterator[R]) -> Iterator[R]:
    """Iterate an async iterator from sync code, on an event loop of this thread's own.

    :raises RuntimeError: this thread already runs an event loop, which could not go on meanwhile.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("a sync iterator was asked for in async code; use 'async for' over .aio(...) instead")
    with asyncio.Runner() as runner:
        try:
            while True:
                try:
                    yield runner.run(_next(items))
                except StopAsyncIteration:
                    return
        finally:
            if isinstance(items, AsyncGenerator):
                runner.run(_close(items))


async def _next(items: AsyncIterator[R]) -> R:
    return await anext(items)


async def _close(items: AsyncGenerator[Any, Any]) -> None:
    await items.aclose()


class _ClassMethod:
    """A sync face that is bound to the class, whether it is asked of the class or of an instance."""

    def __init__(self, face: "SyncFunction[..., Any] | SyncGenerator[..., Any]") -> None:
        self._face = face

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._face.__get__(owner if owner is not None else type(instance))


class Syncify:
    """Makes sync faces; :data:`syncify` is the instance to use.

    :param name: kept for compatibility with the published API; a sync call runs in the calling thread.
    """

    def __init__(self, name: str = "flyte_syncify") -> None:
        self.name = name

    @overload
    def __call__(self, obj: Callable[P, Coroutine[Any, Any, R]]) -> SyncFunction[P, R]: ...
    @overload
    def __call__(self, obj: Callable[P, AsyncIterator[R]]) -> SyncGenerator[P, R]: ...
    def __call__(self, obj: Any) -> Any:
        """The sync face of an async function or async generator function; also of a class method of either kind.

        :raises TypeError: something else.
        """
        if isinstance(obj, classmethod):
            return _ClassMethod(self(obj.__func__))
        if inspect.isasyncgenfunction(obj):
            return SyncGenerator(obj)
        if inspect.iscoroutinefunction(obj):
            return SyncFunction(obj)
        raise TypeError(f"syncify takes an async function or async generator function, but got {obj!r}")


syncify = Syncify()
"""Decorator: the sync face of an async function, method or generator function."""
