"""An attempt that runs in a worker, as the run sees it: its slot, its place, and the calls that its body makes."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from flyte._control.attempt import Plan, plan_of
from flyte._control.local import LocalController
from flyte._core.context import TaskContext, current
from flyte._core.slots import Request, Slots
from flyte.types._engine import codec_for
from flyte.types._stored import dump_values, load_values

from .addresses import Address, Book
from .channel import Message
from .failures import dump_failure
from .history import Steps
from .process import WorkerProcess
from .relay import VALUE

WAKES_WITHIN_S = 1.0
"""How long a body that something else than a call has woken waits for a slot at most.

Rather one body more than there are slots, for a moment, than a caller whose limit of time is not kept.
"""


class Passing:
    """The bytes of a call's inputs and result, which go from one worker to the other as they are.

    That spares a conversion, and keeps what a worker has pickled as of the program's own module.
    """

    __slots__ = ("inputs", "outputs", "result", "task")

    def __init__(self, task: Any, inputs: bytes) -> None:
        self.task = task
        self.inputs = inputs
        self.result: Any = None
        self.outputs: bytes | None = None


passing: "contextvars.ContextVar[Passing | None]" = contextvars.ContextVar("flyte_workers_passing", default=None)
"""The call that is being made for a body in a worker, if the run's controller leaves its values alone."""


