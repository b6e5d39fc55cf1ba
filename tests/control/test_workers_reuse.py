"""Reusable environments: processes of their own, module state that lasts, how many and for how long (B12, X4)."""

import asyncio
import itertools
import os
import time

import pytest

import flyte
import flyte.errors
from flyte._control.workers.replicas import ReplicaSet

calls = itertools.count(1)

single = flyte.TaskEnvironment(name="single", reusable=flyte.ReusePolicy(replicas=1, concurrency=2))
pair = flyte.TaskEnvironment(name="pair", reusable=flyte.ReusePolicy(replicas=2))
many = flyte.TaskEnvironment(name="many", reusable=flyte.ReusePolicy(replicas=1, concurrency=3))
plain = flyte.TaskEnvironment(name="plain")


@pair.task
def counted(x: int) -> tuple[int, int]:
    return os.getpid(), next(calls)


@pair.task
def nested(n: int) -> int:
    return 0 if n == 0 else 1 + nested(n - 1)


@pair.task
def slow(x: int) -> tuple[int, float, float]:
    began = time.time()
    time.sleep(0.3)
    return os.getpid(), began, time.time()


@many.task
async def side_by_side(x: int) -> tuple[int, float, float]:
    began = time.time()
    await asyncio.sleep(0.3)
    return os.getpid(), began, time.time()


@many.task
async def many_nested(n: int) -> int:
    return 0 if n == 0 else 1 + await many_nested(n - 1)


@pair.task
def dies() -> None:
    os._exit(1)


@plain.task
def outside() -> int:
    return os.getpid()


def overlap(spans: list[tuple[int, float, float]]) -> int:
    """The most spans that held at one moment."""
    return max(sum(b <= began < e for _, b, e in spans) for _, began, _ in spans)


def run(task, *args, n=4):
    return flyte.with_runcontext(workers=n).run(task, *args).result


def test_consecutive_calls_meet_the_same_process_and_its_state():
    @plain.task
    async def main() -> tuple[list[tuple[int, int]], int]:
        return [await counted.aio(x) for x in range(4)], await outside.aio()

    results, elsewhere = run(main, n=2)
    assert len({pid for pid, _ in results}) == 1
    assert [count for _, count in results] == [1, 2, 3, 4]
    assert elsewhere not in {pid for pid, _ in results}


def test_replicas_are_the_capacity_of_sync_tasks():
    @plain.task
    async def main() -> list[tuple[int, float, float]]:
        return list(await asyncio.gather(*[slow.aio(x) for x in range(6)]))

    spans = run(main)
    assert overlap(spans) == 2
    assert len({pid for pid, _, _ in spans}) == 2


def test_async_tasks_share_a_process():
    @plain.task
    async def main() -> list[tuple[int, float, float]]:
        return list(await asyncio.gather(*[side_by_side(x) for x in range(7)]))

    spans = run(main, n=2)
    assert overlap(spans) == 3
    assert len({pid for pid, _, _ in spans}) == 1


def test_calls_within_the_environment_do_not_block_it():
    assert run(nested, 3, n=1) == 3
    assert run(many_nested, 4, n=2) == 4


def test_a_replica_that_dies_is_replaced():
    @plain.task
    async def main() -> tuple[int, int]:
        first, _ = await counted.aio(1)
        with pytest.raises(flyte.errors.RuntimeSystemError, match="exited with code 1"):
            await dies.aio()
        pids = {(await counted.aio(x))[0] for x in range(3)}
        return len(pids), first

    left, _ = run(main)
    assert left <= 2


def test_a_cancelled_async_body_leaves_its_process_to_others():
    @plain.task
    async def main() -> bool:
        first, _, _ = await side_by_side(1)
        call = asyncio.create_task(side_by_side(2))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        second, _, _ = await side_by_side(3)
        return first == second

    assert run(main) is True


class Process:
    """What a set asks of a process."""

    def __init__(self, idle_since=None):
        self.idle_since = idle_since
        self.closing = False
        self.attempts = {} if idle_since is not None else {1: None}
        self.ready = asyncio.Event()


def replicas(least, most, *processes, idle=60.0, scaledown=30.0, concurrency=1):
    return ReplicaSet(least, most, concurrency, idle, scaledown, list(processes))


def test_what_is_beyond_the_least_goes_after_scaledown_ttl():
    busy, old, young = Process(), Process(0.0), Process(10.0)
    kind = replicas(1, 3, busy, old, young)
    assert kind.next_look() == 30.0
    assert kind.expired(29.9) == []
    assert kind.expired(30.0) == [old]
    old.closing = True
    assert kind.next_look() == 40.0
    assert kind.expired(45.0) == [young]


def test_the_least_stay_until_the_environment_has_been_idle_for_idle_ttl():
    one, other = Process(0.0), Process(5.0)
    kind = replicas(2, 2, one, other)
    assert kind.next_look() == 65.0
    assert kind.expired(64.9) == []
    assert kind.expired(65.0) == [one, other]


def test_nothing_goes_while_it_is_needed():
    kind = replicas(0, 2, Process(), Process())
    assert kind.next_look() is None
    assert kind.expired(1e9) == []


def test_the_warmest_free_process_takes_the_next_call():
    busy, old, young = Process(), Process(1.0), Process(2.0)
    kind = replicas(1, 3, busy, old, young)
    assert kind.choose() is young
    young.closing = True
    assert kind.choose() is old
    old.attempts = {1: None}
    assert kind.choose() is None
    full = replicas(1, 1, busy, concurrency=2)
    assert full.choose() is busy
    busy.attempts = {1: None, 2: None}
    assert full.choose() is None


class Clock:
    """A clock that only goes on when somebody sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def monotonic(self):
        return self.now

    def time(self):
        return self.now

    async def sleep(self, delay_s):
        self.slept.append(delay_s)
        await asyncio.sleep(0)
        self.now += delay_s


async def test_a_pool_ends_idle_replicas_by_the_clock_of_the_run():
    from flyte._control.local import LocalController
    from flyte._control.workers.pool import WorkerPool
    from flyte._core.context import Execution, TaskContext, current

    clock = Clock()
    execution = Execution(
        run_name="ttl",
        controller=LocalController(),
        loop=asyncio.get_running_loop(),
        clock=clock,
        run_base_dir="unused",
    )
    pool = WorkerPool(1, execution)
    execution.attempt = pool.attempt
    try:
        pool.open(counted)
        token = current.set(TaskContext(execution, None, "", None))
        try:
            pid, _ = await execution.controller.submit(counted, 1)
        finally:
            current.reset(token)
        for _ in range(300):
            if not os.path.exists(f"/proc/{pid}"):
                break
            await asyncio.sleep(0.01)
        assert not os.path.exists(f"/proc/{pid}")
        assert sum(clock.slept) == pytest.approx(30.0, abs=0.1)
    finally:
        await pool.close()
