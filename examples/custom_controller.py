"""A controller of your own gets every call of a workflow that knows nothing of it; this one keeps a log of them.

$ python examples/custom_controller.py
$ flyte run examples/custom_controller.py main --n 3

The second command runs the same workflow under the local controller alone, without the log.
"""

import asyncio
import time
from typing import Any

import flyte
import flyte.extend

env = flyte.TaskEnvironment(name="custom_controller")


@env.task
async def square(x: int) -> int:
    return x * x


@env.task
async def total(xs: list[int]) -> int:
    return sum(await asyncio.gather(*[square(x) for x in xs]))


@env.task
async def main(n: int = 3) -> int:
    return await total(list(range(n)))


class CallLog(flyte.extend.LocalController):
    """Runs each call in this process, and says what was called with what."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    async def submit(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = await super().submit(task, *args, **kwargs)
        given = ", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())])
        self.calls.append(f"{task.short_name}({given}) = {result!r}  [{1000 * (time.perf_counter() - started):.1f} ms]")
        return result


if __name__ == "__main__":
    log = CallLog()
    run = flyte.with_runcontext(controller=log).run(main, n=3)
    print(*log.calls, sep="\n")
    print("result:", run.result)
