"""``flyte.limit``: never above the limit, in order, free again when its holder ends, over all processes."""

import asyncio
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import flyte
import flyte.errors

ROOT = str(Path(flyte.__file__).parents[1])
env = flyte.TaskEnvironment(name="limits")


class Gauge:
    """How many are inside, now and at most."""

    def __init__(self):
        self.now = self.most = 0
        self.order = []

    def __enter__(self):
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_):
        self.now -= 1


async def test_no_more_than_max_at_once_and_in_order():
    gauge = Gauge()

    async def one(number):
        async with flyte.limit("pages", max=3):
            with gauge:
                gauge.order.append(number)
                await asyncio.sleep(0.005)

    await asyncio.gather(*[one(number) for number in range(60)])
    assert gauge.most == 3
    assert gauge.order == list(range(60))


def test_threads_are_counted_together_with_coroutines():
    gauge = Gauge()

    def in_thread():
        with flyte.limit("mixed", max=2), gauge:
            time.sleep(0.02)

    async def one():
        async with flyte.limit("mixed", max=2):
            with gauge:
                await asyncio.sleep(0.02)

    async def main():
        await asyncio.gather(*[asyncio.to_thread(in_thread) for _ in range(6)], *[one() for _ in range(6)])

    asyncio.run(main())
    assert gauge.most == 2


async def test_keys_do_not_limit_each_other():
    async with flyte.limit("a", max=1), flyte.limit("b", max=1):
        pass


def test_it_decorates_tasks_sync_and_async():
    shared = flyte.limit("decorated", max=2)
    gauge = Gauge()

    @env.task
    @shared
    async def waits(x: int) -> int:
        with gauge:
            await asyncio.sleep(0.02)
        return x

    @env.task
    @shared
    def sleeps(x: int) -> int:
        with gauge:
            time.sleep(0.02)
        return x

    @env.task
    async def main() -> int:
        return sum(await asyncio.gather(*[waits(x) for x in range(5)], *[sleeps.aio(x) for x in range(5)]))

    assert flyte.run(main).result == 20
    assert gauge.most == 2


async def test_the_same_limit_may_be_entered_twice():
    twice = flyte.limit("twice", max=2)
    async with twice:
        async with twice:
            with pytest.raises(TimeoutError):
                async with flyte.limit("twice", max=2, timeout_s=0.05):
                    pass


async def test_a_wait_can_be_cancelled_and_passes_its_turn_on():
    entered = []

    async def one(name):
        async with flyte.limit("turn", max=1):
            entered.append(name)

    async with flyte.limit("turn", max=1):
        first, second = asyncio.create_task(one("first")), asyncio.create_task(one("second"))
        await asyncio.sleep(0.05)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert entered == []
    await asyncio.wait_for(second, 2)
    assert entered == ["second"]


async def test_a_wait_is_limited_in_time():
    async with flyte.limit("slow", max=1):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"no place under limit 'slow', max=1, within 0.1 s"):
            async with flyte.limit("slow", max=1, timeout_s=0.1):
                pass
        assert time.monotonic() - began < 1


def test_a_thread_waits_no_longer_than_asked():
    with flyte.limit("slow", max=1):
        failed = []

        def waits():
            try:
                with flyte.limit("slow", max=1, timeout_s=0.1):
                    pass
            except TimeoutError as error:
                failed.append(error)

        thread = threading.Thread(target=waits)
        thread.start()
        thread.join(2)
        assert len(failed) == 1


async def test_the_blocking_form_is_refused_in_async_code():
    with pytest.raises(RuntimeError, match=r"async with flyte\.limit"):
        with flyte.limit("x", max=1):
            pass


def test_a_failing_body_gives_its_place_back():
    for _ in range(3):
        with pytest.raises(KeyError):
            with flyte.limit("fails", max=1, timeout_s=1):
                raise KeyError


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"key": 1, "max": 1}, TypeError, "takes a key that is a string"),
        ({"key": "", "max": 1}, ValueError, "key that is not empty"),
        ({"key": "a", "max": 0}, ValueError, "max=0"),
        ({"key": "a", "max": 1.5}, TypeError, "takes a whole number"),
        ({"key": "a", "max": 1, "timeout_s": -1}, ValueError, "no length of time"),
        ({"key": "a", "max": 1, "timeout_s": "1"}, TypeError, "takes seconds"),
    ],
)
def test_mistakes_are_said_at_once(arguments, error, says):
    with pytest.raises(error, match=says):
        flyte.limit(**arguments)


