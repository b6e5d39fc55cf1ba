"""Waits under a manual clock: they take no time, they take the time that was asked, and none is for ever."""

import asyncio
import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

import flyte
from flyte.errors import DeadlineExceededError, MaxRuntimeExceededError
from flyte.testing import DeadlockError, ManualClock, run, with_testcontext

env = flyte.TaskEnvironment(name="clock")
DAY_S = 86_400


class Tries:
    made = 0


@env.task(retries=flyte.RetryStrategy(count=2, backoff=flyte.Backoff(base=timedelta(days=30))))
async def flaky() -> int:
    Tries.made += 1
    if Tries.made < 3:
        raise ConnectionError("not yet")
    return Tries.made


@env.task(timeout=flyte.Timeout(max_runtime=timedelta(hours=1)))
async def too_slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


@env.task(timeout=flyte.Timeout(deadline=timedelta(days=40)), retries=flyte.RetryStrategy(
    count=5, backoff=flyte.Backoff(base=timedelta(days=30))))  # fmt: skip
async def hopeless() -> None:
    raise ConnectionError("never")


@env.task(cache=flyte.Cache("auto", max_age=timedelta(days=7)))
async def fetched() -> int:
    Tries.made += 1
    return Tries.made


@env.task
async def sleepy(seconds: float) -> float:
    async with asyncio.timeout(10 * seconds):
        await asyncio.sleep(seconds)
    return seconds


@env.task
def blocking(seconds: float) -> float:
    return sum(flyte.map(sleepy, [seconds, 2 * seconds]))


@env.task
async def several() -> list[float]:
    return list(await asyncio.gather(sleepy(3.0), sleepy(1.0), sleepy(2.0)))


@env.task
async def never() -> None:
    await asyncio.get_running_loop().create_future()


@env.task
async def sleepless(n: int) -> None:
    await never()


@env.task
def never_sync() -> None:
    list(flyte.map(sleepless, [1]))


@env.task
async def both() -> None:
    await asyncio.gather(never(), sleepy(5.0))


@env.task
async def stubborn(seconds: float) -> str:
    time.sleep(seconds)
    return "blocked"


@env.task
async def threaded(seconds: float) -> str:
    async with asyncio.timeout(60):
        await asyncio.to_thread(time.sleep, seconds)
    return "worked"


