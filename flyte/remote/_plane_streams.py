"""What comes from a run on a control plane while it goes on: its actions as they change, and the lines they write
(wire-protocol sections 4.7 and 11.5).

A stream that breaks is opened again: what is given twice is left out, and what was lost is read where it lasts.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from flyteidl2.dataproxy.dataproxy_service_pb2 import TailLogsRequest
from flyteidl2.workflow.run_service_pb2 import WatchActionsRequest

from flyte._core.identity import ActionID
from flyte._core.log import logger
from flyte._journal.history_entries import ActionEntry, LogEntry, RunEntry
from flyte._wire.identity import action_identifier, run_identifier
from flyte.errors import (
    LogsNotYetAvailableError,
    RpcInvalidArgumentError,
    RpcNotFoundError,
    RpcPermissionDeniedError,
    RpcTimeoutError,
    RpcUnauthenticatedError,
    RpcUnavailableError,
    RpcUnimplementedError,
    UnionRpcError,
)

from ._clusters import Operation
from ._plane_words import phase_of, seconds_of

if TYPE_CHECKING:
    from ._plane_entries import PlaneEntries

SILENT_S = 25.0
"""After so long without news the truth is read again: news may be lost on the way (wire-protocol section 11.5)."""
PATIENCE_S = 300.0
"""How long a control plane may be away while somebody waits for an action of it."""
PAUSE_S = (0.2, 10.0)
HOPELESS = (
    RpcNotFoundError,
    RpcInvalidArgumentError,
    RpcPermissionDeniedError,
    RpcUnauthenticatedError,
    RpcUnimplementedError,
)
QUIET_S = 1.0
"""Whoever does not follow is given what an attempt that runs has written until it was silent for so long."""
_LATE_S = 10.0
"""How long lines may come after the end of their run; a log that does not end keeps nobody."""
_LOG_TRIES = 5
_AT_ONCE = 16
_FOLLOWED_AT_ONCE = 256
_AHEAD = 1000
"""Lines that are read and not yet taken; a reader that is slow slows the streams."""


# Lines --------------------------------------------------------------------------------------------------------


async def lines_of(
    history: "PlaneEntries", run: RunEntry, name: str | None, attempt: int | None, quiet_s: float | None = None
) -> AsyncGenerator[LogEntry]:
    """The lines of an action, of all attempts or of one; those of an attempt that runs come as it writes them.

    :param attempt: 0 for the first.
    :param quiet_s: an attempt that runs and is silent for so long is not waited for; None waits for its end.
    :raises ValueError: there was no such attempt.
    """
    action = history.action_of(run, name)
    number = attempt + 1 if attempt is not None else 1
    if attempt is not None:
        begun = (await history.details_of(action)).status.attempts
        if number > max(begun, 1):
            raise ValueError(f"action {action.name} has {begun} attempts, the first is 0: there is no {attempt}")
    while True:
        async for line in _lines_of_attempt(history, run.id, action, number, quiet_s):
            yield line
        details = await _patiently(history, action)
        if attempt is not None or number >= details.status.attempts:
            return
        number += 1


async def _lines_of_attempt(
    history: "PlaneEntries", run: int, action: ActionID, number: int, quiet_s: float | None
) -> AsyncGenerator[LogEntry]:
    request = TailLogsRequest(action_id=action_identifier(action), attempt=number)
    at = history.action_number(run, action.name)
    seen = failures = 0
    pause_s = PAUSE_S[0] / 4
    while True:
        ended = phase_of((details := await _patiently(history, action)).status.phase).is_terminal
        ended = ended or number < details.status.attempts
        passed, why = 0, ""
        try:
            data = (await history.cluster(Operation.OPERATION_TAIL_LOGS, action)).data
            stream = data.TailLogs(request, idle_timeout_s=SILENT_S if ended or quiet_s is None else quiet_s)
            async with aclosing(stream) as messages:
                async for message in messages:
                    for one in (line for batch in message.logs for line in batch.lines):
                        passed += 1
                        if passed > seen:  # what came before the stream broke is sent again
                            seen, failures = passed, 0
                            source = "stdout" if one.originator == 1 else "stderr"
                            yield LogEntry(seen, at, seconds_of(one.timestamp), source, one.message.rstrip("\n"))
            if ended:
                return
        except (RpcNotFoundError, RpcUnimplementedError) as error:
            if ended and (number > details.status.attempts or failures >= _LOG_TRIES):
                return
            if isinstance(error, RpcUnimplementedError):
                raise LogsNotYetAvailableError(f"the control plane gives no logs: {error}") from None
            failures, why = failures + int(ended), str(error)
            if quiet_s is not None and not ended:
                return  # it has not begun
        except UnionRpcError as error:
            if quiet_s is not None and not ended and isinstance(error, RpcTimeoutError):
                return
            # Of one that is away, `_patiently` says when it is for too long.
            failures, why = failures + int(not isinstance(error, RpcUnavailableError)), str(error)
            if failures > _LOG_TRIES:
                raise
        if why:
            logger.debug("the log of %s/%s is asked for again: %s", action.run_name, action.name, why)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, 2.0)


async def _patiently(history: "PlaneEntries", action: ActionID) -> Any:
    """The details of an action, from a control plane that may be started again meanwhile.

    :raises UnionRpcError: it was away for too long.
    """
    pause_s, longest_s = PAUSE_S
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await history.details_of(action)
        except HOPELESS:
            raise
        except UnionRpcError as error:
            if time.monotonic() > until:
                raise
            logger.debug("action %s/%s is asked for again: %s", action.run_name, action.name, error)
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(2 * pause_s, longest_s)


Line = tuple[ActionEntry, LogEntry]


async def lines_so_far(history: "PlaneEntries", run: RunEntry) -> AsyncGenerator[Line]:
    """The lines that the actions of a run have written until now, one action after the other."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def read(action: ActionEntry) -> list[LogEntry]:
        async with gate:
            return [line async for line in lines_of(history, run, action.name, None, QUIET_S)]

    writing = [one for one in await history.actions(run) if history.writes_lines(one)]
    reading = [asyncio.create_task(read(one)) for one in writing]
    try:
        for action, task in zip(writing, reading, strict=True):
            for line in await task:
                yield action, line
    finally:
        await _ended(reading)