def test_generators_are_refused_and_a_limit_is_pickled():
    with pytest.raises(TypeError, match="decorates functions"):

        @flyte.limit("g", max=1)
        def generates():
            yield 1

    copy = pickle.loads(pickle.dumps(flyte.limit("copied", max=3, timeout_s=2)))
    assert repr(copy) == "flyte.limit('copied', max=3)" and copy.timeout_s == 2


# Several processes ----------------------------------------------------------------------------------------------------

HOLDER = """
import os, sys, time
import flyte
folder, seconds, times = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
for _ in range(times):
    with flyte.limit("shared", max=2):
        mark = os.path.join(folder, f"{os.getpid()}-{time.monotonic_ns()}")
        open(mark, "w").close()
        inside = len(os.listdir(folder))
        time.sleep(seconds)
        os.unlink(mark)
    print(inside, flush=True)
"""


@pytest.fixture
def holders(tmp_path, state_folder):
    started = []

    def start(folder, seconds, times=1):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])}
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), str(seconds), str(times)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        if not process.stdout.closed:
            process.communicate()


def test_processes_share_a_limit(tmp_path, holders):
    folder = tmp_path / "inside"
    folder.mkdir()
    processes = [holders(folder, 0.01, 15) for _ in range(4)]
    seen = [int(line) for process in processes for line in process.communicate(timeout=30)[0].split()]
    assert len(seen) == 60
    assert max(seen) == 2


def test_a_place_is_free_when_its_holder_is_killed(tmp_path, holders):
    """Holders and those in line are killed at random moments: the limit holds, and whoever is left gets in."""
    chance = random.Random(7)
    for number in range(6):
        folder = tmp_path / str(number)
        folder.mkdir()
        doomed = [holders(folder, 30) for _ in range(4)]
        time.sleep(chance.uniform(0.1, 0.5))
        for process in doomed:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        began = time.monotonic()
        with flyte.limit("shared", max=2, timeout_s=2), flyte.limit("shared", max=2, timeout_s=2):
            assert time.monotonic() - began < 1


# With workers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
def test_bodies_in_workers_share_a_limit_and_never_block_each_other(n, tmp_path):
    """Who holds a place waits for a call; who has a worker waits for the place: the worker is lent."""

    @env.task
    async def child(x: int) -> int:
        return x

    @env.task
    async def holds(folder: str, x: int) -> int:
        async with flyte.limit("workers", max=1):
            mark = Path(folder) / str(x)
            mark.touch()
            inside = len(list(Path(folder).iterdir()))
            await child(x)
            mark.unlink()
            return inside

    @env.task
    def holds_sync(folder: str, x: int) -> int:
        with flyte.limit("workers", max=1):
            mark = Path(folder) / str(x)
            mark.touch()
            inside = len(list(Path(folder).iterdir()))
            time.sleep(0.01)
            mark.unlink()
            return inside

    @env.task
    async def main(folder: str) -> int:
        calls = [holds(folder, x) for x in range(4)] + [holds_sync.aio(folder, x) for x in range(4, 8)]
        return max(await asyncio.gather(*calls))

    assert flyte.with_runcontext(workers=n).run(main, str(tmp_path)).result == 1


def test_a_call_that_is_made_again_gets_a_worker_from_those_who_wait():
    """Nobody who has the only worker can go on before a call has succeeded that pauses before its next attempt."""

    @env.task(retries=flyte.RetryStrategy(count=1, backoff=0.5))
    def child() -> int:
        if flyte.ctx().attempt_number == 0:
            raise ValueError("again")
        return 1

    @env.task
    async def holds() -> int:
        async with flyte.limit("again", max=1):
            return await child.aio()

    @env.task
    async def waits(depth: int) -> int:
        if depth:
            return await waits(depth - 1)
        async with flyte.limit("again", max=1):
            return 1

    @env.task
    async def main() -> int:
        holder = asyncio.create_task(holds())
        await asyncio.sleep(0.1)
        return await waits(3) + await holder

    assert flyte.with_runcontext(workers=1).run(main).result == 2
