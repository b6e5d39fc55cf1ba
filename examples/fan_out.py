"""Many calls at once, with nothing but asyncio: gather, as_completed, a task group, and a name for a group of calls.

$ python examples/fan_out.py
$ flyte run examples/fan_out.py main --n 10
"""

import asyncio
from dataclasses import dataclass

import flyte

env = flyte.TaskEnvironment(name="fan_out")


@dataclass
class Orders:
    gathered: list[int]
    """Results of gather: in the order of the calls."""
    completed: list[int]
    """Results of as_completed: in the order in which they came."""
    grouped: dict[str, int]
    """Results of a task group, by name."""


@env.task
async def fetch(page: int, wait_s: float = 0.0) -> int:
    """Stands for a request: waits, then gives the page's size."""
    await asyncio.sleep(wait_s)
    return page * page


@env.task
async def main(n: int = 5) -> Orders:
    """Fetch n pages in three ways.

    :param n: how many pages.
    """
    gathered = await asyncio.gather(*[fetch(page) for page in range(n)])

    # The first call waits longest, so that its result comes last.
    slow_first = [fetch(page, wait_s=0.05 * (n - page)) for page in range(n)]
    completed = [await result for result in asyncio.as_completed(slow_first)]

    # If one call of a task group fails, the others are cancelled. The group's name is shown to whoever watches the run.
    with flyte.group("in a task group"):
        async with asyncio.TaskGroup() as group:
            calls = {f"page {page}": group.create_task(fetch(page)) for page in range(n)}

    return Orders(list(gathered), completed, {name: call.result() for name, call in calls.items()})


if __name__ == "__main__":
    orders = flyte.run(main, n=5).result
    print("gather      ", orders.gathered)
    print("as_completed", orders.completed)
    print("task group  ", orders.grouped)
