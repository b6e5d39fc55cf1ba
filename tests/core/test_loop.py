"""Driving async code from sync code: results, errors, Ctrl-C, what is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flyte._core.loop import run_blocking
from flyte._core.threads import run_in_thread
from flyte.syncify import SyncFunction, Syncify, syncify


async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


def test_results_and_errors():
    assert run_blocking(lambda: add(1, 2)) == 3

    async def fails() -> int:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run_blocking(fails)


def test_inside_a_running_loop():
    async def outer() -> int:
        return run_blocking(lambda: add(3, 4))

    assert asyncio.run(outer()) == 7


def test_what_is_left_is_cancelled_and_cleaned_up():
    states: list[str] = []

    async def lingers() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            states.append("cleaned")

    async def main() -> int:
        task = asyncio.create_task(lingers())
        await asyncio.sleep(0)
        return 1 if not task.done() else 0

    assert run_blocking(main) == 1 and states == ["cleaned"]


def test_a_task_that_ignores_its_cancellation_cannot_hold_the_loop():
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                continue

    async def main() -> int:
        asyncio.create_task(stubborn())  # noqa: RUF006 - left to itself on purpose
        await asyncio.sleep(0)
        return 1

    start = time.monotonic()
    assert run_blocking(main) == 1 and time.monotonic() - start < 3


PROGRAM = """
import asyncio, sys, time, flyte
env = flyte.TaskEnvironment(name="ctrl")
@env.task
async def waits() -> int:
    try:
        print("started", flush=True)
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.05)
        print("cleaned", flush=True)
    return 1
@env.task
def blocks_thread() -> int:
    print("started", flush=True)
    time.sleep(60)
    return 1
@env.task
async def blocks_loop() -> int:
    print("started", flush=True)
    time.sleep(60)
    return 1
@env.task
async def root(how: str) -> int:
    return await {"waits": waits, "thread": blocks_thread, "loop": blocks_loop}[how].aio()
try:
    flyte.run(root, how=sys.argv[1])
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


@pytest.mark.parametrize("how", ["waits", "thread", "loop"])
def test_ctrl_c_ends_a_run_within_two_seconds(how: str, tmp_path: Path):
    (tmp_path / "p.py").write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, "p.py", how],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "started\n"
            start = time.monotonic()
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=10)
        finally:
            child.kill()
    assert time.monotonic() - start < 2.0
    assert child.returncode == 130 and out.endswith("interrupted\n") and "Traceback" not in err
    if how == "waits":
        assert "cleaned\n" in out


GIVEN_UP = """
import gc, sys, threading, flyte, flyte.errors
env = flyte.TaskEnvironment(name="given_up")
writes, go_on, ended = threading.Event(), threading.Event(), threading.Event()
class Slow:
    def __init__(self, stream):
        self.stream = stream
    def write(self, text):
        if threading.current_thread() is not threading.main_thread():
            writes.set()
            assert go_on.wait(20)
        return self.stream.write(text)
    def flush(self):
        self.stream.flush()
    def isatty(self):
        return False
@env.task(timeout=0.2)
def prints() -> int:
    print("from the body", flush=True)
    ended.set()
    return 1
sys.stdout = Slow(sys.__stdout__)
try:
    flyte.run(prints)
except flyte.errors.TaskTimeoutError:
    pass
assert writes.is_set() and type(sys.stdout) is Slow
gc.collect()
go_on.set()
assert ended.wait(20)
"""


def test_a_body_that_was_given_up_inside_print_ends_it_well(tmp_path: Path):
    # What print() of CPython 3.11 goes on with must still be there when the run is over; freed memory is overwritten.
    done = subprocess.run(
        [sys.executable, "-c", GIVEN_UP],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "FLYTE_HOME": str(tmp_path), "PYTHONMALLOC": "debug", "PYTHONFAULTHANDLER": "1"},
    )
    assert done.returncode == 0 and done.stdout == "from the body\n", done.stderr


def test_threads_keep_context_and_are_reused():
    names: list[str] = []

    def body(x: int, *, y: int) -> int:
        names.append(threading.current_thread().name)
        return x + y

    async def main() -> list[int]:
        first = await run_in_thread(body, 1, y=2)
        return [first, *await asyncio.gather(*[run_in_thread(body, i, y=0) for i in range(3)])]

    assert asyncio.run(main()) == [3, 0, 1, 2]
    assert all(t.daemon for t in threading.enumerate() if t.name in names and t is not threading.main_thread())


def test_stop_iteration_from_a_thread_does_not_vanish():
    def body() -> int:
        raise StopIteration(5)

    async def main() -> int:
        return await run_in_thread(body)

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(main())


# syncify ------------------------------------------------------------------------------------------------------------


@syncify
async def double(x: int) -> int:
    """Twice x."""
    return 2 * x


@syncify
async def count(n: int) -> AsyncIterator[int]:
    for i in range(n):
        await asyncio.sleep(0)
        yield i


class Holder:
    def __init__(self, base: int) -> None:
        self.base = base

    @syncify
    async def plus(self, x: int) -> int:
        return self.base + x


class Registry:
    names = ("a", "b")

    @syncify
    @classmethod
    async def first(cls) -> str:
        return cls.names[0]

    @syncify
    @classmethod
    async def all(cls) -> AsyncIterator[str]:
        for name in cls.names:
            yield name


def test_syncify_of_class_methods():
    assert Registry.first() == "a" and Registry().first() == "a" and asyncio.run(Registry.first.aio()) == "a"
    assert list(Registry.all()) == ["a", "b"]


def test_syncify():
    assert double(4) == 8 and asyncio.run(double.aio(4)) == 8 and double.__doc__ == "Twice x."
    assert Holder(10).plus(1) == 11 and asyncio.run(Holder(10).plus.aio(1)) == 11
    assert list(count(3)) == [0, 1, 2]
    assert isinstance(Syncify()(add), SyncFunction)

    async def collect() -> list[int]:
        return [i async for i in count.aio(3)]

    assert asyncio.run(collect()) == [0, 1, 2]
    with pytest.raises(TypeError, match="async function"):
        syncify(len)  # type: ignore[call-overload]

    async def inside() -> None:
        list(count(3))

    with pytest.raises(RuntimeError, match=r"\.aio"):
        asyncio.run(inside())
