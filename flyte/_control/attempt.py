"""One attempt of one task: arguments in, body, result out, and what a failure becomes.

This is the same for every controller that runs bodies in its own process. What is fixed for a task is compiled once
into a :class:`Plan`; an attempt looks nothing up.
"""

import asyncio
import os
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

import flyte.io._checkpoint_field
import flyte.report._field  # noqa: F401 (they say what ctx().checkpoint and ctx().report are)
from flyte._core.context import TaskContext, current
from flyte._core.environ import environment, is_changed
from flyte._core.log import logger
from flyte._core.threads import run_in_thread
from flyte._core.verdict import CALLER_CANCELLED, parent_ended_text
from flyte._definition.cache import Cache
from flyte._definition.retry import RetryStrategy
from flyte._definition.task import MAX_INLINE_IO_BYTES, AsyncFunctionTaskTemplate, TaskTemplate
from flyte.errors import (
    InlineIOMaxBytesBreached,
    RuntimeUserError,
    user_error_from,
)
from flyte.types._engine import generation
from flyte.types._inline import INLINE_BYTES

from .boundary import boundary_of, count_positional

if TYPE_CHECKING:
    from flyte._definition.secret import Secret
    from flyte._definition.timeout import Timeout

GRACE_S = 1.0
"""How long a cancelled body may clean up before it is abandoned; with it, Ctrl-C ends a run within 2 seconds."""

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_EXAMPLES = os.path.join(_PACKAGE, "_examples") + os.sep


class Plan:
    """All that an attempt needs to know of its task, compiled once."""

    __slots__ = (
        "_identity",
        "_lasting",
        "_work_version",
        "boundary",
        "by_name",
        "cached",
        "cached_as",
        "env_vars",
        "func",
        "generation",
        "ignored",
        "inline_bytes",
        "is_sync",
        "limit_bytes",
        "name",
        "only_positional",
        "overhead_bytes",
        "plain",
        "positional",
        "recorded_as",
        "report",
        "retries",
        "secrets",
        "supervised",
        "task",
        "timeout",
    )

    def __init__(self, task: TaskTemplate[Any, Any, Any]) -> None:
        kind = type(task)
        self.generation = generation()
        self.task = task
        self.name = task.name
        self.boundary = boundary_of(task.interface)
        # The default is no limit: what is larger is stored apart.
        given = task.max_inline_io_bytes
        self.limit_bytes = None if given == MAX_INLINE_IO_BYTES else given
        self.inline_bytes = min(given, INLINE_BYTES)
        self.overhead_bytes = sum(len(prefix) + 1 for prefix in self.boundary.prefixes)
        self.func = getattr(task, "func", None)
        # A template that does nothing of its own around its function needs no call of execute().
        self.plain = (
            self.func is not None
            and kind.execute is AsyncFunctionTaskTemplate.execute
            and kind.pre is TaskTemplate.pre
            and kind.post is TaskTemplate.post
        )
        self.is_sync = task._call_as_synchronous
        self.only_positional, self.positional = count_positional(self.func)
        self.by_name = self.positional < len(self.boundary.names)
        self.env_vars: Mapping[str, str] = task.env_vars or {}
        self.secrets = _secrets(task)
        self.report = task.report
        self.retries: RetryStrategy = task.retries  # type: ignore[assignment]  # normalised by the template
        self.timeout = _timeout(task)
        self.supervised = self.timeout is not None or self.retries.count > 0
        cache = task.cache
        self.cached = isinstance(cache, Cache) and cache.is_enabled()
        # Parameters that do not tell calls apart are no part of an action's name either (wire-protocol section 6.2).
        self.ignored = frozenset(cache.get_ignored_inputs()) if isinstance(cache, Cache) else frozenset()
        self.cached_as: str | None = None
        """What the cache knows the task by: name, interface and version; empty where it cannot be told."""
        self.recorded_as: int | None = None
        """Id of the task in journals, once it was recorded."""
        self._identity: str | None = None
        self._lasting: str | None = None
        self._work_version: str | None = None

    @property
    def identity(self) -> str:
        """Hash of what is called: name, interface and version (wire-protocol section 6.2)."""
        if self._identity is None:
            from .naming import identity_of

            self._identity = identity_of(self.task)
        return self._identity

    @property
    def lasting(self) -> str:
        """Hash of what is called that stays when its code is edited: name and interface."""
        if self._lasting is None:
            from .naming import lasting_of

            self._lasting = lasting_of(self.task)
        return self._lasting

    @property
    def work_version(self) -> str:
        """Version of the code, as recovery compares it."""
        if self._work_version is None:
            from .naming import work_version

            self._work_version = work_version(self.task)
        return self._work_version


def _secrets(task: TaskTemplate[Any, Any, Any]) -> "tuple[Secret, ...]":
    if not task.secrets:
        return ()
    from flyte._definition.secret import secrets_from_request

    return secrets_from_request(task.secrets)


