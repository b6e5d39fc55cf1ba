"""The command line and environment of a `flyte` process in these tests."""

import contextlib
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import flyte

PROGRAM = '''
import asyncio
import enum
import os

import flyte

env = flyte.TaskEnvironment(name="shop")


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


@env.task
async def square(x: int) -> int:
    """The square of a number."""
    return x * x


@env.task
async def main(n: int, color: Color = Color.RED, my_scale: float = 1.0, loud: bool = False) -> float:
    """Add up squares.

    They are computed side by side.

    :param n: how many numbers
    :param my_scale: factor of the result
    """
    total = sum(await asyncio.gather(*[square(i) for i in range(n)]))
    if loud:
        print("color", color.name)
    return total * my_scale


@env.task
def variable(name: str) -> str:
    return os.environ.get(name, "<not set>")


@env.task
async def pair() -> tuple[int, str]:
    return 7, "seven"


@env.task
async def nothing():
    pass


def helper(x):
    raise ValueError(f"{x} is too many")


@env.task
async def child(x: int) -> int:
    return helper(x)


@env.task
async def failing(x: int = 3) -> int:
    return await child(x)


def not_a_task():
    pass
'''

ROOT = str(Path(flyte.__file__).parents[1])


def environment(**more: str) -> dict[str, str]:
    """The process's environment with this checkout on the path and a terminal of fixed width."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("FLYTE", "_FLYTE", "TERM"))}
    path = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH", "")]))
    return {**kept, "PYTHONPATH": path, "COLUMNS": "80", "PYTHONUNBUFFERED": "1", **more}


def command(*args: str) -> list[str]:
    """The command line of the ``flyte`` command of this checkout.

    ``-P`` keeps the current folder off the path, as for an installed script.
    """
    return [sys.executable, "-P", "-m", "flyte.cli.main", *args]


def typed_here(*args: str) -> "subprocess.CompletedProcess[str]":
    """``flyte ARGS`` in this process, which is ten times as fast: for commands that run nothing of the user's."""
    from flyte.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(args))
    return subprocess.CompletedProcess(list(args), code, out.getvalue(), err.getvalue())


def on_terminal(folder: Path, *args: str, stdout: int | None = None, **env: str) -> str:
    """All that a terminal of 24 lines and 100 columns gets from ``flyte ARGS``."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    surroundings = environment(TERM="xterm-256color", **env)
    del surroundings["COLUMNS"]
    process = subprocess.Popen(
        command(*args), cwd=folder, env=surroundings, stdin=follower, stdout=stdout or follower, stderr=follower
    )
    os.close(follower)
    written = b""
    with contextlib.suppress(OSError):  # Linux reports the terminal's end as an error
        while data := os.read(leader, 65536):
            written += data
    os.close(leader)
    assert process.wait(timeout=30) == 0
    return written.decode().replace("\r\n", "\n")
