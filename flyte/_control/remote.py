"""RemoteController: calls of tasks become actions of a control plane (wire-protocol section 6).

It lives in the container of an action and starts that action's children. Their names follow from what is called and
with what, so a parent that is started again finds its finished children and starts none of them twice.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol

from flyte._core.code_bundle import CodeBundle, SerializationContext
from flyte._core.context import TaskContext, current
from flyte._core.controller import Controller
from flyte._core.identity import ActionPhase, hash_data
from flyte._core.log import logger
from flyte._definition.cache import Cache
from flyte._definition.task import TaskTemplate, refuse_call
from flyte._wire.actions import (
    abort_action,
    enqueue_task,
    error_left,
    failure_of_child,
    news_from,
    parse_outputs,
    watch_children,
)
from flyte._wire.values import inputs_from, result_from
from flyte.errors import ActionAbortedError, RuntimeSystemError
from flyte.remote._enqueue import Outcome, WatchBroken
from flyte.storage._transfer import exists, get_stream, put_stream
from flyte.storage._uri import join

from .attempt import Plan, inline_breach, plan_of, stop
from .cache import key_of
from .ledger import Child, Ledger
from .trace import trace_async, trace_async_items, trace_items, trace_sync

SNAPSHOT_S = 5.0
"""How long the first call waits for what the control plane knows already."""
IDLE_S = 30.0
"""A stream that is silent for so long is opened anew: its snapshot is the truth."""
ENQUEUE_TRIES = 100
WATCH_TRIES = 40
_ENQUEUE_PAUSE_S = (0.5, 10.0)
_WATCH_PAUSE_S = (1.0, 30.0)
_AT_ONCE, _CHILDREN = 20, 1000
"""How many requests to start an action are under way, and how many children of one action at most."""


class Actions(Protocol):
    """What the controller asks of a control plane; fulfilled by ``flyte.remote._enqueue.ActionsClient``."""

    async def enqueue(self, request: Any) -> tuple[Outcome, str]:
        """Ask for an action."""
        ...

    def watch(self, request: Any, idle_s: float) -> AsyncIterator[Any]:
        """The messages of one stream of news."""
        ...

    async def abort(self, request: Any) -> None:
        """Ask for the end of an action."""
        ...


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
        self._families: dict[str, _Family] = {}
        self._starting = asyncio.Semaphore(_AT_ONCE)

    def submit(self, task: TaskTemplate[Any, Any, Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Run ``task`` as a child of the current action, wherever the control plane likes."""
        return self._run(plan_of(task), args, kwargs)

    async def _run(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        parent = current.get()
        if parent is None:
            raise RuntimeSystemError("NoRun", f"task {plan.name!r} was submitted outside a run")
        if parent.in_trace or parent.calls.responsible().closed:
            refuse_call(parent, plan.name)
        task, boundary = plan.task, plan.boundary
        values, pieces = await boundary.take_awaiting(plan.name, args, kwargs)
        data = b"".join(pieces)
        inline_bytes = len(data) - plan.overhead_bytes
        if inline_bytes > plan.limit_bytes:
            inline_bytes -= boundary.reference_bytes(values)
            if inline_bytes > plan.limit_bytes:
                raise inline_breach(plan, inline_bytes)
        if plan.ignored:
            data = await boundary.identify(values, plan.ignored)
        inputs_hash = hash_data(data) if data else ""
        sequence = parent.calls.next_sequence(plan.identity, inputs_hash, parent.group)
        context = TaskContext(parent.execution, parent, plan.name, None, (inputs_hash, plan.identity, sequence))
        family = self._family_of(parent.task_context)
        arguments = dict(zip(boundary.names, values, strict=True))
        async with family.places:
            await family.know()
            child = family.ledger.child(context.name)
            try:
                if not child.is_known:
                    await self._start(plan, context, parent, arguments, inputs_hash)
                await family.end_of(child)
            except asyncio.CancelledError:
                await self._abort(context)
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
            await self._enqueue(plan.name, context, request)

    async def _enqueue(self, task_name: str, context: TaskContext, request: Any) -> None:
        pause_s, longest_s = _ENQUEUE_PAUSE_S
        tries = 0
        while True:
            outcome, said = await self._actions.enqueue(request)
            match outcome:
                case Outcome.STARTED:
                    return
                case Outcome.REFUSED:
                    raise RuntimeSystemError(
                        "EnqueueRefused", f"task {task_name!r} was refused by the control plane ({said})"
                    )
                case Outcome.RUN_ENDED:
                    raise RuntimeSystemError(
                        "RunAborted", f"run {context.execution.run_name} was aborted, so {task_name!r} is not started"
                    )
                case Outcome.AGAIN:
                    tries += 1
                    if tries >= ENQUEUE_TRIES:
                        raise RuntimeSystemError(
                            "EnqueueFailed", f"task {task_name!r} could not be started after {tries} tries: {said}"
                        )
                case Outcome.BUSY:
                    pass  # without limit: it has heard us
            logger.debug("starting %r: %s; again in %.1f s", task_name, said, pause_s)
            await context.execution.clock.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, longest_s)

    async def _result(self, task: TaskTemplate[Any, Any, Any], context: TaskContext, child: Child) -> Any:
        phase = child.phase
        if phase in (ActionPhase.SUCCEEDED, ActionPhase.RECOVERED):
            uri = join(child.output_uri, "outputs.pb")
            outputs = parse_outputs(await _read(uri), uri)
            return await result_from(task.interface, outputs, task_name=task.name)
        if phase is ActionPhase.ABORTED:
            raise ActionAbortedError(f"action {context.name} of task {task.name!r} was aborted")
        assert phase is not None
        error = child.error
        if error is None and phase is ActionPhase.FAILED:
            left = join(context.execution.run_base_dir, context.name, "1", "error.pb")
            if await exists(left):
                error = error_left(await _read(left))
        failure = failure_of_child(phase, error, context.name)
        failure.add_note(f"in task {task.name!r}, action {context.name} of run {context.execution.run_name}")
        raise failure

    async def _abort(self, context: TaskContext) -> None:
        try:
            await asyncio.shield(self._actions.abort(abort_action(context.action, "its caller was cancelled")))
        except (WatchBroken, asyncio.CancelledError) as error:
            logger.warning("action %s may go on, because it could not be aborted: %s", context.name, error)

    def _family_of(self, parent: TaskContext) -> "_Family":
        family = self._families.get(parent.name)
        if family is None:
            family = self._families[parent.name] = _Family(self._actions, parent)
        return family

    async def stop(self) -> None:
        """The action has ended: its streams are closed. Children that still run go on."""
        families, self._families = list(self._families.values()), {}
        for family in families:
            await family.close()

    async def trace(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a traced function as a step; the control plane is not told of it yet."""
        return await trace_async(function, args, kwargs)

    def trace_sync(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a sync traced function as a step."""
        return trace_sync(function, args, kwargs)

    def trace_async_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Run a traced async generator as a step."""
        return trace_async_items(function, args, kwargs)

    def trace_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a traced generator as a step."""
        return trace_items(function, args, kwargs)


class _Family:
    """The children of one action, and the one stream that tells of them."""

    def __init__(self, actions: Actions, parent: TaskContext) -> None:
        self.ledger = Ledger(parent.name)
        self.places = asyncio.Semaphore(_CHILDREN)
        self._actions = actions
        self._parent = parent
        self._snapshot = asyncio.Event()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._lost: BaseException | None = None
        self._watching = asyncio.create_task(self._watch())

    async def know(self) -> None:
        """Wait, for a moment, for what the control plane knows already."""
        if not self._snapshot.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._snapshot.wait(), SNAPSHOT_S)

    async def end_of(self, child: Child) -> None:
        """Wait for the end of a child.

        :raises RuntimeSystemError: nothing can be heard of it any more.
        """
        if self._lost is not None:
            raise self._lost
        if child.has_ended:
            return
        future = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(child.name, [])
        waiting.append(future)
        try:
            await future
        finally:
            waiting.remove(future)
            if not waiting:
                self._waiting.pop(child.name, None)

    async def _watch(self) -> None:
        request = watch_children(self._parent.action)
        pause_s, longest_s = _WATCH_PAUSE_S
        failures = 0
        while True:
            self.ledger.reconnected()
            try:
                async for message in self._actions.watch(request, IDLE_S):
                    failures, pause_s = 0, _WATCH_PAUSE_S[0]
                    self._take(message)
            except WatchBroken as broken:
                failures += 1
                if failures >= WATCH_TRIES:
                    self._lose(broken)
                    return
                logger.debug("the watch of action %s is opened again: %s", self._parent.name, broken)
            if failures > 1:
                await self._parent.execution.clock.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, longest_s)

    def _take(self, message: Any) -> None:
        news = news_from(message)
        if news is None:
            return
        if news.name is None:
            self.ledger.snapshot_ends()
            self._snapshot.set()
            return
        ended = self.ledger.apply(news)
        if ended is not None:
            for future in self._waiting.pop(ended.name, []):
                if not future.done():
                    future.set_result(None)

    def _lose(self, broken: WatchBroken) -> None:
        self._lost = RuntimeSystemError(
            "InformerWatchFailure",
            f"nothing can be heard of the children of action {self._parent.name} any more, after {WATCH_TRIES} tries: "
            f"{broken}",
        )
        self._snapshot.set()
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(self._lost)

    async def close(self) -> None:
        """Hear no more."""
        await stop([self._watching])


async def _read(uri: str) -> bytes:
    return b"".join([chunk async for chunk in get_stream(uri)])
