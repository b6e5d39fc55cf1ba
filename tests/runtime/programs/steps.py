"""Tasks whose steps leave a mark for each time that they are really made."""

import asyncio
import os
import signal
import time
from pathlib import Path

import flyte
import flyte.durable

env = flyte.TaskEnvironment("steps")


def mark(folder: str, name: str) -> None:
    with (Path(folder) / "marks").open("a") as file:
        file.write(f"{name}\n")


def die_once(folder: str) -> None:
    """End this process without a word, the first time."""
    if not (Path(folder) / "died").exists():
        (Path(folder) / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)


@env.task
async def child(folder: str, x: int) -> int:
    mark(folder, f"child {x}")
    return 10 * x


@flyte.trace
async def fetch(folder: str, x: int) -> int:
    mark(folder, f"fetch {x}")
    return x + 1


@flyte.trace
def look(folder: str, x: int) -> list[int]:
    mark(folder, f"look {x}")
    return [x, x]


@flyte.trace
async def items(folder: str):
    for x in range(3):
        mark(folder, f"item {x}")
        yield x


@flyte.trace
def sync_items(folder: str):
    for x in range(2):
        mark(folder, f"sync item {x}")
        yield x


@flyte.trace
async def refuses(folder: str) -> int:
    mark(folder, "refuses")
    raise flyte.errors.NonRecoverableError("never again")


@flyte.trace
async def stumbles(folder: str) -> int:
    mark(folder, "stumbles")
    raise ValueError("once more")


@env.task
async def takes_long(folder: str) -> int:
    mark(folder, "takes_long")
    (Path(folder) / "waits").touch()
    until = time.monotonic() + 30
    while not (Path(folder) / "again").exists() and time.monotonic() < until:
        await asyncio.sleep(0.05)
    return 7


@env.task(retries=1)
async def is_told_to_end(folder: str) -> int:
    if flyte.ctx().attempt_number > 0:
        (Path(folder) / "again").touch()
        return await takes_long(folder)
    call = asyncio.create_task(takes_long(folder))
    while not (Path(folder) / "waits").exists():
        await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    return await call


@env.task(retries=0)
async def parent(folder: str) -> list[str]:
    said = [str(await asyncio.gather(child(folder, 1), child(folder, 2), child(folder, 1)))]
    said.append(str(await fetch(folder, 1)))
    said.append(str(look(folder, 5)))
    said.append(str([x async for x in items(folder)]))
    said.append(str(list(sync_items(folder))))
    for step in (refuses, stumbles):
        try:
            await step(folder)
        except Exception as error:
            said.append(f"{type(error).__name__} {error}")
    before = flyte.durable.time()
    (Path(folder) / "times").open("a").write(f"{before}\n")
    die_once(folder)
    said.append(str(await child(folder, 3)))
    return said


@env.task
def sync_parent(folder: str) -> str:
    first, second = look(folder, 1), look(folder, 2)
    kept = list(sync_items(folder))
    die_once(folder)
    return f"{first} {second} {kept}"


@env.task
async def asks(folder: str) -> str:
    go = await flyte.new_condition.aio("go", "Go on?")
    count = await flyte.new_condition.aio("count", "How many?", data_type=int, description="a number")
    (Path(folder) / "asked").open("a").write("asked\n")
    yes = await go.wait.aio()
    die_once(folder)
    return f"{yes} {await count.wait.aio()}"


@env.task
async def asks_in_vain() -> str:
    condition = await flyte.new_condition.aio("late", "Anybody?", timeout=0.3)
    try:
        await condition.wait.aio()
    except flyte.errors.ConditionTimedoutError as error:
        return str(error)
    return "answered"


@env.task
async def asks_for_a_list() -> int:
    await flyte.new_condition.aio("many", data_type=list[int])
    return 1


@env.task
async def many_steps(n: int) -> float:
    import time

    begun = time.perf_counter()
    for x in range(n):
        await fast(x)
    return (time.perf_counter() - begun) / n


@flyte.trace
async def fast(x: int) -> int:
    return x


@env.task
async def wishes(folder: str) -> str:
    """Fails until it is given what it wishes for."""
    said = [str(await fetch(folder, 1)), str(look(folder, 5)), str([x async for x in items(folder)])]
    said.append(str(await child(folder, 1)))
    go = await flyte.new_condition.aio("go", "Go on?")
    said.append(str(await go.wait.aio()))
    said.append(str(flyte.durable.time()))
    (Path(folder) / "times").open("a").write(f"{said[-1]}\n")
    if not (Path(folder) / "given").exists():
        raise flyte.errors.NonRecoverableError("a wish is open")
    mark(folder, "given")
    return " ".join(said)
