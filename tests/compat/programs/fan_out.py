"""Fan-out and in by asyncio."""

import asyncio
from typing import List

import flyte
from transcript import show

env = flyte.TaskEnvironment(name="fan")


@env.task
async def square(x: int) -> int:
    await asyncio.sleep(0.01 * (5 - x))
    return x * x


@env.task
async def fail(x: int) -> int:
    raise KeyError(f"k{x}")


@env.task
async def gathered(n: int) -> List[int]:
    return list(await asyncio.gather(*[square(x=i) for i in range(n)]))


@env.task
async def completed(n: int) -> List[int]:
    found = []
    for done in asyncio.as_completed([square(i) for i in range(n)]):
        found.append(await done)
    return sorted(found)


@env.task
async def grouped(n: int) -> List[int]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(square(i)) for i in range(n)]
    return [task.result() for task in tasks]


@env.task
async def tolerant(n: int) -> List[str]:
    results = await asyncio.gather(*[square(1), fail(2), square(3)], return_exceptions=True)
    return [r.code if isinstance(r, flyte.errors.RuntimeUserError) else str(r) for r in results]


@env.task
async def group_failure() -> str:
    codes = "none"
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(square(0))
            group.create_task(fail(1))
    except* flyte.errors.RuntimeUserError as found:
        codes = ",".join(e.code for e in found.exceptions)
    return codes


@env.task
async def waited() -> List[int]:
    tasks = [asyncio.create_task(square(i)) for i in range(3)]
    done, pending = await asyncio.wait(tasks)
    return sorted(t.result() for t in done)


@env.task
async def timed_out() -> str:
    try:
        await asyncio.wait_for(sleeper(), timeout=0.1)
    except asyncio.TimeoutError:
        return "timeout"
    return "finished"


@env.task
async def sleeper() -> None:
    await asyncio.sleep(2)


@env.task
async def main(n: int) -> str:
    one = await gathered(n)
    two = await completed(n)
    three = await grouped(n)
    four = await tolerant(n)
    return f"{one} {two} {three} {four} {await group_failure()} {await waited()} {await timed_out()}"


show("main", flyte.run(main, 5).outputs()[0])
