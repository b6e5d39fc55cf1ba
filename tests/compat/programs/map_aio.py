"""flyte.map.aio."""

import asyncio
from functools import partial

import flyte
from transcript import attempt, show

env = flyte.TaskEnvironment("mapper_aio")


@env.task
async def double(x: int) -> int:
    await asyncio.sleep(0.01 * (4 - x))
    return x * 2


@env.task
def sync_double(x: int) -> int:
    return x * 2


@env.task
async def add(x: int, y: int) -> int:
    return x + y


@env.task
async def picky(x: int) -> int:
    if x == 2:
        raise ValueError("two")
    return x


@env.task
async def main(n: int) -> str:
    out = [
        [r async for r in flyte.map.aio(double, range(n))],
        [r async for r in flyte.map.aio(sync_double, range(n))],
        [r async for r in flyte.map.aio(add, range(n), range(10, 10 + n), concurrency=2)],
        [r async for r in flyte.map.aio(partial(add, y=100), range(n), group_name="g")],
        [type(r).__name__ if isinstance(r, int) else r.code async for r in flyte.map.aio(picky, range(n))],
    ]
    early = []
    async for r in flyte.map.aio(double, range(n)):
        early.append(r)
        if len(early) == 2:
            break
    out.append(early)
    return repr(out)


@env.task
async def strict(n: int) -> list[int]:
    return [r async for r in flyte.map.aio(picky, range(n), return_exceptions=False)]


@env.task
async def caught(n: int) -> str:
    found = []
    try:
        async for r in flyte.map.aio(picky, range(n), return_exceptions=False):
            found.append(r)
    except flyte.errors.RuntimeUserError as e:
        found.append(e.code)
    return repr(found)


show("main", flyte.run(main, 4).outputs()[0])
attempt("strict", lambda: flyte.run(strict, 4).outputs()[0])
attempt("caught", lambda: flyte.run(caught, 4).outputs()[0])
