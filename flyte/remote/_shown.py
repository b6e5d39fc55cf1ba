"""What the objects of this room have in common: JSON, and methods that block or are awaited."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from flyte._core.loop import run_blocking

P = ParamSpec("P")
R = TypeVar("R")


class JsonText:
    """An object that is also a JSON document."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The object as plain values for JSON."""
        raise NotImplementedError

    def to_json(self) -> str:
        """The object as a JSON document."""
        return json_text(self.to_dict())


def json_text(value: Any) -> str:
    """``value`` as JSON; what JSON does not know is written as pydantic writes it, or as its ``repr``."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        from pydantic_core import to_json

        return to_json(value, inf_nan_mode="strings", bytes_mode="base64", fallback=repr).decode()


class Awaited(Generic[P, R]):
    """An async method that is awaited in async code, and blocks where no event loop runs; also ``.aio``.

    The published API has these as coroutines only, which sync code could not use.
    """

    def __init__(self, func: Callable[P, Coroutine[Any, Any, R]]) -> None:
        self.aio = func
        functools.update_wrapper(self, func)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The result; in async code a coroutine of it."""
        if asyncio._get_running_loop() is not None:
            return self.aio(*args, **kwargs)
        return run_blocking(lambda: self.aio(*args, **kwargs))

    def __get__(self, instance: Any, owner: type | None = None) -> "Awaited[..., R]":
        return self if instance is None else Awaited(functools.partial(self.aio, instance))


class Listed(Generic[P, R]):
    """A class method that gives a list at once, as an iterator: plain when called, an async one as ``.aio``.

    One turn of an event loop for each item, as :data:`flyte.syncify.syncify` takes, is too slow for 100,000 of them.
    """

    def __init__(self, func: Callable[P, Coroutine[Any, Any, list[R]]]) -> None:
        self._func = func
        functools.update_wrapper(self, func)

        @functools.wraps(func)
        async def aio(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
            for item in await func(*args, **kwargs):
                yield item

        self.aio = aio

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        """The items, which are all looked up now."""
        return iter(run_blocking(lambda: self._func(*args, **kwargs)))

    def __get__(self, instance: Any, owner: type | None = None) -> "Listed[P, R]":
        return Listed(cast(Callable[P, Coroutine[Any, Any, list[R]]], functools.partial(cast(Any, self._func), owner)))


def listed(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, list[R]]]) -> Listed[P, R]:
    """Decorator: :class:`Listed` of an async class method."""
    return Listed(cast(Any, method).__func__)


def named(entry: str, known: "list[str] | tuple[str, ...]", what: str) -> str:
    """``entry`` if it is known.

    :raises ValueError: it is not.
    """
    from flyte._core.face import nearest

    if entry not in known:
        raise ValueError(f"{what}={entry!r} is not known{nearest(entry, list(known))}; use {', '.join(known)}")
    return entry


def order_of(sort_by: "tuple[str, str] | None", fields: tuple[str, ...]) -> tuple[str, bool] | None:
    """The field to sort by, and whether the largest comes first.

    :raises ValueError: an unknown field or order.
    """
    if sort_by is None:
        return None
    field, order = sort_by
    return named(field, fields, "sort_by"), named(order, ("asc", "desc"), "order") == "desc"
