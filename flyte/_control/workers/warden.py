"""A process of its own that ends the workers when the run's process dies, however it dies.

It waits on a pipe whose other end only the run's process holds, and is told which workers there are. What a worker
itself has started is ended too, which the worker could not do in the middle of a computation.
"""

import os
import select
import signal
import subprocess
import sys

from flyte._core.trees import end_tree

# Isolated and without the packages of the environment it starts in a few milliseconds.
_PROGRAM = "import sys; sys.path.append({folder!r}); from flyte._control.workers.warden import watch; watch({fd})"
_FOLDER = os.path.abspath(__file__).rpartition(f"{os.sep}flyte{os.sep}")[0]
_LOOKED_EVERY_MS = 500


class Warden:
    """Ends :attr:`workers` when this process dies. Must be closed."""

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        program = _PROGRAM.format(folder=_FOLDER, fd=reading)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", program],
                pass_fds=[reading],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._writing)
            raise
        finally:
            os.close(reading)

    def add(self, pid: int) -> None:
        """A worker has started."""
        self._tell(f"+{pid}\n")

    def remove(self, pid: int) -> None:
        """A worker has ended, and its number may be another process's soon."""
        self._tell(f"-{pid}\n")

    def _tell(self, line: str) -> None:
        try:
            os.write(self._writing, line.encode())
        except OSError:  # it was killed: the workers still see for themselves that this process has died
            pass

    def close(self) -> None:
        """All workers have ended."""
        os.close(self._writing)
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def watch(descriptor: int) -> None:
    """What the warden does; returns when the run's process is gone and the workers have been ended."""
    parent = os.getppid()
    workers: set[int] = set()
    rest = b""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    while os.getppid() == parent:
        if not waiting.poll(_LOOKED_EVERY_MS):
            continue
        data = os.read(descriptor, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            (workers.add if line[:1] == b"+" else workers.discard)(int(line[1:]))
    for pid in workers:
        end_tree(pid, signal.SIGKILL)
