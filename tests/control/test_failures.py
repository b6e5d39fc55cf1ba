"""Failures: whose class they have, what they say, what they cancel; retries and time limits."""

import asyncio
import datetime
import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest

import flyte
import flyte.errors

env = flyte.TaskEnvironment(name="failures")


class Refused(Exception):
    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


@env.task
async def boom(kind: str) -> int:
    raise {"value": ValueError("bad value"), "own": Refused("no", 7), "os": FileNotFoundError(2, "gone", "f.txt")}[kind]


@env.task
async def parent(kind: str) -> int:
    return await boom(kind)


def test_a_failure_is_both_the_users_class_and_ours():
    """T6, D7."""
    with pytest.raises(ValueError, match="bad value") as caught:
        flyte.run(parent, kind="value")
    assert isinstance(caught.value, flyte.errors.RuntimeUserError)
    assert caught.value.code == "ValueError" and caught.value.kind == "user"
    with pytest.raises(Refused) as own:
        flyte.run(parent, kind="own")
    assert own.value.reason == "no" and own.value.code == 7
    with pytest.raises(OSError) as missing:
        flyte.run(parent, kind="os")
    assert missing.value.errno == 2 and missing.value.filename == "f.txt"


def test_the_note_names_task_run_action_and_attempt():
    with pytest.raises(ValueError) as caught:
        flyte.with_runcontext(name="my-run").run(parent, kind="value")
    (note,) = caught.value.__notes__
    assert "'failures.boom'" in note and "run my-run" in note and "attempt 1 of 1" in note
    assert "action a0" not in note  # the child failed, and it is the child that is named


def test_the_traceback_holds_the_users_frames_and_not_the_machinery():
    with pytest.raises(ValueError) as caught:
        flyte.run(parent, kind="value")
    frames = traceback.extract_tb(caught.value.__traceback__)
    names = [f.name for f in frames]
    assert names[-2:] == ["parent", "boom"]
    package = os.path.dirname(flyte.__file__)
    after_start = frames[names.index("parent") :]
    assert not [f for f in after_start if f.filename.startswith(package)]
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_a_parent_may_catch_and_go_on():
    @env.task
    async def careful() -> str:
        try:
            await boom("value")
        except ValueError as error:
            return f"caught {error}"
        return "nothing"

    assert flyte.run(careful).result == "caught bad value"


def test_exceptions_of_sync_bodies_and_groups():
    @env.task
    def sync_boom() -> int:
        raise KeyError("k")

    @env.task
    async def grouped() -> int:
        async with asyncio.TaskGroup() as group:
            group.create_task(boom("value"))
            group.create_task(asyncio.sleep(60))
        return 1

    with pytest.raises(KeyError):
        flyte.run(sync_boom)
    with pytest.raises(ExceptionGroup) as caught:
        flyte.run(grouped)
    assert isinstance(caught.value, flyte.errors.RuntimeUserError)
    assert isinstance(caught.value.exceptions[0], ValueError)


def test_sys_exit_in_a_body_is_a_failure_and_not_the_end_of_the_process():
    @env.task
    async def leaves() -> int:
        raise SystemExit(3)

    @env.task
    def leaves_sync() -> int:
        raise SystemExit(3)

    for task in (leaves, leaves_sync):
        with pytest.raises(flyte.errors.RuntimeUserError, match="SystemExit"):
            flyte.run(task)


# Retries ------------------------------------------------------------------------------------------------------------


def test_retries_until_it_succeeds():
    """B1: fails twice, then succeeds; the attempt is visible."""
    seen: list[int] = []

    @env.task(retries=3)
    async def flaky(x: int) -> int:
        seen.append(flyte.ctx().attempt_number)
        if len(seen) < 3:
            raise ValueError("again")
        return x

    assert flyte.run(flaky, x=5).result == 5
    assert seen == [0, 1, 2]


def test_the_last_error_is_raised_and_counts_are_exact():
    """B3, O11."""
    seen: list[int] = []

    @env.task(retries=2)
    def always() -> int:
        seen.append(1)
        raise ValueError(f"failure {len(seen)}")

    with pytest.raises(ValueError, match="failure 3") as caught:
        flyte.run(always)
    assert "attempt 3 of 3" in caught.value.__notes__[0]
    seen.clear()
    with pytest.raises(ValueError):
        flyte.run(always.override(retries=0))
    assert len(seen) == 1


def test_a_non_recoverable_error_uses_no_retries():
    """B3."""
    seen: list[int] = []

    @env.task(retries=5)
    async def final() -> int:
        seen.append(1)
        raise flyte.errors.NonRecoverableError("never")

    with pytest.raises(flyte.errors.NonRecoverableError):
        flyte.run(final)
    assert len(seen) == 1


