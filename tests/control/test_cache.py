"""Results that stand for calls: hits, misses, keys, ages, many processes, damaged files (B9, B10, X7)."""

import asyncio
import datetime
import os
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import flyte
import flyte.errors
from flyte._control.cache import CacheStore
from flyte.models import ActionPhase

ROOT = Path(__file__).parents[2]
env = flyte.TaskEnvironment(name="cached")
ran: list[Any] = []


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FLYTE_CACHE", raising=False)
    ran.clear()


@dataclass
class Pair:
    a: int
    b: list[float]


@env.task(cache="auto")
async def square(x: int) -> int:
    ran.append(x)
    return x * x


@env.task(cache="auto")
def make(n: int) -> Pair:
    ran.append(n)
    return Pair(n, [float(n)] * n)


def test_an_equal_call_does_not_run_again():
    @env.task
    async def root(n: int) -> list[int]:
        return list(await asyncio.gather(*[square(i) for i in range(n)]))

    assert flyte.run(root, n=5).result == [0, 1, 4, 9, 16]
    assert sorted(ran) == [0, 1, 2, 3, 4]
    assert flyte.run(root, n=6).result == [0, 1, 4, 9, 16, 25]
    assert sorted(ran) == [0, 1, 2, 3, 4, 5]


def test_values_come_back_equal_and_of_their_type():
    @env.task(cache="auto")
    async def several() -> tuple[Pair, str | None, dict[str, int]]:
        ran.append(1)
        return Pair(1, [2.0]), None, {"k": 3}

    @env.task(cache="auto")
    async def nothing() -> None:
        ran.append(2)

    for _ in range(2):
        assert flyte.run(make, n=3).result == Pair(3, [3.0, 3.0, 3.0])
        assert flyte.run(several).result == (Pair(1, [2.0]), None, {"k": 3})
        assert flyte.run(nothing).result is None
    assert ran == [3, 1, 2]


def test_what_tells_calls_apart():
    def version(body: str, **cache: Any) -> Any:
        names: dict[str, Any] = {"env": flyte.TaskEnvironment(name="v"), "ran": ran, "flyte": flyte, "cache": cache}
        exec(
            "@env.task(cache=flyte.Cache(behavior='auto', policies=[P()], **cache))\n"
            f"async def f(x: int, y: int = 0) -> int:\n    ran.append(x)\n    return {body}",
            {**names, "P": type("P", (), {"get_version": lambda self, salt, params: body + salt})},
            names,
        )
        return names["f"]

    assert flyte.run(version("x"), 1).result == 1
    assert flyte.run(version("x"), 1).result == 1
    assert len(ran) == 1
    assert flyte.run(version("x + 1"), 1).result == 2  # another body
    assert flyte.run(version("x", salt="s"), 1).result == 1  # another salt
    assert flyte.run(version("x"), 1, 5).result == 1  # another input
    assert len(ran) == 4
    assert flyte.run(version("x", ignored_inputs="y"), 1, 5).result == 1
    assert flyte.run(version("x", ignored_inputs=("y",)), 1, 6).result == 1
    assert len(ran) == 5  # the first key has y, the other two have not


def test_a_pinned_version_outlives_the_body():
    @env.task(cache=flyte.Cache(behavior="override", version_override="1"))
    async def pinned(x: int) -> int:
        ran.append("one")
        return x

    assert flyte.run(pinned, 1).result == 1

    @env.task(cache=flyte.Cache(behavior="override", version_override="1"))  # type: ignore[no-redef]
    async def pinned(x: int) -> int:
        ran.append("two")
        return -x

    assert flyte.run(pinned, 1).result == 1 and ran == ["one"]
    other = pinned.override(cache=flyte.Cache(behavior="override", version_override="2"))
    assert flyte.run(other, 1).result == -1


def test_failures_are_not_kept_and_disabled_tasks_leave_nothing(tmp_path: Path):
    @env.task(cache="auto")
    async def fails_once() -> int:
        ran.append(1)
        if len(ran) == 1:
            raise ValueError("first")
        return 7

    @env.task
    async def plain() -> int:
        return 1

    flyte.run(plain)
    assert not (tmp_path / "home" / "local" / "cache.db").exists()
    with pytest.raises(ValueError):
        flyte.run(fails_once)
    assert flyte.run(fails_once).result == 7 and flyte.run(fails_once).result == 7
    assert len(ran) == 2


