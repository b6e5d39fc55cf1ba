"""Who waits for what on an event loop, in words."""

import asyncio
import gc
import linecache
import sys
import threading
from collections.abc import Iterator
from types import CoroutineType, FrameType
from typing import Any

from flyte._control.attempt import _PACKAGE, run_attempt
from flyte._core.context import TaskContext
from flyte._definition.task import wait_in_thread

_ASYNCIO = asyncio.__path__[0]


def describe_waits(loop: asyncio.AbstractEventLoop) -> str:
    """A line for each action that waits on ``loop``: which one, where in the user's code, and for what."""
    lines = []
    for task in sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name()):
        frames, waits_for = _chain(task)
        context = next((f.f_locals.get("context") for f in reversed(frames) if f.f_code is run_attempt.__code__), None)
        own = [frame for frame in frames if _is_users(frame)]
        if not own:
            continue
        who = f"task {context.task_name!r}, action {context.name}" if isinstance(context, TaskContext) else "code"
        frame = own[-1]
        path, number = frame.f_code.co_filename, frame.f_lineno
        source = linecache.getline(path, number).strip()
        lines.append(f"- {who}: {path}:{number} in {frame.f_code.co_name}: {source}  [for {_said(waits_for)}]")
    lines += _describe_threads()
    return "\n".join(dict.fromkeys(lines)) or "- nothing that can be seen"


def _chain(task: "asyncio.Task[Any]") -> tuple[list[FrameType], Any]:
    """The frames of a task from the outside in, and what the innermost one awaits."""
    frames = []
    awaited: Any = task.get_coro()
    while isinstance(awaited, CoroutineType):
        if awaited.cr_frame is not None:
            frames.append(awaited.cr_frame)
        awaited = awaited.cr_await
    waiter = getattr(task, "_fut_waiter", None)
    return frames, waiter if waiter is not None else awaited


def _said(awaited: Any) -> str:
    if isinstance(awaited, asyncio.Task):
        frames, _ = _chain(awaited)
        own = [frame for frame in frames if _is_users(frame)]
        return f"{own[0].f_code.co_name}()" if own else "a task"
    if isinstance(awaited, asyncio.Future):
        return "several calls" if type(awaited).__name__ == "_GatheringFuture" else "a future that nobody resolves"
    return type(awaited).__name__


def _describe_threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    # A collection in the middle of it would let other threads run on while their frames are being read.
    collects = gc.isenabled()
    gc.disable()
    try:
        yield from _threads_waits(names)
    finally:
        if collects:
            gc.enable()


def _threads_waits(names: dict[int | None, str]) -> Iterator[str]:
    for ident, frame in sys._current_frames().items():
        if names.get(ident) != "flyte-sync-task":
            continue
        link: FrameType | None = frame
        waits = False
        while link is not None:
            waits = waits or link.f_code is wait_in_thread.__code__
            if waits and _is_users(link):
                path, number = link.f_code.co_filename, link.f_lineno
                source = linecache.getline(path, number).strip()
                yield f"- a thread: {path}:{number} in {link.f_code.co_name}: {source}"
                break
            link = link.f_back


def _is_users(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return not path.startswith((_PACKAGE, _ASYNCIO)) and not path.startswith("<frozen")