class _RecordingClock:
    """A clock whose sleeps take no time and are written down."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now += delay_s


def test_backoff_grows_up_to_its_cap(monkeypatch: pytest.MonkeyPatch):
    """B2."""
    clock = _RecordingClock()
    monkeypatch.setattr("flyte._core.context.SystemClock.monotonic", lambda self: clock.monotonic())
    monkeypatch.setattr("flyte._core.context.SystemClock.sleep", lambda self, s: clock.sleep(s))
    backoff = flyte.Backoff(base=datetime.timedelta(seconds=1), factor=2.0, cap=datetime.timedelta(seconds=5))

    @env.task(retries=flyte.RetryStrategy(count=5, backoff=backoff))
    async def always() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError):
        flyte.run(always)
    assert clock.slept == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_children_of_a_retried_parent_keep_their_names():
    names: list[set[str]] = []

    @env.task
    async def child(x: int) -> str:
        return flyte.ctx().action.name

    @env.task(retries=1)
    async def flaky() -> int:
        names.append(set(await asyncio.gather(*[child(i) for i in range(5)])))
        if len(names) == 1:
            raise ValueError("again")
        return 1

    flyte.run(flaky)
    assert names[0] == names[1] and len(names[0]) == 5


# Time limits --------------------------------------------------------------------------------------------------------


def test_max_runtime_cancels_an_async_body():
    """B4."""
    cleaned: list[bool] = []

    @env.task(timeout=0.2)  # type: ignore[arg-type]
    async def slow() -> int:
        try:
            await asyncio.sleep(30)
        finally:
            cleaned.append(True)
        return 1

    start = time.monotonic()
    with pytest.raises(flyte.errors.MaxRuntimeExceededError, match=r"0\.2 s"):
        flyte.run(slow.override(timeout=datetime.timedelta(seconds=0.2)))
    assert time.monotonic() - start < 5 and cleaned == [True]
    assert issubclass(flyte.errors.MaxRuntimeExceededError, flyte.errors.TaskTimeoutError)


def test_max_runtime_frees_the_caller_of_a_sync_body():
    """B5: the thread's result is discarded, and the abandoned body may start nothing more."""
    refused: list[BaseException] = []
    ended = threading.Event()

    @env.task
    def child(x: int) -> int:
        return x

    @env.task(timeout=datetime.timedelta(seconds=0.2))
    def slow() -> int:
        time.sleep(1.0)
        try:
            child(1)
        except BaseException as error:
            refused.append(error)
        ended.set()
        return 1

    @env.task
    async def waits() -> str:
        start = time.monotonic()
        try:
            await slow.aio()
        except flyte.errors.TaskTimeoutError:
            freed = time.monotonic() - start
        await asyncio.sleep(1.5)
        return "on time" if freed < 0.9 else f"late: {freed}"

    assert flyte.run(waits).result == "on time"
    assert ended.wait(5)
    assert isinstance(refused[0], flyte.errors.ActionAbortedError)


def test_a_body_that_ignores_its_cancellation_is_abandoned():
    @env.task(timeout=datetime.timedelta(seconds=0.1))
    async def stubborn() -> int:
        for _ in range(100):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                continue
        return 1

    start = time.monotonic()
    with pytest.raises(flyte.errors.MaxRuntimeExceededError):
        flyte.run(stubborn)
    assert time.monotonic() - start < 5


def test_each_attempt_has_its_own_max_runtime():
    seen: list[int] = []

    @env.task(retries=1, timeout=datetime.timedelta(seconds=0.3))
    async def slow_once() -> int:
        seen.append(1)
        if len(seen) == 1:
            await asyncio.sleep(30)
        return 7

    assert flyte.run(slow_once).result == 7


def test_deadline_covers_all_attempts():
    seen: list[int] = []

    @env.task(retries=100, timeout=flyte.Timeout(deadline=datetime.timedelta(seconds=0.5)))
    async def slow() -> int:
        seen.append(1)
        await asyncio.sleep(0.2)
        raise ValueError("again")

    with pytest.raises(flyte.errors.DeadlineExceededError):
        flyte.run(slow)
    assert 1 <= len(seen) <= 4


def test_max_queued_time_counts_from_the_call():
    @env.task(timeout=flyte.Timeout(max_queued_time=datetime.timedelta(seconds=0.2)))
    async def blocks(x: int) -> int:
        time.sleep(0.5)
        return x

    @env.task
    async def three() -> list[str]:
        results = await asyncio.gather(*[blocks(i) for i in range(3)], return_exceptions=True)
        return [type(r).__name__ for r in results]

    assert flyte.run(three).result == ["int", "MaxQueuedTimeExceededError", "MaxQueuedTimeExceededError"]


# Cancellation -------------------------------------------------------------------------------------------------------


