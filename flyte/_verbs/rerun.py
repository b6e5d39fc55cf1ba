"""``flyte.rerun``: a run of the journal, or of a control plane, once more."""

import importlib
import sys
from typing import Any, cast

from flyte._control.boundary import boundary_of
from flyte._core.identity import check_run_name, random_run_name
from flyte._core.log import logger
from flyte._core.loop import run_blocking
from flyte._definition.task import TaskTemplate, declared
from flyte._journal.record import Recorded, recorded
from flyte.errors import RunRecoveryError, TypeTransformerFailedError

from .home import hide_own_frames
from .run import Run, is_configured, with_runcontext


class _Rerun:
    """``flyte.rerun(...)`` and ``await flyte.rerun.aio(...)``."""

    def __call__(
        self, run_name: str, action_name: str = "a0", recover: bool = False, name: str | None = None, **inputs: Any
    ) -> Run[Any]:
        """Run a run again, with the inputs of then.

        A remembered run of this machine runs here, with the code as it is now, and this waits for its end. If a control
        plane is configured the run is one of it, and runs there with the code of then: this gives a
        :class:`flyte.remote.Run` at once. Without one, a run that this machine does not remember is looked for on its
        devbox.

        :param run_name: name of the run, or ``"last"``.
        :param action_name: one action of it, to run that alone with its own inputs; ``"a0"`` is the root.
        :param recover: take from the run what had ended well there and is still the same work, instead of running it.
        :param name: of the new run; made up if not given.
        :param inputs: in place of those of then.
        :raises flyte.errors.RunRecoveryError: there is no such run or action, or its task cannot be found.
        :raises Exception: what the task raised.
        """
        try:
            return run_blocking(lambda: self.aio(run_name, action_name, recover, name, **inputs))
        except BaseException:
            hide_own_frames()
            raise

    async def aio(
        self, run_name: str, action_name: str = "a0", recover: bool = False, name: str | None = None, **inputs: Any
    ) -> Run[Any]:
        """The same for async code."""
        if recover and action_name != "a0":
            raise RunRecoveryError(
                f"recover=True takes up a whole run, so it does not go with action_name={action_name!r}"
            )
        if is_configured() or not _is_remembered(run_name):
            return cast(Run[Any], await _rerun_away(run_name, action_name, recover, name, inputs))
        known = recorded(run_name, action_name)
        task = _task_of(known)
        given = {**await recorded_inputs(known, task), **inputs}
        context = with_runcontext("local", name=name, recover_from=known.run if recover else None)
        return await context.run.aio(task, **given)


rerun = _Rerun()


def _is_remembered(run_name: str) -> bool:
    """Whether this machine remembers the run, or has no devbox that could."""
    from flyte.remote._plane import running_devbox

    try:
        recorded(run_name, "a0")
    except RunRecoveryError:
        return running_devbox() is None
    return True


async def _rerun_away(run_name: str, action_name: str, recover: bool, name: str | None, inputs: dict[str, Any]) -> Any:
    from flyte.remote._launch import repeat
    from flyte.remote._plane import find_plane

    if name is not None:
        check_run_name(name)
    return await repeat(
        find_plane(),
        run_name,
        action=action_name,
        name=name or random_run_name(),
        is_named=name is not None,
        recover=recover,
        inputs=inputs,
    )


async def recorded_inputs(known: Recorded, task: TaskTemplate[Any, Any, Any]) -> dict[str, Any]:
    """The inputs of a recorded action, as far as ``task`` still has parameters of these names.

    :raises RunRecoveryError: one of them does not fit its parameter any more.
    """
    try:
        values, gone = await boundary_of(task.interface).load_inputs(known.inputs)
    except TypeTransformerFailedError as error:
        raise RunRecoveryError(
            f"the inputs of run {known.run!r} do not fit task {task.name!r} any more; give them anew: {error}"
        ) from error
    if gone:
        logger.warning("task %r has no parameter %s any more; it is left out", task.name, ", ".join(map(repr, gone)))
    return values


def _task_of(known: Recorded) -> TaskTemplate[Any, Any, Any]:
    task = declared.get(known.task)
    if task is not None:
        return task
    module, root = known.program.get("module"), known.program.get("root")
    if module and module != "__main__":
        if root and root not in sys.path:
            sys.path.insert(0, root)
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise RunRecoveryError(f"task {known.task!r} cannot be found: {error}") from error
    task = declared.get(known.task)
    if task is None:
        raise RunRecoveryError(
            f"task {known.task!r} of run {known.run!r} is not declared in this process; import its module, or "
            f"use the command line: flyte rerun {known.run}"
        )
    return task
