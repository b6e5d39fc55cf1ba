"""One range of an object in the cloud, whatever the connection does.

A request that breaks, or over which nothing moves, is given up, and the next one asks for what is still missing. Each
byte that arrives starts the count of attempts anew; a range that is never complete has a deadline all the same.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flyte._core.log import logger
from flyte.storage._config import Storage
from flyte.storage._failures import Changed
from flyte.storage._uri import Location

T = TypeVar("T")

_PIECE_BYTES = 256 * 1024
"""How often it is seen that bytes still arrive: 70 kbit/s are enough within 30 seconds."""
_FIRST_PAUSE_S = 0.1
_DEADLINE_STALLS = 10
"""A range may take this many stalls in all, by default 5 minutes: 8 MiB at 0.2 Mbit/s."""

Fetching = Callable[[int, int], Awaitable[Any]]
"""Asks a store for a range: gives obstore's answer, whose body has not been read."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how often to try.

    :param stall_s: how long nothing may move.
    :param retries: how often in a row a request may bring nothing.
    :param backoff_s: the longest pause between two requests.
    """

    stall_s: float
    retries: int
    backoff_s: float

    @classmethod
    def of(cls, settings: Storage) -> "Patience":
        """What a user's settings ask for."""
        return cls(settings.stall.total_seconds(), settings.retries, settings.backoff.total_seconds())

    def pause_s(self, attempt: int) -> float:
        """Before the given attempt; the first that follows a failure is 1."""
        return min(self.backoff_s, _FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 20)) * random.uniform(0.5, 1.0)


async def fetch(
    at: Location,
    start: int,
    end: int,
    ask: Fetching,
    failure: Callable[[Exception], Exception],
    patience: Patience,
    attributes: dict[str, str] | None = None,
) -> bytearray:
    """The bytes from ``start`` to before ``end``.

    :param ask: asks for a range.
    :param failure: the public form of what ``ask`` raised.
    :param attributes: given what the store says of the object beside its bytes.
    :raises ConnectionError: it breaks again and again.
    :raises TimeoutError: nothing moves, or the deadline has passed.
    """
    arrived = _Arrived(bytearray(end - start))  # at once in full: growing would fragment the memory
    attempt, began = 0, time.monotonic()
    while True:
        had = arrived.count
        try:
            await _receive(start + had, end, arrived, ask, patience.stall_s, attributes)
            if arrived.count == end - start:
                return arrived.data
            problem: Exception = ConnectionError(f"{at.uri!r}: the connection ended after {arrived.count:,} bytes")
        except TimeoutError:
            problem = TimeoutError(
                f"{at.uri!r}: nothing arrived for {patience.stall_s:g} s (the setting stall, or "
                "FLYTE_STORAGE_STALL_SECONDS)"
            )
        except Exception as error:
            problem = failure(error)
            if not is_passing(problem):
                raise problem from error
        if arrived.count > end - start:
            raise OSError(f"{at.uri!r}: bytes {start} to {end} were asked for, but {arrived.count:,} arrived")
        attempt = 1 if arrived.count > had else attempt + 1
        if attempt > patience.retries:
            raise problem
        if time.monotonic() - began > _DEADLINE_STALLS * patience.stall_s:
            raise TimeoutError(
                f"{at.uri!r}: {arrived.count:,} of {end - start:,} bytes arrived in {time.monotonic() - began:.0f} s"
            ) from problem
        logger.info("%s; going on at byte %d", problem, start + arrived.count)
        await asyncio.sleep(patience.pause_s(attempt))


@dataclass(slots=True)
class _Arrived:
    data: bytearray
    count: int = 0

    def add(self, piece: Any) -> None:
        view = memoryview(piece)
        room = max(0, len(self.data) - self.count)
        self.data[self.count : self.count + min(room, len(view))] = view[:room]
        self.count += len(view)


async def _receive(
    start: int, end: int, arrived: "_Arrived", ask: Fetching, stall_s: float, attributes: dict[str, str] | None
) -> None:
    answer = await asyncio.wait_for(ask(start, end), stall_s)
    if attributes is not None:
        attributes.update(_texts(answer.attributes))
    pieces = aiter(answer.stream(min_chunk_size=_PIECE_BYTES))
    while (piece := await asyncio.wait_for(_next(pieces), stall_s)) is not None:
        arrived.add(piece)


async def _next(pieces: Any) -> Any:
    # Not by an exception: its traceback would be a circle that keeps all data until the next garbage collection.
    return await anext(pieces, None)


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in attributes.items() if isinstance(value, str)}


def is_passing(error: BaseException) -> bool:
    """Whether the same request may well succeed in a moment."""
    return isinstance(error, OSError) and not isinstance(error, (FileNotFoundError, PermissionError, Changed))
