"""What the objects of this room have in common: JSON, and methods that block or are awaited."""

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, ParamSpec, TypeVar

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


def time_text(at: float | None) -> str | None:
    """A time in ISO 8601, in UTC; None where there is none."""
    return datetime.fromtimestamp(at, UTC).isoformat() if at is not None else None


def time_of(at: float) -> datetime:
    """A time in UTC."""
    return datetime.fromtimestamp(at, UTC)


def between(start: float | None, end: float | None) -> timedelta | None:
    """From one time to another; None where one of them is not known."""
    return timedelta(seconds=max(0.0, end - start)) if start is not None and end is not None else None


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
