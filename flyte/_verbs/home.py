"""Launching a run in this process."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from types import TracebackType
from typing import Any

from flyte._control.attempt import stop, without_own_frames
from flyte._control.cache import use_of
from flyte._control.journal import open_journal
from flyte._control.local import LocalController
from flyte._control.logs import captured
from flyte._control.trace import phase_of
from flyte._core.context import Execution, TaskContext, current, get_custom_context
from flyte._core.controller import Controller, Recorder
from flyte._core.identity import ActionPhase
from flyte._core.log import logger
from flyte._definition.task import TaskTemplate
from flyte.errors import RunRecoveryError
from flyte.types._raw_data import raw_data_path


async def run_here(
    task: TaskTemplate[Any, Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    controller: Controller | None,
    recorder: Recorder | None,
    custom_context: Mapping[str, str] | None,
    settings: dict[str, Any],
    remembered: bool = False,
    recover_from: str | None = None,
    workers: int | None = None,
) -> Any:
    """Run ``task`` as the root of a new run on this event loop, and give its result.

    When it returns, or is cancelled, nothing of the run is left running.

    :param settings: further fields of :class:`Execution`.
    :param remembered: whether the run goes into the journal.
    :param recover_from: name of an earlier run whose finished actions are taken from there, or ``last``.
    :param workers: how many bodies run at once, in processes of their own; None to run them in this one.
    :raises Exception: what the root's body raised.
    :raises flyte.errors.RunRecoveryError: there is nothing to recover from under that name.
    :raises ValueError: ``FLYTE_CACHE`` holds a word that is not known.
    """
    loop = asyncio.get_running_loop()
    controller = controller or LocalController()
    execution = Execution(controller=controller, recorder=recorder, loop=loop, **settings)
    use_of(execution)  # a word that FLYTE_CACHE does not know is refused before anything runs
    if remembered and isinstance(controller, LocalController):
        execution.journal = open_journal(_run_columns(task, execution), recover_from)
        if execution.journal is not None and execution.journal.past is not None:
            execution.recovered_from = execution.journal.past.base_dirs
    elif recover_from is not None:
        raise RunRecoveryError(
            f"recover_from={recover_from!r} needs the history of runs, which is "
            + ("not kept under a controller of your own" if remembered else "off: see flyte.init(local_persistence=)")
        )
    journal = execution.journal
    try:
        with captured() if journal is not None else nullcontext():
            if workers is None:
                result = await _run_root(task, args, kwargs, execution, custom_context)
            else:
                result = await _run_in_workers(workers, task, args, kwargs, execution, custom_context)
    except BaseException as error:
        if journal is not None:
            journal.end(phase_of(error), error, execution.clock.time())
        raise
    if journal is not None:
        journal.end(ActionPhase.SUCCEEDED, None, execution.clock.time())
    return result


def _run_columns(task: TaskTemplate[Any, Any, Any], execution: Execution) -> dict[str, Any]:
    """What the journal knows of a run from its start."""
    func = getattr(task, "func", None)
    program = {
        "module": getattr(func, "__module__", None),
        "file": task.source_file,
        "task": getattr(func, "__name__", task.name),
        "cwd": os.getcwd(),
        "root": sys.path[0] if sys.path else "",
    }
    return {
        "name": execution.run_name,
        "task": task.name,
        "phase": ActionPhase.RUNNING.value,
        "started_at": execution.clock.time(),
        "project": execution.project,
        "domain": execution.domain,
        "base_dir": execution.run_base_dir,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "program": json.dumps(program),
    }


async def _run_in_workers(
    workers: int,
    task: TaskTemplate[Any, Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    execution: Execution,
    custom_context: Mapping[str, str] | None,
) -> Any:
    from flyte._control.workers.pool import WorkerPool

    if not isinstance(execution.controller, LocalController):
        raise TypeError(
            f"workers={workers} needs the local controller, but got {type(execution.controller).__name__}; derive "
            "yours from flyte.extend.LocalController, or leave workers out"
        )
    pool = WorkerPool(workers, execution)
    execution.attempt = pool.attempt
    try:
        pool.open(task)
        return await _run_root(task, args, kwargs, execution, custom_context)
    finally:
        await pool.close()


async def _run_root(
    task: TaskTemplate[Any, Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    execution: Execution,
    custom_context: Mapping[str, str] | None,
) -> Any:
    loop, controller = execution.loop, execution.controller
    assert controller is not None
    scope = TaskContext(execution, None, "", None)
    scope.custom_context = {**get_custom_context(), **(custom_context or {})}
    token = current.set(scope)
    data_token = raw_data_path.set(execution.raw_data_path)
    try:
        root = loop.create_task(controller.submit(task, *args, **kwargs))
    finally:
        raw_data_path.reset(data_token)
        current.reset(token)
    try:
        await asyncio.wait({root})
    except asyncio.CancelledError:
        execution.closing = True
        await stop([root, *scope.calls.running()])
        raise
    finally:
        scope.calls.closed = True
        await _stop_left(task, scope)
        await controller.stop()
    try:
        return root.result()
    except BaseException as error:
        error.__traceback__ = without_own_frames(error.__traceback__)
        raise


async def _stop_left(task: TaskTemplate[Any, Any, Any], scope: TaskContext) -> None:
    left = scope.calls.running()
    if left:
        logger.warning("run of %r has ended; %d calls that nobody awaited were cancelled", task.name, len(left))
        await stop(left)


def hide_own_frames() -> None:
    """From now on an error that nobody catches is shown without the frames of this package.

    A program that has set ``sys.excepthook`` itself is left alone. Frames that are still running cannot be taken off
    an error before it is shown, hence the hook.
    """
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show_without_own_frames


def _show_without_own_frames(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = without_own_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    sys.__excepthook__(kind, error, error.__traceback__)
