"""Tasks may be plain functions: blocking code needs no rewriting, and many of them still run side by side.

$ python examples/sync_tasks.py
$ flyte run examples/sync_tasks.py main --n 10
"""

import asyncio
import threading
import time

import flyte

env = flyte.TaskEnvironment(name="sync_tasks")


@env.task
def reciprocal(n: int) -> float:
    return 1 / n


@env.task
def table(n: int) -> list[str]:
    """A sync task calls sync tasks like functions, and maps one over many items.

    A failed item gives its exception in its place; with ``return_exceptions=False`` the first one would be raised.
    """
    lines = [f"one half is {reciprocal(2)}"]
    for i, result in enumerate(flyte.map(reciprocal, range(n))):
        lines.append(f"1/{i} failed: {result}" if isinstance(result, Exception) else f"1/{i} = {result:.3f}")
    return lines


@env.task
def blocking(i: int) -> int:
    time.sleep(0.5)  # stands for code that cannot be awaited: a database driver, a numeric library
    return threading.get_ident()


@env.task
async def main(n: int = 4) -> list[str]:
    """Call sync tasks from async code: ``.aio`` runs each in a thread.

    :param n: how many of each.
    """
    started = time.perf_counter()
    threads = await asyncio.gather(*[blocking.aio(i) for i in range(n)])
    took_s = time.perf_counter() - started

    mapped = [result async for result in flyte.map.aio(reciprocal, [1, 2, 4], concurrency=2)]
    together = f"{n} x 0.5 s of blocking took {took_s:.1f} s in {len(set(threads))} threads"
    return [*await table.aio(n), f"mapped: {mapped}", together]


if __name__ == "__main__":
    print(*flyte.run(main, n=4).result, sep="\n")
