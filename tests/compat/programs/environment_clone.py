"""clone_with, from_task, dependencies."""

import flyte
from transcript import accepted, attempt, show

base = flyte.TaskEnvironment("base", env_vars={"A": "1"}, resources=flyte.Resources(cpu=1), cache="auto", queue="q")


@base.task
async def f(x: int) -> int:
    return x + 1


copy = base.clone_with("copy", resources=flyte.Resources(cpu=2), env_vars={"B": "2"}, depends_on=[base])
show("copy", copy.name)
show("copy.resources", copy.resources)
show("copy.env_vars", copy.env_vars)
show("copy.queue", copy.queue)
show("copy.cache", copy.cache)
show("copy.tasks", copy.tasks)
show("copy.depends_on", [e.name for e in copy.depends_on])
show("base.tasks", list(base.tasks))
plain = base.clone_with(name="plain")
show("plain.resources", plain.resources)
show("plain.env_vars", plain.env_vars)
off = base.clone_with("off", env_vars=None, resources=None, interruptible=True, secrets="s", cache="disable",
                      image="x:1", description="d")
show("off", [off.env_vars, off.resources, off.queue, off.interruptible, off.secrets, off.cache, off.description])
accepted("unknown keyword", lambda: base.clone_with("z", colour="red"))

g_env = flyte.TaskEnvironment("g_env")


@g_env.task
def g(x: int) -> int:
    return x * 2


attempt("from_task of an owned task", lambda: sorted(flyte.TaskEnvironment.from_task("together", f).tasks))
attempt("parent", lambda: f.parent_env().name)
accepted("clone with queue", lambda: base.clone_with("z2", queue="z"))
attempt("from_task nothing", lambda: sorted(flyte.TaskEnvironment.from_task("nothing").tasks))
attempt("from two envs", lambda: sorted(flyte.TaskEnvironment.from_task("both", f, g).tasks))
attempt("run clone's", lambda: flyte.run(f, 1).outputs()[0])
