"""The devbox's side of a zygote: it is started, asked for attempts, watched, and replaced when it has ended.

What a zygote is, and what travels, is in :mod:`flyte._core.zygote`; the program itself is ``flyte._runtime.zygote``.
Only on Linux: elsewhere a fork of a process that has loaded much is not safe, and there is nothing to wait for it by.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from flyte._core.log import logger
from flyte._core.zygote import ENDED, PROGRAM, READY, News, Work, acts_at_start, ask, hear_number

START_WITHIN_S = 2.0
"""How long a zygote may take for a fork, for which the devbox waits: some milliseconds is the rule."""
_REAPED_EVERY_S = 0.02
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 60.0
"""How long no new one is started after one that did not last, at first and at most."""
_LASTED_S = 10.0


def is_possible() -> bool:
    """Whether attempts can be forked on this system."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


def can_be_forked(environ: Mapping[str, str]) -> bool:
    """Whether forks with this environment are like new processes: no folder of modules depends on where one starts."""
    folders = environ.get("PYTHONPATH")
    return not folders or all(map(os.path.isabs, folders.split(os.pathsep)))


class Fork:
    """An attempt that a zygote has forked.

    :param pid: its process, which is in a session of its own.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.peak_bytes = 0
        self.told = asyncio.Event()
        """It has ended; or its zygote has, and how it ends nobody will be told."""


class Zygote:
    """What forks attempts of one interpreter. Made on an event loop; must be closed.

    :param environ: environment of the zygote. Attempts that want other values of what only acts when an interpreter
        starts cannot be forked.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._at_start = acts_at_start(environ)
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._forks: dict[int, Fork] = {}
        self._number = 0
        self._pause_s = _FIRST_PAUSE_S
        self._again: asyncio.TimerHandle | None = None
        self._closed = False
        self._ended: list[subprocess.Popen[bytes]] = []
        self._ready_at = 0.0
        self.is_ready = False
        self._start()

    @property
    def pid(self) -> int | None:
        """Its process; None between two."""
        return self._process.pid if self._process is not None else None

    def _start(self) -> None:
        self._again = None
        if self._closed:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._environ,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            logger.warning("no process to fork attempts from could be started: %s", error)
            self._later()
            return
        finally:
            theirs.close()
        self._line = ours
        self._line.setblocking(False)
        self._loop.add_reader(ours, self._read)

    def _later(self) -> None:
        self._again = self._loop.call_later(self._pause_s, self._start)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    # What it says ---------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        while self._line is not None:
            try:
                packet = self._line.recv(64)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._lose("it has ended")
                return
            news = News.unpack(packet)
            if news.what == READY:
                self.is_ready = True
                self._ready_at = time.monotonic()
            elif news.what == ENDED:
                fork = self._forks.pop(news.number, None)
                if fork is not None:
                    fork.returncode, fork.peak_bytes = news.code, news.peak_bytes
                    fork.told.set()
            else:
                self._lose("")
                return

    def _lose(self, why: str) -> None:
        """Do without it, and start another; ``why`` is empty where that is no fault."""
        process, line = self._process, self._line
        assert process is not None and line is not None
        lasted = self.is_ready and time.monotonic() - self._ready_at > _LASTED_S
        self.is_ready = False
        self._process = self._line = None
        self._loop.remove_reader(line)
        line.close()
        for fork in self._forks.values():
            fork.told.set()
        self._forks.clear()
        process.kill()
        self._ended.append(process)
        self._reap()
        if self._closed:
            return
        if why:
            logger.warning(
                "process %d, which attempts are forked from, is replaced: %s; until then each starts by itself",
                *(process.pid, why),
            )
        if lasted:
            self._pause_s = _FIRST_PAUSE_S
        self._later()

    def _reap(self) -> None:
        self._ended = [process for process in self._ended if process.poll() is None]
        if self._ended and not self._loop.is_closed():
            self._loop.call_later(_REAPED_EVERY_S, self._reap)

    # What it is asked -----------------------------------------------------------------------------------------------

    def suits(self, environ: Mapping[str, str]) -> bool:
        """Whether an attempt with this environment can be forked now."""
        return self.is_ready and acts_at_start(environ) == self._at_start

    def fork(self, work: Work, log: int, begun: Callable[[int], None]) -> Fork | None:
        """Fork an attempt; None if this does not do it, and another way must be taken.

        :param log: descriptor of the file that takes what it prints.
        :param begun: called with its process before it does anything, to note it down; what this raises ends it.
        """
        try:
            packed = work.pack()
        except ValueError:  # nor would the system take it, which says so
            return None
        if self._line is None:
            return None
        self._number += 1
        number = self._number
        ours, theirs = socket.socketpair()
        with ours:
            ours.settimeout(START_WITHIN_S)
            started = time.monotonic()
            try:
                with theirs:
                    ask(self._line, number, theirs, log)
                pid = hear_number(ours)
            except OSError as error:
                if isinstance(error, TimeoutError):
                    self._lose(f"it did not answer within {time.monotonic() - started:.1f} s")
                return None
            if pid is None:
                return None
            fork = self._forks[number] = Fork(pid)
            begun(pid)
            try:
                ours.sendall(packed)
            except OSError:
                # It is ended by not being told what it is, and does nothing before that.
                return None
        return fork

    async def close(self) -> None:
        """End it. What it has forked goes on."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        if self._line is not None:
            self._lose("")
        for process in self._ended:
            process.wait(timeout=10.0)
        self._ended.clear()
