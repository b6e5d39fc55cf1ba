"""The work on flyte, by its documented public API only, so that it runs unchanged on every implementation of it."""

import asyncio
import os
import sys
import time
from typing import Any

from measure import Work, main, scenario
from payload import Order, make_order, order_model

import flyte

env = flyte.TaskEnvironment(name="benchmarks")


def run(task: Any, **inputs: Any) -> Any:
    """One run in this process; its first output. What the run writes goes to the working directory."""
    context = flyte.with_runcontext(mode="local", raw_data_path=os.path.join(os.getcwd(), "raw"))
    return context.run(task, **inputs).outputs()[0]


@env.task
async def square(x: int) -> int:
    return x * x


@env.task
async def squares(n: int) -> int:
    return sum(await asyncio.gather(*[square(i) for i in range(n)]))


@scenario("S1", "S1_kept", "S12_fan")
def gathered(n: int) -> Work:
    """A parent gathers n children, int to int."""
    return Work(lambda n: run(squares, n=n), lambda n: sum(i * i for i in range(n)))


@env.task
async def increment(x: int) -> int:
    return x + 1


@env.task
async def increments(n: int) -> int:
    x = 0
    for _ in range(n):
        x = await increment(x)
    return x


@scenario("S2", "S12")
def chained(n: int) -> Work:
    """A parent awaits n children one after another."""
    return Work(lambda n: run(increments, n=n), lambda n: n)


@env.task
async def node(depth: int, branching: int) -> int:
    if depth == 0:
        return 1
    children = [node(depth=depth - 1, branching=branching) for _ in range(branching)]
    return 1 + sum(await asyncio.gather(*children))


def nodes(branching: int) -> int:
    return sum(branching**d for d in range(4))


@scenario("S3")
def tree(n: int) -> Work:
    """Tasks that call tasks: a tree of depth 3 with n branches at each node."""
    return Work(lambda n: run(node, depth=3, branching=n), nodes, warm=2, items=nodes)


@env.task
async def bump_order(order: Order) -> Order:
    order.total += 1.0
    return order


@env.task
async def bump_orders(n: int) -> float:
    sent = [make_order(i) for i in range(n)]
    got = await asyncio.gather(*[bump_order(o) for o in sent])
    last = make_order(n - 1)
    assert sent[-1] == last, "a child changed its parent's value"
    last.total += 1.0
    assert got[-1] == last, f"{got[-1]!r} is not {last!r}"
    return sum(o.total for o in got)


def bumped(n: int) -> float:
    return sum(i * 0.25 + 1.0 for i in range(n))


@scenario("S4_dataclass")
def dataclasses_through_children(n: int) -> Work:
    """n children that each take and return a dataclass of about 1 KB."""
    return Work(lambda n: run(bump_orders, n=n), bumped)


@scenario("S4_pydantic")
def models_through_children(n: int) -> Work:
    """The same with a pydantic model."""
    model, make = order_model()

    async def bump_model(order: Any) -> Any:
        order.total += 1.0
        return order

    bump_model.__annotations__ = {"order": model, "return": model}
    task = env.task(bump_model)

    async def bump_models(n: int) -> float:
        got = await asyncio.gather(*[task(make(i)) for i in range(n)])
        last = make(n - 1)
        last.total += 1.0
        assert got[-1] == last, f"{got[-1]!r} is not {last!r}"
        return sum(o.total for o in got)

    parent = env.task(bump_models)
    return Work(lambda n: run(parent, n=n), bumped)


@env.task
def nap(x: int) -> int:
    time.sleep(0.01)
    return x


@env.task
def naps(n: int) -> int:
    return sum(flyte.map(nap, range(n)))


@env.task
async def naps_aio(n: int) -> int:
    total = 0
    async for x in flyte.map.aio(nap, range(n)):
        total += x
    return total


def summed(n: int) -> int:
    return n * (n - 1) // 2


@scenario("S6")
def mapped(n: int) -> Work:
    """flyte.map over n blocking tasks of 10 ms, from a sync parent."""
    return Work(lambda n: run(naps, n=n), summed, warm=5)


@scenario("S6_aio")
def mapped_aio(n: int) -> Work:
    """flyte.map.aio over the same, from an async parent."""
    return Work(lambda n: run(naps_aio, n=n), summed, warm=5)


@flyte.trace
async def step(x: int) -> int:
    return x + 1


@env.task
async def steps(n: int) -> int:
    x = 0
    for _ in range(n):
        x = await step(x)
    return x


@scenario("S10", "S10_kept")
def traced(n: int) -> Work:
    """n traced calls, one after another, inside one task."""
    return Work(lambda n: run(steps, n=n), lambda n: n)


