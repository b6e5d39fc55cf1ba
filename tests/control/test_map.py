"""flyte.map: order, concurrency, failures of single items, laziness; sync and async."""

import asyncio
import functools
import itertools
import threading
import time
from typing import Any

import pytest

import flyte
import flyte.errors

env = flyte.TaskEnvironment(name="mapping")
running = 0
most = 0
_lock = threading.Lock()


@env.task
async def slow_double(x: int) -> int:
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.002 * (x % 5))
    running -= 1
    return 2 * x


@env.task
def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd {x}")
    return x


@env.task
def add(x: int, y: int, z: int = 0) -> int:
    return x + y + z


@env.task
async def root(n: int, concurrency: int) -> list[int]:
    return [v async for v in flyte.map.aio(slow_double, range(n), concurrency=concurrency)]  # type: ignore[misc]


@pytest.mark.parametrize("concurrency", [0, 1, 3, 100])
def test_order_is_kept_and_concurrency_bounded(concurrency: int):
    global most
    most = 0
    assert flyte.run(root, n=40, concurrency=concurrency).result == [2 * i for i in range(40)]
    assert most <= (concurrency or 40)
    if concurrency > 1:
        assert most > 1


def test_failures_stay_with_their_item():
    @env.task
    def keeps() -> list[str]:
        return [type(v).__name__ for v in flyte.map(odd_fails, range(4))]

    @env.task
    def raises() -> int:
        return len(list(flyte.map(odd_fails, range(4), return_exceptions=False)))

    assert flyte.run(keeps).result == ["int", "ValueError", "int", "ValueError"]
    with pytest.raises(ValueError, match="odd 1"):
        flyte.run(raises)


def test_several_iterables_and_partials():
    @env.task
    async def both() -> list[Any]:
        first = [v async for v in flyte.map.aio(add, [1, 2, 3], [10, 20])]
        second = [v async for v in flyte.map.aio(functools.partial(add, z=100), [1], [2])]
        third = [v async for v in flyte.map.aio(functools.partial(add, 100), [1, 2])]
        return [*first, *second, *third]

    assert flyte.run(both).result == [11, 22, 103, 101, 102]


def test_an_endless_iterable_is_read_as_far_as_needed():
    taken: list[int] = []

    def count() -> Any:
        for i in itertools.count():
            taken.append(i)
            yield i

    @env.task
    async def first_ten() -> list[int]:
        found: list[int] = []
        async for v in flyte.map.aio(slow_double, count(), concurrency=4):
            found.append(v)  # type: ignore[arg-type]
            if len(found) == 10:
                break
        return found

    assert flyte.run(first_ten).result == [2 * i for i in range(10)]
    assert len(taken) < 30


def test_sync_bodies_run_side_by_side():
    @env.task
    def nap(x: int) -> int:
        time.sleep(0.2)
        return x

    @env.task
    def naps() -> list[Any]:
        return list(flyte.map(nap, range(20)))

    start = time.monotonic()
    assert flyte.run(naps).result == list(range(20))
    assert time.monotonic() - start < 2.0


def test_outside_a_run():
    assert list(flyte.map(add, [1, 2], [3, 4])) == [4, 6]
    assert list(flyte.map(slow_double, [1, 2])) == [2, 4]


def test_the_calls_are_a_group_named_after_the_task():
    @env.task
    async def group_of(x: int) -> str:
        parent = flyte.ctx().parent
        return (parent.group if parent else "") or ""

    @env.task
    async def groups() -> list[Any]:
        default = [v async for v in flyte.map.aio(group_of, [1])]
        return default + [v async for v in flyte.map.aio(group_of, [1], group_name="mine")]

    assert flyte.run(groups).result == ["map_group_of", "mine"]


def test_bad_use_is_refused_at_once():
    with pytest.raises(TypeError, match="takes a task"):
        flyte.map(len, [1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="iterable"):
        flyte.map(add)
    with pytest.raises(TypeError, match="iterables, but got int"):
        flyte.map(add, 3)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="concurrency"):
        flyte.map(add, [1], concurrency=-1)
    with pytest.raises(TypeError, match=r"fixes 'x'.*comes first"):
        flyte.map(functools.partial(add, x=1), [1])
    with pytest.raises(TypeError, match=r"fixes 'q'.*no such parameter"):
        flyte.map(functools.partial(add, q=1), [1])
