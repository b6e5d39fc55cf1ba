"""The worker itself: a process that runs attempts one after the other, or side by side where they may share it.

Started by `process` and driven by its messages. It ends when the run's process closes the channel or dies.

It tells when a body only waits for its calls: then its slot goes to others, and the event loop is held until there is a
slot again, whatever happens meanwhile (:class:`_Selector`). Such a message says how many messages had been received; if
another one was under way it means nothing, as the body goes on because of that.
"""

import asyncio
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from flyte._control.attempt import plan_of, run_attempt
from flyte._control.logs import _Tee as Tee
from flyte._control.logs import captured
from flyte._core import log
from flyte._core.context import Execution, TaskContext
from flyte._core.trees import end_tree
from flyte.types._raw_data import raw_data_path
from flyte.types._stored import load_values

from .addresses import Book
from .channel import Channel, Message
from .failures import dump_failure, place_of
from .history import HistoryRelay, Line, RelayedRecord, record_id
from .relay import Body, RelayController

_PARENT_CHECKED_EVERY_S = 0.5
STOPPING_S = 0.5
"""How long what is left may clean up when the worker is told to stop."""


def main(descriptor: int, line: int) -> None:
    """Serve the channel at ``descriptor`` to its end.

    :param line: where the history is told.
    """
    os.set_inheritable(descriptor, False)
    os.set_inheritable(line, False)
    connection = socket.socket(fileno=descriptor)
    threading.Thread(target=_watch_parent, args=(descriptor,), name="flyte-parent", daemon=True).start()
    selector = _Selector()
    loop = asyncio.SelectorEventLoop(selector)
    asyncio.set_event_loop(loop)
    worker = Worker(loop, selector, Line(socket.socket(fileno=line)))
    loop.run_until_complete(worker.serve(connection))
    _flush()


def _end_with_run() -> None:
    """The run's process is gone: nothing that this one has started goes on."""
    end_tree(os.getpid(), signal.SIGKILL)


def _watch_parent(descriptor: int) -> None:
    """End this process and what it started when the run's process is gone, whatever the body is doing."""
    import select

    parent = os.getppid()
    gone = getattr(select, "POLLRDHUP", 0) | select.POLLHUP
    poll = select.poll()
    poll.register(descriptor, gone)
    while os.getppid() == parent:
        if any(event & (gone | select.POLLNVAL) for _, event in poll.poll(_PARENT_CHECKED_EVERY_S * 1000)):
            break
    _end_with_run()


class _Selector(selectors.DefaultSelector):  # an alias of the machine's best
    """Sees when the event loop has nothing to do, and holds it while the only body in it has no slot."""

    on_idle: Callable[[], None]
    on_woken: Callable[[], bool]
    channel_fd: int = -1

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout > 0:
            self.on_idle()
        events = super().select(timeout)
        if not self._from_channel(events) and self.on_woken():
            # Something else than a message woke the body while it has no slot; it was asked for.
            while not self._from_channel(events):
                events = super().select(None)
        return events

    def _from_channel(self, events: Any) -> bool:
        return any(key.fd == self.channel_fd for key, _ in events)


