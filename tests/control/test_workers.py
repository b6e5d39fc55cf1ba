"""Bodies in worker processes: values, context, nested calls, failures and limits are as in one process."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

import flyte
import flyte.durable
import flyte.errors
import flyte.extend
import flyte.report

env = flyte.TaskEnvironment(name="workers")
workers = flyte.with_runcontext


class Broken(Exception):
    def __init__(self, part, how):
        super().__init__(part, how)
        self.part = part


@dataclass
class Point:
    x: int
    y: list[float]


@env.task
def pid(x: int = 0) -> int:
    return os.getpid()


@env.task
def slow_pid(x: int, seconds: float = 0.3) -> int:
    time.sleep(seconds)
    return os.getpid()


@env.task
async def move(point: Point, by: int) -> Point:
    return Point(point.x + by, [*point.y, 1.5])


@env.task
async def two(a: int) -> tuple[int, str]:
    return a, str(a)


@env.task
def breaks(part: str) -> None:
    raise Broken(part, "badly")


@env.task
async def depth(n: int) -> int:
    return 0 if n == 0 else 1 + await depth(n - 1)


@env.task
def sync_depth(n: int) -> int:
    return 0 if n == 0 else 1 + sync_depth(n - 1)


@env.task
def dies(how: str) -> int:
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), getattr(signal, how))
    return 0


def run(task, *args, n=2, **kwargs):
    return flyte.with_runcontext(workers=n).run(task, *args, **kwargs).result


def test_bodies_run_in_other_processes_and_warm_ones_are_used_again():
    @env.task
    async def main() -> list[int]:
        return [await pid.aio(i) for i in range(5)]

    pids = run(main, n=1)
    assert len(set(pids)) == 1
    assert os.getpid() not in pids


def test_they_run_at_the_same_time():
    @env.task
    async def main() -> list[int]:
        return list(await asyncio.gather(*[slow_pid.aio(i) for i in range(2)]))

    assert len(set(run(main))) == 2


@pytest.mark.parametrize("n", [1, 2])
def test_no_more_bodies_than_workers_run_at_once(n, tmp_path):
    (tmp_path / "marks").mkdir()

    @env.task
    def counted(folder: str, x: int) -> int:
        marks, met = Path(folder) / "marks", Path(folder) / "met"
        (marks / str(x)).touch()
        # All workers have met once; until then a body waits for the others, who may still be starting.
        until = time.monotonic() + 10
        while len(list(marks.iterdir())) < n and not met.exists() and time.monotonic() < until:
            time.sleep(0.01)
        met.touch()
        time.sleep(0.05)
        seen = len(list(marks.iterdir()))
        (marks / str(x)).unlink()
        return seen

    @env.task
    async def middle(folder: str, x: int) -> int:
        inner = await asyncio.gather(*[counted.aio(folder, 10 * x + i) for i in range(3)])
        # It computes between its calls: then it counts as well.
        return max(*inner, await counted.aio(folder, 10 * x + 5))

    @env.task
    async def main(folder: str) -> int:
        return max(await asyncio.gather(*[middle(folder, x) for x in range(3)]))

    assert run(main, str(tmp_path), n=n) == n


def test_a_body_woken_by_a_timer_waits_for_a_slot(tmp_path):
    """It gave its slot away when it waited for a call; a timer of its own does not let it run beside the call."""

    @env.task
    def child(path: str) -> None:
        Path(path).touch()
        time.sleep(0.5)
        Path(path).unlink()

    @env.task
    async def main(path: str) -> bool:
        async def looks():
            await asyncio.sleep(0.25)
            return Path(path).exists()

        _, seen = await asyncio.gather(child.aio(path), looks())
        return seen

    assert run(main, str(tmp_path / "running"), n=1) is False


def test_a_caller_keeps_its_limit_of_time_while_all_slots_are_taken():
    """Those who have them may be what it would end."""

    @env.task
    async def sleeps() -> None:
        await asyncio.sleep(60)

    @env.task
    async def main() -> str:
        try:
            await asyncio.wait_for(asyncio.gather(sleeps(), sleeps()), 0.5)
        except TimeoutError:
            return "too long"
        return "in time"

    begun = time.monotonic()
    assert run(main) == "too long"
    assert time.monotonic() - begun < 30


def test_values_cross_as_in_one_process():
    @env.task
    async def main() -> tuple[Point, int, str]:
        point = Point(1, [0.5])
        moved = await move(point, by=2)
        assert point == Point(1, [0.5])
        a, b = await two(a=7)
        return moved, a, b

    assert run(main) == (Point(3, [0.5, 1.5]), 7, "7")


def test_a_value_of_the_wrong_type_is_refused_where_it_is_given():
    @env.task
    async def main() -> str:
        with pytest.raises(TypeError, match=r"task 'workers.two': parameter 'a'"):
            await two("no")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="no parameter 'b'"):
            await two(b=1)  # type: ignore[call-arg]
        return "refused"

    assert run(main) == "refused"


@pytest.mark.parametrize("n", [1, 3])
def test_nested_calls_never_block_the_pool(n):
    assert run(depth, 4, n=n) == 4
    assert run(sync_depth, 3, n=n) == 3


def test_sync_bodies_call_from_threads_and_by_map():
    @env.task
    def main() -> tuple[int, list[int], int]:
        with ThreadPoolExecutor(3) as threads:
            context = __import__("contextvars").copy_context
            calls = [threads.submit(context().run, pid, i) for i in range(3)]
            from_threads = len({call.result() for call in calls})
        mapped = list(flyte.map(sync_depth, [0, 1, 2]))
        return from_threads, mapped, asyncio.run(two.aio(3))[0]

    from_threads, mapped, own_loop = run(main, n=1)
    assert from_threads >= 1
    assert mapped == [0, 1, 2]
    assert own_loop == 3


def test_the_context_is_whole(state_folder):
    asks = flyte.TaskEnvironment(name="asks", env_vars={"OWN": "task"}, secrets=[flyte.Secret(key="token")])

    @asks.task(retries=1)
    async def child(x: int) -> dict[str, str | None]:
        ctx = flyte.ctx()
        if ctx.attempt_number == 0:
            raise ValueError("again")
        return {
            "run": ctx.action.run_name,
            "name": ctx.action.name,
            "attempt": str(ctx.attempt_number),
            "project": ctx.action.project,
            "custom": flyte.get_custom_context().get("who"),
            "mode": ctx.mode,
            "raw": ctx.raw_data_path.path,
            "out": ctx.output_path,
            "own": os.environ.get("OWN"),
            "run_var": os.environ.get("RUN"),
            "token": os.environ.get("TOKEN"),
            "start": ctx.run_start_time.isoformat(),
        }

    @asks.task
    async def main() -> dict[str, str | None]:
        with flyte.group("here"), flyte.custom_context(who="inner"):
            return await child(1)

    def context(**more):
        os.environ["TOKEN"] = "sesame"
        try:
            settings = {"name": "same", "project": "p", "env_vars": {"RUN": "run", "OWN": "run"}}
            return flyte.with_runcontext(**settings, **more).run(main).result
        finally:
            del os.environ["TOKEN"]

    there, here = context(workers=1), context()
    assert there["own"] == "task" and there["run_var"] == "run" and there["token"] == "sesame"
    assert there["custom"] == "inner" and there["attempt"] == "1"
    del there["start"], here["start"]
    assert there == here


class Unpicklable(Exception):
    """Not made of its ``args``, so no pickle brings it."""

    def __init__(self, part, how):
        super().__init__(f"{part} {how}")
        self.part = part


@env.task
async def breaks_more(part: str) -> str:
    raise ExceptionGroup("several", [Unpicklable(part, "badly"), ValueError("and more")])


def test_a_failure_that_no_pickle_brings_keeps_its_class():
    @env.task
    async def main() -> list[str]:
        said = []
        try:
            await breaks_more("wheel")
        except* Unpicklable as group:
            said.append(f"{group.exceptions[0]} {group.exceptions[0].part}")
        except* ValueError as group:
            said.append(str(group.exceptions[0]))
        return said

    assert run(main) == ["wheel badly wheel", "and more"]


def test_failures_have_their_class_note_and_place():
    @env.task
    async def main() -> str:
        with pytest.raises(Broken) as broken:
            await breaks.aio("wheel")
        assert isinstance(broken.value, flyte.errors.RuntimeUserError)
        assert broken.value.args == ("wheel", "badly") and broken.value.part == "wheel"
        raise KeyError("lost") from ValueError("why")

    with pytest.raises(KeyError) as caught:
        run(main)
    assert isinstance(caught.value, flyte.errors.RuntimeUserError)
    notes = "\n".join(caught.value.__notes__)
    assert "in task 'workers.main', attempt 1 of 1, action a0 of run" in notes
    assert f'{__file__}", line' in notes and 'raise KeyError("lost")' in notes
    assert "attempt.py" not in notes
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_built_in_errors_keep_to_themselves_comes_along():
    @env.task
    def main() -> None:
        open("/nowhere/at/all")  # noqa: SIM115

    with pytest.raises(FileNotFoundError) as caught:
        run(main)
    assert caught.value.filename == "/nowhere/at/all" and caught.value.errno == 2
    assert str(caught.value) == "[Errno 2] No such file or directory: '/nowhere/at/all'"


def test_an_error_that_cannot_be_pickled_keeps_its_words():
    @env.task
    def main() -> None:
        class Odd(Exception):
            pass

        error = Odd("strange")
        error.lock = __import__("threading").Lock()
        raise error

    with pytest.raises(flyte.errors.RuntimeUserError, match="strange") as caught:
        run(main)
    assert caught.value.code == "Odd"


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("exit", "exited with code 3"),
        ("SIGKILL", r"was killed by SIGKILL \(signal 9\)"),
        ("SIGSEGV", r"was killed by SIGSEGV \(signal 11\)"),
    ],
)
def test_a_worker_that_dies_fails_its_own_action_only(how, says):
    @env.task
    async def main(how: str) -> tuple[int, str, int]:
        other = asyncio.create_task(slow_pid.aio(1))
        with pytest.raises(flyte.errors.RuntimeSystemError) as died:
            await dies.aio(how)
        assert died.value.code == "WorkerDied"
        return await other, str(died.value), await pid.aio(2)

    other, text, after = run(main, how)
    assert other > 0 and after > 0
    assert __import__("re").search(says, text), text


def test_a_worker_that_dies_is_retried(tmp_path):
    @env.task(retries=2)
    def flaky(path: str) -> int:
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return flyte.ctx().attempt_number

    assert run(flaky, str(tmp_path / "count")) == 2


def test_overrides_reach_the_body():
    @env.task
    def variable() -> str | None:
        return os.environ.get("CHANGED")

    @env.task
    async def main() -> list[str | None]:
        changed = variable.override(env_vars={"CHANGED": "yes"})
        return [await variable.aio(), await changed.aio(), await in_module.override(env_vars={"CHANGED": "m"}).aio()]

    assert run(main) == [None, "yes", "m"]


@env.task
def in_module() -> str | None:
    return os.environ.get("CHANGED")


def test_reports_and_traces_work(tmp_path):
    @flyte.trace
    async def step(x: int) -> int:
        return x + 1

    @flyte.trace
    async def forbidden() -> int:
        return await pid.aio(1)

    @env.task(report=True)
    async def main() -> int:
        flyte.report.log("<p>from the worker</p>")
        with pytest.raises(flyte.errors.TraceDoesNotAllowNestedTasksError):
            await forbidden()
        return await step(1)

    made = flyte.with_runcontext(workers=1, run_base_dir=str(tmp_path)).run(main)
    assert made.result == 2
    assert "from the worker" in (tmp_path / "a0" / "report.html").read_text()


def test_timeouts_count_from_the_start_of_the_body():
    @env.task(timeout=flyte.Timeout(max_runtime=2))
    def naps() -> None:
        time.sleep(0.6)

    @env.task
    async def main() -> int:
        await asyncio.gather(*[naps.aio() for _ in range(4)])
        return 1

    assert run(main, n=1) == 1


def test_the_time_in_the_queue_is_limited():
    @env.task(timeout=flyte.Timeout(max_queued_time=1))
    def naps() -> None:
        time.sleep(1.5)

    @env.task
    async def main() -> str:
        first, second = await asyncio.gather(naps.aio(), naps.aio(), return_exceptions=True)
        assert first is None
        return f"{type(second).__name__}: {second}"

    assert "MaxQueuedTimeExceededError: task 'workers.naps' waited 1 s for one of 1 workers" in run(main, n=1)


def test_a_busy_body_is_killed_when_its_time_is_up(tmp_path):
    @env.task(timeout=1)
    def spins(path: str) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
        Path(path).write_text(f"{os.getpid()} {child.pid}")
        while True:
            pass

    @env.task
    async def main(path: str) -> str:
        with pytest.raises(flyte.errors.MaxRuntimeExceededError):
            await spins.aio(path)
        return Path(path).read_text()

    began = time.monotonic()
    pids = [int(word) for word in run(main, str(tmp_path / "pids")).split()]
    assert time.monotonic() - began < 4
    assert not [pid for pid in pids if alive(pid)]


def test_a_cancelled_body_cleans_up(tmp_path):
    @env.task
    async def waits(path: str) -> None:
        Path(path).write_text(str(os.getpid()))
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            Path(path + ".clean").touch()

    @env.task
    async def between(path: str) -> None:
        await waits(path)

    @env.task
    async def main(path: str) -> bool:
        call = asyncio.create_task(between(path))
        while not os.path.exists(path):
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return os.path.exists(path + ".clean")

    path = tmp_path / "pid"
    assert run(main, str(path)) is True
    assert not alive(int(path.read_text()))


def test_a_body_over_its_memory_is_ended_and_can_be_given_more():
    small = flyte.TaskEnvironment(name="small", resources=flyte.Resources(memory="150Mi"))

    @small.task
    def eats(megabytes: int) -> int:
        held = bytearray(megabytes * 2**20)
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(0.4)
        return len(held) // 2**20

    @small.task
    async def main() -> tuple[int, int, int]:
        with pytest.raises(flyte.errors.OOMError, match="its limit is 150 MiB") as caught:
            await eats.aio(300)
        more = eats.override(resources=flyte.Resources(memory="600Mi"))
        return caught.value.limit, caught.value.peak, await more.aio(300)

    limit, peak, got = run(main)
    assert (limit, got) == (150 * 2**20, 300)
    assert peak > limit


def test_what_earlier_bodies_left_behind_does_not_count():
    hoard: list[bytearray] = []
    small = flyte.TaskEnvironment(name="small", resources=flyte.Resources(memory="200Mi"))

    @env.task
    def keeps() -> int:
        held = bytearray(250 * 2**20)
        held[::4096] = b"x" * len(held[::4096])
        hoard.append(held)
        return os.getpid()

    @small.task
    def modest() -> int:
        time.sleep(0.15)
        return os.getpid()

    @env.task
    async def main() -> tuple[int, int, int]:
        return await keeps.aio(), await modest.aio(), await modest.aio()

    full, first, second = run(main, n=1)
    assert first == second != full


KILLED_BY_THE_MACHINE = """
import os, signal
import flyte, flyte.errors

