"""In a worker: calls of a body go to the run's own process, which runs them as calls of that action."""

import asyncio
import contextvars
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from weakref import WeakSet

from flyte._control.attempt import GRACE_S, plan_of
from flyte._control.local import LocalController
from flyte._core.context import current
from flyte._definition.task import TaskTemplate, refuse_call
from flyte.errors import RuntimeSystemError, TraceDoesNotAllowNestedTasksError, TypeTransformerFailedError
from flyte.types._engine import codec_for
from flyte.types._stored import dump_values, load_values

from .addresses import Book, pickled
from .channel import Channel
from .failures import load_failure

VALUE = "value"
"""What the value of a condition is called on its way."""


class Body:
    """One attempt in this process: what it waits for, and what is to be stopped with it.

    :param number: of the attempt, in messages.
    """

    current: "contextvars.ContextVar[Body | None]" = contextvars.ContextVar("flyte_worker_body", default=None)

    def __init__(self, number: int, channel: Channel, loop: asyncio.AbstractEventLoop, book: Book) -> None:
        self.number = number
        self.channel = channel
        self.loop = loop
        self.book = book
        self.thread_loop: Any = _ThreadLoop(self)
        self.runner: asyncio.Task[Any] | None = None
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.is_sync = False
        self.paused = False
        """It has told that it waits, and not heard since."""
        self.ended = False
        self.waits = 0
        """How many calls are waited for."""
        self.outside: list[str] = []
        """What else is waited for, outside this process."""
        self.soft = False
        """It has told that it waits for that."""
        self.goes: list[Callable[[], None]] = []
        self.threads = 0
        """How many threads are blocked until something on the event loop ends."""
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count()

    def only_waits(self) -> bool:
        """Whether it needs no processor until something outside has ended."""
        return self.waits > 0 and (self.threads > 0 or not self.is_sync)

    async def call(self, address: Any, data: bytes, group: str | None, custom_context: dict[str, str]) -> bytes:
        """Have the run make a call; gives its result as bytes.

        :raises BaseException: what the call raised.
        """
        if address[0] == "pickled" and address[1] not in self.book.told:
            self.channel.send("learn", address, self.book.payload(address))
            self.book.told.add(address[1])
        return await self.ask("call", address, data, group, custom_context)

    async def ask(self, kind: str, *more: Any) -> bytes:
        """Have the run do something that takes its time, and wait for what comes of it.

        :raises BaseException: what that raised.
        """
        number = next(self._numbers)
        future = self._calls[number] = self.loop.create_future()
        self.channel.send(kind, self.number, number, *more)
        self.waits += 1
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError as cancelled:
            if not self.ended and not future.done():
                self.channel.send("uncall", self.number, number, str(cancelled))
                # As in one process: who cancels a call goes on when that has cleaned up.
                await asyncio.wait({future}, timeout=GRACE_S)
            raise
        finally:
            self.waits -= 1
            del self._calls[number]
            if future.done() and not future.cancelled():
                future.exception()

    def settle(self, number: int | None, data: bytes | None, failure: Any) -> None:
        """A call has ended."""
        future = self._calls.get(number) if number is not None else None
        if future is None or future.done():
            return
        if data is not None:
            future.set_result(data)
        elif failure is None:
            future.cancel()
        else:
            future.set_exception(load_failure(failure))

    def wait_outside(self, words: str) -> None:
        """It waits for something outside this process from now on."""
        self.outside.append(words)

    def go_on(self, words: str, go: Callable[[], None]) -> None:
        """That has come; ``go`` is called when the body may run."""
        self.outside.remove(words)
        self.soft = False
        self.goes.append(go)
        self.channel.send("firm", self.number)

    def end(self) -> None:
        """The attempt is over: what it left behind is stopped; its calls go on without it."""
        self.ended = True
        for task in list(self.tasks):
            if task is not self.runner:
                task.cancel()


