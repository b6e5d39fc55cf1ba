"""Running one container on this machine with podman or docker, and leaving none behind.

Called by container tasks. Knows of programs and processes, not of tasks and values.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from flyte._core.memory import CODE as OUT_OF_MEMORY
from flyte._core.memory import killed_container
from flyte.errors import OOMError, RuntimeUserError

ENGINES = ("podman", "docker")
ENGINE_FAILED = 125
"""Exit code of podman and docker when they, not the container's program, have failed."""
_KILLED = 128 + signal.SIGKILL
_TAIL_LINES = 20
_LINE_BYTES = 64 * 1024
_REMOVE_S = 30.0
# Removing a container that runs asks it to stop, and waits for ten seconds; killed first, it does not run.
_REMOVAL = '"$0" kill --signal KILL "$1"; "$0" rm --force --volumes "$1"'


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of this machine, and where it is seen in the container."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use of this machine; None: all of it.

    :param cpus: cores.
    :param memory_bytes: bytes of memory.
    """

    cpus: float | None = None
    memory_bytes: int | None = None

    def options(self) -> list[str]:
        """As podman and docker take them."""
        cpus, memory = self.cpus, self.memory_bytes
        return [
            # docker refuses more than there are, and none at all means all.
            *(["--cpus", f"{min(cpus, os.cpu_count() or 1):g}"] if cpus else []),
            *(["--memory", f"{memory}b"] if memory else []),
        ]


def find_engine(task_name: str) -> str:
    """Path of the program that runs containers; ``FLYTE_CONTAINER_ENGINE`` names another than podman, then docker.

    :raises RuntimeUserError: there is none.
    """
    named = os.environ.get("FLYTE_CONTAINER_ENGINE")
    for name in (named,) if named else ENGINES:
        if (path := shutil.which(name)) is not None:
            return path
    wanted = repr(named) + " (FLYTE_CONTAINER_ENGINE)" if named else "neither podman nor docker"
    beside = "" if named or shutil.which("buildah") is None else " (buildah is, but it only builds images)"
    raise RuntimeUserError(
        "ContainerEngineNotFound",
        f"task {task_name!r} runs in a container, but {wanted} is {'not ' if named else ''}found on PATH{beside}; "
        "install podman (apt-get install podman) or docker",
    )


async def run_container(
    task_name: str,
    image: str,
    args: Sequence[str],
    mounts: Sequence[Mount],
    variables: Mapping[str, str],
    show: Callable[[str, bool], None] | None,
    limits: Limits,
    folder: str,
) -> None:
    """Run a container to its end; it is removed however this ends, also when this is cancelled.

    :param args: command and arguments.
    :param variables: environment variables of the container; their values are on no command line.
    :param show: gets each line that the container writes, and whether it was to standard error.
    :param folder: where the engine leaves what it likes, such as podman's file ``oom``.
    :raises OOMError: it was killed, and there is a limit of its memory.
    :raises RuntimeUserError: it could not be started, or its exit code is not 0; has the end of what it wrote.
    """
    engine = find_engine(task_name)
    name = f"flyte-{secrets.token_hex(8)}"
    argv = [engine, "run", "--rm", "--name", name, *limits.options()]
    for mount in mounts:
        argv += ["--volume", f"{mount.source}:{mount.target}"]
    for key in variables:
        argv += ["--env", key]
    process = await asyncio.create_subprocess_exec(
        *argv, image, *args,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **variables}, cwd=folder, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    ended = False
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_read(process.stdout, False, show, None))
            group.create_task(_read(process.stderr, True, show, tail))
        code = await process.wait()
        ended = True
    finally:
        if not ended:
            await _remove(engine, name, process)
    if code == 0:
        return
    end = "\n".join(tail)
    said = f"; the end of its standard error:\n{end}" if end else "; it wrote nothing to standard error"
    if code == ENGINE_FAILED:
        options = " ".join(limits.options())
        remedy = "as its resources say; override(resources=flyte.Resources()) sets no limits"
        hint = f" with {options}, {remedy}" if options else ""
        raise RuntimeUserError(
            "ContainerNotStarted", f"task {task_name!r}: the container of {image!r} could not be started{hint}{said}"
        )
    if code == _KILLED and limits.memory_bytes:
        raise OOMError(
            OUT_OF_MEMORY,
            killed_container(task_name, limits.memory_bytes) + said,
            limit=limits.memory_bytes,
        )
    hint = " (it was killed, perhaps for its use of memory)" if code == _KILLED else ""
    raise RuntimeUserError(
        "ContainerFailed", f"task {task_name!r}: the container of {image!r} ended with exit code {code}{hint}{said}"
    )


async def _read(
    stream: asyncio.StreamReader, is_error: bool, show: Callable[[str, bool], None] | None, tail: deque[str] | None
) -> None:
    rest = b""
    while piece := await stream.read(_LINE_BYTES):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _LINE_BYTES:
            lines, rest = [*lines, rest], b""
        for line in lines:
            _take(line, is_error, show, tail)
    if rest:
        _take(rest, is_error, show, tail)


def _take(line: bytes, is_error: bool, show: Callable[[str, bool], None] | None, tail: deque[str] | None) -> None:
    text = line.decode("utf-8", "replace").rstrip("\r")
    if tail is not None:
        tail.append(text)
    if show is not None:
        show(text, is_error)


async def _remove(engine: str, name: str, process: asyncio.subprocess.Process) -> None:
    """End the container and the program that started it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # In a session of its own: a caller that does not wait, or dies, does not keep it from its end. It begins once the
    # killed program can start nothing any more.
    with contextlib.suppress(Exception):
        await asyncio.shield(asyncio.wait_for(process.wait(), _REMOVE_S))
    removal = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a moment; it is waited for below
        ["/bin/sh", "-c", _REMOVAL, engine, name],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    await asyncio.shield(asyncio.to_thread(_wait, removal))


def _wait(removal: "subprocess.Popen[bytes]") -> None:
    try:
        removal.wait(_REMOVE_S)
    except subprocess.TimeoutExpired:
        removal.kill()
        removal.wait()
