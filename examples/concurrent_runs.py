"""Several runs at once in one process, as in a web service: each has its own name, context and result.

$ python examples/concurrent_runs.py
$ flyte run examples/concurrent_runs.py main --n 5
"""

import asyncio

import flyte

env = flyte.TaskEnvironment(name="concurrent_runs")


@env.task
async def step(x: int) -> int:
    await asyncio.sleep(0.1)
    return x + 1


@env.task
async def main(n: int) -> str:
    """Take n steps, one after another.

    :param n: how many.
    """
    x = 0
    for _ in range(n):
        x = await step(x)
    customer = flyte.get_custom_context().get("customer", "nobody")
    return f"{x} steps for {customer} in run {flyte.ctx().action.run_name}"


async def serve() -> None:
    """Start three runs, and print what each says as it ends; the shortest ends first."""
    runs = [
        flyte.with_runcontext(name=f"for-{customer}", custom_context={"customer": customer}).run.aio(main, n=n)
        for customer, n in {"ada": 6, "grace": 1, "alan": 3}.items()
    ]
    for ended in asyncio.as_completed(runs):
        run = await ended
        print(f"{run.name}: {run.result}")


if __name__ == "__main__":
    asyncio.run(serve())
