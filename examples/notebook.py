"""As in a notebook: tasks and runs cell by cell. ``flyte.run`` also works where an event loop is running already.

$ python examples/notebook.py
$ flyte run examples/notebook.py main --n 10

Editors that know ``# %%`` show the parts as cells.
"""

# %% Declare
import asyncio

import flyte

flyte.init()
env = flyte.TaskEnvironment(name="notebook")


@env.task
async def roll(n: int) -> int:
    return n * n


@env.task
async def main(n: int = 3) -> list[int]:
    return list(await asyncio.gather(*[roll(i) for i in range(n)]))


# %% Run
if __name__ == "__main__":
    run = flyte.run(main, n=3)
    print(run.phase.value, run.outputs().o0)


# %% Change a task and run again: the name means the new function from now on
@env.task
async def roll(n: int) -> int:  # noqa: F811
    return n * n * n


if __name__ == "__main__":
    print(flyte.run(main, n=3).result)
