"""Conditions of runs in this process: a condition is an action that is paused until somebody has said something.

Each that waits has a :class:`_Paused`, with an asyncio task of its own that belongs to the action which asked, so that
it ends with it. What people say reaches it from the journal, which is looked at now and then, from the terminal, and
from Python in this process. The journal, where there is one, decides who was first.
"""

import asyncio
import dataclasses
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from flyte._core.clock import Clock
from flyte._core.context import Execution, TaskContext, current
from flyte._core.identity import ActionPhase
from flyte._core.interface import Empty, NativeInterface
from flyte._core.log import logger
from flyte._core.verdict import condition_text
from flyte._definition.condition import Condition, ConditionWebhook
from flyte._journal import answers, signals, values
from flyte._journal.redaction import redact
from flyte._journal.schema import NotAJournal, open_file
from flyte._journal.signals import Answer, Asked, Earlier
from flyte.errors import (
    ActionAbortedError,
    ConditionAlreadyExistsError,
    ConditionTimedoutError,
    NotInTaskContextError,
    RuntimeUserError,
    TraceDoesNotAllowNestedTasksError,
    TypeTransformerFailedError,
)
from flyte.types._interface import typed_interface

from .boundary import Boundary, boundary_of
from .journal import Record, RunJournal
from .prompt import terminal
from .recovery import Found
from .webhook import call_webhook

_SOONEST_S, _LATEST_S = 0.05, 0.5
"""How often the journal is looked at: often at first, when a person is likely to be there, then less."""
_SLOWER = 1.05
_NAP_S = 3600.0
"""The longest sleep without a look at the time: a machine that was suspended is behind afterwards."""

Wait = Callable[[], Coroutine[Any, Any, Any]]


async def begin_condition(condition: Condition[Any]) -> Wait:
    """Register ``condition`` with the running action, on the event loop of its run.

    :raises flyte.errors.ConditionAlreadyExistsError: the run waits for one of that name.
    :raises flyte.errors.TraceDoesNotAllowNestedTasksError: inside a traced function.
    :raises flyte.errors.ActionAbortedError: the action has ended.
    """
    parent = parent_of(condition.name)
    execution = parent.execution
    desk = _desks.get(execution)
    if desk is not None and condition.name in desk.paused:
        raise ConditionAlreadyExistsError(
            f"run {execution.run_name} already waits for a condition {condition.name!r}; give this one another name"
        )
    paused = _Paused(condition, parent)
    paused.come_to(desk or _Desk(execution))
    try:
        known = await paused.begin()
        if known is not None:
            paused.leave("is answered")
            return known
        _check_open(parent, condition.name)
    except BaseException as error:
        paused.abandon(error)
        raise
    keeper = asyncio.get_running_loop().create_task(paused.keep())
    # It ends with the action that asked, or, where that leaves it behind, with the one above.
    owner = parent.calls.responsible()
    owner.started(keeper)
    keeper.add_done_callback(paused.end)
    keeper.add_done_callback(owner.ended)
    await paused.tell()
    return lambda: _wait_for(keeper)


async def _wait_for(keeper: "asyncio.Task[Any]") -> Any:
    # Who waits may give up, as with asyncio.timeout(), and wait again later.
    return await asyncio.shield(keeper)


def parent_of(name: str) -> TaskContext:
    """The running action, which may wait for condition ``name``.

    :raises flyte.errors.NotInTaskContextError: no action runs.
    :raises flyte.errors.TraceDoesNotAllowNestedTasksError: inside a traced function.
    :raises flyte.errors.ActionAbortedError: the action has ended.
    """
    parent = current.get()
    if parent is None or parent.parent is None:
        raise NotInTaskContextError("NotInTaskContextError", f"condition {name!r} needs a running task")
    if parent.in_trace:
        raise TraceDoesNotAllowNestedTasksError(
            f"condition {name!r} was made inside the traced function {parent.task_name!r}; a trace records one step, "
            "so wait for people in the task itself"
        )
    _check_open(parent, name)
    return parent