class Worker:
    """The attempts in this process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, selector: _Selector, line: Line) -> None:
        self._loop = loop
        self._line = line
        self._selector = selector
        self._bodies: dict[int, Body] = {}
        self._received = 0
        self._captured = False
        self._stack = ExitStack()
        self._settings: Mapping[str, Any] = {}
        self._book = Book()
        self._stopped = loop.create_future()
        self._channel = Channel(self._on_message, _end_with_run)
        selector.on_idle = self._on_idle
        selector.on_woken = self._on_woken
        loop.set_task_factory(self._new_task)

    async def serve(self, connection: socket.socket) -> None:
        """Run what is asked for until the channel is closed, or a message says so."""
        connection.setblocking(False)
        self._selector.channel_fd = connection.fileno()
        await self._loop.create_unix_connection(lambda: self._channel, sock=connection)
        await self._stopped
        left = [task for task in asyncio.all_tasks(self._loop) if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=STOPPING_S)

    def _new_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        body = Body.current.get()
        if body is not None:
            body.tasks.add(task)
        return task

    def _stop(self) -> None:
        if not self._stopped.done():
            self._stopped.set_result(None)

    # Messages -------------------------------------------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        self._received += 1
        for body in self._bodies.values():
            body.paused = False
        kind = message[0]
        if kind == "result":
            body_of = self._bodies.get(message[1])
            if body_of is not None:
                body_of.settle(*message[2:])
        elif kind == "go":
            body_of = self._bodies.get(message[1])
            if body_of is not None:
                goes, body_of.goes = body_of.goes, []
                for go in goes:
                    go()
        elif kind == "start":
            self._loop.create_task(self._run(*message[1:]))
        elif kind == "learn":
            self._book.learn(*message[1:])
        elif kind == "cancel":
            body_of = self._bodies.get(message[1])
            if body_of is not None and body_of.runner is not None:
                body_of.runner.cancel()
        elif kind == "setup":
            self._set_up(message[1])
        elif kind == "stop":
            self._stop()

    def _set_up(self, setup: Mapping[str, Any]) -> None:
        self._settings = setup["execution"]
        self._book = Book(setup["main"])
        sys.argv = list(setup["argv"])
        if setup["log"] is not None:
            log.configure(*setup["log"])
        if setup["storage"] is not None:
            from flyte.storage._config import configured

            configured.set_default(self._book.unpickled(setup["storage"]))
        try:
            for address in setup["preload"]:
                plan_of(self._book.find(address))
        except Exception:  # the first attempt that needs it says what is wrong
            pass
        self._channel.send("ready")

    # Slots ----------------------------------------------------------------------------------------------------------

    def _on_idle(self) -> None:
        waiting = [number for number, body in self._bodies.items() if not body.paused and body.only_waits()]
        if waiting:
            for number in waiting:
                self._bodies[number].paused = True
            self._channel.send("idle", self._received, waiting)
        for number, body in self._bodies.items():
            if body.outside and not body.soft:
                body.soft = True
                self._channel.send("soft", number, body.outside[-1])

    def _on_woken(self) -> bool:
        if len(self._bodies) != 1:  # a process that several share has a slot as long as one of them has
            return False
        ((number, body),) = self._bodies.items()
        if not body.paused:
            return False
        self._channel.send("resume", number)
        return True

    # Attempts -------------------------------------------------------------------------------------------------------

    async def _run(
        self,
        number: int,
        address: Any,
        data: bytes,
        inline_bytes: int,
        variables: dict[str, str],
        action: Any,
        history: bool | None,
    ) -> None:
        body = Body(number, self._channel, self._loop, self._book)
        self._bodies[number] = body
        name, task_name, attempt_number, custom_context = action
        reply: tuple[Any, ...]
        relay: HistoryRelay | None = None
        Body.current.set(body)
        body.runner = asyncio.current_task()
        try:
            task = self._book.find(address)
            plan = plan_of(task)
            body.is_sync = plan.is_sync
            raw_data_path.set(self._settings["raw_data_path"])
            execution = Execution(
                controller=RelayController(body),
                loop=body.thread_loop,
                env_vars=variables,
                start_time=datetime.fromisoformat(self._settings["start_time"]),
                **{key: value for key, value in self._settings.items() if key != "start_time"},
            )
            scope = TaskContext(execution, None, "", None)
            scope.custom_context = custom_context
            context = TaskContext(execution, scope, task_name, name, None, attempt_number)
            record = context.calls.record = RelayedRecord(record_id(number), bool(history))
            if history is not None:
                execution.journal = relay = HistoryRelay(self._line, number, history)
                if not self._captured:
                    self._captured = True
                    self._stack.enter_context(captured())
            values = await load_values(zip(plan.boundary.names, plan.boundary.inputs, strict=True), data)
            result = await run_attempt(plan, context, values, inline_bytes, variables)
            outputs = record.outputs if record.outputs is not None else await plan.boundary.dump(result)
            reply = ("done", number, outputs)
        except asyncio.CancelledError:
            reply = ("cancelled", number)
        except BaseException as error:
            reply = ("failed", number, dump_failure(error, place_of(task_name)))
        body.end()
        _flush()
        if relay is not None:
            if len(self._bodies) == 1:
                for stream in (sys.stdout, sys.stderr):
                    if isinstance(stream, Tee):
                        stream.end()
            relay.settle()
        del self._bodies[number]
        try:
            self._channel.send(*reply)
        except ValueError as error:  # more than fits into a message
            self._channel.send("failed", number, dump_failure(error, place_of(task_name)))


def _flush() -> None:
    with ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stack.callback(stream.flush)
