"""What a task body sees locally: variables, secrets given by the user's own environment, working directory."""

import asyncio
import contextvars
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import flyte
from transcript import attempt, show

plain = flyte.TaskEnvironment("plain_env")
secretive = flyte.TaskEnvironment("secretive", secrets=flyte.Secret("not-set-anywhere", as_env_var="NOT_SET"))
given = flyte.TaskEnvironment("given", secrets=[flyte.Secret("given-key", as_env_var="GIVEN_KEY")])
podded = flyte.TaskEnvironment("podded", pod_template="tpl", resources=flyte.Resources(gpu="A100:8", memory="900Gi"),
                               image="example.com/never:1", reusable=flyte.ReusePolicy(replicas=2), queue="q")
os.environ["GIVEN_KEY"] = "value"
os.environ["OUTER"] = "outer"
variable = contextvars.ContextVar("variable", default="unset")
state = {"n": 0}


@secretive.task
async def missing_secret() -> str:
    return str(os.environ.get("NOT_SET"))


@given.task
def given_secret() -> str:
    return os.environ["GIVEN_KEY"]


@podded.task
async def everything() -> str:
    return os.environ["OUTER"] + " " + str(os.getcwd() == os.environ["HOME"])


@plain.task
async def module_state() -> int:
    state["n"] += 1
    return state["n"]


@plain.task
def in_thread(x: int) -> int:
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(lambda v: v * x, range(3)))


@plain.task
async def to_thread(x: int) -> int:
    return await asyncio.to_thread(lambda: x + 1)


@plain.task
async def limited(n: int) -> list[int]:
    limit = asyncio.Semaphore(2)

    async def one(i: int) -> int:
        async with limit:
            return await child(i)

    return list(await asyncio.gather(*(one(i) for i in range(n))))


@plain.task
async def child(x: int) -> int:
    return x * x


@plain.task
async def see_variable() -> str:
    return variable.get()


@plain.task
def factorial(n: int) -> int:
    return 1 if n <= 1 else n * factorial(n - 1)


@plain.task
async def fib(n: int) -> int:
    if n < 2:
        return n
    a, b = await asyncio.gather(fib(n - 1), fib(n - 2))
    return a + b


@plain.task
async def mutated(xs: list[int]) -> int:
    xs.append(1)
    return len(xs)


@plain.task
async def mutating(n: int) -> list[int]:
    xs = [0] * n
    await mutated(xs)
    return xs


@plain.task
async def prints() -> None:
    print("printed by a task")


for task in (missing_secret, given_secret, everything, module_state, module_state, limited, see_variable, prints):
    attempt(task.short_name, lambda: tuple(flyte.run(task, *([4] if task is limited else [])).outputs()))
attempt("in_thread", lambda: flyte.run(in_thread, 3).outputs()[0])
attempt("to_thread", lambda: flyte.run(to_thread, 3).outputs()[0])
attempt("factorial", lambda: flyte.run(factorial, 5).outputs()[0])
attempt("factorial outside", lambda: factorial(5))
attempt("fib", lambda: flyte.run(fib, 6).outputs()[0])
attempt("mutating", lambda: flyte.run(mutating, 2).outputs()[0])
variable.set("set")
attempt("variable", lambda: flyte.run(see_variable).outputs()[0])
with ThreadPoolExecutor(3) as pool:
    show("runs in threads", list(pool.map(lambda i: flyte.run(child, i).outputs()[0], range(5))))


async def blocking_run():
    return flyte.run(child, 7).outputs()[0]


attempt("run in async code", blocking_run)
found = []
thread = threading.Thread(target=lambda: found.append(flyte.run(factorial, 4).outputs()[0]))
thread.start()
thread.join(30)
show("thread", found)


def made(k: int):
    env = flyte.TaskEnvironment(f"made-{k}")

    @env.task
    async def add(x: int) -> int:
        return x + k

    return add


attempt("closure", lambda: [flyte.run(made(k), 1).outputs()[0] for k in range(3)])