def _timeout(task: TaskTemplate[Any, Any, Any]) -> "Timeout | None":
    if not task.timeout:
        return None
    from flyte._definition.timeout import timeout_from_request

    return timeout_from_request(task.timeout)


def plan_of(task: TaskTemplate[Any, Any, Any]) -> Plan:
    """The compiled form of ``task``; made once, and again when a field has been set or a type registered."""
    compiled: Plan | None = task.__dict__.get("_compiled")
    if compiled is None or compiled.generation != generation():
        compiled = task.__dict__["_compiled"] = Plan(task)
    return compiled


async def run_attempt(
    plan: Plan, context: TaskContext, values: Sequence[Any], inline_bytes: int, variables: Mapping[str, str]
) -> Any:
    """Run the body once and give its result as the caller sees it.

    :param values: the arguments, already isolated, in the order of the interface.
    :param inline_bytes: what the inputs count against ``max_inline_io_bytes``.
    :param variables: environment variables of the run, shown to every body.
    :raises BaseRuntimeError: what the body raised, which is also of the user's own class.
    :raises asyncio.CancelledError: the attempt was cancelled.
    """
    context.runner = asyncio.current_task()
    recorder = context.execution.recorder
    if recorder is not None:
        recorder.action_started(context)
    token = current.set(context)
    failure: BaseException | None = None
    result: Any = None
    try:
        if variables or plan.env_vars or plan.secrets or plan.report or is_changed():
            with ExitStack() as stack:
                if plan.report:
                    from flyte.report._current import reporting

                    stack.enter_context(reporting(context))
                # What its caller was given, secrets above all, is not the body's.
                stack.enter_context(environment({**variables, **plan.env_vars}, alone=True))
                if plan.secrets:
                    from .secrets import secret_environment

                    stack.enter_context(environment(secret_environment(plan.name, plan.secrets)))
                result = await _run_body(plan, values)
        elif plan.plain and not plan.is_sync and not plan.by_name:
            result = await plan.func(*values)  # type: ignore[misc]
            while hasattr(result, "__await__"):
                result = await result
        else:
            result = await _run_body(plan, values)
        boundary = plan.boundary
        record = context.calls.record
        if boundary.awaits:
            result, size = await boundary.give_awaiting(plan.name, result)
            if record is not None:
                record.outputs = await boundary.dump(result)
        elif record is not None:
            result, size, outputs = boundary.give_wired(plan.name, result)
            record.outputs = outputs if size < INLINE_BYTES else await boundary.store_outputs(outputs)
        else:
            result, size = boundary.give(plan.name, result)
        if plan.limit_bytes is not None and inline_bytes + size > plan.limit_bytes:
            raise inline_breach(plan, inline_bytes, size)
    except GeneratorExit:
        # An abandoned body that nobody drives any more is thrown away, outside the context that the token is of.
        context.calls.closed = True
        raise
    except BaseException as error:
        failure = error
    current.reset(token)
    if failure is None:
        context.calls.succeeded = True
        if left := context.calls.running():
            _hand_over(context, left)
        return result
    context.calls.closed = True
    try:
        if left := context.calls.running():
            await stop(left, reason=reason_of(failure, context))
        raise failure_of(failure, plan, context)
    finally:
        del failure  # an exception and the frame that holds it would keep each other alive


async def _run_body(plan: Plan, values: Sequence[Any]) -> Any:
    # A template's own execute() and pre() see the arguments by name, a plain function by position where it can.
    count = plan.positional if plan.plain else plan.only_positional
    by_position = values[:count]
    by_name = dict(zip(plan.boundary.names[count:], values[count:], strict=True))
    if not plan.plain:
        return await plan.task.execute(*by_position, **by_name)
    func: Any = plan.func
    if plan.is_sync:
        result = await run_in_thread(func, *by_position, **by_name)
    else:
        result = await func(*by_position, **by_name)
    while hasattr(result, "__await__"):  # also a gather that the body returned without awaiting it
        result = await result
    return result


def without_large(plan: Plan, values: Sequence[Any], pieces: Sequence[bytes], inline_bytes: int) -> tuple[bytes, int]:
    """The canonical bytes that a large call is named by, and what its inputs count against ``max_inline_io_bytes``.

    :param pieces: the canonical bytes of each input.
    :param inline_bytes: of all of them.
    :raises InlineIOMaxBytesBreached: the task has a limit of its own, and they are more.
    """
    if plan.limit_bytes is not None and inline_bytes > plan.limit_bytes:
        inline_bytes -= plan.boundary.reference_bytes(values)
        if inline_bytes > plan.limit_bytes:
            raise inline_breach(plan, inline_bytes)
    return plan.boundary.condensed(pieces), inline_bytes


def inline_breach(plan: Plan, inputs_bytes: int, outputs_bytes: int = 0) -> InlineIOMaxBytesBreached:
    """The error for values that are too large to travel inside the messages."""
    return _breach(plan.name, plan.limit_bytes or 0, inputs_bytes, outputs_bytes)


