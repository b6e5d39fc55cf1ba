"""Workflows of many shapes that write down what happens: ``ran X`` in a body, ``seen X`` by its caller after the await.

``python workflows.py`` is not a program; ``kill.py`` runs them in processes that it kills.
"""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import flyte
import flyte.durable

T = TypeVar("T")

env = flyte.TaskEnvironment(name="chaos")


class Log:
    """One file that all processes of a chain append to; a line is whole or not there."""

    descriptor = -1
    kill_at = 0
    """The instrumented point at which this process kills itself; 0 for none."""
    points = 0

    @classmethod
    def open(cls, path: str) -> None:
        cls.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        # Read by the program under test itself: the product has no hook.
        cls.kill_at = int(os.environ.get("CHAOS_KILL_AT", "0"))
        cls.points = 0

    @classmethod
    def write(cls, line: str) -> None:
        cls.point()
        if cls.descriptor < 0 and "CHAOS_LOG" in os.environ:  # a worker process
            cls.open(os.environ["CHAOS_LOG"])
        if cls.descriptor >= 0:
            os.write(cls.descriptor, f"{line}\n".encode())
        cls.point()

    @classmethod
    def point(cls) -> None:
        cls.points += 1
        if cls.points == cls.kill_at:
            os.kill(int(os.environ["CHAOS_VICTIM"]), signal.SIGKILL)  # the run's process, also from a worker


async def seen(label: str, call: Awaitable[T]) -> T:
    result = await call
    Log.write(f"seen {label}")
    return result


# Bodies ---------------------------------------------------------------------------------------------------------------


@env.task
async def work(label: str, n: int) -> int:
    Log.write(f"ran {label}")
    await asyncio.sleep(0.0005 * (n % 3))
    return n * n + 1


@env.task
def work_sync(label: str, n: int) -> int:
    Log.write(f"ran {label}")
    return n * n + 1


@env.task
async def same(n: int) -> int:
    Log.write("ran same")
    await asyncio.sleep(0)
    return n + 1


@env.task
async def large(label: str, size: int) -> bytes:
    Log.write(f"ran {label}")
    return bytes([len(label)]) * size


@env.task(retries=2)
async def flaky(label: str, n: int) -> int:
    below = await seen(f"{label}/below", work(f"{label}/below", n))
    Log.write(f"ran {label}.{flyte.ctx().attempt_number}")
    if flyte.ctx().attempt_number < 2:
        raise ConnectionError("not yet")
    return below * 2


@env.task
async def broken(n: int) -> int:
    raise LookupError(f"no {n}")


@env.task
async def branch(label: str, depth: int) -> int:
    Log.write(f"ran {label}")
    if depth == 0:
        return 1
    parts = [f"{label}.{i}" for i in range(2)]
    return sum(await asyncio.gather(*(seen(part, branch(part, depth - 1)) for part in parts)))


@env.task
def branch_sync(label: str, n: int) -> int:
    Log.write(f"ran {label}")
    total = 0
    for i in range(n):
        total += work_sync(f"{label}.{i}", i)
        Log.write(f"seen {label}.{i}")
    return total


@flyte.trace
async def step(label: str, n: int) -> int:
    Log.write(f"ran {label}")
    await asyncio.sleep(0)
    return n + 10


@flyte.trace
def step_sync(label: str, n: int) -> int:
    Log.write(f"ran {label}")
    return n + 20


# Shapes ---------------------------------------------------------------------------------------------------------------


@env.task
async def chain(n: int = 6) -> int:
    value = 1
    for i in range(n):
        value = await seen(f"c{i}", work(f"c{i}", value % 7))
    return value


@env.task
async def gathered(n: int = 6) -> list[int]:
    return list(await asyncio.gather(*(seen(f"g{i}", work(f"g{i}", i)) for i in range(n))))


@env.task
async def completed(n: int = 6) -> list[int]:
    results = []
    for call in asyncio.as_completed([seen(f"a{i}", work(f"a{i}", i)) for i in range(n)]):
        results.append(await call)
    last = await seen("last", work("last", sum(results)))
    return [*sorted(results), last]


