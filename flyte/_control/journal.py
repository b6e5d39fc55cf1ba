"""What the local controller tells the journal of a run, and what recovery takes from it.

A run that is remembered has a :class:`RunJournal`, an action of it a :class:`Record`. The record of a child is written
for good before its caller sees the result, so whatever a caller has done with a result, recovery finds it again.
"""

import asyncio
import itertools
import json
import sqlite3
from collections.abc import Awaitable, Sequence
from hashlib import md5, sha256
from typing import Any

from flyte._core.context import TaskContext
from flyte._core.identity import ActionPhase
from flyte._core.log import logger
from flyte._core.verdict import CALLER_CANCELLED
from flyte._definition.cache import Cache
from flyte._definition.discovery import discovery_version
from flyte._journal import values
from flyte._journal.faults import fault_document
from flyte._journal.schema import INLINE_BYTES, first_action
from flyte._journal.writer import TASK, Writer, writer
from flyte.errors import ActionAbortedError, RunRecoveryError, TypeTransformerFailedError
from flyte.types._interface import bare_interface, interface_hash

from .attempt import Plan
from .logs import LineCount
from .recovery import Found, Past

_ROOT_KEY = b"root"

_SUCCEEDED, _RECOVERED = ActionPhase.SUCCEEDED.value, ActionPhase.RECOVERED.value
_RUNNING = ActionPhase.RUNNING.value


class Record:
    """What the journal knows of one action; its row is made when it is written."""

    __slots__ = (
        "again",
        "attempts",
        "below",
        "cache",
        "children",
        "context",
        "ended_at",
        "error",
        "id",
        "inputs",
        "inputs_hash",
        "key",
        "outputs",
        "parent",
        "phase",
        "queued_at",
        "run",
        "source",
        "started_at",
        "task",
        "waiting",
    )

    def __init__(self, run: int, number: int, key: bytes, parent: "Record | None", task: int, context: Any) -> None:
        self.id = number
        self.run = run
        self.key = key
        self.parent = parent
        self.task = task
        self.context: TaskContext = context
        self.phase = _RUNNING
        self.attempts = 1
        self.queued_at = self.started_at = context.execution.clock.time()
        self.ended_at: float | None = None
        self.cache: str | None = None
        self.source: int | None = None
        self.children: dict[bytes, Record] | None = None
        """What this action has called, by key; kept only where it, or one above it, may be attempted again."""
        self.below: set[int] | None = None
        """Ids of the tasks that ran below this action."""
        self.waiting: str | None = None
        self.again: bool = parent is not None and parent.again
        """An attempt of this action, or of one above it, is a repeated one: what its children did before counts."""
        self.inputs: bytes | str = b""
        self.inputs_hash = ""
        self.outputs: bytes | str | None = None
        self.error: str | None = None

    def row(self) -> tuple[Any, ...]:
        """The columns of the table ``action``."""
        phase = self.phase  # first: a row that says it has ended has all the rest
        context = self.context
        below = json.dumps(sorted(self.below)) if self.below else None
        return (
            self.id,
            self.run,
            self.key,
            context.name,
            None if self.parent is None else self.parent.id,
            self.task,
            None if context.parent is None else context.parent.group,
            phase,
            self.attempts,
            self.queued_at,
            self.started_at,
            self.ended_at,
            self.cache,
            self.source,
            below,
            self.waiting,
            self.inputs,
            self.outputs,
            self.error,
        )


