"""Cache objects and policies."""

from datetime import timedelta

import flyte
from transcript import accepted, attempt, show


class Fixed:
    def __init__(self, version: str):
        self.version = version

    def get_version(self, salt: str, params) -> str:
        return self.version + salt


for behavior in ("auto", "override", "disable"):
    cache = accepted(f"Cache({behavior})", lambda: flyte.Cache(behavior, **({"version_override": "1"} if behavior == "override" else {})))
    show("  enabled", cache.is_enabled())
    show("  fields", [cache.behavior, cache.version_override, cache.serialize, cache.ignored_inputs, cache.salt])
accepted("unknown", lambda: flyte.Cache("sometimes"))
attempt("override without version", lambda: flyte.Cache("override").get_version())
show("ignored as text", flyte.Cache("auto", ignored_inputs="x").get_ignored_inputs())
show("ignored as tuple", flyte.Cache("auto", ignored_inputs=("x", "y")).get_ignored_inputs())
show("ignored default", flyte.Cache("auto").get_ignored_inputs())
show("max_age", flyte.Cache("auto", max_age=timedelta(hours=1)).max_age)
attempt("max_age seconds", lambda: flyte.Cache("auto", max_age=60).max_age)
attempt("policies", lambda: len(flyte.Cache("auto", policies=Fixed("a")).policies))
attempt("policies list", lambda: len(flyte.Cache("auto", policies=[Fixed("a"), Fixed("b")]).policies))

env = flyte.TaskEnvironment("cached", cache=flyte.Cache("auto", policies=[Fixed("a"), Fixed("b")], salt="s"))


@env.task
async def f(x: int) -> int:
    return x + 1


@env.task(cache=flyte.Cache(behavior="override", version_override="v7", serialize=True, ignored_inputs=("x",)))
async def g(x: int) -> int:
    return x + 1


@env.task(cache="disable")
async def h(x: int) -> int:
    return x + 1


for task in (f, g, h):
    show(task.short_name, [task.cache.behavior, task.cache.serialize, task.cache.get_ignored_inputs()])
show("version given", g.cache.get_version(None))
attempt("version by policies", lambda: f.cache.get_version(None))
attempt("without parameters", lambda: f.cache.get_version())
attempt("run", lambda: flyte.run(f, 1).outputs()[0])
attempt("run ignored", lambda: flyte.run(g, 1).outputs()[0])
show("protocol", isinstance(Fixed("a"), flyte.CachePolicy))