class _ThreadLoop:
    """As much of the event loop as threads of a body need, which counts those that wait for something on it."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any, **options: Any) -> asyncio.Handle:
        return self._body.loop.call_soon_threadsafe(callback, *args, **options)

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        body = self._body
        body.threads += 1
        task: asyncio.Task[Any] = body.loop.create_task(coro, **options)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, _: object) -> None:
        self._body.threads -= 1


class RelayController(LocalController):
    """Hands the calls of one body to the run's process. Traced functions run here."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def submit(self, task: TaskTemplate[Any, Any, Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Have the run make the call; see :class:`flyte.extend.Controller`."""
        return self._relay(task, args, kwargs)

    async def _relay(self, task: TaskTemplate[Any, Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if asyncio.get_running_loop() is not self._body.loop:  # asyncio.run() in the thread of a sync body
            call = self._relay(task, args, kwargs)
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._body.thread_loop))
        parent = current.get()
        if parent is None:
            raise RuntimeSystemError("NoRun", f"task {task.name!r} was submitted outside a run; use flyte.run()")
        owner = parent.calls
        if parent.in_trace or owner.closed or owner.succeeded or self._body.ended:
            refuse_call(parent, task.name)
            owner = owner.responsible()
        plan = plan_of(task)
        boundary = plan.boundary
        data = await self._dump(plan, args, kwargs)
        here = asyncio.current_task()
        beside = here is not parent.runner and here is not None
        if beside:
            owner.started(here)  # type: ignore[arg-type]
        try:
            custom_context = {str(key): str(value) for key, value in parent.custom_context.items()}
            result = await self._body.call(self._body.book.address(task), data, parent.group, custom_context)
        finally:
            if beside:
                owner.ended(here)  # type: ignore[arg-type]
        return await boundary.load(result)

    async def _dump(self, plan: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        boundary = plan.boundary
        values = boundary._bind(plan.name, args, kwargs)
        codecs = list(zip(boundary.names, boundary.inputs, strict=True))
        try:
            return await dump_values(codecs, values)
        except TypeTransformerFailedError:
            for position, (codec, value) in enumerate(zip(boundary.inputs, values, strict=True)):
                try:
                    await codec.encode_async(value)
                except TypeTransformerFailedError as error:
                    raise boundary._refusal(plan.name, position, error) from error.__cause__
            raise

    async def condition(self, condition: Any, /) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Have the run register a condition of this action."""
        context = current.get()
        if context is not None and context.in_trace:
            raise TraceDoesNotAllowNestedTasksError(
                f"condition {condition.name!r} was made inside the traced function {context.task_name!r}; a trace "
                "records one step, so wait for people in the task itself"
            )
        body = self._body
        said = await body.ask("condition", pickled(condition, condition.name, body.book))
        number = int.from_bytes(said, "big")
        codecs = [(VALUE, codec_for(condition.data_type))]

        async def wait() -> Any:
            (value,) = await load_values(codecs, await body.ask("wait", number))
            return value

        return wait

    # Waiting for what is outside, such as a place under a limit -------------------------------------------------------

    @asynccontextmanager
    async def waiting(self, words: str) -> AsyncIterator[None]:
        """In the ``async with`` block the body waits for something outside this process, and lends its slot."""
        body = self._body
        body.wait_outside(words)
        try:
            yield
        except BaseException:
            body.go_on(words, lambda: None)
            raise
        went = body.loop.create_future()
        body.go_on(words, lambda: None if went.done() else went.set_result(None))
        await went

    @contextmanager
    def waiting_in_thread(self, words: str) -> Iterator[None]:
        """The same for a thread of a sync body."""
        body = self._body
        went = threading.Event()
        body.loop.call_soon_threadsafe(body.wait_outside, words)
        try:
            yield
        finally:
            body.loop.call_soon_threadsafe(body.go_on, words, went.set)
            went.wait()