@env.task
async def mapped(n: int = 6) -> list[int]:
    results = []
    labels = [f"m{i}" for i in range(n)]
    async for result in flyte.map.aio(work, labels, list(range(n)), concurrency=3):
        Log.write(f"seen m{len(results)}")
        results.append(int(result))  # type: ignore[call-overload]
    return results


@env.task
def mapped_sync(n: int = 5) -> list[int]:
    results = []
    for result in flyte.map(work_sync, [f"ms{i}" for i in range(n)], list(range(n)), concurrency=2):
        Log.write(f"seen ms{len(results)}")
        results.append(int(result))  # type: ignore[call-overload]
    return results


@env.task
async def grouped(n: int = 3) -> int:
    total = 0
    for name in ("north", "south"):
        with flyte.group(name):
            labels = [f"{name}-{i}" for i in range(n)]
            total += sum(await asyncio.gather(*(seen(x, work(x, i)) for i, x in enumerate(labels))))
            total += await same(n)
    return total


@env.task
async def nested(depth: int = 2) -> int:
    left, right = await asyncio.gather(seen("L", branch("L", depth)), seen("R", branch("R", depth)))
    return left + right + await seen("end", work("end", left))


@env.task
async def retried(n: int = 3) -> list[int]:
    first = list(await asyncio.gather(*(seen(f"f{i}", flaky(f"f{i}", i)) for i in range(n))))
    try:
        await broken(n)
    except LookupError as error:
        first.append(len(str(error)))
    return [*first, await seen("after", work("after", 3))]


@env.task
async def traced(n: int = 3) -> int:
    total = 0
    for i in range(n):
        total += await seen(f"t{i}", step(f"t{i}", i))
        total += step_sync(f"s{i}", i)
        Log.write(f"seen s{i}")
        total += await seen(f"w{i}", work(f"w{i}", i))
    return total + sum(await asyncio.gather(*(seen(f"p{i}", step(f"p{i}", i)) for i in range(n))))


@env.task
def blocking(n: int = 3) -> int:
    total = branch_sync("b0", n)
    Log.write("seen b0")
    total += step_sync("bs", total)
    Log.write("seen bs")
    total += branch_sync("b1", n)
    Log.write("seen b1")
    return total


@env.task
async def threads(n: int = 4) -> list[int]:
    return list(await asyncio.gather(*(seen(f"x{i}", work_sync.aio(f"x{i}", i)) for i in range(n))))


@env.task
async def equal(n: int = 6) -> int:
    total = 0
    for i in range(n):
        total += await seen(f"same#{i}", same(1))
    return total


@env.task
async def big(n: int = 3) -> int:
    total = 0
    for i in range(n):
        total += sum(await seen(f"big{i}", large(f"big{i}", 300_000)))
    return total


@env.task
async def durable(n: int = 3) -> int:
    same_as_before = 0
    for i in range(n):
        chosen = int(flyte.durable.random() * 1e9)
        began = flyte.durable.time()
        # Another number in the next process would make this another call.
        same_as_before += await seen(f"d{i}", work(f"d{i}", chosen)) == chosen * chosen + 1
        await flyte.durable.sleep.aio(0.002)
        same_as_before += flyte.durable.time() >= began + 0.002
    return same_as_before


@env.task
async def checkpointed(n: int = 5) -> list[int]:
    checkpoint = flyte.ctx().checkpoint
    loaded = await checkpoint.load()
    done = json.loads(loaded.read_text()) if loaded else []
    while len(done) < n:
        i = len(done)
        Log.write(f"ran k{i}")
        done.append(i * i)
        await checkpoint.save(json.dumps(done).encode())
        Log.write(f"seen k{i}")
    return done


_ASYNC = (
    chain,
    gathered,
    completed,
    mapped,
    grouped,
    nested,
    retried,
    traced,
    threads,
    equal,
    big,
    durable,
    checkpointed,
)
_SYNC = (mapped_sync, blocking)
SHAPES: dict[str, Callable[..., Any]] = {task.short_name.rpartition(".")[2]: task for task in (*_ASYNC, *_SYNC)}
EQUAL_CALLS = {"equal": 6}
