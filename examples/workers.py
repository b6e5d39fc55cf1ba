"""Worker processes: tasks use every core, a crash or too much memory costs one call, and limits hold over all.

$ python examples/workers.py
$ flyte run --workers 2 examples/workers.py main --limit 60000
"""

import asyncio
import os
import signal
from pathlib import Path

import flyte
import flyte.errors

env = flyte.TaskEnvironment(name="workers")
small = flyte.TaskEnvironment(name="small", resources=flyte.Resources(memory="200Mi"))
model = flyte.TaskEnvironment(name="model", reusable=flyte.ReusePolicy(replicas=1, concurrency=4))

loaded: list[str] = []  # lasts as long as the worker of a reusable environment
files = flyte.limit("files", max=1)


@env.task
def count_primes(first: int, last: int) -> int:
    return sum(n > 1 and all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(first, last))


@env.task
def crashes() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@small.task
def fill(megabytes: int) -> int:
    return len(bytes(megabytes * 2**20).replace(b"\0", b"x")) // 2**20


@model.task
async def ask(question: str) -> str:
    if not loaded:
        loaded.append("a model")
    return f"{question} {len(loaded)} time loaded"


@env.task
@files
def append(path: str, line: str) -> None:
    text = Path(path).read_text() if Path(path).exists() else ""
    Path(path).write_text(f"{text}{line}\n")  # nobody else is between the two


@env.task
async def main(limit: int = 40_000) -> str:
    step = limit // 4
    primes = sum(await asyncio.gather(*[count_primes.aio(k * step, (k + 1) * step) for k in range(4)]))
    try:
        await crashes.aio()
    except flyte.errors.RuntimeSystemError as error:
        print("one call failed:", error.code)
    try:
        await fill.aio(400)
    except flyte.errors.OOMError:
        more = fill.override(resources=flyte.Resources(memory="2Gi"))
        print("with more memory:", await more.aio(400), "MiB")
    print(await ask("First?"), "-", await ask("Second?"))
    path = f"{flyte.ctx().output_path}/lines"
    Path(path).parent.mkdir(parents=True)
    await asyncio.gather(*[append.aio(path, str(n)) for n in range(8)])
    return f"{primes} primes, {len(Path(path).read_text().splitlines())} lines"


if __name__ == "__main__":
    print(flyte.with_runcontext(workers=2).run(main).result)