def _breach(task_name: str, limit_bytes: int, inputs_bytes: int, outputs_bytes: int = 0) -> InlineIOMaxBytesBreached:
    parts = f"inputs of {inputs_bytes:,} bytes"
    if outputs_bytes:
        parts = f"{parts} and outputs of {outputs_bytes:,} bytes"
    return InlineIOMaxBytesBreached(
        f"task {task_name!r} passes {parts} inline, but max_inline_io_bytes is {limit_bytes:,}; pass large values "
        "as a file or a data frame, raise the limit with override(max_inline_io_bytes=...), or leave it out: values of "
        f"more than {MAX_INLINE_IO_BYTES:,} bytes are then stored and passed by reference"
    )


def check_inline(task: Any, inputs: Any) -> None:
    """Refuse a message of arguments that is too large for its task, by the same measure as a call of it.

    :param task: a task template, or a task as a control plane knows it.
    :raises InlineIOMaxBytesBreached: the values take more than ``max_inline_io_bytes``.
    """
    from flyte.types._hashing import canonical_bytes

    boundary = boundary_of(task.interface)
    codecs = dict(zip(boundary.names, boundary.inputs, strict=True))
    counted = [one.value for one in inputs.literals if not codecs[one.name].by_reference]
    inline_bytes = sum(len(canonical_bytes(value)) for value in counted)
    if inline_bytes > task.max_inline_io_bytes:
        raise _breach(task.name, task.max_inline_io_bytes, inline_bytes)


# Failures -----------------------------------------------------------------------------------------------------------


def reason_of(failure: BaseException, context: TaskContext) -> str:
    """Why the calls end that an action has left running when it failed; the devbox has the same words."""
    if isinstance(failure, asyncio.CancelledError):
        return str(failure) or CALLER_CANCELLED
    return parent_ended_text(context.name)


def failure_of(error: BaseException, plan: Plan, context: TaskContext) -> BaseException:
    """What the caller sees of ``error``: the user's class and frames, and a note that says where it happened."""
    error.__traceback__ = without_own_frames(error.__traceback__)
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or task.cancelling() or context.execution.closing:
            return error
        # Nobody cancelled this action: the body awaited something that was cancelled, which is a failure of its own.
        failed: BaseException = RuntimeUserError(
            "CancelledError", f"task {plan.name!r} awaited something that was cancelled: {error}"
        )
        failed.__cause__ = error
    elif isinstance(error, KeyboardInterrupt):
        return error
    else:
        failed = user_error_from(error)
    state = failed.__dict__
    if "_flyte_action" not in state:
        state["_flyte_action"] = context.name
        number = context.attempt_number + 1
        attempts = max(plan.retries.count + 1, number)
        failed.add_note(
            f"in task {plan.name!r}, attempt {number} of {attempts}, "
            f"action {context.name} of run {context.execution.run_name}"
        )
    return failed


def without_own_frames(trace: TracebackType | None) -> TracebackType | None:
    """``trace`` without the frames of this package, so that a reader sees their own code.

    The examples that ship inside the package are written as a user writes them, and are kept.
    """
    while trace is not None and _is_own(trace):
        trace = trace.tb_next
    link = trace
    while link is not None and link.tb_next is not None:
        if _is_own(link.tb_next):
            link.tb_next = link.tb_next.tb_next
        else:
            link = link.tb_next
    return trace


def _is_own(trace: TracebackType) -> bool:
    filename = trace.tb_frame.f_code.co_filename
    return filename.startswith(_PACKAGE) and not filename.startswith(_EXAMPLES)


# Children that outlive their parent's body --------------------------------------------------------------------------


def _hand_over(context: TaskContext, tasks: Iterable["asyncio.Task[Any]"]) -> None:
    owner = context.calls.responsible()
    for task in tasks:
        owner.started(task)
        task.add_done_callback(owner.ended)


async def stop(
    tasks: Iterable["asyncio.Task[Any]"], grace_s: float = GRACE_S, reason: str | None = None
) -> list["asyncio.Task[Any]"]:
    """Cancel ``tasks``, wait until they have cleaned up, at most ``grace_s`` seconds, and give those that have not.

    :param reason: what their CancelledError says.
    """
    loop = asyncio.get_running_loop()
    here = []
    for task in tasks:
        if task.get_loop() is loop:
            task.cancel(reason)
            here.append(task)
        else:  # started by asyncio.run() inside a sync body's thread
            task.get_loop().call_soon_threadsafe(task.cancel, reason)
    if not here:
        return []
    _, left = await asyncio.wait(here, timeout=grace_s)
    for task in here:
        if task.done() and not task.cancelled():
            task.exception()  # seen: a failure during clean-up is not reported a second time by the event loop
    if left:
        logger.warning(
            "%d tasks did not end within %g s of being cancelled and were abandoned: %s",
            len(left),
            grace_s,
            ", ".join(_where(task) for task in left),
        )
    return list(left)


def _where(task: "asyncio.Task[Any]") -> str:
    frames = task.get_stack(limit=1)
    return traceback.format_list(traceback.extract_stack(frames[0], limit=1))[0].strip() if frames else repr(task)
