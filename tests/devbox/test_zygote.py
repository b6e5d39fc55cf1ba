"""Attempts that are forked: what they see is what a new process sees, and whatever is killed, nothing is lost."""

import asyncio
import json
import os
import resource
import signal
import site
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from flyte._core.code_bundle import CodeBundle
from flyte._core.command import container_args
from flyte._core.zygote import PROGRAM, READY, News, Work, ask, hear_number
from flyte._package.bundle import build_bundle
from flyte.devbox.executors.executor import CannotRun, Order
from flyte.devbox.executors.process import ProcessExecutor, is_alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forked attempts are for Linux only")

PROBES = """
    import asyncio, atexit, gc, json, locale, logging, os, random, resource, secrets, signal, subprocess, sys
    import tempfile, threading, time, uuid, warnings
    import flyte

    env = flyte.TaskEnvironment("probes")

    def said(*words):
        print(json.dumps(words[0] if len(words) == 1 else words), flush=True)

    @env.task
    async def state() -> None:
        main = sys.modules["__main__"]
        status = [line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
        files = {n: f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")}
        files = {n: os.path.basename(os.readlink(at).split(":")[0]) for n, at in files.items() if os.path.lexists(at)}
        handlers = {n: str(signal.getsignal(n)).partition(" at 0x")[0] for n in (2, 10, 13, 17, 28)}
        streams = [sys.stdin, sys.stdout, sys.stderr]
        said({
            "path": sys.path, "argv": [sys.argv[0], len(sys.argv)], "orig_argv": sys.orig_argv[:4],
            "main": [main.__name__, main.__file__, main.__spec__.name, main.__package__],
            "flags": list(sys.flags), "executable": sys.executable, "prefix": sys.prefix, "cwd": os.getcwd(),
            "signals": status, "handlers": handlers,
            "mask": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
            "files": files,
            "inheritable": [os.get_inheritable(n) for n in range(3)],
            "umask": os.umask(0o22), "nice": os.nice(0), "limits": [resource.getrlimit(n) for n in range(16)],
            "leads": [os.getpid() == os.getpgid(0) == os.getsid(0)],
            "gc": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 0, gc.get_debug()],
            "logging": [[str(h) for h in logging.getLogger(n).handlers] for n in (None, "flyte", "flyte.user")],
            "streams": [[s.name, s.encoding, s.errors, s.line_buffering, s.write_through, s.isatty(), s.fileno()]
                        for s in streams],
            "stdin": sys.stdin.read(), "threads": threading.active_count() - len(os.listdir("/proc/self/task")),
            "main_thread": threading.main_thread().native_id == os.getpid() == threading.get_native_id(),
            "modules": sorted(sys.modules), "filters": len(warnings.filters), "at_exit": atexit._ncallbacks(),
            "locale": locale.setlocale(locale.LC_ALL), "zone": time.tzname, "folder": tempfile.gettempdir(),
            "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(),
            "comm": open("/proc/self/comm").read(),
            "environ": {n: v for n, v in os.environ.items() if n not in ("FORKED", "PYTEST_CURRENT_TEST")},
            "outside": subprocess.run(["env"], capture_output=True).stdout.count(b"\\n") - len(os.environ),
        })

    @env.task
    async def chance() -> None:
        import ssl
        name = tempfile.mktemp()
        said([random.random(), secrets.token_hex(4), str(uuid.uuid4()), str(uuid.uuid1())[:18], name,
              ssl.RAND_bytes(4).hex(), hash("x"), os.getppid()])

    @env.task
    async def leaves() -> None:
        said({n: v for n, v in os.environ.items() if n in ("CANARY", "MINE")})
        os.environ["MINE"] = "changed"
        os.umask(0o77)
        sys.path.append("/left/behind")
        said([len(sys.path)])

    @env.task
    async def sleeps() -> None:
        subprocess.Popen(["sleep", "60"])
        said([os.getpid(), os.getppid()])
        await asyncio.sleep(float(os.environ["SECONDS"]))
        said("awake")

    @env.task
    async def pools() -> None:
        import concurrent.futures, multiprocessing
        found = []
        for way in ("fork", "spawn", "forkserver"):
            context = multiprocessing.get_context(way)
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                found.append(pool.submit(abs, -3).result())
        said(found)

    @env.task
    async def quits() -> None:
        os._exit(int(os.environ["CODE"]))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("probes")
    (folder / "probes.py").write_text(textwrap.dedent(PROBES))
    return str(build_bundle(folder, tmp_path_factory.mktemp("bundles"), style="all").tgz)


class Attempts:
    """Attempts of one executor, each in a folder of its own."""

    def __init__(self, executor: ProcessExecutor, folder: Path, bundle: str) -> None:
        self.executor, self.folder, self.bundle = executor, folder, bundle
        self.count = 0

    def start(self, task: str, **env: str) -> tuple[str, Path]:
        self.count += 1
        folder = self.folder / str(self.count)
        args = container_args(
            version="v",
            input_path=str(folder / "inputs.pb"),
            output_path=str(folder / "out"),
            code_bundle=CodeBundle(computed_version="v", tgz=self.bundle),
            loader_args=("mod", "probes", "instance", task),
        )
        names = {"RUN_NAME": "r", "ACTION_NAME": "a0", "_U_RUN_BASE": str(folder), "_U_ORG_NAME": "o"}
        return self.executor.start(Order(args, "", {**names, **env}, folder)), folder

    async def run(self, task: str, **env: str):
        """What an attempt says, as its log has it."""
        ticket, folder = self.start(task, **env)
        async with asyncio.timeout(60):
            code = (await self.executor.wait(ticket)).code
        assert code == 0, (code, (folder / "log.txt").read_text())
        said = [json.loads(line) for line in (folder / "log.txt").read_text().splitlines()]
        return said[0] if len(said) == 1 else said

    @property
    def zygote(self) -> int:
        assert self.executor._zygote is not None and self.executor._zygote.pid is not None
        return self.executor._zygote.pid

    async def ready(self, after: int = 0) -> int:
        """The zygote that is ready, and not ``after``."""
        async with asyncio.timeout(60):
            while not self.executor._zygote.is_ready or self.zygote == after:
                await asyncio.sleep(0.01)
        return self.zygote


@asynccontextmanager
async def attempts_in(folder: Path, bundle: str, *, warm: bool = True, environ: dict[str, str] | None = None):
    executor = ProcessExecutor({**os.environ, **(environ or {})}, warm=warm)
    await executor.open()
    attempts = Attempts(executor, folder, bundle)
    try:
        if warm:
            await attempts.ready()
        yield attempts
    finally:
        await executor.close()


@pytest.fixture
async def attempts(tmp_path, bundle):
    async with attempts_in(tmp_path, bundle) as found:
        yield found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(check, timeout_s: float = 20.0):
    async with asyncio.timeout(timeout_s):
        while not (found := check()):
            await asyncio.sleep(0.01)
    return found


def lines(folder: Path, count: int = 1):
    """What an attempt has said so far, when it has said so much."""
    try:
        found = (folder / "log.txt").read_text().splitlines()
    except FileNotFoundError:
        return None
    return [json.loads(line) for line in found] if len(found) >= count else None


async def test_a_fork_sees_what_a_new_process_sees(tmp_path, bundle, attempts):
    env = {"TZ": "Asia/Tokyo", "TMPDIR": str(tmp_path), "COLOUR": "\udcffred"}
    forked = await attempts.run("state", FORKED="1", **env)
    async with attempts_in(tmp_path / "cold", bundle, warm=False) as cold:
        fresh = await cold.run("state", **env)
    for one, folder in ((forked, tmp_path), (fresh, tmp_path / "cold")):
        work = str(folder / "1" / "work")
        assert one.pop("cwd") == work and one["leads"] == [True] and one["zone"] == ["JST", "JST"]
        one["path"] = ["WORK" if entry == work else entry for entry in one["path"]]
        one["environ"].pop("_U_RUN_BASE")
    loaded, by_fresh = set(forked.pop("modules")), set(fresh.pop("modules"))
    assert by_fresh - loaded == set(), "a plain attempt still loads something"
    # What other attempts need is there as well: of the SDK and what it always loads, nothing of the user's.
    besides = {name.partition(".")[0] for name in loaded - by_fresh} - sys.stdlib_module_names
    besides = {name for name in besides if "cython" not in name}  # which compiled modules bring along
    assert besides <= {"flyte", "flyteidl2", "google", "buf", "msgpack"}
    assert forked == fresh
    assert forked["path"][0] == "WORK" and forked["folder"] == str(tmp_path)


async def test_chance_is_each_attempts_own_and_only_the_hash_seed_is_shared(attempts):
    found = [await attempts.run("chance") for _ in range(3)]
    for column in list(zip(*found, strict=True))[:6]:
        assert len(set(column)) == 3, column
    assert {one[7] for one in found} == {attempts.zygote}
    assert len({one[6] for one in found}) == 1


async def test_nothing_of_an_attempt_stays(attempts):
    canary = "canary-" + os.urandom(12).hex()
    first = await attempts.run("leaves", CANARY=canary, MINE="1")
    assert first[0] == {"CANARY": canary, "MINE": "1"}
    second = await attempts.run("leaves")
    assert second[0] == {} and second[1] == first[1]
    held = 0
    with open(f"/proc/{attempts.zygote}/maps") as maps, open(f"/proc/{attempts.zygote}/mem", "rb") as memory:
        for line in maps:
            place, rights = line.split()[:2]
            if "rw" in rights:
                begin, end = (int(part, 16) for part in place.split("-"))
                memory.seek(begin)
                content = memory.read(end - begin)
                held += len(content)
                assert canary.encode() not in content
    assert held > 1_000_000


async def test_the_zygote_has_one_thread_and_no_grpc(attempts):
    await attempts.run("chance")
    assert len(os.listdir(f"/proc/{attempts.zygote}/task")) == 1
    assert "grpc" not in Path(f"/proc/{attempts.zygote}/maps").read_text()


async def test_what_acts_at_start_makes_a_new_process(attempts):
    seeded = [await attempts.run("chance", PYTHONHASHSEED="7") for _ in range(2)]
    assert {one[7] for one in seeded} == {os.getpid()}
    program = "print(hash('x'))"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, check=True
    )
    assert {one[6] for one in seeded} == {int(done.stdout)}
    for variable in ("LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "LC_ALL", "HOME"):
        assert (await attempts.run("chance", **{variable: "2"}))[7] == os.getpid(), variable
    assert (await attempts.run("chance"))[7] == attempts.zygote


async def test_it_has_the_environment_of_the_devbox(tmp_path, bundle):
    async with attempts_in(tmp_path, bundle, environ={"PYTHONHASHSEED": "7", "MINE": "all"}) as attempts:
        assert (await attempts.run("leaves"))[0] == {"MINE": "all"}
        assert (await attempts.run("chance"))[7] == attempts.zygote


@pytest.mark.parametrize("warm", [True, False])
async def test_what_no_process_can_be_given_is_refused_without_its_value(tmp_path, bundle, warm):
    async with attempts_in(tmp_path, bundle, warm=warm) as attempts:
        with pytest.raises(CannotRun, match="variable TOKEN holds a NUL") as refused:
            attempts.start("chance", TOKEN="hush\0hush")
        assert "hush" not in str(refused.value) and refused.value.code == "InvalidEnvironment"
        for name in ("", "A=B"):
            with pytest.raises(CannotRun, match="cannot be the name"):
                attempts.start("chance", **{name: "x"})


async def test_a_folder_of_modules_that_depends_on_where_it_starts_is_not_shared(tmp_path, bundle):
    executor = ProcessExecutor({**os.environ, "PYTHONPATH": "src"})
    await executor.open()
    found = await Attempts(executor, tmp_path, bundle).run("state")
    assert found["path"][:2] == [str(tmp_path / "1" / "work"), str(tmp_path / "1" / "work" / "src")]
    await executor.close()


async def test_a_forked_attempt_starts_processes_of_its_own_in_every_way(attempts):
    assert await attempts.run("pools") == [3, 3, 3]


# What is killed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 7])
async def test_the_exit_code_is_told(attempts, code):
    ticket, _ = attempts.start("quits", CODE=str(code))
    assert (await attempts.executor.wait(ticket)).code == code


async def test_an_attempt_that_is_killed_is_told_with_its_signal_and_leaves_nothing(attempts):
    ticket, folder = attempts.start("sleeps", SECONDS="60")
    pid, parent = (await until(lambda: lines(folder)))[0]
    assert ticket.startswith(f"{pid}:") and parent == attempts.zygote and is_alive(ticket)
    below = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
    os.kill(pid, signal.SIGKILL)
    assert (await attempts.executor.wait(ticket)).code == -signal.SIGKILL
    await until(lambda: not runs(below))
    assert not is_alive(ticket) and not Path(f"/proc/{pid}").exists()


async def test_an_attempt_is_stopped_with_all_below_it(attempts):
    ticket, folder = attempts.start("sleeps", SECONDS="60")
    pid = (await until(lambda: lines(folder)))[0][0]
    below = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
    waiting = asyncio.create_task(attempts.executor.wait(ticket))
    await attempts.executor.stop(ticket, 10.0)
    assert (await waiting).code == 143
    await until(lambda: not runs(below))


async def test_a_zygote_that_is_killed_is_replaced_and_its_attempts_go_on(attempts):
    ticket, folder = attempts.start("sleeps", SECONDS="2")
    await until(lambda: lines(folder))
    waiting = asyncio.create_task(attempts.executor.wait(ticket))
    first = attempts.zygote
    os.kill(first, signal.SIGKILL)
    between = await attempts.run("chance")
    assert (await waiting).code is None and lines(folder)[1] == "awake"
    second = await attempts.ready(after=first)
    assert between[7] == os.getpid() and (await attempts.run("chance"))[7] == second
    assert not Path(f"/proc/{first}").exists()


async def test_a_zygote_that_does_not_answer_is_replaced_and_nothing_runs_twice(attempts):
    first = attempts.zygote
    os.kill(first, signal.SIGSTOP)
    begun = time.monotonic()
    found = await attempts.run("chance")
    assert found[7] == os.getpid() and time.monotonic() - begun < 30
    second = await attempts.ready(after=first)
    assert (await attempts.run("chance"))[7] == second


async def test_a_zygote_that_stops_telling_keeps_nobody_waiting(attempts):
    ticket, folder = attempts.start("sleeps", SECONDS="0")
    await until(lambda: lines(folder))
    os.kill(attempts.zygote, signal.SIGSTOP)
    async with asyncio.timeout(30):
        await attempts.executor.wait(ticket)
    assert lines(folder, 2)[1] == "awake"


async def test_it_is_replaced_when_what_it_has_loaded_has_changed(attempts):
    first = attempts.zygote
    packages = site.getsitepackages()[0]
    before = os.stat(packages)
    try:
        os.utime(packages, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
        assert (await attempts.run("chance"))[7] == os.getpid()
        second = await attempts.ready(after=first)
        assert (await attempts.run("chance"))[7] == second
    finally:
        os.utime(packages, ns=(before.st_atime_ns, before.st_mtime_ns))


async def test_it_ends_with_its_devbox(attempts):
    pid = attempts.zygote
    await attempts.executor.close()
    assert not Path(f"/proc/{pid}").exists()


# The program by itself ------------------------------------------------------------------------------------------------


@pytest.fixture
def zygote():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(30)
    process = subprocess.Popen(
        [sys.executable, "-m", PROGRAM, str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd="/"
    )
    theirs.close()
    with ours:
        assert News.unpack(ours.recv(64)).what == READY
        yield ours
    assert process.wait(10) == 0


@pytest.mark.parametrize("sent", [0, 30])
def test_a_devbox_that_dies_before_it_has_said_what_to_run_makes_nothing_run(zygote, tmp_path, sent):
    ours, theirs = socket.socketpair()
    work = Work(["--nothing"], {"A": "x" * 100}, str(tmp_path)).pack()
    with (tmp_path / "log").open("wb") as log, ours:
        with theirs:
            ask(zygote, 5, theirs, log.fileno())
        ours.settimeout(30)
        pid = hear_number(ours)
        assert Path(f"/proc/{pid}").exists()
        ours.sendall(work[:sent])
    news = News.unpack(zygote.recv(64))
    assert (news.number, news.code) == (5, -signal.SIGKILL) and news.peak_bytes > 1_000_000
    assert (tmp_path / "log").read_bytes() == b""


def test_a_command_that_cannot_be_read_ends_as_that_of_a_new_process(zygote, tmp_path):
    ours, theirs = socket.socketpair()
    with (tmp_path / "log").open("wb") as log, ours:
        with theirs:
            ask(zygote, 1, theirs, log.fileno())
        ours.settimeout(30)
        hear_number(ours)
        ours.sendall(Work(["--nothing"], {}, str(tmp_path)).pack())
    assert News.unpack(zygote.recv(64)).code == 2
    assert "there is no option --nothing" in (tmp_path / "log").read_text()


# Many -----------------------------------------------------------------------------------------------------------------


async def test_two_hundred_attempts_leave_nothing_behind(attempts):
    def memory() -> int:
        status = Path(f"/proc/{attempts.zygote}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    async def some(count: int) -> None:
        for _ in range(count):
            ticket, _ = attempts.start("quits", CODE="0")
            assert (await attempts.executor.wait(ticket)).code == 0

    await some(5)
    first, before, files = attempts.zygote, memory(), len(os.listdir("/proc/self/fd"))
    dead = zombies_of(os.getpid())  # of other tests
    of_zygote = len(os.listdir(f"/proc/{first}/fd"))
    await asyncio.gather(*[some(50) for _ in range(4)])
    assert attempts.zygote == first
    assert Path(f"/proc/{first}/task/{first}/children").read_text() == ""
    assert len(os.listdir("/proc/self/fd")) == files and len(os.listdir(f"/proc/{first}/fd")) == of_zygote
    assert memory() - before < 200  # KB
    assert not attempts.executor._children and not attempts.executor._zygote._forks
    assert zombies_of(first, os.getpid()) <= dead


def zombies_of(*parents: int) -> set[Path]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) in parents:
                found.add(path)
    return found


def test_limits_of_this_process_are_those_of_the_test():
    # The probe above compares limits; one that is unlimited everywhere would compare nothing.
    assert any(resource.getrlimit(n)[0] != resource.RLIM_INFINITY for n in range(16))
