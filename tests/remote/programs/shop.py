"""Tasks that the tests of this folder run on a devbox."""

import asyncio
import dataclasses
import os
import time

import flyte
import flyte.report
from flyte.io import File

env = flyte.TaskEnvironment(name="shop")


@dataclasses.dataclass
class Order:
    item: str
    count: int


class OutOfStockError(Exception):
    pass


@env.task
async def add(x: int, y: int = 2) -> int:
    print("adding", x, "and", y)
    return x + y


@env.task
async def describe(order: Order) -> tuple[Order, str]:
    return dataclasses.replace(order, count=order.count + 1), order.item.upper()


@env.task
async def surroundings(name: str) -> dict[str, str]:
    context = flyte.ctx()
    assert context is not None
    return {
        "variable": os.environ.get(name, ""),
        "custom": flyte.get_custom_context().get("who", ""),
        "mode": context.mode,
        "run": context.action.run_name or "",
    }


@env.task
async def fail(message: str) -> int:
    raise ValueError(message)


@env.task
async def fail_own(message: str) -> int:
    raise OutOfStockError(message)


@env.task
async def sleep(seconds: float) -> None:
    print("asleep", flush=True)
    await asyncio.sleep(seconds)


@env.task
def block(seconds: float) -> str:
    time.sleep(seconds)
    return "awake"


@env.task
async def first_line(file: File) -> str:
    async with file.open("rb") as opened:
        return bytes(await opened.read()).decode().partition("\n")[0]


@env.task(report=True)
async def report(text: str) -> None:
    await flyte.report.replace.aio(f"<p>{text}</p>", do_flush=True)


@env.task
async def parent(n: int) -> list[int]:
    return list(await asyncio.gather(*[add(i) for i in range(n)]))