async def lines_as_written(
    history: "PlaneEntries", run: RunEntry, told: Callable[[list[ActionEntry]], None] | None = None
) -> AsyncGenerator[Line]:
    """The lines of all actions of a run as they are written, until the run has ended.

    :param told: is told of all actions, and of those that have changed.
    :raises UnionRpcError: the control plane was away for too long.
    """
    gate = asyncio.Semaphore(_FOLLOWED_AT_ONCE)
    waiting: asyncio.Queue[Line | Exception | None] = asyncio.Queue(_AHEAD)
    readers: dict[str, asyncio.Task[None]] = {}

    async def read(action: ActionEntry) -> None:
        async with gate:
            async for line in lines_of(history, run, action.name, None):
                await waiting.put((action, line))

    async def watch() -> None:
        try:
            async with aclosing(changes_of(history, run)) as changes:
                async for actions in changes:
                    if told is not None:
                        told(actions)
                    for action in actions:
                        if action.name not in readers and history.writes_lines(action):
                            readers[action.name] = asyncio.create_task(read(action))
            if readers:
                await asyncio.wait(readers.values(), timeout=_LATE_S)
            for one in readers.values():
                if one.done() and (failure := one.exception()) is not None:
                    raise failure
        except Exception as error:  # it is raised where the lines are read
            await waiting.put(error)
        else:
            await waiting.put(None)

    watcher = asyncio.create_task(watch())
    try:
        while (said := await waiting.get()) is not None:
            if isinstance(said, Exception):
                raise said
            yield said
    finally:
        await _ended([watcher])
        await _ended(list(readers.values()))


async def _ended(tasks: "list[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# Changes ------------------------------------------------------------------------------------------------------


async def changes_of(history: "PlaneEntries", run: RunEntry) -> AsyncGenerator[list[ActionEntry]]:
    """The actions of a run, all of them at first, then those that have changed, until the run has ended.

    The last that is given is all of them once more, as they ended.

    :raises UnionRpcError: the control plane was away for too long.
    """
    request = WatchActionsRequest(run_id=run_identifier(history.action_of(run, None)))
    pause_s, longest_s = PAUSE_S
    away_since: float | None = None
    while True:
        try:
            stream = history.plane.client.runs.WatchActions(request, idle_timeout_s=SILENT_S)
            async with aclosing(stream) as messages:
                async for message in messages:
                    away_since, pause_s = None, PAUSE_S[0]
                    yield [history.entry_from(run.id, one.action) for one in message.enriched_actions]
        except RpcUnimplementedError:
            pass  # the list below is then all the news there is
        except HOPELESS:
            raise
        except UnionRpcError as error:
            logger.debug("the watch of run %s is opened again: %s", run.name, error)
        try:
            now = await history.run_of(history.action_of(run, None))
            yield await history.actions(run)
        except HOPELESS:
            raise
        except UnionRpcError:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > PATIENCE_S:
                raise
        else:
            away_since = None
            if now.has_ended:
                return
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(2 * pause_s, longest_s)
