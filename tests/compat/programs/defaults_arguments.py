"""Defaults, keywords, missing and unknown arguments."""

from dataclasses import dataclass
from typing import List, Optional

import flyte
import transcript
from transcript import attempt, show

transcript.REFUSED = True

env = flyte.TaskEnvironment("args")


@dataclass
class Config:
    rate: float = 0.1


@env.task
async def f(a: int, b: str = "d", c: Optional[float] = None, d: List[int] = [1, 2], e: Config = Config()) -> str:
    return f"{a!r} {b!r} {c!r} {d!r} {e!r}"


@env.task
async def keyword_only(a: int, *, b: int, c: int = 3) -> int:
    return a * 100 + b * 10 + c


@env.task
async def wrong_default(a: int = "x") -> str:
    return repr(a)


@env.task
async def main(n: int) -> list[str]:
    return [await f(1), await f(a=2), await f(3, "x"), await f(4, c=1.5, b="z"), await f(5, d=[], e=Config(0.5)),
            str(await keyword_only(1, b=2)), str(await keyword_only(b=1, a=2, c=0))]


@env.task
async def missing(n: int) -> str:
    return await f()


@env.task
async def unknown(n: int) -> str:
    return await f(1, zz=3)


@env.task
async def too_many(n: int) -> str:
    return await f(1, "b", 1.0, [1], Config(), 6)


@env.task
async def twice(n: int) -> str:
    return await f(1, a=3)


@env.task
async def wrong(n: int) -> str:
    return await f("text")


@env.task
async def wrong_output(n: int) -> int:
    return "text"


@env.task
async def too_few_outputs(n: int) -> tuple[int, int]:
    return (1,)


@env.task
async def caught(n: int) -> list[str]:
    found = []
    for call in (lambda: f("text"), lambda: f(), lambda: f(1, zz=3)):
        try:
            found.append(await call())
        except Exception as e:
            found.append("error")
    return found


for task in (main, missing, too_many, twice, wrong, wrong_output, too_few_outputs, caught):
    attempt(task.short_name, lambda: flyte.run(task, 1).outputs()[0])
attempt("unknown in task", lambda: flyte.run(unknown, 1).outputs()[0])
attempt("run missing", lambda: flyte.run(f).outputs()[0])
attempt("run unknown", lambda: flyte.run(f, 1, zz=3).outputs()[0])
attempt("run too many", lambda: flyte.run(keyword_only, 1, 2, 3).outputs()[0])
attempt("run wrong", lambda: flyte.run(f, "x").outputs()[0])
attempt("run defaults", lambda: flyte.run(f, 1).outputs()[0])
attempt("run keyword only", lambda: flyte.run(keyword_only, 1, b=5).outputs()[0])
attempt("wrong default", lambda: flyte.run(wrong_default).outputs()[0])
attempt("outside missing", lambda: f())
attempt("outside wrong", lambda: f("text"))
attempt("outside unknown", lambda: f(1, zz=3))
