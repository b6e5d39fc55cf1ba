"""All parameters of the decorator and where they end."""

from datetime import timedelta

import flyte
from transcript import show

env = flyte.TaskEnvironment("params", interruptible=True, queue="env-queue", cache="auto", pod_template="env-pod")


@env.task(
    short_name="Shown",
    cache=flyte.Cache("override", version_override="v1"),
    retries=flyte.RetryStrategy(count=2, backoff=flyte.Backoff(base=timedelta(seconds=1), factor=2.0, cap=timedelta(minutes=1))),
    timeout=flyte.Timeout(max_runtime=timedelta(minutes=2), max_queued_time=30),
    docs=flyte.Documentation(description="what it does"),
    pod_template="task-pod",
    report=True,
    interruptible=False,
    max_inline_io_bytes=1000,
    queue="task-queue",
    triggers=flyte.Trigger.hourly(),
)
async def full(x: int) -> int:
    return x


@env.task(retries=4, timeout=60, triggers=(flyte.Trigger.daily(), flyte.Trigger("own", flyte.Cron("0 1 * * *"))))
def some(x: int) -> int:
    return x


@env.task(timeout=timedelta(seconds=5), cache="disable", entrypoint=True)
def other(x: int) -> int:
    return x


for task in (full, some, other):
    show("short_name", task.short_name)
    show("cache", [task.cache.behavior, task.cache.version_override, task.cache.is_enabled()])
    show("retries", task.retries.count)
    show("backoff", task.retries.backoff)
    show("timeout", task.timeout)
    show("docs", task.docs)
    show("pod_template", task.pod_template)
    show("report", task.report)
    show("interruptible", task.interruptible)
    show("max_inline_io_bytes", task.max_inline_io_bytes)
    show("queue", task.queue)
    show("triggers", [t.name for t in task.triggers])
    show("entrypoint", task.entrypoint)
    show("produces_artifacts", task.produces_artifacts)
    show("service_account", task.service_account)
    show("plugin_config", task.plugin_config)