def _check_open(parent: TaskContext, name: str) -> None:
    if parent.calls.closed or parent.calls.responsible().closed:
        raise ActionAbortedError(f"action {parent.name!r} has ended, so it cannot wait for condition {name!r}")


# One run --------------------------------------------------------------------------------------------------------------


class _Desk:
    """The conditions that one run waits for at this moment, and the thread that looks for answers in the journal.

    The thread looks in real time, whatever clock the run has, because those who answer live in it.
    """

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.paused: dict[str, _Paused] = {}
        self._over = threading.Event()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        _desks[execution] = self

    def watch(self, path: Path) -> None:
        """Look for answers in the journal from now on, and soon."""
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(path,), name="flyte-conditions", daemon=True)
            self._thread.start()

    def leave(self, name: str) -> None:
        """A condition is over."""
        self.paused.pop(name, None)
        if not self.paused:
            self._over.set()
            self._news.set()
            if _desks.get(self.execution) is self:
                del _desks[self.execution]

    def _work(self, path: Path) -> None:
        try:
            file = open_file(path, _SOONEST_S)
        except NotAJournal as error:
            logger.warning("conditions of run %s cannot be answered elsewhere: %s", self.execution.run_name, error)
            return
        try:
            self._look(file)
        finally:
            file.close()

    def _look(self, file: sqlite3.Connection) -> None:
        seen, pause_s = None, _SOONEST_S
        while not self._over.is_set():
            if self._news.is_set():
                self._news.clear()
                seen, pause_s = None, _SOONEST_S
            try:
                (version,) = file.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    for paused in list(self.paused.values()):
                        answer = paused.find(file)
                        if answer is not None:
                            paused.offer(answer)
                    seen = version
            except sqlite3.Error as error:  # busy: the next time will do
                logger.debug("the journal could not be read: %s", error)
            self._news.wait(pause_s)
            pause_s = min(pause_s * _SLOWER, _LATEST_S)


_desks: dict[Execution, _Desk] = {}
"""Runs of this process that wait for somebody."""


# One condition --------------------------------------------------------------------------------------------------------


