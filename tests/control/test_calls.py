"""Calls inside a run: dispatch, order, nesting, sync and async, isolation. Requirement ids are in the docstrings."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import flyte
import flyte.errors

env = flyte.TaskEnvironment(name="calls")


@env.task
async def square(x: int) -> int:
    return x * x


@env.task
def cube(x: int) -> int:
    return x**3


@env.task
def nap(x: int) -> int:
    time.sleep(0.2)
    return x


@env.task
async def append(items: list[int]) -> list[int]:
    items.append(99)
    return items


def test_a_task_outside_a_run_is_its_function():
    """T1, A4, A5: no init, no conversion, the bare value."""
    assert asyncio.run(square(3)) == 9
    assert cube(2) == 8
    # No conversion: a float passes through an int parameter, as in plain Python.
    assert cube(1.5) == 3.375  # type: ignore[arg-type]


def test_gather_gives_results_in_order():
    @env.task
    async def parent(n: int) -> list[int]:
        return list(await asyncio.gather(*[square(i) for i in range(n)]))

    assert flyte.run(parent, n=50).result == [i * i for i in range(50)]


def test_a_gather_that_is_returned_is_awaited():
    """T7: the documentation's own example ends in ``return asyncio.gather(...)``."""

    @env.task
    def my_legacy_task(x: int) -> int:
        return x

    @env.task
    async def my_new_parent_task(n: int) -> list[int]:
        collect = []
        for x in range(n):
            collect.append(my_legacy_task.aio(x))
        return asyncio.gather(*collect)  # type: ignore[return-value]

    assert flyte.run(my_new_parent_task, n=4).result == [0, 1, 2, 3]


def test_as_completed_and_task_groups():
    @env.task
    async def parent() -> int:
        total = 0
        for done in asyncio.as_completed([square(i) for i in range(5)]):
            total += await done
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(square(i)) for i in range(5)]
        return total + sum(t.result() for t in tasks)

    assert flyte.run(parent).result == 60


def test_sync_tasks_run_side_by_side_through_aio():
    """T4, T5: twenty blocking bodies of 0.2 s take about 0.2 s, inside a run and outside."""

    @env.task
    async def parent() -> list[int]:
        return list(await asyncio.gather(*[nap.aio(i) for i in range(20)]))

    async def outside() -> list[int]:
        return list(await asyncio.gather(*[nap.aio(i) for i in range(20)]))

    for call in (lambda: flyte.run(parent).result, lambda: asyncio.run(outside())):
        start = time.monotonic()
        assert call() == list(range(20))
        assert time.monotonic() - start < 2.0  # one after another they would take 4 s


def test_aio_of_an_async_task_gives_the_value():
    """T4: in and out of a run."""

    @env.task
    async def parent() -> int:
        return await square.aio(4)

    assert asyncio.run(square.aio(3)) == 9
    assert flyte.run(parent).result == 16


def test_sync_from_sync_and_asyncio_run_inside_a_sync_task():
    @env.task
    def parent(x: int) -> int:
        with ThreadPoolExecutor(1):
            pass
        return cube(x) + asyncio.run(square(x))

    @env.task
    def grandparent(x: int) -> int:
        return parent(x) + parent(x=x + 1)

    assert flyte.run(grandparent, x=2).result == (8 + 4) + (27 + 9)


def test_nested_sync_calls_do_not_exhaust_threads():
    @env.task
    def deep(n: int) -> int:
        return 0 if n == 0 else 1 + deep(n - 1)

    @env.task
    async def many() -> int:
        return sum(await asyncio.gather(*[deep.aio(10) for _ in range(10)]))

    assert flyte.run(many).result == 100


def test_a_blocking_call_from_async_code_is_refused():
    """T8: at once, naming .aio."""

    @env.task
    async def parent() -> int:
        return cube(2)

    with pytest.raises(flyte.errors.SyncTaskCallInAsyncContextError, match=r"await cube\.aio"):
        flyte.run(parent)

    @env.task
    async def mapper() -> int:
        return sum(flyte.map(cube, range(3)))  # type: ignore[arg-type]

    with pytest.raises(flyte.errors.SyncTaskCallInAsyncContextError, match=r"flyte\.map\.aio"):
        flyte.run(mapper)


def test_a_childs_changes_to_an_argument_stay_in_the_child():
    @env.task
    async def parent() -> tuple[list[int], list[int]]:
        mine = [1, 2]
        theirs = await append(mine)
        return mine, theirs

    assert flyte.run(parent).result == ([1, 2], [1, 2, 99])


def test_outputs_are_isolated_too():
    kept: list[list[int]] = []

    @env.task
    async def child() -> list[int]:
        items = [1]
        kept.append(items)
        return items

    @env.task
    async def parent() -> list[int]:
        got = await child()
        kept[0].append(2)
        return got

    assert flyte.run(parent).result == [1]


def test_runs_in_one_process_do_not_meet():
    @env.task
    async def parent(n: int) -> list[str]:
        names = [flyte.ctx().action.run_name or ""]
        for _ in range(n):
            await asyncio.sleep(0)
            names.append(flyte.ctx().action.run_name or "")
            await square(1)
        return names

    async def many() -> list[list[str]]:
        runs = [flyte.with_runcontext(name=f"run-{i}").run.aio(parent, n=20) for i in range(10)]
        return [r.result for r in await asyncio.gather(*runs)]

    for i, names in enumerate(asyncio.run(many())):
        assert set(names) == {f"run-{i}"}
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: flyte.with_runcontext(name=f"t-{i}").run(parent, n=5).result, range(8)))
    assert [set(names) for names in results] == [{f"t-{i}"} for i in range(8)]


def test_run_inside_a_running_loop_blocks_as_a_notebook_needs():
    async def cell() -> int:
        return flyte.run(square, x=7).result

    assert asyncio.run(cell()) == 49


async def test_under_pytest_asyncio():
    run = await flyte.run.aio(square, 5)
    assert run.result == 25
    await run.wait.aio()
    assert (await run.outputs.aio()).o0 == 25
