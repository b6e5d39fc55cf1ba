"""A worker process as the run sees it: started, spoken to, watched and ended."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Protocol

from flyte._core.log import logger
from flyte._core.trees import end_tree, resident_bytes

from .channel import Channel, Message
from .warden import Warden


class Attempt(Protocol):
    """An attempt, as the messages of its process reach it; see `calls`."""

    reply: "asyncio.Future[Message]"

    def lost(self) -> None:
        """Its process has ended."""
        ...

    def pause(self) -> None:
        """Its body waits for calls only."""
        ...

    def wake(self) -> None:
        """Its body wants to go on."""
        ...

    def remember(self, message: Message, answer: Callable[[Any], None]) -> None:
        """Its body tells the history something."""
        ...

    def soften(self, words: str) -> None:
        """Its body waits for something outside."""
        ...

    def firm(self) -> None:
        """That has come."""
        ...

    def start_call(self, call: int, address: Any, data: bytes, group: str | None, custom: dict[str, str]) -> None:
        """Its body makes a call."""
        ...

    def start_condition(self, call: int, condition: bytes) -> None:
        """Its body makes a condition."""
        ...

    def start_wait(self, call: int, number: int) -> None:
        """Its body waits for a condition."""
        ...

    def stop_call(self, call: int, reason: str = "") -> None:
        """Its body no longer wants the result of a call."""
        ...


CLEAN_UP_S = 0.7
"""How long a cancelled body may clean up. Less than what its caller waits for it, so that nothing is abandoned."""
_REAPED_EVERY_S = 0.002
_POLLED_EVERY_S = 0.05
"""How often the memory of a limited body is looked at."""
_PROGRAM = "import sys; sys.path[:] = {path!r}; from flyte._control.workers.program import main; main({fd}, {line})"


class WorkerProcess:
    """One warm process; made on the run's event loop.

    :param setup: what every attempt in it needs to know; see `program`.
    :param received: called with each message.
    :param ended: called once, when it has ended and is reaped.
    """

    def __init__(
        self,
        setup: dict[str, Any],
        warden: Warden,
        received: Callable[["WorkerProcess", Message], None],
        ended: Callable[["WorkerProcess"], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._warden = warden
        self._received = received
        self._on_ended = ended
        self.attempts: dict[int, Attempt] = {}
        self.known: set[str] = set()
        """Keys of pickled tasks that it has."""
        self.sent = 0
        """How many messages it was sent; see ``program.Worker``."""
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.idle_since: float | None = None
        self.closing = False
        """It takes no more attempts."""
        self.ours = False
        """This process has ended it."""
        self.status: int | None = None
        self.peak_bytes = 0
        self.fresh_bytes: int | None = None
        """Memory that it had before its first body; None until it is ready."""
        self.over_limit: tuple[int, int] | None = None
        """Limit and use, in bytes, if it was ended because of its memory."""
        self._limits: dict[int, int] = {}
        self._watch: asyncio.Task[None] | None = None
        self._fd = -1
        self._start(setup)

    def _start(self, setup: dict[str, Any]) -> None:
        ours, theirs = socket.socketpair()
        our_line, their_line = socket.socketpair()
        path = [os.path.abspath(p) if p == "" else p for p in sys.path]
        program = _PROGRAM.format(path=path, fd=theirs.fileno(), line=their_line.fileno())
        try:
            self._process = subprocess.Popen(
                [sys.executable, *_interpreter_flags(), "-c", program],
                pass_fds=[theirs.fileno(), their_line.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            our_line.close()
            raise
        finally:
            theirs.close()
            their_line.close()
        self.pid = self._process.pid
        self._warden.add(self.pid)
        self._channel = Channel(self._on_message, self._on_closed)
        self._line = Channel(self._on_line, lambda: None)
        ours.setblocking(False)
        our_line.setblocking(False)
        self._connecting = self._loop.create_task(self._connect(ours, our_line))
        self.send("setup", setup)
        try:
            self._fd = os.pidfd_open(self.pid)
            self._loop.add_reader(self._fd, self._on_exit)
        except (AttributeError, OSError):  # not Linux: its end of the channel closes with it
            self._fd = -1

    async def _connect(self, ours: socket.socket, our_line: socket.socket) -> None:
        await self._loop.create_unix_connection(lambda: self._channel, sock=ours)
        await self._loop.create_unix_connection(lambda: self._line, sock=our_line)

    # Messages -------------------------------------------------------------------------------------------------------

    def send(self, *message: Any) -> None:
        """Send it a message."""
        self.sent += 1
        self._channel.send(*message)

    def _on_message(self, message: Message) -> None:
        if message[0] == "ready":
            self.fresh_bytes = resident_bytes(self.pid)
            self.ready.set()
        else:
            self._received(self, message)

    def _on_line(self, message: Message) -> None:
        attempt = self.attempts.get(message[1])
        if attempt is not None:
            attempt.remember(message, self._line.send)

    # Memory ---------------------------------------------------------------------------------------------------------

    def limit_memory(self, attempt: int, limit_bytes: int) -> None:
        """End the process when its tree has more than ``limit_bytes``, as long as that attempt is in it."""
        self._limits[attempt] = limit_bytes
        if self._watch is None or self._watch.done():
            self._watch = self._loop.create_task(self._watch_memory())

    async def _watch_memory(self) -> None:
        while self._limits and not self.ended.is_set():
            # Several in one process share what each may have.
            limit = max(self._limits.values())
            used = resident_bytes(self.pid)
            self.peak_bytes = max(self.peak_bytes, used)
            if used > limit:
                self.over_limit = (limit, used)
                self.kill()
                return
            await asyncio.sleep(_POLLED_EVERY_S)

    def holds(self, limit_bytes: int) -> bool:
        """Whether earlier bodies have left so much behind that it would count against one with this limit."""
        return self.fresh_bytes is not None and resident_bytes(self.pid) - self.fresh_bytes > limit_bytes // 4

    def leave(self, attempt: int) -> None:
        """An attempt is no longer in this process."""
        self.attempts.pop(attempt, None)
        self._limits.pop(attempt, None)
        if not self._limits:
            self.peak_bytes = 0

    # The end --------------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """Ask the whole tree to end."""
        if not self.ended.is_set():
            self.closing = self.ours = True
            end_tree(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the whole tree at once."""
        if not self.ended.is_set():
            self.closing = self.ours = True
            end_tree(self.pid, signal.SIGKILL)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._fd)
        # What it said last is still read; its end may stay open in a process that it forked.
        self._loop.call_later(_POLLED_EVERY_S, self._channel.close)

    def _on_closed(self) -> None:
        self.closing = True
        end_tree(self.pid, signal.SIGKILL)
        self._reap()

    def _reap(self) -> None:
        try:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:  # the program reaps all its children itself
            pid, status, usage = self.pid, 0, None
        if not pid:
            self._loop.call_later(_REAPED_EVERY_S, self._reap)
            return
        self.status = os.waitstatus_to_exitcode(status)
        self._process.returncode = self.status
        self._line.close()
        # A child begins with the peak of the process that started it: what is not above ours says nothing of its own.
        if usage is not None and usage.ru_maxrss > _own_peak():
            self.peak_bytes = max(self.peak_bytes, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        self._warden.remove(self.pid)
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._watch is not None:
            self._watch.cancel()
        self.ended.set()
        self._on_ended(self)

    def end_now(self) -> None:
        """Kill and reap where no event loop runs any more."""
        if self.status is None:
            end_tree(self.pid, signal.SIGKILL)
            try:
                self._process.wait(timeout=2.0)
            except subprocess.TimeoutExpired:
                logger.warning("worker process %d does not end", self.pid)

    def describe_end(self) -> str:
        """How it ended, in words."""
        status = self.status or 0
        if status < 0:
            try:
                name = signal.Signals(-status).name
            except ValueError:
                name = "a signal"
            return f"was killed by {name} (signal {-status})"
        return f"exited with code {status}"


def _interpreter_flags() -> list[str]:
    # What multiprocessing starts its own children with: -X and -W options, -O, -I and so on.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return flags


def _own_peak() -> int:
    """The peak memory of this program, in the unit of ``ru_maxrss``, without what its own parent had."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
