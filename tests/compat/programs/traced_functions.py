"""Traced functions inside a task."""

import asyncio
from typing import AsyncGenerator, Iterator

import flyte
from transcript import attempt, show

env = flyte.TaskEnvironment("traced")
calls = []


@flyte.trace
async def async_step(x: int) -> int:
    calls.append(x)
    return x + 1


@flyte.trace
def sync_step(x: int, y: str = "d") -> str:
    return y * x


@flyte.trace
async def stream(n: int) -> AsyncGenerator[int, None]:
    for i in range(n):
        yield i


@flyte.trace
async def broken(x: int) -> int:
    raise KeyError("traced")


@env.task
async def inner(x: int) -> int:
    return x


@flyte.trace
async def nesting(x: int) -> int:
    return await inner(x)


@env.task
async def main(n: int) -> list[str]:
    out = [str(await async_step(n))]
    out.append(str(await asyncio.gather(*(async_step(i) for i in range(3)))))
    try:
        await broken(1)
    except Exception as e:
        out.append(type(e).__name__)
    return out


@env.task
async def bad(n: int) -> int:
    return await broken(n)


@env.task
async def nested(n: int) -> int:
    return await nesting(n)


@env.task
async def streaming(n: int) -> str:
    return str([i async for i in stream(n)])


@env.task
def from_sync(n: int) -> str:
    return sync_step(n)


attempt("run", lambda: flyte.run(main, 2).outputs()[0])
@env.task
async def sync_in_async(n: int) -> str:
    return sync_step(n)


attempt("sync in async", lambda: flyte.run(sync_in_async, 2).outputs()[0])
attempt("streaming", lambda: flyte.run(streaming, 2).outputs()[0])
attempt("bad", lambda: flyte.run(bad, 2).outputs()[0])
attempt("nested", lambda: flyte.run(nested, 2).outputs()[0])
attempt("from sync", lambda: flyte.run(from_sync, 2).outputs()[0])
attempt("outside async", lambda: async_step(1))
attempt("outside sync", lambda: sync_step(1))
attempt("outside broken", lambda: broken(1))
show("name", async_step.__name__)
show("doc", stream.__name__)
