"""Failures: your own exception class reaches the caller, attempts are repeated, and time is limited.

$ python examples/errors_and_retries.py
$ flyte run examples/errors_and_retries.py main --item tea
"""

import asyncio
from datetime import timedelta

import flyte
import flyte.errors

env = flyte.TaskEnvironment(name="errors_and_retries")


class OutOfStock(Exception):
    def __init__(self, item: str, left: int) -> None:
        super().__init__(item, left)
        self.left = left


@env.task
async def order(item: str, amount: int) -> str:
    if amount > 3:
        raise OutOfStock(item, left=3)
    return f"{amount} x {item}"


backoff = flyte.Backoff(base=timedelta(milliseconds=50), factor=2, cap=timedelta(seconds=1))


@env.task(retries=flyte.RetryStrategy(count=4, backoff=backoff))
async def unreliable() -> str:
    attempt = flyte.ctx().attempt_number  # 0 at first
    if attempt < 2:
        raise ConnectionError(f"attempt {attempt} failed")
    return f"attempt {attempt} succeeded"


@env.task(timeout=flyte.Timeout(max_runtime=timedelta(milliseconds=200)))
async def slow() -> None:
    await asyncio.sleep(60)


@env.task(retries=10)
async def charge(card: str) -> None:
    # Fails at once: ten more attempts would not help.
    raise flyte.errors.NonRecoverableError(f"card {card} was refused in attempt {flyte.ctx().attempt_number}")


@env.task
async def main(item: str = "tea") -> list[str]:
    said = [await unreliable()]
    try:
        await order(item, 5)
    except OutOfStock as error:  # also a flyte.errors.RuntimeUserError, with a note that names the action
        said.append(f"only {error.left} left, so {await order(item, error.left)}")
    try:
        await slow()
    except flyte.errors.TaskTimeoutError as error:
        said.append(f"{error.code}: {error}")
    try:
        await charge("1234")
    except flyte.errors.NonRecoverableError as error:
        said.append(f"{error.code}: {error}")
    return said


if __name__ == "__main__":
    print(*flyte.run(main).result, sep="\n")
