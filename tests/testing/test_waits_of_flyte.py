"""Flyte's own long waits under a manual clock: conditions and durable sleeps."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta

import pytest

import flyte
import flyte.durable
from flyte.errors import ConditionTimedoutError
from flyte.testing import DeadlockError, ManualClock, run, simulate, with_testcontext

env = flyte.TaskEnvironment(name="waits")
DAY_S = 86_400.0


@env.task
async def ask(days: float = 0.0) -> str:
    condition = await flyte.new_condition.aio("ok?", prompt="?", data_type=str, timeout=days * DAY_S or None)
    try:
        return await condition.wait.aio()
    except ConditionTimedoutError:
        return "nobody"


@env.task
async def sleep_twice() -> float:
    began = flyte.durable.time()
    await flyte.durable.sleep.aio(DAY_S)
    await flyte.durable.sleep.aio(DAY_S)
    return flyte.durable.time() - began


@env.task
def sleep_sync() -> float:
    began = flyte.durable.now()
    flyte.durable.sleep(DAY_S)
    return (flyte.durable.now() - began) / timedelta(days=1)


@env.task
async def chosen() -> float:
    numbers = await asyncio.gather(*(pick() for _ in range(3)))
    return round(sum(numbers) - sum(numbers), 3)


@env.task
async def pick() -> float:
    number = flyte.durable.random()
    await asyncio.sleep(number)
    return number


def test_nobody_answers_for_three_days():
    clock = ManualClock()
    assert with_testcontext(clock).run(ask, 3.0).result == "nobody"
    assert clock.elapsed_s == pytest.approx(3 * DAY_S, abs=5)


def test_the_test_answers_after_a_day():
    clock = ManualClock(auto=False)
    started = with_testcontext(clock, name="asked").run.start(ask, 3.0)
    clock.advance(DAY_S)
    assert not started.done
    flyte.signal("asked", "ok?", "yes")
    assert started.wait().result == "yes"


def test_nobody_can_answer():
    with pytest.raises(DeadlockError, match=r"task 'waits\.ask', action a0: "):
        run(ask)


def test_durable_sleeps():
    assert run(sleep_twice).result == pytest.approx(2 * DAY_S, abs=5)
    assert run(sleep_sync).result == pytest.approx(1, abs=0.01)


def test_a_sleep_goes_on_after_a_crash():
    slept = []
    simulate(sleep_twice, seed=1, runs=20, crashes=2, check=lambda r: slept.append(r.elapsed_s), equal=close)
    assert max(slept) < 2 * DAY_S + 200


def close(a: float, b: float) -> bool:
    return abs(a - b) < 200


PROGRAM = """
import asyncio, flyte
from flyte.testing import SimulationError, simulate

env = flyte.TaskEnvironment(name="same")

@env.task
def square(n: int) -> int:
    return n * n

@env.task
async def main() -> list[int]:
    results = []
    async def one(n: int) -> None:
        await asyncio.sleep(n % 2)
        results.append(await square.aio(n))
    async with asyncio.TaskGroup() as tasks:
        for n in range(6):
            tasks.create_task(one(n))
    return results

try:
    simulate(main, seed=40, runs=20)
except SimulationError as error:
    print(error)
"""


def test_a_seed_gives_the_same_in_every_process(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    said = set()
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, str(program)], capture_output=True, text=True, timeout=60, env=environment, check=True
        )
        said.add(done.stdout)
    (only,) = said
    assert "undisturbed it gave" in only
