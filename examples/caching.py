"""Caching: a call that was made before, in this process or an earlier one, gives its result without running again.

$ python examples/caching.py
$ FLYTE_CACHE=off flyte run examples/caching.py main --n 3
"""

import asyncio

import flyte

env = flyte.TaskEnvironment(name="caching")
bodies_run: list[int] = []


# "auto": the version follows from the function's body, so results of an older body are never taken for the new one's.
@env.task(cache="auto")
async def slow_square(x: int) -> int:
    bodies_run.append(x)
    await asyncio.sleep(0.05)
    return x * x


# The day tells no two calls apart, results are taken for an hour, and of equal calls at the same time one runs.
@env.task(cache=flyte.Cache("auto", ignored_inputs="day", max_age=3600, serialize=True))
async def report(total: int, day: str) -> str:
    bodies_run.append(total)
    return f"total {total}, computed on {day}"


@env.task
async def main(n: int = 5) -> list[str]:
    """Square numbers and report their sum, twice.

    :param n: how many numbers.
    """
    total = sum(await asyncio.gather(*[slow_square(i) for i in range(n)]))
    return [await report(total, day="Monday"), await report(total, day="Tuesday")]


if __name__ == "__main__":
    # Without this a second start of this script would find everything that the first one left.
    start_afresh = flyte.with_runcontext(overwrite_cache=True)
    print(*start_afresh.run(main, n=5).result, f"{len(bodies_run)} bodies ran", sep="\n")
    bodies_run.clear()
    print(*flyte.run(main, n=6).result, f"{len(bodies_run)} bodies ran", sep="\n")