class RunJournal:
    """Remembers one run.

    :param run: id of the run in the journal.
    :param past: the run or runs that this one is recovered from.
    """

    def __init__(self, writer: Writer, run: int, past: Past | None) -> None:
        self.writer = writer
        self.run = run
        self.past = past
        self.lines = LineCount()
        self._numbers = itertools.count(first_action(run))
        self._tasks: set[int] = set()
        self._named: dict[tuple[str, str, str, str], int] = {}

    # Actions --------------------------------------------------------------------------------------------------------

    def begin(self, plan: Plan, context: TaskContext, inputs_hash: str) -> Record:
        """An action of a task begins."""
        task = plan.recorded_as
        if task is None:
            task = plan.recorded_as = self._put_task(plan)
            self._tasks.add(task)
        elif task not in self._tasks:
            self._put_task(plan)
            self._tasks.add(task)
        record = self._begin(task, plan.lasting, context, inputs_hash)
        if plan.retries.count and record.children is None:
            record.children = {}
        return record

    def begin_step(
        self,
        name: str,
        version: str,
        context: TaskContext,
        inputs_hash: str,
        *,
        kind: str = "trace",
        interface: bytes | None = None,
        detail: str = "{}",
    ) -> Record:
        """A traced function begins, or another ``kind`` of step that is no task."""
        task = self._put_named(name, version, kind, interface, detail)
        what = name if kind == "trace" else f"{kind} {name}"
        return self._begin(task, what, context, inputs_hash)

    def _begin(self, task: int, what: str, context: TaskContext, inputs_hash: str) -> Record:
        above = context.parent
        parent: Record | None = above.calls.record if above is not None else None
        if parent is None:
            key = _ROOT_KEY
            self.writer.put("UPDATE run SET inputs_hash = ? WHERE id = ?", (inputs_hash, self.run))
        else:
            assert above is not None
            group = above.group
            # Names of actions change with every edit of a task's code; this key is what stays, and tells equal work.
            sequence = above.calls.next_sequence(what, inputs_hash, group)
            text = f"{what}-{inputs_hash}-{sequence}-{group}" if group else f"{what}-{inputs_hash}-{sequence}"
            key = md5(parent.key + text.encode(), usedforsecurity=False).digest()
            if parent.below is None:
                parent.below = set()
            parent.below.add(task)
        record = Record(self.run, next(self._numbers), key, parent, task, context)
        record.inputs_hash = inputs_hash
        context.calls.record = record
        if parent is not None and parent.children is not None:
            record.children = {}
        return record

    def look_up(self, record: Record, version: str, name: str) -> Found | None:
        """What an earlier attempt of this run, or the run that is recovered, has done of this very work."""
        try:
            parent = record.parent
            before = parent.children.get(record.key) if parent is not None and parent.children is not None else None
            if before is not None and record.again:
                # The same action as in the attempt before: what it did, or at least what its children did, counts.
                record.id, record.children = before.id, before.children
                if before.phase in (_SUCCEEDED, _RECOVERED) and before.outputs is not None:
                    return Found(before.id, tuple(before.below or ()), before.outputs)
            if self.past is not None:
                root_inputs = record.inputs_hash if record.parent is None else None
                return self.past.find(record.key, version, root_inputs)
        except (sqlite3.Error, ValueError) as error:
            logger.warning("the history cannot be read, so %r runs again: %s", name, error)
        return None

    def started(self, record: Record) -> None:
        """The action runs, and may do so for long: readers are to see it."""
        loop = asyncio._get_running_loop()
        if loop is not None:
            self.writer.put_open(record, loop)
        else:  # a sync body, in a thread
            loop = record.context.execution.loop
            loop.call_soon_threadsafe(self.writer.put_open, record, loop)

    def put_soon(self, statement: str, columns: Sequence[Any], home: asyncio.AbstractEventLoop) -> None:
        """Write something with the next commit, which comes soon.

        :param home: the event loop of the run, for callers in other threads.
        """
        self.writer.put(statement, columns)
        self._see_to_it(home)

    def _put_soon(self, record: Record) -> None:
        self.writer.put_action(record)
        self._see_to_it(record.context.execution.loop)

    def _see_to_it(self, home: asyncio.AbstractEventLoop) -> None:
        loop = asyncio._get_running_loop()
        if loop is not None:
            self.writer.commit_later(loop)
        elif not home.is_closed():
            home.call_soon_threadsafe(self.writer.commit_later, home)

    async def succeeded(self, record: Record) -> None:
        """The action has ended well; when this returns, that is written for good."""
        if not self.succeeded_alone(record):
            await self.written(record)

    def succeeded_alone(self, record: Record) -> bool:
        """:meth:`succeeded` where nobody could join in the commit; False if :meth:`written` is to be awaited too."""
        self.keep_outputs(record)
        self._end(record)
        record.phase = _SUCCEEDED
        record.children = None  # whoever asks for this action again gets its result
        return self.writer.commit_alone(asyncio.get_running_loop(), record)

    def written(self, record: Record) -> Awaitable[None]:
        """Done when the record is written for good, with all that others write in this turn of the event loop."""
        return self.writer.commit(asyncio.get_running_loop(), record)

    def succeeded_soon(self, record: Record) -> None:
        """:meth:`succeeded`, for a result that can be had again without running anything."""
        self.keep_outputs(record)
        self._end(record)
        record.phase = _SUCCEEDED
        self._put_soon(record)

    def succeeded_at_once(self, record: Record) -> None:
        """:meth:`succeeded`, for a caller that cannot await."""
        self._end(record)
        record.phase = _SUCCEEDED
        self.writer.put_action(record)
        self.writer.flush(wait_s=_SYNC_WAIT_S)

    async def recovered(self, record: Record, found: Found) -> None:
        """The action was taken from an earlier run."""
        self._end(record)
        self._take_over(record, found)
        if found.below:
            record.below = {*(record.below or ()), *found.below}
            if record.parent is not None and record.parent.below is not None:
                record.parent.below |= record.below
        record.phase = _RECOVERED
        await self.writer.commit(asyncio.get_running_loop(), record)

    def _take_over(self, record: Record, found: Found) -> None:
        record.outputs = found.outputs
        record.source = found.action
        digest = values.hash_of(found.outputs)
        if digest is not None:
            self.writer.put(_BIG, (digest, record.id))

    def recovered_soon(self, record: Record, found: Found) -> None:
        """:meth:`recovered` for a traced function, without waiting: it can be taken from there again."""
        self._end(record)
        self._take_over(record, found)
        record.phase = _RECOVERED
        self._put_soon(record)

    def failed(self, record: Record, phase: ActionPhase, error: BaseException) -> None:
        """The action has ended otherwise."""
        self._end(record)
        if isinstance(error, asyncio.CancelledError):
            error = ActionAbortedError(str(error) or CALLER_CANCELLED).with_traceback(error.__traceback__)
        record.error = fault_document(error)
        record.phase = phase.value
        self._put_soon(record)

    def attempt_failed(self, record: Record, error: BaseException) -> None:
        """An attempt has failed, and another one follows."""
        now = record.context.execution.clock.time()
        self.writer.put(
            "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?)",
            (record.id, record.attempts - 1, record.started_at, now, fault_document(error)),
        )
        record.attempts += 1
        record.again = True
        record.started_at = now
        self._put_soon(record)

    def waits(self, record: Record, what: str | None) -> None:
        """The action waits for ``what``, in words, from now on; None when it goes on."""
        since = record.context.execution.clock.time()
        record.waiting = json.dumps({"for": what, "since": since}) if what is not None else None
        self._put_soon(record)

    def _end(self, record: Record) -> None:
        record.ended_at = record.context.execution.clock.time()
        record.waiting = None
        self.writer.close_action(record)
        parent = record.parent
        if parent is not None:
            if record.below and parent.below is not None:
                parent.below |= record.below
            if parent.children is not None:
                parent.children[record.key] = record

    # Values -----------------------------------------------------------------------------------------------------

    async def keep_inputs(self, record: Record, plan: Plan, taken: Sequence[Any], pieces: Sequence[bytes]) -> None:
        """Keep the inputs as they are before the body can change them."""
        boundary = plan.boundary
        try:
            if boundary.awaits:
                data = await boundary.dump_inputs(taken)
            else:
                data = await boundary.store_inputs(boundary.wire_inputs(taken, pieces))
        except (TypeTransformerFailedError, OSError) as error:
            logger.warning("the inputs of task %r are not remembered: %s", plan.name, error)
            return
        record.inputs = self.keep(record, data)

    def keep_outputs(self, record: Record) -> None:
        """Large outputs go to a file of their own."""
        if isinstance(record.outputs, bytes) and len(record.outputs) > INLINE_BYTES:
            record.outputs = self.keep(record, record.outputs) or None

    def keep(self, record: Record, data: bytes) -> bytes | str:
        """What stands for inputs or outputs in the journal; many bytes go to a file named by their content."""
        try:
            kept = values.keep(data)
        except OSError as error:
            logger.warning("a large value of action %s is not remembered: %s", record.context.name, error)
            return b""
        digest = values.hash_of(kept)
        if digest is not None:
            self.writer.put(_BIG, (digest, record.id))
        return kept

    # Tasks ------------------------------------------------------------------------------------------------------------

    def _put_task(self, plan: Plan) -> int:
        task = plan.task
        try:
            interface = bare_interface(task.interface).SerializeToString(deterministic=True)
        except TypeError:
            interface = None
        return self._put_named(plan.name, plan.work_version, "task", interface, json.dumps(_detail_of(plan)))

    def _put_named(self, name: str, version: str, kind: str, interface: bytes | None, detail: str) -> int:
        known = self._named.get((name, version, kind, detail))
        if known is not None:
            return known
        digest = sha256("\0".join((name, version, kind, detail)).encode()).digest()
        number = int.from_bytes(digest[:8], "big") >> 1
        if (number, self.writer.name) not in _put:
            self.writer.put(TASK, (number, name, version, kind, interface, detail))
            _put.add((number, self.writer.name))
        self._named[name, version, kind, detail] = number
        return number

    # The run ----------------------------------------------------------------------------------------------------------

    def end(self, phase: ActionPhase, error: BaseException | None, at: float) -> None:
        """The run has ended; when this returns, everything of it is written."""
        said = fault_document(error) if error is not None else None
        self.writer.put(
            "UPDATE run SET phase = ?, ended_at = ?, error = ? WHERE id = ?", (phase.value, at, said, self.run)
        )
        self.writer.flush(wait_s=_SYNC_WAIT_S)
        if self.past is not None:
            self.past.close()


