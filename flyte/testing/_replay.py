"""replay(): the current code against a run that was recorded."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flyte._control.boundary import boundary_of
from flyte._core.context import TaskContext, current
from flyte._core.environ import environment
from flyte._definition.task import TaskTemplate, declared
from flyte._journal.history import NotRemembered
from flyte._verbs.run import Run, with_runcontext
from flyte.errors import TypeTransformerFailedError
from flyte.types._stored import load_values

from ._clock import ManualClock
from ._errors import ReplayDivergenceError
from ._home import test_home
from ._loop import drive
from ._recording import (
    ROOT,
    Changed,
    ChangedCode,
    RecordedFailure,
    Recording,
    Row,
    Unrecorded,
    error_of,
    read_recording,
)
from ._run import TrialController

__all__ = ["Replay", "replay"]


@dataclass(frozen=True)
class Replay:
    """A replay that did what the recorded run had done.

    :param recorded: name of the recorded run.
    :param run: the run that replayed it; None if the recorded run failed and this one did alike.
    :param reused: names of the actions whose recorded results were given.
    :param ran: names of the tasks whose bodies ran, because their code has changed, beside the root.
    """

    recorded: str
    run: Run[Any] | None
    reused: tuple[str, ...]
    ran: tuple[str, ...]


def replay(
    run_name: str,
    task: TaskTemplate[Any, Any, Any] | None = None,
    *,
    changed: Changed = "reuse",
    compare: bool = True,
    home: str | Path | None = None,
) -> Replay:
    """Run the current code of a workflow against a run that was recorded, and raise where the two part.

    The root's body runs with the recorded inputs; each call it makes gets the recorded result, or the recorded error,
    without running. So a change of a workflow is tested against what really happened, with nothing done again.

    :param run_name: a run of this process's tests, or one in the user's own history; ``"last"`` for the latest.
    :param task: the root task; if not given, the one of that name whose module is imported.
    :param changed: what becomes of a call of a task whose code has changed since: ``"reuse"`` its recorded result,
        ``"run"`` it and compare the calls it makes, or ``"error"``.
    :param compare: whether the final result must equal the recorded one, and all recorded calls must be made again.
    :param home: state folder with the history to look into.
    :raises ReplayDivergenceError: the code makes a call that was not recorded, leaves out one that was, or ends
        otherwise; the message says which and what differs.
    :raises LookupError: there is no such run, or its inputs were not kept.
    :raises TypeError: the recorded run is of a task that is not imported, or of another one than ``task``.
    :raises ValueError: ``changed`` has an unknown value.
    """
    if changed not in ("reuse", "run", "error"):
        raise ValueError(f"changed={changed!r} is not known; use 'reuse', 'run' or 'error'")
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "replay was called in async code, which it would block; write await asyncio.to_thread(replay, ...)"
        )
    recording = read_recording(run_name, Path(home) if home is not None else None, changed)
    if ROOT not in recording.rows:
        raise NotRemembered(f"run {run_name!r} ended before its root task began, so there is nothing to replay")
    task = _task_of(recording, task)
    controller = _ReplayController(recording)
    clock = ManualClock()
    runner = replace(with_runcontext("local", controller=controller).run._runner, clock=clock)

    async def main() -> tuple[Run[Any], bytes]:
        boundary = boundary_of(task.interface)
        kept = recording.root.inputs
        if kept is None or (not kept and task.interface.inputs):
            raise NotRemembered(f"the inputs of run {run_name!r} were not kept, so it cannot be replayed")
        inputs = await load_values(zip(boundary.names, boundary.inputs, strict=True), recording.fetch(kept))
        run = await runner.start(task, tuple(inputs), {})
        return run, await boundary.dump(run.result)

    run: Run[Any] | None = None
    outputs = b""
    failure: Exception | None = None
    with environment({"FLYTE_HOME": str(test_home()), "FLYTE_JOURNAL": "on"}):
        try:
            run, outputs = drive(clock, main)
        except Exception as error:
            failure = error
    # Also one that the workflow caught: it has gone another way since.
    if controller.divergences:
        raise controller.divergences[0] from None
    if compare:
        _compare(recording, run, outputs, failure)
    elif failure is not None:
        raise failure
    reused = tuple(recording.rows[key].name for key in recording.asked - recording.live)
    ran = tuple(sorted(recording.rows[key].task for key in recording.live - {ROOT}))
    return Replay(recording.name, run, reused, ran)


def _task_of(recording: Recording, task: TaskTemplate[Any, Any, Any] | None) -> TaskTemplate[Any, Any, Any]:
    name = recording.entry.task
    if task is None:
        task = declared.get(name)
        if task is None:
            raise TypeError(
                f"run {recording.name!r} is of task {name!r}, which is not imported; import its module, or pass task="
            )
    if not isinstance(task, TaskTemplate):
        raise TypeError(f"task takes a task, but got {type(task).__name__} {task!r}")
    if task.name != name:
        raise TypeError(f"run {recording.name!r} is of task {name!r}, not of {task.name!r}")
    return task


def _compare(recording: Recording, run: Run[Any] | None, outputs: bytes, failure: Exception | None) -> None:
    root = recording.root
    left = recording.left_out()
    if left and root.has_outcome:
        calls = ", ".join(dict.fromkeys(f"{row.task!r} (action {row.name})" for row in left))
        raise ReplayDivergenceError(
            f"run {recording.name!r} also called {calls}, which the current code does not"
        ) from failure
    if failure is not None:
        said = f"{type(failure).__name__}: {failure}"
        if root.error is None:
            raise ReplayDivergenceError(f"run {recording.name!r} gave a result, but now it raises {said}") from failure
        fault = recording.fault_of(root)
        if (fault.type, fault.message) != (type(failure).__name__, str(failure)) and root.phase != "aborted":
            raise ReplayDivergenceError(
                f"run {recording.name!r} raised {fault.type}: {fault.message}, but now it raises {said}"
            ) from failure
    elif run is not None and root.has_outcome:
        if root.outputs is None:
            fault = recording.fault_of(root)
            raise ReplayDivergenceError(
                f"run {recording.name!r} raised {fault.type}: {fault.message}, but now it gives {run.result!r}"
            )
        if recording.fetch(root.outputs) != outputs:
            raise ReplayDivergenceError(f"run {recording.name!r} gave another result than now, {run.result!r}")


class _ReplayController(TrialController):
    """Gives recorded results in place of calls."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording
        self.divergences: list[ReplayDivergenceError] = []

    def submit(self, task: TaskTemplate[Any, Any, Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Give the recorded outcome of a call."""
        context = current.get()
        if context is not None and context.parent is None and context.execution.journal is not None:
            context.execution.journal.past = self._recording
        return self._replayed(super().submit(task, *args, **kwargs), task, context, args, kwargs)

    async def _replayed(
        self,
        call: Coroutine[Any, Any, Any],
        task: TaskTemplate[Any, Any, Any],
        context: TaskContext | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        try:
            return await call
        except RecordedFailure as failure:
            raise error_of(failure, getattr(getattr(task, "func", None), "__globals__", {})) from None
        except ChangedCode:
            raise self._part(f"the code of task {task.name!r} has changed since") from None
        except Unrecorded:
            assert context is not None
            given = dict(zip(task.interface.inputs, task.interface.bind(args, kwargs), strict=True))
            raise self._part(await self._difference(task, context, given)) from None

    async def trace(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Give the recorded outcome of a traced function."""
        try:
            return await super().trace(function, *args, **kwargs)
        except (RecordedFailure, ChangedCode, Unrecorded) as outcome:
            raise self._step_outcome(outcome, function) from None

    def trace_sync(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Give the recorded outcome of a traced function."""
        try:
            return super().trace_sync(function, *args, **kwargs)
        except (RecordedFailure, ChangedCode, Unrecorded) as outcome:
            raise self._step_outcome(outcome, function) from None

    def _step_outcome(self, outcome: Exception, function: Callable[..., Any]) -> BaseException:
        name = function.__name__
        if isinstance(outcome, RecordedFailure):
            return error_of(outcome, getattr(function, "__globals__", {}))
        if isinstance(outcome, ChangedCode):
            return self._part(f"the code of traced function {name!r} has changed since")
        return self._part(f"traced function {name!r} was not called with these arguments then")

    def _part(self, what: str) -> ReplayDivergenceError:
        divergence = ReplayDivergenceError(f"replay of run {self._recording.name!r}: {what}")
        self.divergences.append(divergence)
        return divergence

    async def _difference(self, task: TaskTemplate[Any, Any, Any], context: TaskContext, given: dict[str, Any]) -> str:
        recording = self._recording
        record = context.calls.record
        caller = f"{context.task_name!r} (action {context.name})"
        siblings = recording.children(record.key if record is not None else None)
        alike = [row for row in siblings if row.task == task.name and row.kind == "task"]
        shown = ", ".join(f"{name}={_short(value)}" for name, value in given.items())
        what = f"{caller} calls {task.name}({shown}), which it did not then"
        unfinished = [row for row in alike if not row.has_outcome]
        if unfinished:
            return f"{what} finish: there it was {unfinished[0].phase}"
        open_rows = [row for row in alike if row.key not in recording.asked]
        nearest: list[str] | None = None
        for row in open_rows or alike:
            differing = await self._differing(task, row, given, context.group)
            if nearest is None or len(differing) < len(nearest):
                nearest = differing
        if nearest is not None:
            often = f" (it made {len(alike)} such calls)" if not open_rows else ""
            return f"{what}; the nearest call then had {' and '.join(nearest) or 'the same arguments'}{often}"
        others = sorted({row.task for row in siblings})
        return f"{what}; then it called {', '.join(others) if others else 'nothing'}"

    async def _differing(
        self, task: TaskTemplate[Any, Any, Any], row: Row, given: dict[str, Any], group: str | None
    ) -> list[str]:
        boundary = boundary_of(task.interface)
        differing = [f"group {row.group!r}"] if row.group != group else []
        try:
            inputs = await load_values(
                zip(boundary.names, boundary.inputs, strict=True), self._recording.fetch(row.inputs or b"")
            )
        except (TypeTransformerFailedError, OSError, ValueError):
            return [*differing, "other parameters"]
        for name, then in zip(boundary.names, inputs, strict=True):
            try:
                same = bool(then == given[name])
            except (TypeError, ValueError):
                same = repr(then) == repr(given[name])
            if not same:
                differing.append(f"{name}={_short(then)}")
        return differing


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
