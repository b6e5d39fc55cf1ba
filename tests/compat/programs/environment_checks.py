"""Wrong declarations are refused."""

import flyte
from transcript import accepted

E = flyte.TaskEnvironment
for name in ("ok", "ok-1", "ok_1", "Bad", "with space", "", "1x", "a.b", "a--b", "ümlaut", "_x", "x_", "aB"):
    accepted(f"name {name!r}", E, name)
for field, value in {
    "name": 3, "depends_on": "x", "env_vars": "A=1", "resources": 3, "interruptible": "yes", "image": 3, "cache": 5,
    "reusable": 5, "description": 3, "pod_template": 4, "secrets": 3, "queue": 4, "include": 3,
}.items():
    accepted(f"{field}={value!r}", lambda: E(**{"name": "e", field: value}))
accepted("cache=text", lambda: E("e", cache="sometimes"))
accepted("unknown field", lambda: E("e", colour="red"))
accepted("description long", lambda: E("e", description="x" * 1000))

env = E("mine")
accepted("self dependency", env.add_dependency, env)
other = E("other")
accepted("dependency", env.add_dependency, other)
accepted("dependency twice", env.add_dependency, other)
accepted("dependency of wrong type", env.add_dependency, "other")


def starred(*xs: int) -> int:
    return 1


def keywords(**xs: int) -> int:
    return 1


def bare(x):
    return x


def no_output(x: int):
    return None


for function in (starred, keywords, bare, no_output):
    accepted(f"decorate {function.__name__}", env.task, function)
accepted("decorate twice", lambda: env.task(no_output))
accepted("positional-only", lambda: env.task(lambda x, /: x))
accepted("not a function", lambda: env.task(3))
for field, value in {
    "retries": "3", "timeout": "3", "cache": "sometimes", "interruptible": "yes", "max_inline_io_bytes": "big",
    "queue": 3, "report": "yes", "short_name": 3, "triggers": 3, "docs": 3, "colour": "red",
}.items():
    def body(x: int) -> int:
        return x

    accepted(f"task {field}={value!r}", lambda: env.task(**{field: value})(body))
accepted("negative retries", lambda: env.task(retries=-1)(body))
accepted("reusable with plugin_config", lambda: E("e", reusable=flyte.ReusePolicy(), plugin_config=object()))
accepted("unregistered plugin", lambda: E("e", plugin_config=object()).task(body))