small = flyte.TaskEnvironment(name="small", resources=flyte.Resources(memory=("100Mi", "300Mi")))

@small.task
def is_killed(megabytes: int) -> None:
    held = bytearray(megabytes * 2**20)
    held[::4096] = b"x" * len(held[::4096])
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    for megabytes in (230, 5):
        try:
            flyte.with_runcontext(workers=1).run(is_killed, megabytes)
        except flyte.errors.OOMError as error:
            print("OOM", error.limit // 2**20, 230 < error.peak / 2**20 < 300, error)
        except flyte.errors.RuntimeSystemError as error:
            print("system", "SIGKILL" in str(error))
"""


def test_a_body_that_the_machine_kills_for_its_memory_is_told_so(tmp_path):
    """As the kernel does it: SIGKILL, from nobody here, with nearly all that the task may use in use.

    In a program of its own: a child begins with the peak memory of the process that starts it, and this one's is large.
    """
    (tmp_path / "small.py").write_text(KILLED_BY_THE_MACHINE)
    done = subprocess.run([sys.executable, "small.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    first, second = done.stdout.splitlines()
    assert first.startswith("OOM 300 True ") and "was killed by the machine" in first
    assert second == "system True"


@pytest.mark.parametrize("bad", ["2", 1.5, True])
def test_workers_takes_a_number(bad):
    with pytest.raises(TypeError, match="workers takes a number of processes"):
        flyte.with_runcontext(workers=bad)


def test_workers_need_a_local_controller():
    class Own(flyte.extend.Controller):
        async def submit(self, task, /, *args, **kwargs):
            return 1

    with pytest.raises(TypeError, match="workers=2 needs the local controller, but got Own"):
        flyte.with_runcontext(workers=2, controller=Own()).run(pid)


def test_a_controller_of_ones_own_gets_the_calls_of_bodies_in_workers(tmp_path):
    class Doubles(flyte.extend.LocalController):
        async def submit(self, task, /, *args, **kwargs):
            made = await super().submit(task, *args, **kwargs)
            return 2 * made if task.short_name == "counted" else made

    @env.task
    async def main(folder: str) -> int:
        return await counted.aio(folder, 4)

    assert flyte.with_runcontext(workers=1, controller=Doubles()).run(main, str(tmp_path)).result == 8


def test_workers_are_at_least_one_and_local():
    with pytest.raises(ValueError, match="workers=0 runs nothing"):
        flyte.with_runcontext(workers=0)
    with pytest.raises(ValueError, match="mode='remote'"):
        flyte.with_runcontext("remote", workers=2)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_killing_any_worker_at_any_moment_costs_an_attempt_and_no_more():
    """Bodies that wait, bodies that run, and processes with nothing to do are killed; the answer is right."""
    often = flyte.RetryStrategy(count=100)

    @env.task(retries=often)
    def leaf(x: int) -> int:
        time.sleep(0.01)
        return x

    @env.task(retries=often)
    async def middle(x: int) -> int:
        return sum(await asyncio.gather(*[leaf.aio(10 * x + i) for i in range(3)]))

    @env.task(retries=often)
    def sync_middle(x: int) -> int:
        return sum(flyte.map(leaf, [10 * x + i for i in range(3)]))

    @env.task(retries=often)
    async def main() -> int:
        return sum(await asyncio.gather(*[middle(x) for x in range(2)], *[sync_middle.aio(x) for x in range(2)]))

    for seed in range(4):
        chance, over, killed = random.Random(seed), threading.Event(), []

        def kill_some(chance=chance, over=over, killed=killed):
            while not over.wait(chance.uniform(0.1, 0.4)):
                there = children()
                if there and len(killed) < 3:  # of one action no more in a row are made again
                    killed.append(chance.choice(there))
                    os.kill(killed[-1], signal.SIGKILL)

        killer = threading.Thread(target=kill_some)
        killer.start()
        try:
            assert run(main) == 2 * (0 + 1 + 2 + 10 + 11 + 12)
        finally:
            over.set()
            killer.join()
        assert killed
        assert children() == []


def children() -> list[int]:
    """The worker processes of this one."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and "workers.program" in Path(f"/proc/{name}/cmdline").read_text():
                found.append(int(name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def test_many_that_wait_need_few_processes():
    @env.task
    async def middle(x: int) -> tuple[int, int]:
        return os.getpid(), await pid.aio(x)

    @env.task
    async def main() -> int:
        pairs = await asyncio.gather(*[middle(x) for x in range(60)])
        return len({pid for pair in pairs for pid in pair})

    assert run(main, n=2) <= 10


# History --------------------------------------------------------------------------------------------------------------


@flyte.trace
async def traced(folder: str, x: int) -> int:
    (Path(folder) / f"traced-{x}-{time.monotonic_ns()}").touch()
    return x + 1


@flyte.trace
def traced_sync(folder: str, x: int) -> int:
    (Path(folder) / f"sync-{x}-{time.monotonic_ns()}").touch()
    return x + 1


@env.task
def counted(folder: str, x: int) -> int:
    print("counting", x)
    (Path(folder) / f"counted-{x}-{time.monotonic_ns()}").touch()
    return x


@env.task
async def steps(folder: str) -> tuple[int, float]:
    done = await counted.aio(folder, 1) + await traced(folder, 2) + traced_sync(folder, 3)
    chance = flyte.durable.random()
    if flyte.ctx().attempt_number == 0 and not (Path(folder) / "chance").exists():
        (Path(folder) / "chance").write_text(repr(chance))
        raise ConnectionError("in the middle")
    return done, chance


@pytest.mark.parametrize("again", ["recovery", "retry"])
def test_what_was_done_is_not_done_again(tmp_path, again):
    """Actions and traces of bodies in workers are remembered; a recovered or repeated body takes them."""
    if again == "retry":
        result = run(steps.override(retries=1), str(tmp_path))
    else:
        with pytest.raises(ConnectionError):
            flyte.with_runcontext(workers=2, name="first").run(steps, str(tmp_path))
        result = flyte.with_runcontext(workers=2, recover_from="first").run(steps, str(tmp_path)).result
    marks = sorted(path.name.rpartition("-")[0] for path in tmp_path.iterdir() if path.name.count("-") == 2)
    assert marks == ["counted-1", "sync-3", "traced-2"]
    assert result == (8, float((tmp_path / "chance").read_text()))


def test_what_bodies_print_is_in_the_history(tmp_path):
    @env.task
    async def main(folder: str) -> int:
        print("one", "line")
        flyte.logger.warning("a warning of %s", "main")
        for number in range(3000):
            print(number, "x" * 100)
        print("unfinished", end="")
        return await counted.aio(folder, 7)

    flyte.with_runcontext(workers=2).run(main, str(tmp_path))
    with sqlite3.connect(Path(os.environ["FLYTE_HOME"]) / "local" / "journal.db") as file:
        lines = [row[0] for row in file.execute("SELECT line FROM log")]
    assert any("one line" in line for line in lines), lines
    assert any("counting 7" in line for line in lines), lines
    assert sum("x" * 100 in line for line in lines) == 3000
    assert "unfinished" in lines
    assert any("a warning of main" in line for line in lines), lines


def test_a_condition_waits_in_the_run_and_needs_no_worker():
    @env.task
    async def asks() -> int:
        answer = await flyte.new_condition.aio("how many", data_type=int)
        return await answer.wait.aio()

    @env.task
    async def main() -> tuple[int, int]:
        asked = asyncio.create_task(asks())
        other = await slow_pid.aio(1, 0.1)
        return await asked, other

    async def scenario():
        running = asyncio.create_task(flyte.with_runcontext(workers=1, name="asks").run.aio(main))
        for _ in range(500):
            await asyncio.sleep(0.02)
            try:
                await flyte.signal.aio("asks", "how many", 42)
                break
            except flyte.errors.ConditionNotFoundError:
                continue
        return (await asyncio.wait_for(running, 20)).result

    assert asyncio.run(scenario())[0] == 42
