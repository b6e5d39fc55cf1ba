"""override() of everything, and what it refuses."""

from datetime import timedelta

import flyte
from transcript import accepted, attempt, show

env = flyte.TaskEnvironment("over", env_vars={"A": "1"}, resources=flyte.Resources(cpu=1))


@env.task(retries=3, timeout=10, queue="q", cache="auto", interruptible=True)
async def f(x: int) -> int:
    return x + 1


changes = {
    "short_name": "new", "resources": flyte.Resources(cpu=4, memory="2Gi"), "cache": "disable", "retries": 5,
    "timeout": timedelta(seconds=3), "reusable": flyte.ReusePolicy(replicas=1, idle_ttl=60), "env_vars": {"B": "2"},
    "secrets": flyte.Secret("k"), "max_inline_io_bytes": 10, "pod_template": "p", "queue": "q2", "interruptible": False,
    "service_account": "sa", "entrypoint": True, "produces_artifacts": True, "report": True, "task_type": "other",
    "debuggable": False, "task_type_version": 3, "plugin_config": {"a": 1}, "triggers": (flyte.Trigger.daily(),),
}
for field, value in changes.items():
    try:
        g = f.override(**{field: value})
    except Exception as raised:
        show(f"override {field}", raised)
        continue
    got = getattr(g, field)
    if field == "cache":
        got = got.behavior
    if field == "retries":
        got = got.count
    if field == "triggers":
        got = [t.name for t in got]
    show(field, got)
    show("  new object", g is not f)
    show("  same class", type(g) is type(f))
    show("  same func", g.func is f.func)
    show("  name", g.name)
    show("  kept", [f.short_name, f.resources, f.retries.count, f.timeout, f.queue, f.interruptible])
    if field != "retries":
        show("  retries kept", g.retries.count)
    if field != "timeout":
        show("  timeout kept", g.timeout)
for field, value in {"name": "n", "image": "i:1", "docs": flyte.Documentation("d"), "interface": None}.items():
    accepted(f"override {field}", lambda: f.override(**{field: value}))
accepted("override unknown", lambda: f.override(colour="red"))
accepted("override positional", lambda: f.override("x"))
show("retries 2", f.override(retries=2).retries.count)
show("cache object", f.override(cache=flyte.Cache("override", version_override="x")).cache.version_override)
show("chain", f.override(retries=2).override(queue="z").retries.count)
show("chain queue", f.override(retries=2).override(queue="z").queue)
show("parent", f.override(retries=2).parent_env() is env)
show("in env", env.tasks["over.f"] is f)
attempt("call outside", lambda: f.override(retries=2)(4))
attempt("run", lambda: flyte.run(f.override(short_name="renamed", cache="disable"), 4).outputs()[0])

reused_env = flyte.TaskEnvironment("reused", reusable=flyte.ReusePolicy(replicas=(1, 3), idle_ttl=60))


@reused_env.task
async def r(x: int) -> int:
    return x


for field in ("resources", "env_vars", "secrets"):
    accepted(f"reusable, {field}", lambda: r.override(**{field: changes[field]}))
    accepted(f"off, {field}", lambda: r.override(reusable="off", **{field: changes[field]}))
show("off", r.override(reusable="off").reusable)
