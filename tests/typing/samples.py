"""What type checkers must see through flyte's API; checked by mypy and pyright, never run.

``assert_type`` fails when the inferred type differs. A line that must be an error carries an ignore for both checkers,
and both report an ignore that is not needed.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, assert_type

import flyte
from flyte import TaskEnvironment

env = TaskEnvironment(name="typed")


@env.task
async def square(x: int) -> int:
    return x * x


@env.task
def label(x: int, prefix: str = "n") -> str:
    return f"{prefix}{x}"


@env.task(retries=3, cache="auto")
async def configured(x: float, *, y: float = 1.0) -> list[float]:
    return [x, y]


@env.task(timeout=10)
def configured_sync(items: dict[str, int]) -> tuple[int, str]:
    return len(items), "x"


@env.task
async def nothing(x: int) -> None:
    return None


async def calls() -> None:
    # A call: a coroutine of an async task, the value of a sync one.
    waiting: Coroutine[Any, Any, int] = square(1)
    await waiting
    assert_type(await square(1), int)
    assert_type(label(1), str)
    assert_type(label(1, prefix="p"), str)
    assert_type(await configured(1.0, y=2.0), list[float])
    assert_type(configured_sync({"a": 1}), tuple[int, str])
    await nothing(1)

    # aio: awaitable for both.
    assert_type(await square.aio(1), int)
    assert_type(await label.aio(1, "p"), str)
    assert_type(await configured_sync.aio({"a": 1}), tuple[int, str])

    # Parameters are checked.
    await square("one")  # type: ignore[arg-type] # pyright: ignore[reportCallIssue, reportArgumentType]
    await square()  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await square(1, 2)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await square(y=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    label(1, prefix=2)  # type: ignore[arg-type] # pyright: ignore[reportCallIssue, reportArgumentType]
    await label.aio("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await configured(1.0, 2.0)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]

    # gather keeps the elements' types. (mypy 2.4 infers Any for a gather of calls of objects with different results,
    # whoever wrote their class; pyright does not. Hence .aio in the mixed one.)
    a, b = await asyncio.gather(square.aio(1), label.aio(2))
    assert_type(a, int)
    assert_type(b, str)
    assert_type(await asyncio.gather(*[square(i) for i in range(3)]), list[int])


async def overrides() -> None:
    patient = square.override(retries=5)
    assert_type(await patient(1), int)
    assert_type(await square.override(short_name="s").aio(1), int)
    assert_type(label.override(env_vars={"A": "1"})(1), str)
    await patient("one")  # type: ignore[arg-type] # pyright: ignore[reportCallIssue, reportArgumentType]
    square.override(retries="many")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def runs() -> None:
    assert_type(flyte.run(square, 1).result, int)
    assert_type(flyte.run(square, x=1).result, int)
    assert_type(flyte.run(label, 1).result, str)
    assert_type(flyte.with_runcontext(mode="local").run(configured, 1.0, y=2.0).result, list[float])
    assert_type(flyte.run(configured_sync, {}).result, tuple[int, str])
    assert_type(flyte.run(square, 1).name, str)
    flyte.run(square, "one")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    flyte.run(square, z=1)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    flyte.run(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType, reportCallIssue]


async def runs_from_async_code() -> None:
    assert_type((await flyte.run.aio(square, 1)).result, int)
    assert_type((await flyte.with_runcontext().run.aio(label, 1, prefix="p")).result, str)


async def maps() -> None:
    assert_type(flyte.map(square, [1, 2]), Iterator[int | Exception])
    assert_type(flyte.map(label, [1, 2], ["a", "b"], concurrency=3), Iterator[str | Exception])
    assert_type(flyte.map.aio(label, [1, 2]), AsyncIterator[str | Exception])
    fixed = functools.partial(label, prefix="p")
    assert_type(flyte.map(fixed, [1, 2]), Iterator[str | Exception])
    async for value in flyte.map.aio(square, range(3)):
        assert_type(value, int | Exception)


@flyte.trace
async def step(x: int) -> str:
    return str(x)


@flyte.trace
def step_sync(x: int) -> str:
    return str(x)


async def traces() -> None:
    assert_type(await step(1), str)
    assert_type(step_sync(1), str)
    await step("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def contexts() -> None:
    assert_type(flyte.ctx().action.name, str)
    assert_type(flyte.ctx().attempt_number, int)
    assert_type(flyte.get_custom_context(), dict[str, str])
    with flyte.group("g"), flyte.custom_context(a="b"):
        pass
