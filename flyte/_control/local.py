"""LocalController: runs every call in this process, on the event loop that made it."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from flyte._core.context import Execution, TaskContext, current
from flyte._core.controller import Controller
from flyte._core.identity import ROOT_ACTION, ActionPhase, hash_data
from flyte._core.verdict import (
    MAX_SYSTEM_FAILURES,
    deadline_text,
    is_final,
    is_lost,
    max_runtime_text,
    system_failures_text,
)
from flyte._definition.task import TaskTemplate, refuse_call
from flyte._definition.timeout import Timeout
from flyte._journal.schema import INLINE_BYTES
from flyte.errors import (
    BaseRuntimeError,
    DeadlineExceededError,
    MaxQueuedTimeExceededError,
    MaxRuntimeExceededError,
    RuntimeSystemError,
    TaskTimeoutError,
)

from .attempt import Plan, failure_of, plan_of, run_attempt, stop, without_large
from .cache import flush_stores, run_cached, use_of
from .journal import RunJournal, take_found
from .trace import phase_of, trace_async, trace_async_items, trace_items, trace_sync

T = TypeVar("T")


class LocalController(Controller):
    """Runs tasks in this process.

    A call runs in the asyncio task that awaits it, so cancelling the caller cancels it; what a body starts beside
    itself (``asyncio.gather``, ``create_task``) is cancelled when the body fails or is cancelled. A sync body runs in a
    thread.
    """

    def submit(self, task: TaskTemplate[Any, Any, Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Run ``task`` as a child of the current action; see :class:`flyte.extend.Controller`."""
        plan = plan_of(task)
        if plan.supervised:
            # Waiting begins with the call, not when the event loop first finds time for it.
            return self._run(plan, args, kwargs, current_execution(task).clock.monotonic())
        return self._run(plan, args, kwargs, 0.0)

    async def _run(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any], called_at: float) -> Any:
        parent = current.get()
        if parent is None:
            raise RuntimeSystemError("NoRun", f"task {plan.name!r} was submitted outside a run; use flyte.run()")
        owner = parent.calls
        if parent.in_trace or owner.closed or owner.succeeded:
            refuse_call(parent, plan.name)
            owner = owner.responsible()
        boundary = plan.boundary
        if boundary.awaits:
            values, pieces = await boundary.take_awaiting(plan.name, args, kwargs)
        else:
            values, pieces = boundary.take(plan.name, args, kwargs)
        data = b"".join(pieces)
        inline_bytes = len(data) - plan.overhead_bytes
        if inline_bytes > plan.inline_bytes:
            data, inline_bytes = without_large(plan, values, pieces, inline_bytes)
        if plan.ignored:
            data = await boundary.identify(values, plan.ignored)
        inputs_hash = hash_data(data) if data else ""
        context = _context_of_call(plan, parent, inputs_hash)
        execution = parent.execution
        here = asyncio.current_task()
        beside = here is not parent.runner and here is not None and parent.parent is not None
        if beside:
            owner.started(here)  # type: ignore[arg-type]
        try:
            if execution.journal is not None:
                return await _remember(plan, context, values, pieces, inputs_hash, inline_bytes, called_at)
            return await _call(plan, context, values, inputs_hash, inline_bytes, called_at)
        finally:
            if beside:
                owner.ended(here)  # type: ignore[arg-type]

    async def condition(self, condition: Any, /) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Register a condition of the current action, which is then paused until somebody has answered."""
        from .conditions import begin_condition

        return await begin_condition(condition)

    async def stop(self) -> None:
        """The run has ended: what is to be kept of it is written."""
        flush_stores()

    async def trace(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run an async traced function as a step of the current action."""
        return await trace_async(function, args, kwargs)

    def trace_sync(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a sync traced function as a step of the current action."""
        return trace_sync(function, args, kwargs)

    def trace_async_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Run a traced async generator as a step of the current action."""
        return trace_async_items(function, args, kwargs)

    def trace_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Run a traced generator as a step of the current action."""
        return trace_items(function, args, kwargs)


def current_execution(task: TaskTemplate[Any, Any, Any]) -> Execution:
    """The run that a call of ``task`` belongs to.

    :raises RuntimeSystemError: there is none.
    """
    context = current.get()
    if context is None:
        raise RuntimeSystemError("NoRun", f"task {task.name!r} was submitted outside a run; use flyte.run()")
    return context.execution


def _context_of_call(plan: Plan, parent: TaskContext, inputs_hash: str) -> TaskContext:
    if parent.parent is None:  # the run itself makes one call, of its root
        return TaskContext(parent.execution, parent, plan.name, ROOT_ACTION)
    identity = plan.identity
    sequence = parent.calls.next_sequence(identity, inputs_hash, parent.group)
    return TaskContext(parent.execution, parent, plan.name, None, (inputs_hash, identity, sequence))


def _call(
    plan: Plan,
    context: TaskContext,
    values: Sequence[Any],
    inputs_hash: str,
    inline_bytes: int,
    called_at: float,
) -> Coroutine[Any, Any, Any]:
    if plan.cached and (use := use_of(context.execution)) != "off":
        call = functools.partial(_execute, plan, context, values, inline_bytes, called_at)
        return run_cached(plan, context, inputs_hash, use, call)
    return _execute(plan, context, values, inline_bytes, called_at)


async def _remember(
    plan: Plan,
    context: TaskContext,
    values: Sequence[Any],
    pieces: Sequence[bytes],
    inputs_hash: str,
    inline_bytes: int,
    called_at: float,
) -> Any:
    """The result of an equal call that was made before, or that of the call, which the journal then knows."""
    journal: RunJournal = context.execution.journal
    record = journal.begin(plan, context, inputs_hash)
    if record.again or journal.past is not None:
        found = journal.look_up(record, plan.work_version, plan.name)
        if found is not None:
            taken, result = await take_found(plan, found)
            if taken:
                if found.action != record.id:
                    await journal.keep_inputs(record, plan, values, pieces)
                    await journal.recovered(record, found)
                if context.execution.recorder is not None:
                    context.execution.recorder.action_finished(context, ActionPhase.RECOVERED, None)
                return result
    if plan.boundary.canonical and inline_bytes < INLINE_BYTES:
        record.inputs = plan.boundary.wire_inputs(values, pieces)
    else:
        await journal.keep_inputs(record, plan, values, pieces)
    journal.started(record)
    try:
        result = await _call(plan, context, values, inputs_hash, inline_bytes, called_at)
    except BaseException as error:
        journal.failed(record, phase_of(error), error)
        raise
    if record.cache == "hit":  # the cache has it, for good: nothing is lost if this is written a moment later
        journal.succeeded_soon(record)
        return result
    if record.outputs is None:  # somebody else than run_attempt ran it
        record.outputs = await plan.boundary.dump(result)
    if not journal.succeeded_alone(record):
        await journal.written(record)
    return result


def _execute(
    plan: Plan, context: TaskContext, values: Sequence[Any], inline_bytes: int, called_at: float
) -> Coroutine[Any, Any, Any]:
    execution = context.execution
    if execution.recorder is not None:
        return _recorded(plan, context, values, inline_bytes, called_at)
    if plan.supervised:
        return _supervise(plan, context, values, inline_bytes, called_at)
    return _attempt(plan, context, values, inline_bytes, called_at)


async def _attempt(plan: Plan, context: TaskContext, values: Sequence[Any], inline_bytes: int, called_at: float) -> Any:
    """The one attempt of a task without retries and limits of time, unless it is lost."""
    execution = context.execution
    try:
        return await (execution.attempt or run_attempt)(plan, context, values, inline_bytes, execution.env_vars)
    except RuntimeSystemError as error:
        if not is_lost(error, context.name):
            raise
        failed = error
    return await _supervise(plan, context, values, inline_bytes, called_at, failed)


async def _recorded(
    plan: Plan, context: TaskContext, values: Sequence[Any], inline_bytes: int, called_at: float
) -> Any:
    recorder = context.execution.recorder
    assert recorder is not None
    try:
        make = _supervise if plan.supervised else _attempt
        result = await make(plan, context, values, inline_bytes, called_at)
    except BaseException as error:
        recorder.action_finished(context, phase_of(error), error)
        raise
    recorder.action_finished(context, ActionPhase.SUCCEEDED, None)
    return result


# Retries and time limits --------------------------------------------------------------------------------------------


class _TimeUp(Exception):
    """The attempt used up its time."""


async def _supervise(
    plan: Plan,
    context: TaskContext,
    values: Sequence[Any],
    inline_bytes: int,
    called_at: float,
    failed: BaseRuntimeError | None = None,
) -> Any:
    """Attempts within the limits of ``plan.timeout``, until one succeeds or the retries are used up.

    As on a control plane, one that was lost without a fault of the user's code is made again a few times, whatever the
    retries are.

    :param failed: how the first attempt has failed, if it was made.
    """
    clock = context.execution.clock
    timeout = plan.timeout or Timeout()
    deadline_at = None if timeout.deadline_s is None else called_at + timeout.deadline_s
    _check_queue(plan, timeout, clock.monotonic() - called_at)
    user_failures = system_failures = 0
    while True:
        left_s = None if deadline_at is None else deadline_at - clock.monotonic()
        try:
            if failed is not None:
                raise failed
            return await _limited(plan, context, values, inline_bytes, timeout, left_s)
        except BaseRuntimeError as error:
            failed = None
            if is_final(error, context.name) or isinstance(error, DeadlineExceededError):
                raise
            if is_lost(error, context.name):
                system_failures, pause_s = system_failures + 1, 0.0
                if system_failures > MAX_SYSTEM_FAILURES:
                    error.args = (system_failures_text(str(error)),)
                    raise
            else:
                user_failures, system_failures = user_failures + 1, 0
                if user_failures > plan.retries.count:
                    raise
                pause_s = plan.retries.delay_s(user_failures - 1)
            if deadline_at is not None and clock.monotonic() + pause_s >= deadline_at:
                assert timeout.deadline_s is not None
                raise DeadlineExceededError(deadline_text(plan.name, timeout.deadline_s)) from error
            if context.calls.record is not None:
                context.execution.journal.attempt_failed(context.calls.record, error)
        await clock.sleep(pause_s)
        # The same action: its children get the same names again.
        context = _next_attempt(context, context.attempt_number + 1)


def _next_attempt(context: TaskContext, attempt: int) -> TaskContext:
    again = TaskContext(context.execution, context.parent, context.task_name, context._name, context._call, attempt)
    again.custom_context = context.custom_context
    again.calls.record = context.calls.record
    return again


async def _limited(
    plan: Plan,
    context: TaskContext,
    values: Sequence[Any],
    inline_bytes: int,
    timeout: Timeout,
    left_s: float | None,
) -> Any:
    # Somebody else who runs attempts limits their time too: waiting for a free worker is no part of it.
    max_runtime_s = timeout.max_runtime_s if context.execution.attempt is None else None
    limits = [limit for limit in (max_runtime_s, left_s) if limit is not None]
    variables: Mapping[str, str] = context.execution.env_vars
    attempt = (context.execution.attempt or run_attempt)(plan, context, values, inline_bytes, variables)
    if not limits:
        return await attempt
    try:
        return await within(attempt, min(limits))
    except _TimeUp:
        # A sync body cannot be stopped: it is left to end by itself, may start nothing more, and its result is dropped.
        context.calls.closed = True
        if left_s is not None and left_s == min(limits):
            late: TaskTimeoutError = DeadlineExceededError(deadline_text(plan.name, timeout.deadline_s or 0.0))
        else:
            late = MaxRuntimeExceededError(max_runtime_text(plan.name, min(limits)))
        raise failure_of(late, plan, context) from None


async def within(call: Coroutine[Any, Any, T], limit_s: float) -> T:
    """The result of ``call`` if it ends within ``limit_s`` seconds.

    It runs in an asyncio task of its own, so that the caller goes on in time even when the body ignores its
    cancellation.

    :raises _TimeUp: it did not end in time; it has been cancelled.
    """
    task = asyncio.get_running_loop().create_task(call)
    try:
        done, _ = await asyncio.wait({task}, timeout=max(limit_s, 0.0))
    except asyncio.CancelledError:
        await stop([task])
        raise
    if not done:
        await stop([task])
        raise _TimeUp
    return task.result()


def _check_queue(plan: Plan, timeout: Timeout, waited_s: float) -> None:
    limit_s = timeout.max_queued_time_s
    if limit_s is not None and waited_s > limit_s:
        raise MaxQueuedTimeExceededError(
            f"task {plan.name!r} waited {waited_s:.3g} s to be started, but its max_queued_time is {limit_s:g} s; "
            "raise it with override(timeout=...), or keep the event loop free by not blocking in async code"
        )
