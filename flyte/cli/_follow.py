"""``--follow``: a run of a control plane while it goes on: progress, what it writes, who is waited for, what failed.

Called by `_away`. What is drawn is the view of `_progress`, whose counts are made of what the control plane says.
"""

import asyncio
import sys
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

from flyte._core.identity import ROOT_ACTION, ActionPhase
from flyte._core.log import logger

from ._shown import visible
from ._tables import short

if TYPE_CHECKING:
    from flyte._journal.history_entries import ActionEntry
    from flyte.remote._plane_entries import PlaneEntries
    from flyte.remote._runs import Run

    from ._progress import Progress


@dataclass(eq=False, slots=True)
class Seen:
    """An action as a tally asks for it; see :class:`flyte._core.controller.RecordedAction`."""

    name: str
    task_name: str
    parent: "Seen | None"
    group: str | None = None
    attempt_number: int = 0


class Watch:
    """Counts the actions of a run as they change.

    :param history: what the entries are of.
    :param run: name of the run.
    :param view: whose tally counts; it is told of failures.
    """

    def __init__(self, history: "PlaneEntries", run: str, view: "Progress") -> None:
        self._history = history
        self._run = run
        self._view = view
        self._attempts: dict[int, int] = {}
        self._ended: set[int] = set()
        self._callers: dict[tuple[int | None, str | None], Seen] = {(None, None): Seen("", "", None)}
        self._waiting: dict[int, ActionEntry] = {}
        self._asked: set[int] = set()
        self._phase = ""
        self.failures: asyncio.Queue[ActionEntry] = asyncio.Queue()

    def take(self, actions: "list[ActionEntry]") -> None:
        """Count what has changed since the actions were last given."""
        # A child may be told of before its parent.
        for one in sorted({**self._waiting, **{one.id: one for one in actions}}.values(), key=lambda one: one.id):
            if one.parent is not None and (one.parent, None) not in self._callers:
                self._waiting[one.id] = one
            else:
                self._waiting.pop(one.id, None)
                self._count(one)

    def _count(self, one: "ActionEntry") -> None:
        task = self._history.task_name(one)
        caller = self._callers[one.parent, None]
        if one.group is not None:
            grouped = Seen(caller.name, caller.task_name, caller.parent, one.group)
            caller = self._callers.setdefault((one.parent, one.group), grouped)
        itself = self._callers.setdefault((one.id, None), Seen(one.name, task, caller))
        if one.name == ROOT_ACTION and one.phase != self._phase:
            self._phase = one.phase
            self._view.tell_phase(f"{one.name}: {one.phase}")
        for number in range(self._attempts.get(one.id, 0), one.attempts):
            itself.attempt_number = number
            self._view.tally.action_started(itself)
        self._attempts[one.id] = max(one.attempts, self._attempts.get(one.id, 0))
        if one.phase == ActionPhase.PAUSED.value and one.id not in self._asked:
            self._asked.add(one.id)
            self._view.tell(f"{task} waits for an answer: flyte signal {self._run} {quote(task)} VALUE")
        if one.has_ended and one.id not in self._ended:
            self._ended.add(one.id)
            self._view.tally.action_finished(itself, ActionPhase(one.phase), None)
            if one.phase in (ActionPhase.FAILED.value, ActionPhase.TIMED_OUT.value):
                self.failures.put_nowait(one)

    async def tell_failures(self) -> None:
        """Say of each action that fails why; of those that fail with what a child of theirs failed with, nothing."""
        from flyte.errors import UnionRpcError

        known: dict[int, set[tuple[str, str]]] = {}
        while True:
            failed = await self.failures.get()
            try:
                details = await self._history.action_by_id(failed.id)
            except UnionRpcError as error:  # it is only a line; whether the run goes on, others watch
                logger.debug("why action %s failed is not known: %s", failed.name, error)
                details = None
            fault = details.fault if details is not None else None
            if fault is not None:
                said = (fault.type, fault.message)
                if failed.parent is not None:
                    known.setdefault(failed.parent, set()).add(said)
                if said not in known.get(failed.id, ()):
                    how = failed.phase.replace("_", " ")
                    task = self._history.task_name(failed)
                    self._view.tell_failure(f"{how}: {task} (action {failed.name}): {fault.line}")
            self.failures.task_done()


async def follow(run: "Run", view: "Progress") -> None:
    """Show a run until it has ended."""
    from flyte.errors import BaseRuntimeError

    history: Any = run._source
    watch = Watch(history, run.name, view)
    telling = asyncio.create_task(watch.tell_failures())
    try:
        try:
            await _show_lines(run, history, watch)
        except BaseRuntimeError as error:
            view.tell(f"no more log lines can be shown: {error}")
        await run.wait.aio()
        # The reasons of the last failures; a control plane that does not say them keeps nobody.
        said = asyncio.create_task(watch.failures.join())
        await asyncio.wait({said, telling}, timeout=5.0, return_when=asyncio.FIRST_COMPLETED)
        said.cancel()
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _show_lines(run: "Run", history: Any, watch: Watch) -> None:
    from contextlib import aclosing

    from flyte.remote._plane_streams import lines_as_written

    async with aclosing(lines_as_written(history, run._entry, watch.take)) as lines:
        async for action, line in lines:
            whose = "" if action.name == ROOT_ACTION else f"{short(history.task_name(action))}: "
            print(f"{whose}{visible(line.line, sys.stderr)}", file=sys.stderr, flush=True)
