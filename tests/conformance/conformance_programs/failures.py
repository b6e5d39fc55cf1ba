"""Failure, retry, timeout and cache: what is raised, what the caller catches, how often it is tried."""

import asyncio
from datetime import timedelta

import flyte
import flyte.errors

from .program import Program

env = flyte.TaskEnvironment("failures")
at_once = flyte.Backoff(base=timedelta(milliseconds=10))


class OutOfStock(Exception):
    """An error of the user's own."""

    def __init__(self, item: str, left: int) -> None:
        super().__init__(item, left)
        self.left = left


def said(error: BaseException) -> str:
    kinds = [
        one.__name__ for one in (ValueError, KeyError, OSError, flyte.errors.RuntimeUserError) if isinstance(error, one)
    ]
    code, kind = getattr(error, "code", None), getattr(error, "kind", None)
    return f"{type(error).__name__} {kinds} {code} {kind}: {error}"


@env.task
async def value_error(x: int) -> int:
    raise ValueError(f"bad {x}")


@env.task
async def key_error(x: int) -> int:
    return {"a": 1}[f"b{x}"]


@env.task
def zero_division(x: int) -> float:
    return 1 / x


@env.task
async def file_missing(x: int) -> int:
    with open(f"/nowhere/{x}") as file:
        return len(file.read())


@env.task
async def own_error(x: int) -> int:
    raise OutOfStock("tea", x)


@env.task
async def chained(x: int) -> int:
    try:
        raise KeyError(x)
    except KeyError as error:
        raise RuntimeError("while looking") from error


@env.task
async def asserts(x: int) -> int:
    assert x > 5, "too small"
    return x


@env.task
async def several(x: int) -> int:
    raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])


@env.task
async def stops(x: int) -> int:
    raise SystemExit(3)


@env.task
async def memory(x: int) -> int:
    raise MemoryError("no more")


@env.task
async def unicode_error(x: int) -> int:
    return int(b"\xff".decode())


@env.task
async def empty_message(x: int) -> int:
    raise ValueError


@env.task
async def long_message(x: int) -> int:
    raise ValueError("long " * 5000)


@env.task(retries=3)
async def non_recoverable(x: int) -> int:
    raise flyte.errors.NonRecoverableError(f"never again in attempt {flyte.ctx().attempt_number}")


@env.task(retries=3)
async def user_code(x: int) -> int:
    raise flyte.errors.RuntimeUserError("MyCode", "of the user")


@env.task
async def system_code(x: int) -> int:
    raise flyte.errors.RuntimeSystemError("TheirCode", "of the system")


@env.task
async def wrong_result(x: int) -> int:
    return "text"  # type: ignore[return-value]


@env.task
async def no_result(x: int) -> int:
    return None  # type: ignore[return-value]


@env.task(retries=flyte.RetryStrategy(count=2, backoff=at_once))
async def third_time(x: int) -> int:
    if flyte.ctx().attempt_number < 2:
        raise ConnectionError(f"attempt {flyte.ctx().attempt_number}")
    return flyte.ctx().attempt_number


@env.task(retries=1)
async def never(x: int) -> int:
    raise ConnectionError(f"attempt {flyte.ctx().attempt_number}")


@env.task(retries=1)
def never_sync(x: int) -> int:
    raise ConnectionError(f"attempt {flyte.ctx().attempt_number}")


@env.task(timeout=timedelta(seconds=1))
async def slow(x: int) -> int:
    await asyncio.sleep(60)
    return x


@env.task(timeout=timedelta(seconds=4), retries=1)  # on a control plane the start of a process is a part of it
async def slow_once(x: int) -> int:
    if flyte.ctx().attempt_number == 0:
        await asyncio.sleep(60)
    return flyte.ctx().attempt_number


@env.task(timeout=30)
async def in_time(x: int) -> int:
    return x


@env.task(cache="auto")
async def cached(x: int) -> int:
    return x * x


@env.task(cache=flyte.Cache("override", version_override="v1", ignored_inputs="day"))
async def cached_but(x: int, day: str) -> str:
    return f"{x} {day}"


@env.task(cache=flyte.Cache("override", version_override="v1", serialize=True))
async def cached_alone(x: int) -> int:
    return x


@env.task(cache="auto")
async def cached_failure(x: int) -> int:
    raise ValueError("is not kept")


RAISING = {
    one.func.__name__: one
    for one in (
        value_error, key_error, zero_division, file_missing, own_error, chained, asserts, several, stops, memory,
        unicode_error, empty_message, long_message, non_recoverable, user_code, system_code, wrong_result, no_result,
        third_time, never, never_sync, slow, slow_once, in_time,
    )
}  # fmt: skip


@env.task
async def catches(name: str) -> str:
    try:
        task = RAISING[name]
        return f"gave {await task.aio(0)}"
    except Exception as error:
        return said(error)


@env.task
async def passes_on(x: int) -> int:
    return await value_error(x)


@env.task
async def passes_on_own(x: int) -> int:
    return await own_error(x)


@env.task
async def raises_from(x: int) -> int:
    try:
        return await value_error(x)
    except ValueError as error:
        raise LookupError("in the child") from error


@env.task(retries=1)
async def retries_with_children(x: int) -> int:
    found = await in_time(x)
    if flyte.ctx().attempt_number == 0:
        raise ConnectionError("once more")
    return found + await in_time(x + 1)


@env.task
async def reads_cache(x: int) -> list[int]:
    return [await cached(x), await cached(x), await cached(x + 1)]


@env.task
async def ignores_inputs() -> list[str]:
    return [await cached_but(1, "Monday"), await cached_but(1, "Tuesday"), await cached_but(2, "Monday")]


@env.task
async def reads_alone() -> list[int]:
    return list(await asyncio.gather(cached_alone(1), cached_alone(1)))


@env.task
async def keeps_no_failure() -> str:
    found = await asyncio.gather(cached_failure(1), return_exceptions=True)
    found += await asyncio.gather(cached_failure(1), return_exceptions=True)
    return str([type(one).__name__ for one in found])


@env.task
async def disables_cache() -> list[int]:
    off = cached.override(cache="disable")
    return [await cached(77), await off(77)]


@env.task
async def more_retries() -> str:
    try:
        await never.override(retries=2)(0)
    except ConnectionError as error:
        return str(error)
    return "gave"


PROGRAMS = {
    **{f"fails_{name}": Program(task=task, args={"x": 0}) for name, task in RAISING.items()},
    **{f"catches_{name}": Program(task=catches, args={"name": name}) for name in RAISING},
    "passes_on": Program(task=passes_on, args={"x": 1}),
    "passes_on_own": Program(task=passes_on_own, args={"x": 1}),
    "raises_from": Program(task=raises_from, args={"x": 1}),
    "retries_with_children": Program(task=retries_with_children, args={"x": 1}),
    "cache_root": Program(task=cached, args={"x": 500}),
    "cache_root_again": Program(task=cached, args={"x": 501}, times=2),
    "cache_children": Program(task=reads_cache, args={"x": 1}),
    "cache_children_again": Program(task=reads_cache, args={"x": 10}, times=2),
    "cache_overwritten": Program(task=reads_cache, args={"x": 20}, times=2, settings={"overwrite_cache": True}),
    "cache_ignored_inputs": Program(task=ignores_inputs),
    "cache_serialized": Program(task=reads_alone, in_any_order=True),
    "cache_of_failure": Program(task=keeps_no_failure),
    "cache_disabled": Program(task=disables_cache),
    "more_retries": Program(task=more_retries),
}