class Attempt:
    """One attempt; made on the run's event loop.

    :param number: names it in messages.
    :param context: the action's; what its body calls, it calls.
    :param request: what it needs to run; its ``granted`` is set here.
    """

    def __init__(
        self, number: int, plan: Plan, context: TaskContext, request: Request, slots: Slots, book: Book
    ) -> None:
        self.number = number
        self.plan = plan
        self.context = context
        self.request = request
        self.slots = slots
        self.book = book
        self._loop = asyncio.get_running_loop()
        self.reply: asyncio.Future[Message] = self._loop.create_future()
        self.process: WorkerProcess | None = None
        self.calls: dict[int, asyncio.Task[None]] = {}
        self._stopped: set[int] = set()
        self._conditions: dict[int, tuple[Any, Callable[[], Coroutine[Any, Any, Any]]]] = {}
        remembered = context.execution.journal is not None and context.calls.record is not None
        self.steps = Steps(context) if remembered else None
        self._surroundings = contextvars.copy_context()
        self._undelivered: list[Message] = []
        self._granted: Callable[[], None] = lambda: None
        request.granted = lambda: self._granted()

    async def acquire(self, queued: Callable[[], None]) -> None:
        """Wait for the first slot.

        :param queued: called if there is none at once.
        """
        granted = self._loop.create_future()

        def grant() -> None:
            if not granted.done():
                granted.set_result(None)

        self._granted = grant
        self.slots.submit(self.request)
        if not granted.done():
            self._tell("a free worker")
            queued()
            try:
                await granted
            except asyncio.CancelledError:
                self.slots.release(self.request)
                raise
            self._tell(None)
        self._granted = self._go_on

    # Messages of the body -------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Its body waits for calls only."""
        if not self._undelivered:
            self.slots.pause(self.request)

    def soften(self, words: str) -> None:
        """Its body waits for something that is neither a call nor a processor."""
        self.slots.soften(self.request)
        self._tell(words)

    def firm(self) -> None:
        """That has come; the body goes on when it is told."""
        self._tell(None)
        if self.slots.harden(self.request):
            self._send(("go",))
        else:
            self.deliver("go")

    def _tell(self, words: str | None) -> None:
        record, journal = self.context.calls.record, self.context.execution.journal
        if record is not None and journal is not None:
            journal.waits(record, words)

    def wake(self) -> None:
        """Something else than a call woke its body, which waits for a slot."""
        if self.request.state == "paused":
            self.slots.resume(self.request)
            if self.request.state == "resuming":
                self._loop.call_later(WAKES_WITHIN_S, self.slots.insist, self.request)

    def deliver(self, *message: Any) -> None:
        """Send what lets the body go on; as soon as there is a slot for it."""
        if self.request.state in ("paused", "resuming"):
            self._undelivered.append(message)
            self.slots.resume(self.request)
        else:
            self._send(message)

    def _go_on(self) -> None:
        # A body that woke by itself is waiting for any message at all.
        for message in self._undelivered or [("go",)]:
            self._send(message)
        self._undelivered.clear()

    def _send(self, message: Message) -> None:
        if self.process is not None and not self.process.ended.is_set():
            self.process.send(message[0], self.number, *message[1:])

    def remember(self, message: Message, answer: Callable[[Any], None]) -> None:
        """The body tells the history something; ``answer`` is called where it waits for one."""
        if self.steps is not None:
            self.steps.receive(message, answer)

    def start_call(self, call: int, address: Address, data: bytes, group: str | None, custom: dict[str, str]) -> None:
        """Make a call on behalf of the body."""
        context = self.context.variant(group=group, custom_context=custom)
        self._start(call, self._call(address, data), context)

    def _start(self, call: int, work: Coroutine[Any, Any, bytes], context: TaskContext | None = None) -> None:
        surroundings = self._surroundings.copy()
        surroundings.run(current.set, context or self.context)
        running = self._loop.create_task(self._answer(call, work), context=surroundings)
        self.calls[call] = running

        def ended(running: "asyncio.Task[None]") -> None:
            del self.calls[call]
            if running.cancelled():  # before it had begun
                work.close()
                self.deliver("result", call, None, None)

        running.add_done_callback(ended)

    def start_condition(self, call: int, condition: bytes) -> None:
        """Register a condition for the body."""
        self._start(call, self._register(call, condition))

    def start_wait(self, call: int, number: int) -> None:
        """Wait for what is said of one."""
        self._start(call, self._wait(number))

    async def _register(self, call: int, data: bytes) -> bytes:
        condition = self.book.unpickled(data)
        controller = self.context.execution.controller
        assert controller is not None  # it has run this very action
        self._conditions[call] = (condition, await controller.condition(condition))
        return call.to_bytes(8, "big")

    async def _wait(self, number: int) -> bytes:
        condition, wait = self._conditions[number]
        value = await wait()
        return await dump_values([(VALUE, codec_for(condition.data_type))], [value])

    def stop_call(self, call: int, reason: str = "") -> None:
        """The body no longer wants the result of a call; it is cancelled once, so that it can clean up in peace.

        :param reason: what its CancelledError says.
        """
        running = self.calls.get(call)
        if running is not None and call not in self._stopped:
            self._stopped.add(call)
            running.cancel(reason or None)

    async def _call(self, address: Address, data: bytes) -> bytes:
        task = self.book.find(address)
        plan = plan_of(task)
        values = await load_values(zip(plan.boundary.names, plan.boundary.inputs, strict=True), data)
        controller = self.context.execution.controller
        assert controller is not None  # it has run this very action
        passed = Passing(task, data) if type(controller) is LocalController else None
        passing.set(passed)
        made = await controller.submit(task, *values)
        if passed is not None and passed.outputs is not None and passed.result is made:
            return passed.outputs
        return await plan.boundary.dump(made)

    async def _answer(self, call: int, work: Coroutine[Any, Any, bytes]) -> None:
        result: bytes | None = None
        failure: Any = None
        try:
            result = await work
        except asyncio.CancelledError:
            failure = None
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            failure = dump_failure(error, "in the run's own process:")
        self.deliver("result", call, result, failure)

    # The end --------------------------------------------------------------------------------------------------------

    def lost(self) -> None:
        """Its process has ended."""
        if not self.reply.done():
            self.reply.set_result(("lost",))

    def close(self) -> None:
        """It runs no more."""
        self.slots.release(self.request)
        if self.process is not None:
            self.process.leave(self.number)
