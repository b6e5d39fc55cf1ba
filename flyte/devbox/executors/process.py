"""Executor ``process``: each attempt is an ``a0`` process of this machine, in a process group of its own.

An attempt is forked from a process that has loaded Python and the SDK already (see `zygote`); where that cannot be, it
is started by itself. Its ticket is the process id and the moment that the process was started, so that no other process
which got the same id later is taken for it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from flyte._core.log import logger
from flyte._core.trees import end_tree, resident_bytes
from flyte._core.zygote import ATTEMPT, Work

from .executor import CannotRun, Exit, Order
from .zygote import Fork, Zygote, can_be_forked, is_possible

_POLL_S = 0.1
"""How often a process is looked at where the system cannot tell that it has ended."""

# What belongs to the process that started the devbox, or to an attempt around it, is not the attempt's.
_NOT_INHERITED = (
    *("_U_", "_F_", "_UNION_", "EAGER_API_KEY", "FLYTE_API_KEY", "FLYTE_ADMIN_"),
    *("FLYTE_INTERNAL_", "FLYTE_ATTEMPT_NUMBER", "RUN_NAME", "ACTION_NAME"),
)
_TICKET, _LOG = "ticket", "log.txt"
_PROGRAMS = {"a0": ("-m", ATTEMPT)}
_ALWAYS = {"PYTHONUNBUFFERED": "1"}
_MEASURED_EVERY_S = 0.05
"""How often the memory of an attempt with a limit is looked at."""
_REPORTED_WITHIN_S = 5.0
"""How long a zygote may take to say how an attempt has ended."""


class ProcessExecutor:
    """Runs attempts as processes.

    :param environ: what every attempt inherits; the environment of this process if not given.
    :param warm: fork attempts from a process that is loaded already, where the system and the attempt allow it.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, *, warm: bool = True) -> None:
        given = os.environ if environ is None else environ
        kept = {name: value for name, value in given.items() if not name.startswith(_NOT_INHERITED)}
        self._environ = {**kept, **_ALWAYS}
        self._children: dict[str, subprocess.Popen[bytes] | Fork] = {}
        self._warm = warm and is_possible()
        self._zygote: Zygote | None = None

    async def open(self) -> None:
        """Start what attempts are forked from; until it is ready, attempts start by themselves."""
        if self._warm and can_be_forked(self._environ):
            self._zygote = Zygote(self._environ)

    async def close(self) -> None:
        """End what attempts are forked from."""
        if self._zygote is not None:
            await self._zygote.close()
            self._zygote = None

    def start(self, order: Order) -> str:
        """Begin an attempt, and give its ticket.

        :raises CannotRun: the command is not ``a0``: what needs its image cannot run as a process; or no process can be
            given what it or its environment holds.
        :raises OSError: the machine has no room for another process.
        """
        program = order.argv[0] if order.argv else ""
        if program not in _PROGRAMS:
            raise CannotRun(
                f"the command {program!r} needs its image {order.image!r}, but this devbox runs tasks as processes of "
                "this machine, without containers; run the task on a cluster, or call the program from a Python task"
            )
        environ = {**self._environ, **order.env}
        _check_words(order.argv, environ)
        order.work_dir.mkdir(parents=True, exist_ok=True)
        tickets: list[str] = []

        def begun(pid: int) -> None:
            ticket = f"{pid}:{_started(pid)}"
            (order.folder / _TICKET).write_text(ticket)
            tickets.append(ticket)

        child: subprocess.Popen[bytes] | Fork | None = None
        with order.log.open("ab") as log:
            if self._zygote is not None and self._zygote.suits(environ):
                work = Work(order.argv[1:], environ, str(order.work_dir))
                child = self._zygote.fork(work, log.fileno(), begun)
            if child is None:
                child = subprocess.Popen(
                    [sys.executable, *_PROGRAMS[program], *order.argv[1:]],
                    cwd=order.work_dir,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                begun(child.pid)
        self._children[tickets[-1]] = child
        return tickets[-1]

    def find(self, folder: Path) -> str | None:
        """The ticket of the process that was started in ``folder``; None if none was."""
        with contextlib.suppress(FileNotFoundError):
            if ticket := (folder / _TICKET).read_text():
                return ticket
        return _writer_of(folder / _LOG)

    async def wait(self, ticket: str, memory_bytes: int = 0) -> Exit:
        """Wait until the process has ended, and say how; it is ended if its tree has more memory than it may have."""
        child = self._children.get(ticket)
        if child is None and not is_alive(ticket):
            _end_left(ticket)
            return Exit(None)
        watched = _Memory(_pid(ticket), memory_bytes)
        watching = asyncio.ensure_future(watched.watch()) if memory_bytes else None
        try:
            await self._ended(ticket)
        finally:
            if watching is not None:
                watching.cancel()
        self._children.pop(ticket, None)
        # What it started must not outlive it: nobody waits for that any more.
        _end_left(ticket)
        peak = max(watched.peak_bytes, child.peak_bytes if isinstance(child, Fork) else 0)
        return Exit(child.returncode if child is not None else None, peak, watched.is_over)

    async def _ended(self, ticket: str) -> None:
        try:
            descriptor = os.pidfd_open(_pid(ticket))
        except (OSError, AttributeError):  # ended already, or a system without such descriptors
            descriptor = -1
        if descriptor >= 0:
            try:
                await _readable(descriptor)
            finally:
                os.close(descriptor)
        await self._reaped(ticket, _POLL_S if descriptor < 0 else 0.001)

    async def _reaped(self, ticket: str, every_s: float) -> None:
        """Wait until the exit code is known, or nobody can tell it."""
        child = self._children.get(ticket)
        if isinstance(child, Fork):
            while not child.told.is_set() and is_alive(ticket):
                # Its end was noticed by nobody so far: there was no descriptor to wait by.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(child.told.wait(), _POLL_S)
            try:
                await asyncio.wait_for(child.told.wait(), _REPORTED_WITHIN_S)
            except TimeoutError:
                logger.warning("how process %d has ended was not told", child.pid)
                return
            if child.returncode is not None:
                return
            child = None  # its zygote has ended before it
        while (child.poll() is None) if child is not None else is_alive(ticket):  # noqa: ASYNC110 (nothing else tells)
            await asyncio.sleep(every_s)

    def is_alive(self, ticket: str) -> bool:
        """Whether the process still runs."""
        return is_alive(ticket)

    async def stop(self, ticket: str, grace_s: float) -> None:
        """End the process and its group; it may clean up for ``grace_s`` seconds."""
        pid = _pid(ticket)
        child = self._children.get(ticket)
        if child is None and not is_alive(ticket):
            return
        _signal_group(pid, signal.SIGTERM)
        # Whoever waits for the process takes its exit code; here it is only looked at.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while is_alive(ticket):  # noqa: ASYNC110 (it may be no child of ours)
                    await asyncio.sleep(0.02)
        _signal_group(pid, signal.SIGKILL)


def _check_words(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Refuse what the system cannot hand to a process. Values are not shown: they may be secrets."""
    for name, value in environ.items():
        if not name or "=" in name or "\0" in name:
            raise CannotRun(f"{name!r} cannot be the name of an environment variable", "InvalidEnvironment")
        if "\0" in value:
            raise CannotRun(
                f"the environment variable {name} holds a NUL character, which no process can be given; a secret that "
                "is not text can be read from a file (mount)",
                "InvalidEnvironment",
            )
    if any("\0" in word for word in argv):
        raise CannotRun("a word of the command holds a NUL character", "InvalidCommand")


class _Memory:
    """The memory of a process and all below it, and its end if that is too much.

    :param limit_bytes: the most that it may have in use.
    """

    def __init__(self, pid: int, limit_bytes: int) -> None:
        self._pid = pid
        self._limit_bytes = limit_bytes
        self.peak_bytes = 0
        self.is_over = False

    async def watch(self) -> None:
        """Look at it until it is too much, or this is cancelled."""
        while not self.is_over:
            used = resident_bytes(self._pid)
            self.peak_bytes = max(self.peak_bytes, used)
            self.is_over = used > self._limit_bytes
            if not self.is_over:
                await asyncio.sleep(_MEASURED_EVERY_S)
        end_tree(self._pid, signal.SIGKILL)


def is_alive(ticket: str) -> bool:
    """Whether the process that ``ticket`` names still runs."""
    started = ticket.partition(":")[2]
    return started != "" and _started(_pid(ticket)) == started


def _pid(ticket: str) -> int:
    return int(ticket.partition(":")[0])


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _end_left(ticket: str) -> None:
    """End what a process that has ended has started. While that lives, the number of its group is nobody else's."""
    fields = _stat(_pid(ticket))
    if not fields or fields[19] == ticket.partition(":")[2]:
        _signal_group(_pid(ticket), signal.SIGKILL)


def _writer_of(log: Path) -> str | None:
    """The ticket of the process that prints to ``log``: its devbox was killed before it wrote down that it started."""
    for line in Path("/proc").glob("[0-9]*/fd/[12]"):
        with contextlib.suppress(OSError):
            pid = int(line.parts[2])
            # Only an attempt has a session of its own, not what it has started.
            if line.readlink() == log and os.getsid(pid) == pid and (started := _started(pid)):
                return f"{pid}:{started}"
    return None


def _stat(pid: int) -> list[str]:
    """What the system says of a process, from its state on; empty if it does not know it, or has no such files."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> str:
    """The moment that a process was started, in whatever the system counts; empty if it has ended."""
    fields = _stat(pid)
    if not fields:
        return "" if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    return "" if fields[0] in ("Z", "X") else fields[19]


def _started_by_ps(pid: int) -> str:
    found = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    )
    state, _, moment = found.stdout.strip().partition(" ")
    return "" if not state or state.startswith("Z") else "_".join(moment.split())


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def notice() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, notice)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
