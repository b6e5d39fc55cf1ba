"""Sync and async tasks calling one another, in and out of a run."""

import asyncio

import flyte
from transcript import attempt, show

env = flyte.TaskEnvironment("nest")


@env.task
def leaf(x: int) -> int:
    return x + 1


@env.task
async def async_leaf(x: int) -> int:
    return x + 2


def helper(x: int) -> int:
    return leaf(x) + leaf(x=x)


@env.task
def sync_parent(x: int) -> int:
    return helper(leaf(leaf(x)))


@env.task
async def async_parent(x: int) -> int:
    a = await async_leaf(x)
    b = await leaf.aio(x)
    c = await sync_parent.aio(x=x)
    d = await async_leaf.aio(x)
    return a * 1000000 + b * 10000 + c * 100 + d


@env.task
def grandparent(x: int) -> int:
    return sync_parent(x) + 1


@env.task
async def blocking(x: int) -> int:
    return leaf(x)


@env.task
async def many(n: int) -> list[int]:
    return await asyncio.gather(*[leaf.aio(i) for i in range(n)])


@env.task
async def unawaited(n: int) -> int:
    return async_leaf(n)


show("outside sync", leaf(1))
show("outside sync parent", sync_parent(1))
attempt("outside async", lambda: async_leaf(1))
attempt("outside forward", lambda: leaf.forward(1))
attempt("outside async forward", lambda: async_leaf.forward(1))
attempt("outside sync aio", lambda: leaf.aio(1))
attempt("outside async aio", lambda: async_leaf.aio(1))
attempt("outside async parent", lambda: async_parent(1))
for task in (leaf, async_leaf, sync_parent, async_parent, grandparent, blocking, many):
    attempt(f"run {task.short_name}", lambda: flyte.run(task, 3).outputs()[0])
attempt("run unawaited", lambda: flyte.run(unawaited, 3).outputs()[0])