_SYNC_WAIT_S = 5.0
_BIG = "INSERT OR IGNORE INTO big VALUES (?, ?)"
_put: set[tuple[int, str]] = set()
"""Tasks that this process has written, by id and writer."""


def _detail_of(plan: Plan) -> dict[str, str]:
    """What the task's version in the cache is made of, for who asks why a result was not taken."""
    cache = plan.task.cache
    detail = {"interface": interface_hash(plan.task.interface), "body": discovery_version(plan.task)}
    if isinstance(cache, Cache) and cache.is_enabled():
        detail |= {
            "behavior": cache.behavior,
            "version_override": cache.version_override or "",
            "salt": cache.salt,
            "ignored_inputs": ", ".join(cache.get_ignored_inputs()),
        }
    return detail


async def take_found(plan: Plan, found: Found) -> tuple[bool, Any]:
    """The result of an action of an earlier run, and whether there is one that can be read."""
    try:
        return True, await plan.boundary.load(values.fetch(found.outputs))
    except (OSError, ValueError, TypeTransformerFailedError) as error:
        logger.warning("the result of task %r in the earlier run cannot be read and is made anew: %s", plan.name, error)
        return False, None


def open_journal(columns: dict[str, Any], recover_from: str | None) -> RunJournal | None:
    """The journal of a new run; None, after a warning, where it cannot be kept.

    :param columns: of the table ``run``.
    :param recover_from: name of a run, or ``last``.
    :raises flyte.errors.RunRecoveryError: there is nothing to recover from under that name, or no history at all.
    """
    kept = writer()
    if kept is None:
        if recover_from is not None:
            raise RunRecoveryError(f"recover_from={recover_from!r}: no history of runs can be read; see the warning")
        return None
    past = Past.of(kept.path, recover_from, columns["task"]) if recover_from is not None else None
    try:
        run = kept.insert_run({**columns, "writer": kept.name, "recovered_from": past.run if past else None})
    except sqlite3.Error as error:
        logger.warning("this run is not remembered and cannot be recovered: %s", error)
        return None
    return RunJournal(kept, run, past)
