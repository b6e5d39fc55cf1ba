"""ReusePolicy."""

from datetime import timedelta

import flyte
from transcript import accepted, attempt, show

R = flyte.ReusePolicy
for label, make in {
    "default": lambda: R(), "replicas": lambda: R(replicas=3), "range": lambda: R(replicas=(1, 4)),
    "ttl": lambda: R(idle_ttl=timedelta(minutes=5), scaledown_ttl=60), "concurrency": lambda: R(concurrency=10),
    "positional": lambda: R((1, 2), 60), "scope": lambda: R(scope="run"), "single": lambda: R(replicas=1),
    "short ttl": lambda: R(idle_ttl=10), "backwards": lambda: R(replicas=(4, 1)), "negative": lambda: R(replicas=-1),
    "zero concurrency": lambda: R(concurrency=0), "three": lambda: R(replicas=(1, 2, 3)),
    "zero": lambda: R(replicas=0), "scope unknown": lambda: R(scope="x"), "from zero": lambda: R(replicas=(0, 2)),
    "short scaledown": lambda: R(scaledown_ttl=timedelta(seconds=5)),
}.items():
    value = attempt(label, make)
    if value is not None:
        show("  replicas", value.replicas)
        show("  idle_ttl", value.idle_ttl)
        attempt("  min max", lambda: [value.min_replicas, value.max_replicas])
        attempt("  scaledown", lambda: value.scaledown_ttl)
env = flyte.TaskEnvironment("reusing", reusable=R(replicas=(1, 2), concurrency=5))


@env.task
async def f(x: int) -> int:
    return x


def g(x: int) -> int:
    return x


show("task", f.reusable)
show("type", f.task_type)
accepted("sync with concurrency", lambda: env.task(g))
attempt("run", lambda: flyte.run(f, 1).outputs()[0])
attempt("off", lambda: f.override(reusable="off").reusable)
attempt("clone", lambda: env.clone_with("other", reusable=None).reusable)
attempt("clone new", lambda: env.clone_with("other2", reusable=R(replicas=2)).reusable.replicas)
