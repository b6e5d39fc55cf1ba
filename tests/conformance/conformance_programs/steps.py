"""Steps, conditions, and what is durable."""

import asyncio
from dataclasses import dataclass

import flyte
import flyte.durable
import flyte.errors

from .program import Program

env = flyte.TaskEnvironment("steps")


@dataclass
class Row:
    x: int


@flyte.trace
async def fetch(x: int) -> int:
    return x + 1


@flyte.trace
def look(x: int, name: str = "n") -> list[str]:
    return [name] * x


@flyte.trace
async def row(x: Row) -> Row:
    return Row(x.x + 1)


@flyte.trace
async def items(n: int):
    for x in range(n):
        yield x


@flyte.trace
def sync_items(n: int):
    yield from range(n)


@flyte.trace
async def broken(x: int) -> int:
    raise ValueError(f"bad {x}")


@flyte.trace
async def final(x: int) -> int:
    raise flyte.errors.NonRecoverableError("never")


@env.task
async def child(x: int) -> int:
    return await fetch(x)


@env.task
async def one(x: int) -> int:
    return await fetch(x)


@env.task
async def equal_steps(x: int) -> list[int]:
    return [await fetch(x), await fetch(x), await fetch(x + 1)]


@env.task
async def steps_at_once(x: int) -> list[int]:
    return list(await asyncio.gather(*[fetch(y) for y in range(x)]))


@env.task
def sync_steps(x: int) -> list[str]:
    return look(x) + look(x, name="m")


@env.task
async def classes(x: int) -> int:
    return (await row(Row(x))).x


@env.task
async def streams(n: int) -> list[int]:
    return [x async for x in items(n)] + list(sync_items(n))


@env.task
async def step_in_child(x: int) -> int:
    return await child(x) + await fetch(x)


@env.task
async def steps_in_group(x: int) -> int:
    with flyte.group("steps"):
        return await fetch(x)


@env.task
async def caught(x: int) -> list[str]:
    found = []
    for step in (broken, final):
        try:
            await step(x)
        except Exception as error:
            found.append(f"{type(error).__name__} {error}")
    return found


@env.task
async def step_fails(x: int) -> int:
    return await broken(x)


@env.task
async def two_of_the_same(x: int) -> str:
    try:
        await asyncio.gather(broken(x), fetch(x))
    except ValueError as error:
        return str(error)
    return "gave"


@env.task(retries=1)
async def kept_between_attempts(x: int) -> int:
    found = await fetch(x)
    if flyte.ctx().attempt_number == 0:
        raise ConnectionError("once more")
    return found


@env.task
async def durable() -> list[bool]:
    at, chance = flyte.durable.time(), flyte.durable.random()
    await flyte.durable.sleep.aio(0.05)
    return [at > 0, 0 <= chance < 1, flyte.durable.now().timestamp() >= at]


@env.task
async def asks_bool() -> bool:
    return await (await flyte.new_condition.aio("go", "Go on?")).wait.aio()


@env.task
async def asks_int() -> int:
    return await (await flyte.new_condition.aio("count", "How many?", data_type=int)).wait.aio()


@env.task
async def asks_str() -> str:
    return await (await flyte.new_condition.aio("word", "Which?", data_type=str)).wait.aio()


@env.task
async def asks_in_vain() -> str:
    condition = await flyte.new_condition.aio("late", "Anybody?", timeout=0.3)
    try:
        await condition.wait.aio()
    except flyte.errors.ConditionTimedoutError as error:
        return f"{error.code} {error.kind}: {error}"
    return "answered"


PROGRAMS = {
    "step": Program(task=one, args={"x": 1}),
    "step_equal": Program(task=equal_steps, args={"x": 1}),
    "step_at_once": Program(task=steps_at_once, args={"x": 3}),
    "step_sync": Program(task=sync_steps, args={"x": 2}),
    "step_classes": Program(task=classes, args={"x": 1}),
    "step_streams": Program(task=streams, args={"n": 3}),
    "step_in_child": Program(task=step_in_child, args={"x": 1}),
    "step_in_group": Program(task=steps_in_group, args={"x": 1}),
    "step_caught": Program(task=caught, args={"x": 1}),
    "step_fails": Program(task=step_fails, args={"x": 1}),
    "step_fails_among": Program(task=two_of_the_same, args={"x": 1}),
    "step_kept": Program(task=kept_between_attempts, args={"x": 1}),
    "durable": Program(task=durable),
    "condition_bool": Program(task=asks_bool, answers={"go": True}),
    "condition_int": Program(task=asks_int, answers={"count": 7}),
    "condition_str": Program(task=asks_str, answers={"word": "ja"}),
    "condition_in_vain": Program(task=asks_in_vain),
}