def test_a_failing_parent_cancels_every_descendant():
    events: list[str] = []

    @env.task
    async def leaf(name: str) -> int:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            events.append(f"{name} cancelled")
            await asyncio.sleep(0.01)  # clean-up may await
            events.append(f"{name} cleaned")
            raise
        return 1

    @env.task
    async def middle(name: str) -> int:
        return sum(await asyncio.gather(leaf(f"{name}1"), leaf(f"{name}2")))

    @env.task
    async def root() -> int:
        asyncio.create_task(middle("a"))  # noqa: RUF006 - left to itself on purpose
        pending = asyncio.gather(middle("b"), boom("value"))
        await asyncio.sleep(0.05)
        return sum(await pending)

    start = time.monotonic()
    with pytest.raises(ValueError):
        flyte.run(root)
    assert time.monotonic() - start < 2
    assert sorted(events) == sorted(
        f"{n} {what}" for n in ("a1", "a2", "b1", "b2") for what in ("cancelled", "cleaned")
    )


def test_a_cancelled_parent_cancels_its_children():
    states: list[str] = []

    @env.task
    async def leaf() -> int:
        try:
            await asyncio.sleep(30)
        finally:
            states.append("leaf ended")
        return 1

    @env.task
    async def middle() -> int:
        return await leaf()

    @env.task
    async def root() -> str:
        task = asyncio.create_task(middle())
        await asyncio.sleep(0.05)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            return "cancelled"
        return "not cancelled"

    assert flyte.run(root).result == "cancelled"
    assert states == ["leaf ended"]


def test_cancelling_a_parent_unblocks_a_sync_body_that_waits_for_a_child():
    unblocked: list[str] = []

    @env.task
    async def leaf() -> int:
        await asyncio.sleep(30)
        return 1

    @env.task
    def waits() -> int:
        try:
            return asyncio.run(leaf())
        except asyncio.CancelledError:
            unblocked.append("asyncio.run")
            raise

    @env.task
    def maps() -> int:
        try:
            return sum(flyte.map(leaf))  # type: ignore[arg-type]
        except TypeError:
            pass
        try:
            list(flyte.map(leaf_of, range(3)))
        except asyncio.CancelledError:
            unblocked.append("map")
            raise
        return 1

    @env.task
    async def leaf_of(x: int) -> int:
        await asyncio.sleep(30)
        return x

    @env.task
    async def root() -> int:
        tasks = [asyncio.create_task(waits.aio()), asyncio.create_task(maps.aio())]
        await asyncio.sleep(0.3)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(0.3)
        return 1

    start = time.monotonic()
    assert flyte.run(root).result == 1
    assert time.monotonic() - start < 5
    assert sorted(unblocked) == ["asyncio.run", "map"]


def test_a_body_that_awaits_a_cancelled_future_fails_and_is_not_cancelled():
    @env.task
    async def odd() -> int:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        return await future

    @env.task
    async def root() -> str:
        try:
            await odd()
        except flyte.errors.RuntimeUserError as error:
            return error.code
        return "no error"

    assert flyte.run(root).result == "CancelledError"


def test_calls_left_running_at_the_end_of_the_run_are_cancelled_and_reported(caplog: pytest.LogCaptureFixture):
    states: list[str] = []

    @env.task
    async def leaf() -> int:
        try:
            await asyncio.sleep(30)
        finally:
            states.append("ended")
        return 1

    @env.task
    async def middle() -> int:
        asyncio.create_task(leaf())  # noqa: RUF006 - left to itself on purpose
        await asyncio.sleep(0.02)
        return 1

    @env.task
    async def root() -> list[str]:
        await middle()
        await asyncio.sleep(0.05)
        return list(states)  # a parent that succeeds leaves its children running

    start = time.monotonic()
    with caplog.at_level("WARNING", logger="flyte"):
        assert flyte.run(root).result == []
    assert states == ["ended"] and time.monotonic() - start < 5


# What a script's reader sees ------------------------------------------------------------------------------------------

SCRIPT = """
import flyte
env = flyte.TaskEnvironment(name="script")
@env.task
async def boom() -> int:
    raise ValueError("bad value")
@env.task
async def takes(x: int) -> int:
    return await boom()
{line}
"""


@pytest.mark.parametrize(
    ("line", "last"),
    [("flyte.run(takes, x=1)", "ValueError: bad value"), ("flyte.run(takes, x='a')", "TypeTransformerFailedError")],
)
def test_a_script_that_fails_shows_its_own_frames_only(line: str, last: str, tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT.format(line=line))
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 1
    assert last in done.stderr and "script.py" in done.stderr
    assert os.path.dirname(flyte.__file__) + os.sep not in done.stderr
    assert done.stderr.count("Traceback") == 1
