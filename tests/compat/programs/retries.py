"""Retries in their forms."""

import asyncio
from datetime import timedelta

import flyte
from transcript import accepted, attempt, show

env = flyte.TaskEnvironment("retry")
count = {}


def tick(key: str, failures: int, kind: type = ValueError) -> int:
    count[key] = count.get(key, 0) + 1
    if count[key] <= failures:
        raise kind("again")
    return count[key]


@env.task(retries=3)
async def by_number(n: int) -> int:
    return tick("number", n)


@env.task(retries=flyte.RetryStrategy(count=2))
def by_strategy(n: int) -> int:
    return tick("strategy", n)


@env.task(retries=flyte.RetryStrategy(count=3, backoff=flyte.Backoff(base=timedelta(milliseconds=10))))
async def by_backoff(n: int) -> int:
    return tick("backoff", n)


@env.task(
    retries=flyte.RetryStrategy(
        count=3, backoff=flyte.Backoff(base=timedelta(milliseconds=5), factor=2, cap=timedelta(milliseconds=20))
    )
)
async def by_growth(n: int) -> int:
    return tick("growth", n)


@env.task(retries=3)
async def final(n: int) -> int:
    return tick("final", n, flyte.errors.NonRecoverableError)


@env.task
async def never(n: int) -> int:
    return tick("never", n)


@env.task
async def parent(n: int) -> str:
    value = await by_number(n)
    try:
        await final(5)
    except flyte.errors.RuntimeUserError as e:
        return f"{value} {e.code}"
    return "no error"


show("value", flyte.RetryStrategy(count=2).count)
show("backoff", flyte.Backoff(base=timedelta(seconds=1), factor=2.0, cap=timedelta(seconds=4)))
accepted("negative", lambda: flyte.RetryStrategy(count=-1))
accepted("factor below one", lambda: flyte.Backoff(base=timedelta(seconds=1), factor=0.5))
accepted("factor without cap", lambda: flyte.Backoff(base=timedelta(seconds=1), factor=2.0))
accepted("cap below base", lambda: flyte.Backoff(base=timedelta(seconds=2), factor=2.0, cap=timedelta(seconds=1)))
accepted("zero base", lambda: flyte.Backoff(base=timedelta(0)))
accepted("base as number", lambda: flyte.Backoff(base=3))
for task, n in ((by_number, 2), (by_strategy, 2), (by_backoff, 3), (by_growth, 2), (never, 1), (final, 1)):
    count.clear()
    attempt(f"{task.short_name} {n}", lambda: flyte.run(task, n).outputs()[0])
    show("  calls", list(count.values()))
count.clear()
attempt("exhausted", lambda: flyte.run(by_number, 9).outputs()[0])
show("  calls", list(count.values()))
count.clear()
attempt("parent", lambda: flyte.run(parent, 1).outputs()[0])
show("  calls", count)
count.clear()
attempt("outside a run", lambda: by_number(1))
show("  calls", count)
