"""The children of one action on a control plane: the requests that start them, and the stream that tells of them."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol

from flyte._core.context import Execution, TaskContext
from flyte._core.log import logger
from flyte._wire.actions import news_from, watch_children
from flyte.errors import RuntimeSystemError
from flyte.remote._enqueue import Outcome, WatchBroken
from flyte.storage._transfer import get_stream

from .attempt import stop
from .ledger import Child, Ledger

SNAPSHOT_S = 5.0
"""How long the first call waits for what the control plane knows already."""
IDLE_S = 30.0
"""A stream that is silent for so long is opened anew: its snapshot is the truth."""
ECHO_S = 60.0
"""How long the end of an action waits for the control plane to confirm what it was told of traces."""
ENQUEUE_TRIES = 100
WATCH_TRIES = 40
ENQUEUE_PAUSE_S = (0.5, 10.0)
WATCH_PAUSE_S = (1.0, 30.0)
CHILDREN = 1000
"""How many children one action has at a time; further calls wait."""


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

    async def close(self) -> None:
        """Close the connection of the running event loop."""
        ...


async def enqueue(actions: Actions, execution: Execution, what: str, request: Any) -> None:
    """Ask for an action until the control plane has it.

    :param what: kind and name of the action, for errors.
    :raises RuntimeSystemError: it says no, or says nothing for too long.
    """
    pause_s, longest_s = ENQUEUE_PAUSE_S
    tries = 0
    while True:
        outcome, said = await actions.enqueue(request)
        match outcome:
            case Outcome.STARTED:
                return
            case Outcome.REFUSED:
                raise RuntimeSystemError("EnqueueRefused", f"{what} was refused by the control plane ({said})")
            case Outcome.RUN_ENDED:
                raise RuntimeSystemError(
                    "RunAborted", f"run {execution.run_name} was aborted, so {what} is not started"
                )
            case Outcome.AGAIN:
                tries += 1
                if tries >= ENQUEUE_TRIES:
                    raise RuntimeSystemError(
                        "EnqueueFailed", f"{what} could not be started after {tries} tries: {said}"
                    )
            case Outcome.BUSY:
                pass  # without limit: it has heard us
        logger.debug("starting %s: %s; again in %.1f s", what, said, pause_s)
        await execution.clock.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(2 * pause_s, longest_s)


class Family:
    """The children of one action, and the one stream that tells of them."""

    def __init__(self, actions: Actions, parent: TaskContext) -> None:
        self.ledger = Ledger(parent.name)
        self.places = asyncio.Semaphore(CHILDREN)
        self._actions = actions
        self._parent = parent
        self._snapshot = asyncio.Event()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._lost: BaseException | None = None
        self._unconfirmed: dict[str, float] = {}
        """Names of traces that the control plane was told of and has not spoken of yet -> until when that matters."""
        self._confirmed = asyncio.Event()
        self._watching = asyncio.create_task(self._watch())

    @property
    def knows(self) -> bool:
        """Whether the control plane has said what it knew."""
        return self._snapshot.is_set()

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

    def expect(self, name: str) -> None:
        """The control plane was told how a trace has ended, and is to confirm it."""
        if self.ledger.child(name).has_ended:
            self.ledger.forget(name)
        else:
            self._unconfirmed[name] = time.monotonic() + ECHO_S

    async def snapshot(self) -> list[Any]:
        """The messages of a stream up to its sentinel, read on whichever event loop; for :meth:`take`."""
        found: list[Any] = []
        request = watch_children(self._parent.action)
        with contextlib.suppress(TimeoutError, WatchBroken):
            async with asyncio.timeout(SNAPSHOT_S):
                async for message in self._actions.watch(request, IDLE_S):
                    found.append(message)
                    if message.HasField("control_message"):
                        break
        return found

    async def _watch(self) -> None:
        request = watch_children(self._parent.action)
        pause_s, longest_s = WATCH_PAUSE_S
        failures = 0
        while True:
            self.ledger.reconnected()
            try:
                async for message in self._actions.watch(request, IDLE_S):
                    failures, pause_s = 0, WATCH_PAUSE_S[0]
                    self.take(message)
            except WatchBroken as broken:
                failures += 1
                if failures >= WATCH_TRIES:
                    self._lose(broken)
                    return
                logger.debug("the watch of action %s is opened again: %s", self._parent.name, broken)
            if failures > 1:
                await self._parent.execution.clock.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, longest_s)

    def take(self, message: Any) -> None:
        """Hear what the control plane says; on the event loop of the action."""
        news = news_from(message)
        if news is None:
            return
        if news.name is None:
            self.ledger.snapshot_ends()
            self._snapshot.set()
            return
        ended = self.ledger.apply(news)
        if ended is not None:
            if self._unconfirmed.pop(ended.name, None) is not None:
                self.ledger.forget(ended.name)
                if not self._unconfirmed:
                    self._confirmed.set()
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
        self._confirmed.set()
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_exception(self._lost)

    async def close(self) -> None:
        """Hear no more, once what was told is confirmed."""
        while self._unconfirmed and self._lost is None:
            left_s = max(self._unconfirmed.values()) - time.monotonic()
            self._confirmed.clear()
            try:
                await asyncio.wait_for(self._confirmed.wait(), left_s)
            except TimeoutError:
                logger.warning(
                    "the control plane has not confirmed %d traces of action %s; started again, it may call them again",
                    len(self._unconfirmed),
                    self._parent.name,
                )
                break
        await stop([self._watching])


async def read(uri: str) -> bytes:
    """All bytes of a file."""
    return b"".join([chunk async for chunk in get_stream(uri)])
