"""Launching a run in this process."""

import asyncio
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from flyte._control.attempt import stop, without_own_frames
from flyte._control.local import LocalController
from flyte._core.context import Execution, TaskContext, current, get_custom_context
from flyte._core.controller import Controller, Recorder
from flyte._core.log import logger
from flyte._definition.task import TaskTemplate
from flyte.types._pickle import raw_data_path


async def run_here(
    task: TaskTemplate[Any, Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    controller: Controller | None,
    recorder: Recorder | None,
    custom_context: Mapping[str, str] | None,
    settings: dict[str, Any],
) -> Any:
    """Run ``task`` as the root of a new run on this event loop, and give its result.

    When it returns, or is cancelled, nothing of the run is left running.

    :param settings: further fields of :class:`Execution`.
    :raises Exception: what the root's body raised.
    """
    loop = asyncio.get_running_loop()
    controller = controller or LocalController()
    execution = Execution(controller=controller, recorder=recorder, loop=loop, **settings)
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
