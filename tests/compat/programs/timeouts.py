"""Timeout values and their forms."""

from datetime import timedelta

import flyte
from transcript import accepted, attempt, show

env = flyte.TaskEnvironment("late")

show("empty", flyte.Timeout())
show("positional", flyte.Timeout(5))
show("all", flyte.Timeout(max_runtime=5, max_queued_time=timedelta(seconds=7), deadline=timedelta(hours=1)))
accepted("negative", lambda: flyte.Timeout(-5))
accepted("negative timedelta", lambda: flyte.Timeout(timedelta(seconds=-5)))
accepted("text", lambda: flyte.Timeout("5"))


@env.task(timeout=30)
async def number(x: int) -> int:
    return x


@env.task(timeout=timedelta(seconds=30))
def delta(x: int) -> int:
    return x


@env.task(timeout=flyte.Timeout(max_runtime=30, max_queued_time=10))
def full(x: int) -> int:
    return x


for task in (number, delta, full):
    show(task.short_name, task.timeout)
    attempt("run", lambda: flyte.run(task, 3).outputs()[0])
    attempt("override", lambda: task.override(timeout=flyte.Timeout(max_runtime=1)).timeout)
    attempt("override number", lambda: task.override(timeout=7).timeout)
