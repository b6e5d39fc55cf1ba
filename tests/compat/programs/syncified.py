"""flyte.syncify: one function for both worlds."""

import asyncio

from flyte.syncify import syncify
from transcript import attempt, show


@syncify
async def add(x: int, y: int = 1) -> int:
    await asyncio.sleep(0)
    return x + y


@syncify
async def fail() -> None:
    raise KeyError("f")


@syncify
async def numbers(n: int):
    for i in range(n):
        yield i


class Thing:
    def __init__(self, x):
        self.x = x

    @syncify
    async def method(self, y: int) -> int:
        return self.x + y

    @syncify
    async def stream(self, n: int):
        for i in range(n):
            yield self.x + i


attempt("sync", lambda: add(1))
attempt("async", lambda: add.aio(1, y=3))
attempt("error", fail)
attempt("error async", fail.aio)
attempt("numbers", lambda: list(numbers(3)))


async def collect():
    return [i async for i in numbers.aio(3)]


async def inside():
    return await add.aio(2) + await Thing(5).method.aio(1)


attempt("numbers async", collect)
attempt("method", lambda: Thing(5).method(2))
attempt("method async", inside)
attempt("stream", lambda: list(Thing(2).stream(2)))
show("name", add.__name__)