def test_an_old_result_is_made_anew():
    task = square.override(cache=flyte.Cache(behavior="auto", max_age=datetime.timedelta(seconds=0.3)))
    flyte.run(task, 3)
    flyte.run(task, 3)
    assert ran == [3]
    time.sleep(0.4)
    flyte.run(task, 3)
    assert ran == [3, 3]


def test_switches(monkeypatch: pytest.MonkeyPatch):
    flyte.run(square, 1)
    for word, runs in (("off", 1), ("read", 0), ("refresh", 1), ("on", 0)):
        ran.clear()
        monkeypatch.setenv("FLYTE_CACHE", word)
        flyte.run(square, 1)
        assert len(ran) == runs, word
    monkeypatch.setenv("FLYTE_CACHE", "read")
    flyte.run(square, 2)
    flyte.run(square, 2)
    assert ran == [2, 2]  # read keeps nothing
    monkeypatch.setenv("FLYTE_CACHE", "sometimes")

    @env.task
    async def uncached() -> None:
        ran.append("body")

    for task, args in ((square, (1,)), (uncached, ())):  # also where nothing is cached: at once, not in the middle
        with pytest.raises(ValueError, match="FLYTE_CACHE='sometimes'"):
            flyte.run(task, *args)
    assert ran == [2, 2]
    monkeypatch.delenv("FLYTE_CACHE")
    ran.clear()
    flyte.with_runcontext(overwrite_cache=True).run(square, 1)
    flyte.with_runcontext(disable_run_cache=True).run(square, 1)
    flyte.run(square, 1)
    assert ran == [1, 1]


def test_a_hit_is_told_to_the_recorder_as_an_end_without_an_attempt():
    events: list[str] = []

    class Log:
        def action_started(self, action: Any) -> None:
            events.append("start")

        def action_finished(self, action: Any, phase: ActionPhase, error: BaseException | None) -> None:
            events.append(phase.value)

    for _ in range(2):
        flyte.with_runcontext(recorder=Log()).run(square, 9)
    assert events == ["start", "succeeded", "succeeded"]


def test_serialized_calls_run_once_in_one_process():
    """B10."""

    @env.task(cache=flyte.Cache(behavior="auto", serialize=True))
    async def slow(x: int) -> int:
        ran.append(x)
        await asyncio.sleep(0.1)
        return x

    @env.task
    async def root() -> list[int]:
        return list(await asyncio.gather(*[slow(i % 2) for i in range(10)]))

    assert flyte.run(root).result == [0, 1] * 5
    assert sorted(ran) == [0, 1]


PROGRAM = """
import asyncio, os, sys, time, flyte
env = flyte.TaskEnvironment(name="many")
@env.task(cache=flyte.Cache(behavior="auto", serialize=SERIALIZE))
async def slow(x: int) -> int:
    with open("ran.txt", "a") as f:
        f.write(f"{x}\\n")
    if os.environ.get("HANG"):
        print("inside", flush=True)
        time.sleep(60)
    await asyncio.sleep(0.05)
    return x
@env.task
async def root(n: int) -> int:
    return sum(await asyncio.gather(*[slow(i) for i in range(n)]))
print(flyte.run(root, int(sys.argv[1])).result)
"""


def _start(folder: Path, n: int, **environ: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "p.py", str(n)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FLYTE_HOME": str(folder / "home"), **environ},
    )


def test_serialized_calls_run_once_in_many_processes(tmp_path: Path):
    (tmp_path / "p.py").write_text(PROGRAM.replace("SERIALIZE", "True"))
    started = [_start(tmp_path, 20) for _ in range(6)]
    for process in started:
        out, err = process.communicate(timeout=60)
        assert out == "190\n" and "locked" not in err, err
    assert sorted(map(int, (tmp_path / "ran.txt").read_text().split())) == list(range(20))
    assert list((tmp_path / "home" / "local" / "cache-locks").iterdir()) == []


def test_many_writers_do_not_lock_each_other_out(tmp_path: Path):
    (tmp_path / "p.py").write_text(PROGRAM.replace("SERIALIZE", "False"))
    for process in [_start(tmp_path, 100) for _ in range(6)]:
        out, err = process.communicate(timeout=60)
        assert out == "4950\n" and err == ""