bodies = 0


@env.task(cache="auto")
async def cached_increment(x: int) -> int:
    global bodies
    bodies += 1
    return x + 1


@env.task
async def cached_increments(start: int, n: int) -> int:
    x = 0
    for i in range(start, start + n):
        x += await cached_increment(i)
    return x


@scenario("S7_fill")
def cache_misses(n: int) -> Work:
    """n calls of a cached task, one after another, none of them made before; the warm-up uses other values."""

    start = 0

    def fill(k: int) -> int:
        nonlocal start
        before, first = bodies, start
        start += 1_000_000
        total = int(run(cached_increments, start=first, n=k)) - first * k
        assert bodies == before + k, f"{bodies - before} of {k} bodies ran"
        return total

    return Work(fill, lambda n: n * (n + 1) // 2)


@scenario("S7")
def cache_hits(n: int) -> Work:
    """The same calls, all of them made before."""
    run(cached_increments, start=0, n=n)

    def hit(k: int) -> int:
        before = bodies
        total = int(run(cached_increments, start=0, n=k))
        assert bodies == before, f"{bodies - before} of {k} bodies ran again"
        return total

    return Work(hit, lambda n: n * (n + 1) // 2)


def through_tasks(prepare: Any, task: Any, expected: Any) -> Work:
    """n MB through five tasks, one after another; one item, so that the growth is that of the whole chain."""

    def run_one(mb: int) -> Any:
        return run(task, **prepare(mb))

    return Work(run_one, expected, warm=1, items=lambda _: 1)


@scenario("S5_bytes")
def large_bytes(n: int) -> Work:
    import payload_large as large

    return through_tasks(lambda mb: {"mb": mb}, large.chain_bytes, lambda mb: mb * large.MB)


@scenario("S5_numpy")
def large_array(n: int) -> Work:
    """A numpy array; neither package has a type for it, so both pickle it."""
    import payload_large as large

    large.numbers(n)
    return through_tasks(lambda mb: {"mb": mb}, large.chain_numpy, lambda mb: large.checksum(large.numbers(mb)))


@scenario("S5_pandas")
def large_frame(n: int) -> Work:
    """A data frame of pandas as it is."""
    import payload_large as large

    large.frame(n)
    return through_tasks(lambda mb: {"mb": mb}, large.chain_pandas, lambda mb: large.checksum(large.numbers(mb)))


@scenario("S5_flyteframe")
def large_flyteframe(n: int) -> Work:
    """The same through flyte.io.DataFrame, which each task opens and makes anew."""
    import payload_large as large

    large.frame(n)
    return through_tasks(lambda mb: {"mb": mb}, large.chain_flyteframe, lambda mb: large.checksum(large.numbers(mb)))


@scenario("S5_file")
def large_file(n: int) -> Work:
    """A flyte.io.File that each task reads whole."""
    import payload_large as large

    large.file(n)
    return through_tasks(lambda mb: {"path": large.file(mb)}, large.chain_file, lambda mb: mb * large.MB * large.PASSES)


def there_and_back(values: list[Any], annotation: Any) -> list[Any]:
    """Each value to a literal and back, as somebody does who uses the type engine directly."""
    from flyte.types import TypeEngine

    async def convert() -> list[Any]:
        expected = TypeEngine.to_literal_type(annotation)
        out = []
        for value in values:
            literal = await TypeEngine.to_literal(value, annotation, expected)
            out.append(await TypeEngine.to_python_value(literal, annotation))
        return out

    return asyncio.run(convert())


def conversion(annotation: Any, values: list[Any]) -> Work:
    return Work(lambda k: there_and_back(values[:k], annotation), lambda k: values[:k])


@scenario("S11_int")
def convert_ints(n: int) -> Work:
    return conversion(int, list(range(n)))


@scenario("S11_dataclass")
def convert_dataclasses(n: int) -> Work:
    return conversion(Order, [make_order(i) for i in range(n)])


@scenario("S11_pydantic")
def convert_models(n: int) -> Work:
    model, make = order_model()
    return conversion(model, [make(i) for i in range(n)])


@scenario("S11_list")
def convert_lists(n: int) -> Work:
    return conversion(list[int], [list(range(i, i + 1000)) for i in range(n)])


def remembers(name: str) -> bool:
    """Whether runs are remembered: S12 is about that on every system; of the others the published package does not
    unless it is asked to, and ours is measured both ways.
    """
    ours = os.environ.get("BENCHMARK_SYSTEM") == "ours"
    return name.startswith("S12") or (ours and (name.endswith("_kept") or name.startswith("S7")))


if __name__ == "__main__":
    flyte.init(local_persistence=remembers(sys.argv[1]))
    main()