class _Paused:
    """A condition that a run has reached: a ``signals.Waiting``, and a question for the terminal."""

    def __init__(self, condition: Condition[Any], parent: TaskContext) -> None:
        execution = parent.execution
        self.condition = condition
        self.journal: Path | None = None
        self._desk: _Desk | None = None
        self._form = answers.form_of(condition.data_type)
        name = condition.name
        # The condition's name stands for both what is called and its inputs (wire-protocol section 6.2).
        sequence = parent.calls.next_sequence(name, name, parent.group)
        self._context = TaskContext(execution, parent, name, None, (name, name, sequence))
        self._loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[Answer] = self._loop.create_future()
        self._kept: RunJournal | None = execution.journal
        self._record: Record | None = None
        self._boundary = _boundary_of(condition)
        self._places: list[tuple[str, str]] = []
        self._by = ""
        self._refused: set[float] = set()
        """When those answers were given that the run could not take."""
        self._announced = False
        self.asked = Asked(
            run=execution.run_name,
            name=name,
            action=self._context.name,
            id=0,
            phase=ActionPhase.PAUSED.value,
            prompt=_shown(condition.prompt),
            prompt_type=condition.prompt_type,
            description=_shown(condition.description),
            form=self._form,
            since=execution.clock.time(),
            timeout_s=condition.timeout_s,
        )

    # Beginning --------------------------------------------------------------------------------------------------------

    def come_to(self, desk: _Desk) -> None:
        """The run waits for it from now on."""
        desk.paused[self.condition.name] = self
        self._desk = desk

    async def begin(self) -> Wait | None:
        """Make the condition known; what waits for its value where that is known already."""
        if self._kept is not None:
            known = await self._begin_record(self._kept)
            if known is not None:
                return known
        signals.announce(self)
        if self._kept is not None:
            self.journal = self._kept.writer.path
            if self._desk is not None:
                self._desk.watch(self.journal)
        return None

    def abandon(self, error: BaseException) -> None:
        """It could not be made known to the end."""
        self.leave(f"cannot be answered: {error}")
        if self._kept is not None and self._record is not None and self._record.phase == ActionPhase.PAUSED.value:
            self._kept.failed(self._record, ActionPhase.ABORTED, error)

    async def tell(self) -> None:
        """Tell people that it can be answered."""
        recorder = self._context.execution.recorder
        if recorder is not None:
            recorder.action_started(self._context)
        if not terminal.ask(self):
            self._say_how_to_answer()
        if self.condition.webhook is not None and not self._announced:
            await self._call_webhook(self.condition.webhook)

    async def _begin_record(self, journal: RunJournal) -> Wait | None:
        condition = self.condition
        detail = json.dumps(
            {
                "type": self._form.type,
                "schema": self._form.schema,
                "prompt": self.asked.prompt,
                "prompt_type": condition.prompt_type,
                "description": self.asked.description,
                "timeout_s": condition.timeout_s,
            }
        )
        # An answer to another question, or of another type, is none to this one.
        version = hashlib.sha256(json.dumps([condition.prompt, self._form.type, self._form.schema]).encode())
        interface = typed_interface(self._boundary.interface).SerializeToString(deterministic=True)
        record = self._record = journal.begin_step(
            condition.name,
            version.hexdigest(),
            self._context,
            condition.name,
            kind="condition",
            interface=interface,
            detail=detail,
        )
        record.inputs = await self._boundary.dump_inputs((self.asked.prompt, self.asked.description))
        if record.again or journal.past is not None:
            found = journal.look_up(record, version.hexdigest(), condition.name)
            if found is not None and (known := await self._recover(journal, record, found)) is not None:
                return known
            earlier = _earlier(journal, record, version.hexdigest())
        else:
            earlier = Earlier()
        since = record.queued_at if earlier.since is None else earlier.since
        record.queued_at = since
        record.phase = ActionPhase.PAUSED.value
        self._announced = earlier.was_announced
        self.asked = dataclasses.replace(self.asked, id=record.id, since=since)
        self._places = list(dict.fromkeys([(self.asked.run, self.asked.key), *earlier.places]))
        above = record.parent
        while above is not None:  # those that run are written a moment after their start: nobody is to see an orphan
            journal.writer.put_action(above)
            above = above.parent
        await self._write(journal, record)
        return None

    async def _recover(self, journal: RunJournal, record: Record, found: Found) -> Wait | None:
        try:
            value = await self._boundary.load(values.fetch(found.outputs))
        except (OSError, ValueError, TypeTransformerFailedError) as error:
            logger.warning(
                "the answer to condition %r in the earlier run cannot be read and is asked for anew: %s",
                self.condition.name,
                error,
            )
            return None
        if found.action != record.id:
            asked = dataclasses.replace(self.asked, id=record.id)
            signals.copy_answer_of(journal.writer.put, asked, found.action)
            await journal.recovered(record, found)
        recorder = self._context.execution.recorder
        if recorder is not None:
            recorder.action_finished(self._context, ActionPhase.RECOVERED, None)

        async def known() -> Any:
            return value

        return known

    async def _write(self, journal: RunJournal, record: Record, refusal: str | None = None) -> None:
        """Write that the action is paused, so that another process finds it."""
        waiting: dict[str, Any] = {"for": self._what(), "since": self.asked.since}
        if self._announced:
            waiting["announced"] = True
        if refusal is not None:
            waiting["refusal"] = refusal
        record.waiting = json.dumps(waiting)
        await journal.writer.commit(self._loop, record)

    def _what(self) -> str:
        return f"an answer to condition {self.asked.name!r} ({self._form.type}): {self.asked.prompt}"

    def _how(self) -> str:
        if self._kept is None:
            return f"flyte.signal({self.asked.run!r}, {self.asked.name!r}, VALUE) in this process"
        return answering_command(self.asked)

    def _say_how_to_answer(self) -> None:
        why = "" if self._kept is not None else " (the history of runs is off, so no other process can)"
        logger.warning("run %s waits for %s; answer with: %s%s", self.asked.run, self._what(), self._how(), why)

    async def _call_webhook(self, webhook: ConditionWebhook) -> None:
        wrong = await call_webhook(webhook, self._how())
        if wrong is not None:
            logger.warning(
                "the webhook of condition %r of run %s at %s; the run goes on waiting",
                self.asked.name,
                self.asked.run,
                wrong,
            )
            return
        self._announced = True
        record = self._record
        if self._kept is not None and record is not None and record.phase == ActionPhase.PAUSED.value:
            await self._write(self._kept, record)

    # Waiting ----------------------------------------------------------------------------------------------------------

    async def keep(self) -> Any:
        """Wait until somebody has answered, write it down, and give the value.

        :raises ConditionTimedoutError: nobody did in time.
        """
        while True:
            answer = await self._next_answer()
            self._by = answer.by
            try:
                value = await self._decode(answer)
                outputs = await self._boundary.dump(value)
                value = await self._boundary.load(outputs)  # as it is when it is recovered
            except (answers.BadAnswer, TypeTransformerFailedError) as error:
                await self._refuse(answer, str(error))
                continue
            if self._kept is not None and self._record is not None:
                signals.copy_answer(self._kept.writer.put, self.asked, answer)
                self._record.outputs = outputs
                self._record.error = None
                await self._kept.succeeded(self._record)
            return value

    def end(self, keeper: "asyncio.Task[Any]") -> None:
        """:meth:`keep` has ended, or was cancelled before it began."""
        error = None if keeper.cancelled() else keeper.exception()
        if keeper.cancelled():
            why, phase = "needs no answer any more: the action that asked has ended", ActionPhase.ABORTED
            error = asyncio.CancelledError("the action that asked has ended")
        elif error is None:
            why, phase = f"was answered elsewhere, by {self._by}", ActionPhase.SUCCEEDED
        elif isinstance(error, ConditionTimedoutError):
            why, phase = "was not answered in time", ActionPhase.TIMED_OUT
        else:
            why, phase = f"cannot be answered: {error}", ActionPhase.FAILED
        self.leave(why)
        # With time run out it is written already: see _last_answer().
        if phase in (ActionPhase.ABORTED, ActionPhase.FAILED) and self._kept is not None and self._record is not None:
            assert error is not None
            self._kept.failed(self._record, phase, error)
        recorder = self._context.execution.recorder
        if recorder is not None:
            recorder.action_finished(self._context, phase, error)

    def leave(self, why: str) -> None:
        """Nobody needs to answer any more."""
        terminal.take_back(self, f"condition {self.asked.name!r} {why}")
        signals.withdraw(self)
        if self._desk is not None:
            self._desk.leave(self.condition.name)

    async def _next_answer(self) -> Answer:
        """The next answer that is given in time.

        :raises ConditionTimedoutError: none is.
        """
        timeout_s = self.condition.timeout_s
        if timeout_s is None:
            return await self._answered
        clock = self._context.execution.clock
        until = self.asked.since + timeout_s
        while not self._answered.done() and (left_s := until - clock.time()) > 0:
            sleep = self._loop.create_task(_sleep(clock, min(left_s, _NAP_S)))
            try:
                both: list[asyncio.Future[Any]] = [self._answered, sleep]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleep.cancel()
        if self._answered.done():
            return self._answered.result()
        return await self._last_answer(timeout_s)

    async def _last_answer(self, timeout_s: float) -> Answer:
        """Time is up: see that nobody answered at the last moment, and let nobody answer any more."""
        error = ConditionTimedoutError(condition_text(self.asked.name, self.asked.run, timeout_s, self.asked.prompt))
        error.add_note(f"in condition {self.asked.name!r}, action {self.asked.action} of run {self.asked.run}")
        error._flyte_action = self.asked.action  # type: ignore[attr-defined]
        if self._kept is not None and self._record is not None:
            # From this commit on others are refused; who came before it has left an answer.
            self._kept.failed(self._record, ActionPhase.TIMED_OUT, error)
            await self._kept.writer.commit(self._loop, self._record)
            answer = self._find_now(self._kept)
            if answer is not None:
                return answer
        if self._answered.done():
            return self._answered.result()
        raise error

    def _find_now(self, journal: RunJournal) -> Answer | None:
        try:
            file = open_file(journal.writer.path, _LATEST_S)
            try:
                return self.find(file)
            finally:
                file.close()
        except (sqlite3.Error, NotAJournal) as error:
            logger.warning("whether somebody answered in time cannot be read: %s", error)
            return None

    async def _refuse(self, answer: Answer, why: str) -> None:
        self._refused.add(answer.at)
        self._answered = self._loop.create_future()
        logger.warning(
            "the answer of %s to condition %r of run %s was not taken, and it goes on waiting: %s",
            answer.by,
            self.asked.name,
            self.asked.run,
            why,
        )
        if self._kept is not None and self._record is not None:
            signals.drop_answer(self._kept.writer.put, self._places, answer)
            self._record.phase = ActionPhase.PAUSED.value
            await self._write(self._kept, self._record, refusal=why)
        if not terminal.ask(self):
            self._say_how_to_answer()

    # Answers ----------------------------------------------------------------------------------------------------------

    def find(self, file: sqlite3.Connection) -> Answer | None:
        """The answer that somebody has left in the journal."""
        answer = signals.answer_at(file, self._places)
        return None if answer is None or answer.at in self._refused else answer

    def offer(self, answer: Answer) -> None:
        """Somebody of this process has answered; from any thread."""

        def take() -> None:
            if not self._answered.done() and answer.at not in self._refused:
                self._answered.set_result(answer)

        try:
            self._loop.call_soon_threadsafe(take)
        except RuntimeError:  # the run has ended meanwhile
            pass

    async def encode(self, value: Any) -> str | bytes:
        """A Python value as an answer: JSON where that says all of it."""
        try:
            taken = await self._boundary.load(await self._boundary.dump(value))
        except TypeTransformerFailedError as error:
            raise answers.BadAnswer(str(error)) from None
        if self._form.schema is not None:
            try:
                said = answers.json_of(value)
                if answers.value_of(self.condition.data_type, said) == taken:
                    return said
            except answers.BadAnswer:
                pass
        return await self._boundary.dump(value)

    async def _decode(self, answer: Answer) -> Any:
        if isinstance(answer.value, str):
            return answers.value_of(self.condition.data_type, answer.value)
        return await self._boundary.load(answer.value)

    # The terminal ----------------------------------------------------------------------------------------------------

    def text(self) -> str:
        """The question, and the ways to answer it."""
        lines = [f"run {self.asked.run} waits for {self._what()}"]
        if self.asked.description:
            lines.append(self.asked.description)
        if self._form.schema is None:
            lines.append(f"Answer with: {self._how()}")
        else:
            what = "y or n" if self._form.is_yes_or_no else f"a {self._form.type}"
            lines.append(f"Answer here with {what}, or elsewhere with: {self._how()}")
        return "\n".join(lines)

    def answer(self, text: str) -> str | None:
        """What was typed; gives what is wrong with it."""
        try:
            said = self._form.read(text)
            answers.value_of(self.condition.data_type, said)
            signals.answer_here(self, Answer(said, time.time(), signals.default_user()))
        except (answers.BadAnswer, RuntimeUserError) as error:
            return str(error)
        return None


async def _sleep(clock: Clock, delay_s: float) -> None:
    await clock.sleep(delay_s)


def _shown(text: str) -> str:
    """``text`` without secrets, and without what would move a terminal's cursor."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else " " for letter in redact(text))


def answering_command(asked: Asked) -> str:
    """The command that answers a condition, for people to copy."""
    from shlex import quote

    return f"flyte signal {asked.run} {quote(asked.name)} VALUE"


def _boundary_of(condition: Condition[Any]) -> Boundary:
    inputs = {"prompt": (str, Empty), "description": (str, Empty)}
    return boundary_of(NativeInterface(inputs, {"o0": condition.data_type}))


def _earlier(journal: RunJournal, record: Record, version: str) -> Earlier:
    try:
        file = open_file(journal.writer.path, _LATEST_S)
        try:
            return signals.earlier_of(file, journal.run, record.key, version)
        finally:
            file.close()
    except (sqlite3.Error, NotAJournal, ValueError) as error:
        logger.warning("what was said to the earlier run cannot be read: %s", error)
        return Earlier()