@env.task
def sync_body(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


@env.task
async def limited_sync(seconds: float) -> str:
    return await sync_body.override(timeout=60).aio(seconds)


@env.task
async def connected() -> bytes:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def answer() -> None:
        time.sleep(0.05)
        theirs.sendall(b"pong")

    threading.Thread(target=answer, daemon=True).start()
    try:
        async with asyncio.timeout(60):
            return await asyncio.get_running_loop().sock_recv(ours, 4)
    finally:
        ours.close()
        theirs.close()


def timed(clock, task, *args):
    began = time.monotonic()
    result = with_testcontext(clock).run(task, *args).result
    return result, time.monotonic() - began


class TestAuto:
    def test_retries_wait_30_days_in_no_time(self):
        Tries.made = 0
        clock = ManualClock()
        result, took_s = timed(clock, flaky)
        assert result == 3
        assert clock.elapsed_s == pytest.approx(60 * DAY_S, abs=1)
        assert took_s < 1

    def test_a_time_limit(self):
        clock = ManualClock()
        with pytest.raises(MaxRuntimeExceededError, match="max_runtime of 3600 s"):
            with_testcontext(clock).run(too_slow, 7200.0)
        assert clock.elapsed_s == pytest.approx(3600, abs=1)
        assert run(too_slow, 3599.0).result == "done"

    def test_a_deadline_over_all_attempts(self):
        clock = ManualClock()
        with pytest.raises(DeadlineExceededError, match="did not succeed within its deadline"):
            with_testcontext(clock).run(hopeless)
        assert clock.elapsed_s == pytest.approx(30 * DAY_S, abs=1)

    def test_the_workflows_own_sleep_and_timeout_end_in_order(self):
        clock = ManualClock()
        assert timed(clock, several)[0] == [3.0, 1.0, 2.0]
        assert clock.elapsed_s == pytest.approx(3, abs=0.1)

    def test_a_sync_body_that_waits_for_sleepers(self):
        clock = ManualClock()
        assert timed(clock, blocking, 1000.0)[0] == 3000
        assert clock.elapsed_s == pytest.approx(2000, abs=1)

    def test_the_age_of_a_cached_result(self):
        Tries.made = 0
        clock = ManualClock()
        context = with_testcontext(clock)
        assert [context.run(fetched).result for _ in range(2)] == [1, 1]
        clock.advance(6 * DAY_S)
        assert context.run(fetched).result == 1
        clock.advance(2 * DAY_S)
        assert context.run(fetched).result == 2

    @pytest.mark.parametrize("task", [threaded, limited_sync])
    def test_time_stands_by_while_a_thread_works(self, task):
        clock = ManualClock()
        result, took_s = timed(clock, task, 0.1)
        assert result in ("worked", "slept")
        assert 0.1 <= took_s < 5
        assert 0.05 < clock.elapsed_s < 5

    def test_a_limit_holds_also_while_a_thread_works(self):
        with pytest.raises(MaxRuntimeExceededError):
            with_testcontext().run(limited_short)

    def test_time_stands_by_while_a_socket_is_waited_for(self):
        clock = ManualClock()
        assert timed(clock, connected)[0] == b"pong"
        assert clock.elapsed_s < 5

    def test_one_clock_for_several_runs(self):
        clock = ManualClock(datetime(2031, 5, 6, tzinfo=UTC))
        timed(clock, sleepy, 60.0)
        timed(clock, sleepy, 60.0)
        assert clock.now() - datetime(2031, 5, 6, tzinfo=UTC) == timedelta(seconds=120)


@env.task
async def limited_short() -> str:
    return await sync_body.override(timeout=0.2).aio(0.6)


class TestEndlessWaits:
    def test_it_is_said_who_waits_for_what(self):
        began = time.monotonic()
        with pytest.raises(DeadlockError) as caught:
            run(both)
        said = str(caught.value)
        assert "task 'clock.never', action " in said
        assert "await asyncio.get_running_loop().create_future()" in said
        assert "for a future that nobody resolves" in said
        assert "task 'clock.both', action a0: " in said
        assert "in both: await asyncio.gather(never(), sleepy(5.0))  [for several calls]" in said
        assert time.monotonic() - began < 3

    def test_also_below_a_sync_body(self):
        with pytest.raises(DeadlockError, match="in never_sync: list"):
            run(never_sync)

    def test_a_run_after_it_works(self):
        with pytest.raises(DeadlockError):
            run(never)
        assert run(sleepy, 1.0).result == 1


class TestAdvance:
    def test_the_test_moves_the_time(self):
        clock = ManualClock(auto=False)
        started = with_testcontext(clock).run.start(several)
        assert not started.done
        clock.advance(2.5)
        assert not started.done
        assert clock.elapsed_s == 2.5
        clock.advance(0.6)
        assert started.done
        assert started.wait().result == [3.0, 1.0, 2.0]

    def test_an_error_of_the_workflow(self):
        clock = ManualClock(auto=False)
        started = with_testcontext(clock).run.start(too_slow, 7200.0)
        clock.advance(3600)
        with pytest.raises(MaxRuntimeExceededError):
            started.wait()

    def test_from_inside_a_workflow(self):
        clock = ManualClock(auto=False)

        @env.task
        async def moves() -> float:
            sleeper = asyncio.create_task(sleepy(100.0))
            for _ in range(20):  # until the sleeper sleeps
                await asyncio.sleep(0)
            clock.advance(1000)
            return await sleeper

        assert timed(clock, moves)[0] == 100

    @pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), "1"])
    def test_what_is_no_duration_is_refused(self, seconds):
        with pytest.raises(ValueError, match="takes a number of seconds"):
            ManualClock().advance(seconds)


class TestRuns:
    async def test_in_an_async_test(self):
        assert (await run.aio(sleepy, 3600.0)).result == 3600

    async def test_the_sync_form_in_async_code(self):
        assert run(sleepy, 3600.0).result == 3600

    async def test_side_by_side(self):
        runs = await asyncio.gather(*(run.aio(sleepy, float(n)) for n in range(1, 4)))
        assert [each.result for each in runs] == [1, 2, 3]

    async def test_cancelling_it_cancels_the_workflow(self):
        clock = ManualClock(auto=False)
        running = asyncio.create_task(with_testcontext(clock).run.aio(sleepy, 60.0))
        await asyncio.sleep(0.3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not clock._loops

    def test_nothing_of_it_is_in_the_users_own_state_folder(self, state_folder):
        run(fetched)
        assert not state_folder.exists()

    def test_recovery(self, tmp_path):
        Tries.made = -10  # fails for good
        context = with_testcontext(home=tmp_path, name="first")
        with pytest.raises(ConnectionError):
            context.run(chained)
        made = Tries.made
        Tries.made = 5
        again = with_testcontext(home=tmp_path, recover_from="first").run(chained)
        assert again.result == 6
        assert made == -7
        assert Steps.count == 1


class Steps:
    count = 0


@env.task
async def counted() -> int:
    Steps.count += 1
    return 0


@env.task
async def chained() -> int:
    return await counted() + await flaky()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: ManualClock(5), TypeError, "start takes a datetime"),  # type: ignore[arg-type]
        (lambda: ManualClock(datetime(2030, 1, 1)), ValueError, "has no time zone"),
        (lambda: with_testcontext(time), TypeError, "clock takes a flyte.testing.ManualClock"),  # type: ignore[arg-type]
        (lambda: with_testcontext(unmocked="no"), ValueError, "use 'run' or 'error'"),  # type: ignore[arg-type]
        (lambda: with_testcontext(workers=2), TypeError, "has no workers"),
        (lambda: with_testcontext(mocks=[1]), TypeError, "mocks takes"),  # type: ignore[list-item]
    ],
)
def test_wrong_options_are_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
