"""Overridden tasks called inside a run."""

import asyncio

import flyte
from transcript import show

env = flyte.TaskEnvironment("over_in", env_vars={"WHO": "env"})
tries = []


@env.task
async def child(x: int) -> int:
    return x * 10


@env.task
def sync_child(x: int) -> int:
    return x * 100


@env.task
async def flaky(x: int) -> int:
    tries.append(x)
    if len(tries) < 3:
        raise ValueError("not yet")
    return len(tries)


@env.task
async def main(n: int) -> list[int]:
    first = await child.override(resources=flyte.Resources(cpu=2), short_name="fast")(n)
    many = await asyncio.gather(*(child.override(cache="disable")(i) for i in range(n)))
    third = await sync_child.override(queue="q").aio(n)
    fourth = await flaky.override(retries=5)(1)
    return [first, *many, third, fourth]


show("outputs", flyte.run(main, n=3).outputs()[0])
