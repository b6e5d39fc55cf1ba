"""Running a builder's program: its lines as they come, the last of them for errors, and no secret in either.

Called by `builders` and `image_checkers`. A program that is no longer wanted is ended with all that it started.
"""

import asyncio
import contextlib
import os
import re
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TAIL_LINES = 40
_GRACE_S = 5.0
_MOST_LINE_BYTES = 64 * 1024
_HIDDEN = "***"
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended.

    :param code: its exit code.
    :param tail: the last lines that it wrote.
    """

    code: int
    tail: tuple[str, ...]

    @property
    def text(self) -> str:
        """The last lines as one text."""
        return "\n".join(self.tail)


async def run_program(
    argv: Sequence[str],
    *,
    timeout_s: float | None,
    on_line: Callable[[str], None] | None = None,
    hidden: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run ``argv`` and wait for its end.

    :param timeout_s: how long it may take; None for a build, which may take hours and can be cancelled.
    :param on_line: gets each line of its output and its errors.
    :param hidden: texts that are replaced in the lines.
    :param environment: variables set for it beside those of this process.
    :raises TimeoutError: it took longer.
    :raises OSError: it could not be started.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        start_new_session=True,  # so that what it starts can be ended with it
    )
    tail: deque[str] = deque(maxlen=TAIL_LINES)

    def take(raw: bytes) -> None:
        line = _COLOURS.sub("", raw.decode("utf-8", "replace")).rstrip()
        for text in hidden:
            # A value of several lines shows line by line.
            for part in text.splitlines():
                if len(part.strip()) >= 4 or part == text:
                    line = line.replace(part, _HIDDEN) if part else line
        if line:
            tail.append(line)
            if on_line is not None:
                on_line(line)

    try:
        async with asyncio.timeout(timeout_s):
            assert process.stdout is not None
            await _read_lines(process.stdout, take)
            code = await process.wait()
    finally:
        if process.returncode is None:
            await _end(process)
    return Finished(code, tuple(tail))


async def _read_lines(stream: asyncio.StreamReader, take: Callable[[bytes], None]) -> None:
    rest = b""
    while piece := await stream.read(_MOST_LINE_BYTES):
        # A progress bar redraws its line after \r; each of its states is a line here.
        *lines, rest = re.split(rb"[\r\n]+", rest + piece)
        for line in lines:
            take(line)
        if len(rest) > _MOST_LINE_BYTES:
            take(rest)
            rest = b""
    take(rest)


async def _end(process: asyncio.subprocess.Process) -> None:
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        # A container that a build runs a step in is in no group or session of the builder's.
        started = _descendants(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
        for pid in started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            # Also while this task is being cancelled: nothing may be left running.
            await asyncio.wait_for(asyncio.shield(process.wait()), _GRACE_S)
        except TimeoutError:
            continue
        return


def _descendants(pid: int) -> list[int]:
    """The processes that a process started, directly or not, as far as the system tells (on Linux)."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold anything.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, waiting = [], [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            found.append(child)
            waiting.append(child)
    return found
