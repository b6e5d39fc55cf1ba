"""RemoteController: calls of tasks become actions of a control plane (wire-protocol section 6).

It lives in the container of an action and starts that action's children. Their names follow from what is called and
with what, so a parent that is started again finds its finished children and starts none of them twice.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from flyte._core.code_bundle import CodeBundle, SerializationContext
from flyte._core.context import TaskContext, current
from flyte._core.controller import Controller
from flyte._core.identity import ActionPhase, hash_data
from flyte._core.log import logger
from flyte._core.verdict import CALLER_CANCELLED
from flyte._definition.cache import Cache
from flyte._definition.task import TaskTemplate, refuse_call
from flyte._wire.actions import (
    abort_action,
    enqueue_task,
    error_left,
    failure_of_child,
    parse_outputs,
)
from flyte._wire.values import inputs_from, result_from
from flyte.errors import ActionAbortedError, RuntimeSystemError
from flyte.remote._enqueue import WatchBroken
from flyte.storage._transfer import exists, put_stream
from flyte.storage._uri import join
from flyte.types._offload import store_large_literals

from .attempt import Plan, plan_of, without_large
from .cache import key_of
from .ledger import Child
from .remote_children import Actions, Family, enqueue, read
from .remote_trace import Steps
from .trace import trace_async, trace_async_items, trace_items, trace_sync

T = TypeVar("T")

_AT_ONCE = 20
"""How many requests to start a task are under way."""
_GOOD = (ActionPhase.SUCCEEDED, ActionPhase.RECOVERED)
_ABORT_PAUSES_S = (0.1, 0.3, 0.8)
"""Before each further try to end a child; short, because a container that is told to end has little time."""


class RemoteController(Controller):
    """Runs the children of one action on a control plane.

    :param actions: the control plane.
    :param sctx: under what names and with what code children are written down.
    :param pack: makes the code bundle of a child, where each has one of its own.
    """

    def __init__(
        self,
        actions: Actions,
        sctx: SerializationContext,
        pack: Callable[[TaskTemplate[Any, Any, Any]], Awaitable[CodeBundle]] | None = None,
    ) -> None:
        self._actions = actions
        self._sctx = sctx
        self._pack = pack
        self._families: dict[str, Family] = {}
        self._stopped = False
        self._starting = asyncio.Semaphore(_AT_ONCE)
        self._asked: dict[str, Child] = {}
        self._steps = Steps(actions, self._family_of)

    def submit(self, task: TaskTemplate[Any, Any, Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Run ``task`` as a child of the current action, wherever the control plane likes."""
        return self._call(plan_of(task), args, kwargs)

    async def _call(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        parent = current.get()
        if parent is None:
            raise RuntimeSystemError("NoRun", f"task {plan.name!r} was submitted outside a run")
        here = asyncio.current_task()
        owner = parent.calls.responsible()
        # What a body started beside itself is cancelled when the body fails.
        beside = here is not parent.runner and here is not None
        if beside:
            owner.started(here)  # type: ignore[arg-type]
        try:
            return await _on_loop(parent, self._run(plan, parent, args, kwargs))
        finally:
            if beside:
                owner.ended(here)  # type: ignore[arg-type]

    async def _run(self, plan: Plan, parent: TaskContext, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if parent.in_trace or parent.calls.responsible().closed:
            refuse_call(parent, plan.name)
        task, boundary = plan.task, plan.boundary
        values, pieces = await boundary.take_awaiting(plan.name, args, kwargs)
        data = b"".join(pieces)
        inline_bytes = len(data) - plan.overhead_bytes
        if inline_bytes > plan.inline_bytes:
            data, inline_bytes = without_large(plan, values, pieces, inline_bytes)
        if plan.ignored:
            data = await boundary.identify(values, plan.ignored)
        inputs_hash = hash_data(data) if data else ""
        family = self._family_of(parent.task_context)
        arguments = dict(zip(boundary.names, values, strict=True))
        async with family.places:
            await family.know()
            while True:
                sequence = parent.calls.next_sequence(plan.identity, inputs_hash, parent.group)
                context = TaskContext(parent.execution, parent, plan.name, None, (inputs_hash, plan.identity, sequence))
                child = family.ledger.child(context.name)
                if not child.has_ended or child.phase in _GOOD:
                    break
                # It did not succeed in an earlier attempt of this action. Its name has ended for good on a control
                # plane, and this attempt is made to try again what failed: the next equal call is its own.
                family.ledger.forget(context.name)
            try:
                if not child.is_known:
                    await self._start(plan, context, parent, arguments, inputs_hash)
                await family.end_of(child)
            except asyncio.CancelledError as cancelled:
                await self._abort(context, str(cancelled) or CALLER_CANCELLED)
                raise
            try:
                return await self._result(task, context, child)
            finally:
                family.ledger.forget(context.name)

    async def _start(
        self,
        plan: Plan,
        context: TaskContext,
        parent: TaskContext,
        arguments: dict[str, Any],
        inputs_hash: str,
    ) -> None:
        execution, task = context.execution, plan.task
        inputs = await inputs_from(task.interface, arguments, task_name=plan.name, context=dict(parent.custom_context))
        await store_large_literals(inputs.literals, plan.boundary.inputs)
        uri = join(execution.run_base_dir, context.name, "inputs.pb")
        cache = task.cache
        sctx = self._sctx
        if self._pack is not None:
            sctx = replace(sctx, code_bundle=await self._pack(task))
        request = enqueue_task(
            task,
            sctx,
            action=context.action,
            parent=parent.task_context.name,
            group=parent.group,
            input_uri=uri,
            run_base_dir=execution.run_base_dir,
            cache_key=key_of(plan, cache, inputs_hash) if isinstance(cache, Cache) and cache.is_enabled() else None,
            queue=task.queue,
        )
        async with self._starting:
            await put_stream(inputs.SerializeToString(deterministic=True), to_path=uri)
            await enqueue(self._actions, execution, f"task {plan.name!r}", request)

    async def _result(self, task: TaskTemplate[Any, Any, Any], context: TaskContext, child: Child) -> Any:
        phase = child.phase
        if phase in _GOOD:
            uri = join(child.output_uri, "outputs.pb")
            outputs = parse_outputs(await read(uri), uri)
            return await result_from(task.interface, outputs, task_name=task.name)
        if phase is ActionPhase.ABORTED:
            raise ActionAbortedError(f"action {context.name} of task {task.name!r} was aborted")
        assert phase is not None
        error = child.error
        if error is None and phase is ActionPhase.FAILED:
            left = join(context.execution.run_base_dir, context.name, "1", "error.pb")
            if await exists(left):
                error = error_left(await read(left))
        function = getattr(task, "func", None)
        # A class of a pickled program is in no module, but among the names that the task's function sees.
        failure = failure_of_child(phase, error, context.name, [getattr(function, "__globals__", {})])
        vars(failure).setdefault("_flyte_action", context.name)
        where = f"action {context.name} of run {context.execution.run_name}"
        if not any(where in note for note in getattr(failure, "__notes__", ())):  # it has told so itself
            failure.add_note(f"in task {task.name!r}, {where}")
        raise failure

    async def _abort(self, context: TaskContext, reason: str) -> None:
        if self._stopped or context.execution.closing:
            return  # the action leaves it running, or goes away itself: what becomes of it is the control plane's
        try:
            await asyncio.shield(self._abort_at_last(context, reason))
        except (WatchBroken, asyncio.CancelledError) as error:
            logger.warning("action %s may go on, because it could not be aborted: %s", context.name, error)

    async def _abort_at_last(self, context: TaskContext, reason: str) -> None:
        request = abort_action(context.action, reason)
        for pause_s in _ABORT_PAUSES_S:
            try:
                return await self._actions.abort(request)
            except WatchBroken as broken:
                logger.debug("ending action %s: %s; again in %.1f s", context.name, broken, pause_s)
            await context.execution.clock.sleep(pause_s)
        return await self._actions.abort(request)

    def _family_of(self, parent: TaskContext) -> Family:
        family = self._families.get(parent.name)
        if family is None:
            family = self._families[parent.name] = Family(self._actions, parent)
        return family

    async def stop(self) -> None:
        """The action has ended: its streams are closed. Children that still run go on."""
        self._stopped = True
        families, self._families = list(self._families.values()), {}
        for family in families:
            await family.close()
        await self._steps.close()

    async def trace(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a traced function as a step, unless the control plane knows what it gave before."""
        return await trace_async(function, args, kwargs, self._steps.call)

    def trace_sync(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """:meth:`trace` for a sync function."""
        return trace_sync(function, args, kwargs, self._steps.call)

    def trace_async_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """:meth:`trace` for an async generator."""
        return trace_async_items(function, args, kwargs, self._steps.call)

    def trace_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """:meth:`trace` for a generator."""
        return trace_items(function, args, kwargs, self._steps.call)

    async def condition(self, condition: Any, /) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Let the control plane wait for an answer; see :func:`.remote_conditions.begin_condition`."""
        from .conditions import parent_of
        from .remote_conditions import begin_condition  # most actions wait for nobody

        parent = parent_of(condition.name)
        begin = begin_condition(condition, parent, self._asked, self._actions, self._family_of)
        answer = await _on_loop(parent, begin)
        return lambda: _on_loop(parent, answer())


async def _on_loop(parent: TaskContext, work: Coroutine[Any, Any, T]) -> T:
    """Await ``work`` on the event loop of the action, where its streams are.

    A sync body is in a thread, and may have an event loop of its own, as in ``asyncio.run()``.
    """
    loop = parent.execution.loop
    if asyncio.get_running_loop() is loop:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))
