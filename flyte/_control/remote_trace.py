"""Traced functions as steps of an action of a control plane (wire-protocol section 6.6).

What a call gave is written beside the run's other files, and the control plane is told of it; an action that is started
again finds it there. A call goes on as soon as the control plane has it for good; that it is also spoken of on the
stream of news is waited for at the end of the action only.

A sync function on the action's event loop cannot wait on that loop, so what it needs is done on a loop of its own.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from flyte._core.context import TaskContext
from flyte._core.identity import ActionPhase
from flyte._core.log import logger
from flyte._definition.task import wait_in_thread
from flyte._wire.actions import enqueue_trace, is_final
from flyte._wire.faults import error_document, error_from
from flyte.errors import TypeTransformerFailedError
from flyte.storage._transfer import exists, put_stream
from flyte.storage._uri import join

from .ledger import Child
from .remote_children import Actions, Family, enqueue, read
from .trace import StepCall, at_once, phase_of

T = TypeVar("T")
_CLOSING_S = 5.0


class Steps:
    """Makes the calls of traced functions, and has the event loop for those that cannot wait.

    :param family_of: the children of an action; on its event loop.
    """

    def __init__(self, actions: Actions, family_of: Callable[[TaskContext], Family]) -> None:
        self.actions = actions
        self.family_of = family_of
        self._side: _Side | None = None

    def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> "SentCall":
        """One call of a traced function."""
        return SentCall(self, function, args, kwargs)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the event loop of its own, and block until it has ended."""
        if self._side is None:
            self._side = _Side()
        return self._side.run(work)

    async def close(self) -> None:
        """End that event loop and its connection."""
        side, self._side = self._side, None
        if side is not None:
            await asyncio.to_thread(side.close, self.actions)


class _Side:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="flyte-steps", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``; this thread waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self, actions: Actions) -> None:
        """End the loop and the connection that it holds."""
        closing = asyncio.run_coroutine_threadsafe(actions.close(), self._loop)
        try:
            closing.result(_CLOSING_S)
        except TimeoutError:
            logger.warning("the connection of traced functions could not be closed within %g s", _CLOSING_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSING_S)


