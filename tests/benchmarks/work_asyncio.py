"""The limit: the same work on bare asyncio and threads, which encode, name, isolate and record nothing."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from measure import Work, main, scenario
from payload import make_order, order_model


async def square(x: int) -> int:
    return x * x


async def squares(n: int) -> int:
    return sum(await asyncio.gather(*[asyncio.create_task(square(i)) for i in range(n)]))


@scenario("S1")
def gathered(n: int) -> Work:
    return Work(lambda n: asyncio.run(squares(n)), lambda n: sum(i * i for i in range(n)))


async def increment(x: int) -> int:
    return x + 1


async def increments(n: int) -> int:
    x = 0
    for _ in range(n):
        x = await asyncio.create_task(increment(x))
    return x


@scenario("S2")
def chained(n: int) -> Work:
    return Work(lambda n: asyncio.run(increments(n)), lambda n: n)


async def node(depth: int, branching: int) -> int:
    if depth == 0:
        return 1
    children = [asyncio.create_task(node(depth - 1, branching)) for _ in range(branching)]
    return 1 + sum(await asyncio.gather(*children))


def nodes(branching: int) -> int:
    return sum(branching**d for d in range(4))


@scenario("S3")
def tree(n: int) -> Work:
    return Work(lambda n: asyncio.run(node(3, n)), nodes, warm=2, items=nodes)


async def bump(order: Any) -> Any:
    order.total += 1.0
    return order


async def bump_all(make: Any, n: int) -> float:
    orders = await asyncio.gather(*[asyncio.create_task(bump(make(i))) for i in range(n)])
    return sum(o.total for o in orders)


def bumped(n: int) -> float:
    return sum(i * 0.25 + 1.0 for i in range(n))


@scenario("S4_dataclass")
def dataclasses_through_children(n: int) -> Work:
    return Work(lambda n: asyncio.run(bump_all(make_order, n)), bumped)


@scenario("S4_pydantic")
def models_through_children(n: int) -> Work:
    _, make = order_model()
    return Work(lambda n: asyncio.run(bump_all(make, n)), bumped)


def nap(x: int) -> int:
    time.sleep(0.01)
    return x


async def naps(n: int) -> int:
    with ThreadPoolExecutor(max_workers=200) as pool:
        loop = asyncio.get_running_loop()
        return sum(await asyncio.gather(*[loop.run_in_executor(pool, nap, i) for i in range(n)]))


@scenario("S6", "S6_aio")
def blocking(n: int) -> Work:
    return Work(lambda n: asyncio.run(naps(n)), lambda n: n * (n - 1) // 2, warm=5)


async def awaits(n: int) -> int:
    x = 0
    for _ in range(n):
        x = await increment(x)
    return x


@scenario("S10")
def traced(n: int) -> Work:
    return Work(lambda n: asyncio.run(awaits(n)), lambda n: n)


if __name__ == "__main__":
    main()
