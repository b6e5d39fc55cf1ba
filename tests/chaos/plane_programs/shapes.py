"""Workflows of many shapes for a control plane; a line in ``marks`` for each body that is really run.

Processes of it are killed, and what they say to their control plane goes through a proxy that misbehaves.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import flyte

T = TypeVar("T")
FOLDER = os.environ.get("CHAOS_FOLDER", "")


def mark(line: str) -> None:
    # One write: a line is whole or not there.
    descriptor = os.open(f"{FOLDER}/marks", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def go_through_a_proxy(home: str) -> None:
    """Let this container find its control plane where ``home`` says."""
    os.environ["FLYTE_HOME"] = home
    os.environ["_U_EP_OVERRIDE"] = json.loads(Path(home, "devbox", "endpoint.json").read_text())["endpoint"]


def be_quick(limits: dict[str, float]) -> None:
    """Notice soon that a connection is broken, and do not wait long before another try."""
    from flyte._control import remote_children
    from flyte.remote._connection import Limits

    waits: dict[str, Any] = Limits.__init__.__kwdefaults__
    waits.update(limits)
    remote_children.IDLE_S = 1.5
    remote_children.ENQUEUE_PAUSE_S = (0.05, 0.4)
    remote_children.WATCH_PAUSE_S = (0.05, 0.4)
    # As patient in all as what ships, which pauses longer.
    remote_children.ENQUEUE_TRIES = remote_children.WATCH_TRIES = 2000


if FOLDER and "CHAOS_HOME" in os.environ:
    go_through_a_proxy(os.environ["CHAOS_HOME"])
if FOLDER and "CHAOS_LIMITS" in os.environ:
    be_quick(json.loads(os.environ["CHAOS_LIMITS"]))

env = flyte.TaskEnvironment("chaos")


# Bodies ---------------------------------------------------------------------------------------------------------------


@env.task
async def work(label: str, n: int) -> int:
    mark(f"ran {label}")
    await asyncio.sleep(0.05 * (n % 3))
    return n * n + 1


@env.task
def work_sync(label: str, n: int) -> int:
    mark(f"ran {label}")
    return n * n + 2


@env.task
async def branch(label: str, n: int) -> int:
    total = sum(await asyncio.gather(*(work(f"{label}.{i}", n + i) for i in range(2))))
    mark(f"done {label}")
    return total


@env.task(retries=2)
async def flaky(label: str, n: int) -> int:
    if not Path(FOLDER, f"failed {label}").exists():
        Path(FOLDER, f"failed {label}").touch()
        raise ConnectionError("not yet")
    mark(f"ran {label}")
    return n + 3


@env.task(cache=flyte.Cache("auto", serialize=True))
async def kept(place: str, n: int) -> int:
    mark("ran kept")
    return n * 7


@env.task
async def slow(label: str = "slow") -> None:
    mark(f"began {label}")
    await asyncio.sleep(60)
    mark(f"ended {label}")


@flyte.trace
async def step(label: str, n: int) -> int:
    mark(f"ran {label}")
    return n + 10


@flyte.trace
def step_sync(label: str, n: int) -> int:
    mark(f"ran {label}")
    return n + 20


async def seen(label: str, call: Awaitable[T]) -> T:
    """Await a call, and note that its result has arrived: from then on it never runs again."""
    result = await call
    mark(f"seen {label}")
    return result


async def give_up(call: Coroutine[Any, Any, None], after: str) -> None:
    """Cancel a call when it has left a mark."""
    waiting = asyncio.create_task(call)
    while after not in Path(FOLDER, "marks").read_text():
        await asyncio.sleep(0.02)
        assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


# Shapes ---------------------------------------------------------------------------------------------------------------


@env.task
async def gathered(n: int = 4) -> list[int]:
    print("gathered", n)
    return list(await asyncio.gather(*(seen(f"g{i}", work(f"g{i}", i)) for i in range(n))))


@env.task
async def chain(n: int = 4) -> int:
    value = 1
    for i in range(n):
        value = await seen(f"c{i}", work(f"c{i}", value % 5))
    return value


@env.task
async def nested(n: int = 2) -> int:
    return sum(await asyncio.gather(*(branch(f"b{i}", i) for i in range(n)))) + await branch("last", 5)


@env.task
async def traced(n: int = 3) -> int:
    total = 0
    for i in range(n):
        total += await seen(f"t{i}", step(f"t{i}", i)) + step_sync(f"s{i}", i)
        mark(f"seen s{i}")
        total += await seen(f"w{i}", work(f"w{i}", i))
    return total


@env.task
async def mixed(n: int = 2) -> list[int]:
    with flyte.group("first"):
        first = await asyncio.gather(flaky("f0", n), kept(FOLDER, n), kept(FOLDER, n), work_sync.aio("s0", n))
    await give_up(slow("gave up"), "began gave up")
    return [*first, await seen("t", step("t", n)), await kept(FOLDER, n)]


@env.task
async def meets(n: int) -> int:
    """Wait until ``n`` of these run at the same time."""
    mark("here")
    for _ in range(400):
        here = Path(FOLDER, "marks").read_text().count("here")
        if here >= n:
            return here
        await asyncio.sleep(0.05)
    return -1


@env.task
async def asks(n: int = 1) -> int:
    first = await seen("before", work("before", n))
    answer = await (await flyte.new_condition.aio("go", "Go on?", data_type=int)).wait.aio()
    return first + answer + await work("after", answer)


SHAPES = {task.short_name.rpartition(".")[2]: task for task in (gathered, chain, nested, traced, mixed, asks)}
