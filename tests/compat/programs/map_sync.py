"""flyte.map in its sync form."""

from functools import partial

import flyte
from transcript import attempt, show

env = flyte.TaskEnvironment("mapper")


@env.task
def double(x: int) -> int:
    return x * 2


@env.task
def add(x: int, y: int, z: int = 0) -> int:
    return x + y + z


@env.task
def picky(x: int) -> int:
    if x == 2:
        raise ValueError("two")
    return x


@env.task
async def async_double(x: int) -> int:
    return x * 2


FORMS = {
    0: lambda n: list(flyte.map(double, range(n))),
    1: lambda n: list(flyte.map(add, range(n), [10, 20, 30, 40])),
    2: lambda n: list(flyte.map(partial(add, 100, z=0), range(n))),
    3: lambda n: list(flyte.map(partial(add, y=100, z=1), range(n))),
    4: lambda n: list(flyte.map(partial(add, y=100, z=1000), range(n), concurrency=2)),
    5: lambda n: list(flyte.map(double, range(n), group_name="named", concurrency=1)),
    6: lambda n: list(flyte.map(add, [1, 2], [3])),
    7: lambda n: list(flyte.map(double, [])),
    8: lambda n: [r.code if isinstance(r, Exception) else r for r in flyte.map(picky, range(n))],
    9: lambda n: [r.code if isinstance(r, Exception) else r for r in flyte.map(picky, range(n), return_exceptions=True)],
    10: lambda n: list(flyte.map(double, (i for i in range(n)))),
}


@env.task
def main(form: int, n: int) -> str:
    return repr(FORMS[form](n))


@env.task
def strict(n: int) -> list[int]:
    return list(flyte.map(picky, range(n), return_exceptions=False))


@env.task
def over_async(n: int) -> list[int]:
    return list(flyte.map(async_double, range(n)))


@env.task
def lazily(n: int) -> str:
    found = flyte.map(double, range(n))
    return f"{next(found)} {next(found)}"


@env.task
async def from_async(n: int) -> list[int]:
    return list(flyte.map(double, range(n)))


@env.task
def keyword_first(n: int) -> list[int]:
    return list(flyte.map(partial(add, x=1, z=0), range(n)))


@env.task
def over_function(n: int) -> list[int]:
    return list(flyte.map(lambda x: x, range(n)))


@env.task
def defaulted(n: int) -> list[int]:
    return list(flyte.map(partial(add, y=1), range(n)))


attempt("default left to map", lambda: flyte.run(defaulted, 4).outputs()[0])
for form in FORMS:
    attempt(f"form {form}", lambda: flyte.run(main, form, 4).outputs()[0])
attempt("strict", lambda: flyte.run(strict, 4).outputs()[0])
attempt("async task", lambda: flyte.run(over_async, 4).outputs()[0])
attempt("lazily", lambda: flyte.run(lazily, 4).outputs()[0])
attempt("from async", lambda: flyte.run(from_async, 4).outputs()[0])
attempt("partial binds the mapped one", lambda: flyte.run(keyword_first, 4).outputs()[0])
attempt("plain function", lambda: flyte.run(over_function, 4).outputs()[0])
attempt("outside", lambda: list(flyte.map(double, range(3))))
attempt("outside, two", lambda: list(flyte.map(add, range(3), range(3))))
attempt("outside, partial", lambda: list(flyte.map(partial(add, y=1), range(3))))
attempt("outside, errors", lambda: list(flyte.map(picky, range(4))))
attempt("negative concurrency", lambda: list(flyte.map(double, range(3), concurrency=-1)))
