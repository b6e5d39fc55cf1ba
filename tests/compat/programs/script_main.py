"""The usual script."""

import asyncio
from typing import List

import flyte

env = flyte.TaskEnvironment(name="hello_world", image="auto", resources=flyte.Resources(cpu=1, memory="500Mi"))


@env.task
def fn(x: int) -> int:
    slope, intercept = 2, 5
    return slope * x + intercept


@env.task
def main(x_list: list[int] = list(range(10))) -> float:
    y_list = list(flyte.map(fn, x_list))
    return sum(y_list) / len(y_list)


@env.task
async def amain(n: int = 3) -> List[int]:
    coros = []
    with flyte.group("all"):
        for i in range(n):
            coros.append(fn.aio(i))
    return list(await asyncio.gather(*coros))


if __name__ == "__main__":
    flyte.init()
    run = flyte.run(main, x_list=list(range(5)))
    run.wait()
    print(tuple(run.outputs()))
    print(flyte.run(main).outputs()[0])
    print(flyte.run(amain).outputs()[0])
    print(asyncio.run(amain(4)))
    print(main([1, 2]))
