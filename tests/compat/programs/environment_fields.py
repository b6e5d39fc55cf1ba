"""What a TaskEnvironment holds, as given and by default."""

import flyte
from transcript import attempt, show

plain = flyte.TaskEnvironment("plain")
for field in ("name", "depends_on", "pod_template", "description", "secrets", "env_vars", "resources", "interruptible",
              "image", "include", "service_account", "cache", "reusable", "plugin_config", "queue"):
    value = getattr(plain, field)
    show(f"plain.{field}", type(value).__name__ if field == "image" else value)
show("plain.tasks", plain.tasks)

full = flyte.TaskEnvironment(
    name="full-env",
    depends_on=[plain],
    description="all of it",
    secrets=["one", flyte.Secret("two", as_env_var="TWO")],
    env_vars={"A": "1"},
    resources=flyte.Resources(cpu=(1, 2), memory="1Gi"),
    interruptible=True,
    image="ghcr.io/me/img:v1",
    cache="auto",
    queue="fast",
    pod_template="my-template",
)
for field in ("name", "description", "secrets", "env_vars", "resources", "interruptible", "queue", "pod_template"):
    show(f"full.{field}", getattr(full, field))
show("full.depends_on", [e.name for e in full.depends_on])


@full.task
async def one(x: int, y: str = "d") -> str:
    """Doc of one."""
    return y * x


@full.task()
def two() -> None:
    pass


@full.task(short_name="Third")
async def three() -> None:
    pass


show("tasks", sorted(full.tasks))
for task in (one, two, three):
    show("name", task.name)
    show("short_name", task.short_name)
    show("type", type(task).__name__)
    show("parent_env_name", task.parent_env_name)
    show("parent", task.parent_env() is full)
    show("sync", task._call_as_synchronous)
    show("env_vars", task.env_vars)
    show("resources", task.resources)
    show("interruptible", task.interruptible)
    show("queue", task.queue)
    show("cache", task.cache.behavior)
    show("secrets", task.secrets)
    show("pod_template", task.pod_template)
    show("max_inline_io_bytes", task.max_inline_io_bytes)
    show("retries", task.retries.count)
    show("triggers", task.triggers)
    show("links", task.links)
    show("report", task.report)
    show("debuggable", task.debuggable)
    show("task_type", task.task_type)
    show("task_type_version", task.task_type_version)
show("fn doc", one.func.__doc__)
show("fn name", one.func.__name__)
attempt("wrapped name", lambda: one.__name__)
attempt("source file", lambda: one.source_file.rsplit("/", 1)[-1])