class SentCall(StepCall):
    """One call of a traced function, and what the control plane knows of it."""

    __slots__ = ("_began_at", "_inputs", "_steps")

    may_be_known = True
    is_kept = True

    def __init__(self, steps: Steps, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        super().__init__(function, args, kwargs)
        self._steps = steps
        self._inputs = self.step.boundary.wire_inputs(self.taken, self.pieces)
        self._began_at = self._now()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.context.execution.clock.time(), UTC)

    # For async functions ----------------------------------------------------------------------------------------------

    async def found(self) -> tuple[bool, Any]:
        """Whether the call was made before, and its result then.

        :raises BaseRuntimeError: it was made, and has failed for good.
        """
        data = await self._on_loop(self._find())
        if data is None:
            return False, None
        try:
            return True, await self.step.load(data)
        except TypeTransformerFailedError as error:
            self._say_unreadable(error)
            return False, None

    async def keep(self, result: Any) -> None:
        """The call has ended well; the control plane has its result when this returns."""
        await self._on_loop(self._send(ActionPhase.SUCCEEDED, "outputs.pb", await self.pack_awaiting(result)))

    def failed(self, error: BaseException) -> Coroutine[Any, Any, None] | None:
        """The call has ended otherwise; what is to be awaited about it."""
        phase = phase_of(error)
        return None if phase is ActionPhase.ABORTED else self._send_failure(phase, error)

    async def _send_failure(self, phase: ActionPhase, error: BaseException) -> None:
        try:
            await self._on_loop(self._send(phase, "error.pb", _document(error)))
        except Exception as lost:
            self._say_untold(lost)

    # For sync functions -----------------------------------------------------------------------------------------------

    def found_at_once(self) -> tuple[bool, Any]:
        """:meth:`found`, for a sync function."""
        steps = self._steps
        if self._is_on_loop():
            family = steps.family_of(self.parent.task_context)
            if not family.knows:
                for message in steps.wait(family.snapshot()):
                    family.take(message)
            child = family.ledger.child(self.context.name)
            data = steps.wait(self._fetch(child) if child.has_ended else self._left(family.knows))
            if data is not None and child.has_ended:
                family.ledger.forget(child.name)
            elif data is not None:
                self._send_at_once(ActionPhase.SUCCEEDED, "outputs.pb", data)
        else:
            data = wait_in_thread(self.parent, self._find())
        if data is None:
            return False, None
        try:
            return True, at_once(self.step.load(data))
        except TypeTransformerFailedError as error:
            self._say_unreadable(error)
            return False, None

    def keep_at_once(self, result: Any) -> None:
        """:meth:`keep`, for a sync function."""
        self._send_at_once(ActionPhase.SUCCEEDED, "outputs.pb", self.pack(result))

    def failed_at_once(self, error: BaseException) -> None:
        """:meth:`failed`, for a sync function."""
        phase = phase_of(error)
        if phase is not ActionPhase.ABORTED:
            try:
                self._send_at_once(phase, "error.pb", _document(error))
            except Exception as lost:
                self._say_untold(lost)

    def _send_at_once(self, phase: ActionPhase, file: str, data: bytes | None) -> None:
        if self._is_on_loop():
            self._steps.wait(self._tell(phase, file, data))
            self._steps.family_of(self.parent.task_context).expect(self.context.name)
        else:
            wait_in_thread(self.parent, self._send(phase, file, data))

    # What both need ---------------------------------------------------------------------------------------------------

    def _is_on_loop(self) -> bool:
        return asyncio._get_running_loop() is self.context.execution.loop

    async def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work`` on the event loop of the action, whichever one this is."""
        if self._is_on_loop():
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.context.execution.loop))

    async def _find(self) -> bytes | None:
        family = self._steps.family_of(self.parent.task_context)
        await family.know()
        child = family.ledger.child(self.context.name)
        data = await (self._fetch(child) if child.has_ended else self._left(family.knows))
        if data is not None and child.has_ended:
            family.ledger.forget(child.name)
        elif data is not None:
            await self._send(ActionPhase.SUCCEEDED, "outputs.pb", data)
        return data

    async def _left(self, heard: bool) -> bytes | None:
        """What an earlier attempt of the action wrote of the call, where the control plane does not say that it ended.

        It may not have been told, may not repeat steps to whoever asks (wire-protocol section 11.3), or be silent.

        :param heard: whether the control plane has said what it knew.
        """
        if heard and self.parent.task_context.attempt_number == 0:
            return None
        uri = self._path("outputs.pb")
        try:
            return await read(uri) if await exists(uri) else None
        except OSError as error:
            self._say_unreadable(error)
            return None

    async def _fetch(self, child: Child) -> bytes | None:
        """The bytes of the result of an earlier call; None if it is to be made again."""
        uri = child.output_uri
        if child.phase not in (ActionPhase.SUCCEEDED, ActionPhase.RECOVERED):
            if child.error is not None and child.phase is ActionPhase.FAILED and is_final(child.error):
                failure = error_from(child.error)
                failure.add_note(f"in trace {self.step.name!r}, action {child.name}, when it was called before")
                raise failure
            # The control plane keeps the first end that it was told. What was tried again, and well, is here only.
            uri = self._path("outputs.pb")
            if not await exists(uri):
                return None
        if not uri:
            return None
        try:
            return await read(uri)
        except OSError as error:
            self._say_unreadable(error)
            return None

    async def _send(self, phase: ActionPhase, file: str, data: bytes | None) -> None:
        await self._tell(phase, file, data)
        self._steps.family_of(self.parent.task_context).expect(self.context.name)

    async def _tell(self, phase: ActionPhase, file: str, data: bytes | None) -> None:
        """Write inputs and the result, and tell the control plane; on any event loop."""
        context, parent = self.context, self.parent
        inputs_uri, output_uri = self._path("inputs.pb"), self._path(file) if data is not None else ""
        writes = [put_stream(self._inputs, to_path=inputs_uri)]
        if data is not None:
            writes.append(put_stream(data, to_path=output_uri))
        await asyncio.gather(*writes)
        request = enqueue_trace(
            name=self.step.name,
            action=context.action,
            parent=parent.task_context.name,
            group=parent.group,
            input_uri=inputs_uri,
            run_base_dir=context.execution.run_base_dir,
            phase=phase,
            times=(self._began_at, self._now()),
            output_uri=output_uri if phase is ActionPhase.SUCCEEDED else "",
            interface=self.step.typed(),
        )
        await enqueue(self._steps.actions, context.execution, f"trace {self.step.name!r}", request)

    def _path(self, file: str) -> str:
        return join(self.context.execution.run_base_dir, self.context.name, file)

    def _say_unreadable(self, error: Exception) -> None:
        logger.warning("the earlier result of trace %r cannot be read, so it runs again: %s", self.step.name, error)

    def _say_untold(self, error: Exception) -> None:
        logger.warning("the control plane could not be told that trace %r has failed: %s", self.step.name, error)


def _document(error: BaseException) -> bytes:
    return error_document(error, traceback=True).SerializeToString(deterministic=True)