def test_a_killed_holder_gives_its_place_up(tmp_path: Path):
    (tmp_path / "p.py").write_text(PROGRAM.replace("SERIALIZE", "True"))
    with _start(tmp_path, 1, HANG="1") as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "inside\n"
        holder.kill()
        holder.communicate()
    with _start(tmp_path, 1) as other:
        out, err = other.communicate(timeout=30)
    assert out == "0\n", err


def test_a_damaged_result_or_file_means_run_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "home" / "local" / "cache.db"
    flyte.run(square, 4)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE result SET outputs = x'ff00ff'")
    file.close()
    assert flyte.run(square, 4).result == 16 and ran == [4, 4]
    assert flyte.run(square, 4).result == 16 and ran == [4, 4]  # kept anew


@pytest.mark.parametrize("content", [b"this is not a database, only text " * 100, "newer"])
def test_a_file_that_cannot_be_used_never_stops_a_run(
    content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path / "broken"))
    path = tmp_path / "broken" / "local" / "cache.db"
    path.parent.mkdir(parents=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        file = sqlite3.connect(path)
        file.execute("PRAGMA user_version=99")
        file.close()
    monkeypatch.setattr("logging.Logger.propagate", True, raising=False)
    assert flyte.run(square, 5).result == 25
    assert flyte.run(square, 5).result == 25
    assert ran == [5, 5]


def test_a_state_folder_that_cannot_be_written_never_stops_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FLYTE_HOME", str(tmp_path / "file"))
    task = square.override(cache=flyte.Cache(behavior="auto", serialize=True))
    assert flyte.run(task, 8).result == 64 and flyte.run(square, 8).result == 64
    assert ran == [8, 8]


def test_waiting_for_an_equal_call_has_the_limit_of_a_queue():
    @env.task(
        cache=flyte.Cache(behavior="auto", serialize=True),
        timeout=flyte.Timeout(max_queued_time=datetime.timedelta(seconds=0.1)),
    )
    async def slow(x: int) -> int:
        ran.append(x)
        await asyncio.sleep(1.0)
        return x

    @env.task
    async def root() -> list[str]:
        results = await asyncio.gather(slow(1), slow(1), return_exceptions=True)
        return [type(r).__name__ for r in results]

    assert flyte.run(root).result == ["int", "MaxQueuedTimeExceededError"]
    assert ran == [1]


def test_a_policy_that_fails_means_no_cache():
    class Broken:
        def get_version(self, salt: str, params: Any) -> str:
            raise RuntimeError("no version")

    task = square.override(cache=flyte.Cache(behavior="auto", policies=[Broken()]))
    assert flyte.run(task, 6).result == 36 and flyte.run(task, 6).result == 36
    assert ran == [6, 6]


def test_the_key_is_the_same_in_every_process_and_hash_seed(tmp_path: Path):
    (tmp_path / "p.py").write_text(
        "import flyte, json, sqlite3\n"
        "env = flyte.TaskEnvironment(name='golden')\n"
        "@env.task(cache='auto')\n"
        "async def leaf(x: int, tags: dict[str, int], kinds: set[str]) -> int:\n"
        "    return x\n"
        "flyte.run(leaf, 1, {'b': 2, 'a': 1}, {'u', 'v', 'w'})\n"
    )
    keys = set()
    for seed in ("0", "1", "4711"):
        home = tmp_path / seed
        done = subprocess.run(
            [sys.executable, "p.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "FLYTE_HOME": str(home)},
        )
        assert done.returncode == 0, done.stderr
        file = sqlite3.connect(home / "local" / "cache.db")
        keys |= {row[0] for row in file.execute("SELECT key FROM result")}
        file.close()
    assert len(keys) == 1


async def test_the_store_itself(tmp_path: Path):
    path = tmp_path / "deep" / "cache.db"
    store, other = CacheStore(path), CacheStore(path)
    assert store.get("k") is None
    store.put("k", "t", b"one")
    store.put("k", "t", b"two")
    assert store.get("k") == b"two" and other.get("k") is None
    await asyncio.sleep(0.01)
    assert other.get("k") == b"two" and other.get("k", max_age_s=60) == b"two" and other.get("k", max_age_s=0) is None
    store.put("last", "t", b"three")
    store.close()
    assert other.get("last") == b"three"
    other.close()
