"""Hello, Flyte: two tasks, one calling the other many times in parallel.

Run it with ``flyte run hello``, or copy this file and change it.
"""

import asyncio

import flyte

env = flyte.TaskEnvironment(name="hello")


@env.task
async def square(x: int) -> int:
    """The square of a number: one unit of work."""
    return x * x


@env.task
async def main(n: int = 10) -> int:
    """The sum of the first n squares, each computed by a task of its own.

    Calling a task is awaiting a function: a plain ``asyncio.gather`` runs them side by side.

    :param n: how many numbers to square.
    """
    squares = await asyncio.gather(*[square(x) for x in range(n)])
    return sum(squares)
