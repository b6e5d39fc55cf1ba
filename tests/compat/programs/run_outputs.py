"""The run object and its outputs."""

from typing import NamedTuple, Tuple

import flyte
from transcript import attempt, show

env = flyte.TaskEnvironment("outs")


class Named(NamedTuple):
    total: int
    label: str


@env.task
async def one(x: int) -> int:
    return x


@env.task
async def two(x: int) -> Tuple[int, str]:
    return x, str(x)


@env.task
async def three(x: int) -> tuple[int, str, list[int]]:
    return x, str(x), [x]


@env.task
async def named(x: int) -> Named:
    return Named(total=x, label="l")


@env.task
async def none(x: int) -> None:
    pass


@env.task
async def listed(x: int) -> list[int]:
    return [x, x]


@env.task
async def user(x: int) -> str:
    a, b = await two(x)
    n = await named(x)
    c, d = n
    return f"{a!r} {b!r} {c!r} {d!r} {type(n).__name__} {getattr(n, 'total', 'no total')} {await none(x)!r} {await listed(x)}"


for task in (one, two, three, named, none, listed, user):
    run = flyte.run(task, 3)
    out = run.outputs()
    show(task.short_name, tuple(out))
    show("  length", len(out))
    attempt("  first", lambda: out[0])
    attempt("  last", lambda: out[-1])
    attempt("  second", lambda: out[1])
    attempt("  o0", lambda: out.o0)
    attempt("  o1", lambda: out.o1)
    attempt("  total", lambda: out.total)
    attempt("  named_outputs", lambda: dict(out.named_outputs))
    attempt("  unpack two", lambda: [(a, b) for a, b in [out]])
    attempt("  equal", lambda: out == tuple(out))
    attempt("  slice", lambda: out[0:1])
    attempt("  tuple", lambda: isinstance(out, tuple))
    attempt("  contains", lambda: 3 in out)
    attempt("  iteration", lambda: [v for v in out])
    show("  outputs twice", tuple(run.outputs()) == tuple(out))
run = flyte.run(one, 1)
attempt("name", lambda: type(run.name).__name__)
attempt("url", lambda: type(run.url).__name__)
attempt("wait", run.wait)
