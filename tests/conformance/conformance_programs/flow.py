"""Shapes of control flow: what calls what, how many at once, under which group, and with which settings."""

import asyncio
import functools
from dataclasses import dataclass

import flyte

from .program import Program

env = flyte.TaskEnvironment("flow")
other = flyte.TaskEnvironment("other", depends_on=[env])


@dataclass
class Pair:
    left: int
    right: list[int]


@env.task
async def double(x: int) -> int:
    return 2 * x


@env.task
def half(x: int) -> float:
    return x / 2


@env.task
async def add(x: int, y: int = 1) -> int:
    return x + y


@env.task
async def split(x: int) -> tuple[int, str]:
    return x, str(x)


@env.task
async def quiet(x: int) -> None:
    return None


@env.task
async def fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


@env.task
async def sleeps(x: float) -> float:
    await asyncio.sleep(x)
    return x


@env.task
async def pair(x: int) -> Pair:
    return Pair(x, [x, x])


@env.task
async def swap(p: Pair) -> Pair:
    return Pair(p.right[0], [p.left])


@env.task
async def chain(x: int) -> int:
    return await double(await double(x))


@env.task
async def gather(n: int) -> list[int]:
    return list(await asyncio.gather(*[double(x) for x in range(n)]))


@env.task
async def equal_calls(x: int) -> list[int]:
    return [*await asyncio.gather(double(x), double(x)), await double(x)]


@env.task
async def task_group(n: int) -> list[int]:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(double(x)) for x in range(n)]
    return [call.result() for call in calls]


@env.task
async def task_group_fails() -> str:
    said = "nothing"
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails(1))
    except* ValueError as errors:
        said = str([str(error) for error in errors.exceptions])
    return said


@env.task
async def gather_exceptions() -> list[str]:
    found = await asyncio.gather(fails(1), fails(2), fails(3), return_exceptions=True)
    return [f"{type(one).__name__} {one}" for one in found]


@env.task
async def completed() -> list[int]:
    return sorted([await one for one in asyncio.as_completed([double(1), double(2)])])


@env.task
async def two_levels(x: int) -> int:
    return await chain(x) + await chain(x + 1)


@env.task
async def recursion(n: int) -> int:
    return 1 if n <= 1 else n * await recursion(n - 1)


@env.task
async def loop(n: int) -> int:
    found = 0
    while found < n:
        found = await add(found)
    return found


@env.task
async def branch(x: int) -> int:
    return await double(x) if x > 0 else await add(x, y=10)


@env.task
async def keywords(x: int) -> list[int]:
    return [await add(x), await add(x, 1), await add(x=x, y=2), await add(y=3, x=x)]


@env.task
async def several_results(x: int) -> str:
    number, text = await split(x)
    return f"{number} {text!r}"


@env.task
async def no_result(x: int) -> bool:
    return await quiet(x) is None


@env.task
async def classes(x: int) -> Pair:
    return await swap(await pair(x))


@env.task
async def mapped(n: int) -> list[int]:
    return [x async for x in flyte.map.aio(double, range(n))]


@env.task
async def mapped_exceptions() -> list[str]:
    return [f"{type(x).__name__} {x}" async for x in flyte.map.aio(fails, [0, 1])]


@env.task
async def mapped_raises() -> list[int]:
    return [x async for x in flyte.map.aio(fails, [0, 1], return_exceptions=False, concurrency=1)]


@env.task
async def mapped_partial() -> list[int]:
    return [x async for x in flyte.map.aio(functools.partial(add, y=5), [1, 2], group_name="fives")]


@env.task
async def mapped_twice() -> list[int]:
    return [x async for x in flyte.map.aio(add, [1, 2], [3, 4])]


@env.task
async def grouped(x: int) -> list[int]:
    with flyte.group("outer"):
        first = await double(x)
        with flyte.group("inner"):
            second = await double(x)
    return [first, second, await double(x)]


@env.task
def sync_calls(x: int) -> float:
    return half(x) + half(x + 1)


@env.task
def sync_map(n: int) -> list[float]:
    return list(flyte.map(half, range(n)))


@env.task
async def sync_from_async(x: int) -> list[float]:
    return list(await asyncio.gather(half.aio(x), half.aio(x + 1)))


@env.task
async def cancelled() -> str:
    call = asyncio.create_task(sleeps(30.0))
    await double(1)
    call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        return "cancelled"
    return "not cancelled"


@env.task
async def waited_too_long() -> str:
    try:
        async with asyncio.timeout(1.5):
            await sleeps(30.0)
    except TimeoutError:
        return "too long"
    return "in time"


@other.task
async def crossing(x: int) -> int:
    return await double(x)


@env.task
async def overridden(x: int) -> list[int]:
    named = double.override(short_name="twice")
    return [await double(x), await double.override(retries=3)(x), await named(x)]


@env.task
async def plain_call(x: int) -> int:
    return await double.forward(x)


@env.task(short_name="The short one")
async def short_name(x: int) -> int:
    return await double(x)


PROGRAMS = {
    "leaf": Program(task=double, args={"x": 4}),
    "leaf_sync": Program(task=half, args={"x": 3}),
    "chain": Program(task=chain, args={"x": 1}),
    "gather": Program(task=gather, args={"n": 4}),
    "gather_of_none": Program(task=gather, args={"n": 0}),
    "gather_exceptions": Program(task=gather_exceptions),
    "equal_calls": Program(task=equal_calls, args={"x": 1}),
    "task_group": Program(task=task_group, args={"n": 2}),
    "task_group_fails": Program(task=task_group_fails),
    "completed": Program(task=completed),
    "two_levels": Program(task=two_levels, args={"x": 1}),
    "recursion": Program(task=recursion, args={"n": 3}),
    "loop": Program(task=loop, args={"n": 2}),
    "branch_taken": Program(task=branch, args={"x": 1}),
    "branch_not_taken": Program(task=branch, args={"x": -1}),
    "keyword_calls": Program(task=keywords, args={"x": 1}),
    "several_results": Program(task=several_results, args={"x": 1}),
    "no_result": Program(task=no_result, args={"x": 1}),
    "classes": Program(task=classes, args={"x": 1}),
    "map": Program(task=mapped, args={"n": 3}),
    "map_of_none": Program(task=mapped, args={"n": 0}),
    "map_exceptions": Program(task=mapped_exceptions),
    "map_raises": Program(task=mapped_raises),
    "map_partial": Program(task=mapped_partial),
    "map_of_two": Program(task=mapped_twice),
    "groups": Program(task=grouped, args={"x": 1}),
    "sync_calls": Program(task=sync_calls, args={"x": 1}),
    "sync_map": Program(task=sync_map, args={"n": 2}),
    "sync_from_async": Program(task=sync_from_async, args={"x": 1}),
    "cancelled": Program(task=cancelled),
    "waited_too_long": Program(task=waited_too_long),
    "crossing": Program(task=crossing, args={"x": 1}),
    "overridden": Program(task=overridden, args={"x": 1}),
    "plain_call": Program(task=plain_call, args={"x": 1}),
    "short_name": Program(task=short_name, args={"x": 1}),
}
