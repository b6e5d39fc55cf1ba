"""A task that makes its controller say all that a controller says."""

import asyncio

import flyte
import flyte.report

env = flyte.TaskEnvironment(name="everything")


@env.task
async def double(x: int) -> int:
    print("doubling")
    return 2 * x


@env.task
async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


@flyte.trace
async def step(x: int) -> int:
    return x + 1


@env.task(report=True)
async def main(n: int) -> str:
    condition = await flyte.new_condition.aio("go on", data_type=bool, prompt="Go on?", timeout=60)
    with flyte.group("all of them"):
        doubled = await asyncio.gather(*[double(x) for x in range(n)])
    stepped = await step(n)
    sleeping = asyncio.create_task(sleep(60.0))
    await asyncio.sleep(1.0)
    sleeping.cancel()
    try:
        await sleeping
        ended = "woke up"
    except asyncio.CancelledError:
        ended = "cancelled"
    await flyte.report.replace.aio("<p>all of it</p>", do_flush=True)
    return f"{await condition.wait.aio()} {doubled} {stepped} {ended}"


@env.task
async def ticks(n: int) -> int:
    for tick in range(n):
        print("tick", tick, flush=True)
        await asyncio.sleep(0.1)
    return n
