"""simulate() finds what is wrong with a workflow, says how to have it again, and finds nothing where all is well."""

import asyncio
import os
import random
import re
import threading
import time

import pytest

import flyte
from flyte._control.recovery import Past
from flyte._journal.writer import Writer
from flyte.testing import Schedule, SimulationError, simulate

env = flyte.TaskEnvironment(name="simulated")


class Shop:
    """The outside world: what it holds survives a crash, as a database would."""

    paid: list[int]
    orders: list[int]


@pytest.fixture(autouse=True)
def empty_shop():
    Shop.paid, Shop.orders = [], []


@env.task
async def square(n: int) -> int:
    await asyncio.sleep(n % 3)
    return n * n


@env.task
def square_sync(n: int) -> int:
    return n * n


@env.task
async def squares(n: int = 4) -> int:
    parts = await asyncio.gather(*(square(i) for i in range(n)))
    return sum(parts) + await square_sync.aio(n)


@env.task
async def arrival_order(n: int = 4) -> list[int]:
    results = []

    async def one(i: int) -> None:
        results.append(await square_sync.aio(i))

    async with asyncio.TaskGroup() as tasks:
        for i in range(n):
            tasks.create_task(one(i))
    return results


@env.task
async def pay(amount: int) -> int:
    Shop.paid.append(amount)
    return amount


@env.task
async def order(amount: int = 7) -> int:
    paid = await pay(amount)
    Shop.orders.append(paid)
    return paid


@env.task
async def lost_wakeup() -> int:
    asked = asyncio.Event()
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = False

    async def answer() -> None:
        if waiting:  # wrong: whoever asks may come later
            answered.set_result(1)
        asked.set()

    async def ask() -> int:
        nonlocal waiting
        waiting = True
        return await answered

    first, _ = await asyncio.gather(ask(), answer())
    return first


@env.task
async def spinning() -> None:
    Shop.orders.append(1)
    while len(Shop.orders) > 1:  # from the second process on
        await asyncio.sleep(1)


@env.task
async def failing(n: int = 2) -> int:
    await squares(n)
    raise LookupError("always")


@env.task(retries=2)
async def unsteady(n: int) -> int:
    part = await square(n)
    if flyte.ctx().attempt_number < 2:
        raise ConnectionError("not yet")
    return part


@env.task
def sync_root(n: int = 3) -> int:
    return sum(square_sync(i) for i in range(n)) + sum(flyte.map(square, list(range(n))))


@flyte.trace
async def step(n: int) -> int:
    await asyncio.sleep(0)
    return n + 1


@env.task
async def mixed() -> int:
    with flyte.group("steps"):
        total = sum(await asyncio.gather(*(step(i) for i in range(3))))
    return total + await unsteady(total)


def failure_of(*args, **kwargs) -> SimulationError:
    with pytest.raises(SimulationError) as caught:
        simulate(*args, **kwargs)
    return caught.value


@pytest.mark.parametrize("workflow", [squares, failing, sync_root, mixed, unsteady.override(short_name="u")])
def test_a_sound_workflow_passes(workflow):
    args = (4,) if workflow.name == unsteady.name else ()
    assert simulate(workflow, *args, seed=11, runs=25) == 11


def test_the_runs_do_crash_and_are_shuffled():
    seen = []
    simulate(squares, 3, seed=5, runs=40, check=seen.append)
    undisturbed, *others = seen
    assert undisturbed.schedule == Schedule()
    assert undisturbed.bodies == {"simulated.squares": 1, "simulated.square": 3, "simulated.square_sync": 1}
    assert {run.result for run in seen} == {14}
    assert {run.crashes for run in others} == {0, 1, 2, 3}
    assert len({run.schedule.order_seed for run in others}) > 20
    assert len({tuple(run.events) for run in others}) > 20


def test_a_result_that_depends_on_the_order():
    error = failure_of(arrival_order, seed=3, runs=50, crashes=0)
    assert "but undisturbed it gave [0, 1, 4, 9]" in str(error)
    assert re.search(rf"simulate\(arrival_order, ..., seed={error.seed}, runs=1, crashes=0\)", str(error))
    again = failure_of(arrival_order, seed=error.seed, runs=1, crashes=0)
    assert str(again) == str(error)


@env.task
async def by_chance() -> float:
    return random.random()


def test_a_result_that_is_never_the_same_twice():
    assert "so two undisturbed runs differ: decide by flyte.durable" in str(failure_of(by_chance, seed=1))
    assert simulate(by_chance, seed=1, runs=5, equal=lambda a, b: True) == 1


def test_an_effect_that_happens_twice_is_for_the_users_check():
    def paid_at_most_once_an_order(run):
        paid, Shop.paid = len(Shop.paid), []
        assert paid == 1, f"paid {paid} times"

    error = failure_of(order, seed=1, runs=200, check=paid_at_most_once_an_order)
    said = str(error)
    assert "the check says: AssertionError: paid 2 times" in said
    assert "a smaller schedule fails, too: asyncio's own order, a crash of process 1 at point" in said
    assert "pay(7) starts\n  process 1 is cut at point" in said
    assert said.count("pay(7) starts") == 2
    assert isinstance(error.__cause__, AssertionError)


def test_what_had_been_seen_and_runs_again(monkeypatch):
    monkeypatch.setattr(Past, "find", lambda *_args, **_kwargs: None)  # a recovery that recovers nothing
    error = failure_of(squares, seed=1, runs=50)
    assert re.search(r"square\(\d\) ran again although its caller had its result", str(error))


def test_a_run_that_hangs_under_another_order():
    error = failure_of(lost_wakeup, seed=1, runs=50, crashes=0)
    assert "the run does not end: nothing can end these waits" in str(error)
    assert "return await answered" in str(error)


def test_a_run_that_goes_on_for_ever():
    began = time.monotonic()
    error = failure_of(spinning, seed=1, runs=50)
    assert "the run does not end: it has done more than" in str(error)
    assert time.monotonic() - began < 60


def test_nothing_of_it_is_in_the_users_own_state_folder(state_folder):
    simulate(squares, seed=1, runs=2)
    assert not state_folder.exists()


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="simulate takes a task"):
        simulate(print)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="runs=0 must be at least 1"):
        simulate(squares, runs=0)
    with pytest.raises((TypeError, ValueError), match="m"):
        simulate(squares, m=3)


async def test_in_async_code_it_says_what_to_write():
    with pytest.raises(RuntimeError, match=r"await asyncio\.to_thread\(simulate, \.\.\.\)"):
        simulate(squares, seed=1, runs=1)
    assert await asyncio.to_thread(simulate, squares, seed=1, runs=2) == 1


def test_a_journal_that_writes_too_late_is_found_out(monkeypatch):
    def put(self, loop, action):  # says that the row is written, and writes it some time
        self.put_action(action)
        self.commit_later(loop)

    def commit_alone(self, loop, action):
        put(self, loop, action)
        return True

    async def commit(self, loop, action):
        put(self, loop, action)

    monkeypatch.setattr(Writer, "commit_alone", commit_alone)
    monkeypatch.setattr(Writer, "commit", commit)
    error = failure_of(squares, seed=1, runs=50)
    assert "ran again although its caller had its result" in str(error)


def test_nothing_is_left_behind():
    simulate(sync_root, seed=1, runs=2)
    threads, files = threading.active_count(), len(os.listdir("/dev/fd"))
    simulate(sync_root, seed=1, runs=30)
    assert threading.active_count() <= threads + 10  # idle threads of sync bodies live for some seconds
    assert len(os.listdir("/dev/fd")) <= files + 5
