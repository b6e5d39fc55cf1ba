"""Actions of a run: what they did, with what, and what came of it."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal, Self

from flyte._core.identity import ActionPhase
from flyte._journal.history_entries import ActionEntry, RunEntry, TaskEntry
from flyte.errors import ActionNotFoundError
from flyte.syncify import syncify

from ._details import ActionDetails
from ._identity import SeenAction, TimeFilter, log_text, names_in
from ._shown import Awaited, listed, order_of
from ._source import Source, no_code, phases_of, source

WaitFor = Literal["terminal", "running"]


class Action(SeenAction):
    """An action, as a list of them shows it; :meth:`details` knows more.

    Made by :meth:`get` and :meth:`listall`.
    """

    def __init__(
        self, entry: ActionEntry, run: RunEntry, task: TaskEntry, parent: ActionEntry | None, source: Source
    ) -> None:
        self._entry = entry
        self._run = run
        self._task = task
        self._parent = parent
        self._source = source

    @listed
    @classmethod
    async def listall(
        cls,
        for_run_name: str,
        in_phase: "tuple[ActionPhase | str, ...] | None" = None,
        parent_name: str | None = None,
        sort_by: 'tuple[str, Literal["asc", "desc"]] | None' = None,
        created_at: TimeFilter | None = None,
        updated_at: TimeFilter | None = None,
    ) -> list["Action"]:
        """The actions of a run, in the order in which they began.

        :param for_run_name: name of the run, or ``last``.
        :param in_phase: only those that stand in one of these phases.
        :param parent_name: only those that this action called.
        :param sort_by: a field (``created_at``, ``name``, ``phase``, ``task_name``) and ``asc`` or ``desc``.
        :param created_at: only those that were called in this range of times.
        :param updated_at: only those that last changed in this range of times.
        :raises flyte.errors.RuntimeUserError: ``RunNotFoundError``: there is no such run.
        """
        phases = phases_of(in_phase)
        order = order_of(sort_by, ("created_at", "name", "phase", "task_name"))
        looked_up = source()
        run = await looked_up.run(for_run_name)
        entries = await looked_up.actions(run)
        tasks = await looked_up.tasks({entry.task for entry in entries})
        by_id = {entry.id: entry for entry in entries}
        if order is not None:
            keys: dict[str, Callable[[ActionEntry], Any]] = {
                "created_at": lambda entry: entry.queued_at,
                "name": lambda entry: entry.name,
                "phase": lambda entry: entry.phase,
                "task_name": lambda entry: tasks[entry.task].name,
            }
            entries.sort(key=keys[order[0]], reverse=order[1])
        found = []
        for entry in entries:
            parent = by_id.get(entry.parent) if entry.parent is not None else None
            changed = entry.ended_at or entry.started_at or entry.queued_at
            if (
                (phases is None or entry.phase in phases)
                and (parent_name is None or (parent is not None and parent.name == parent_name))
                and (created_at is None or created_at.admits(entry.queued_at))
                and (updated_at is None or updated_at.admits(changed))
            ):
                found.append(cls(entry, run, tasks[entry.task], parent, looked_up))
        return found

    @syncify
    @classmethod
    async def get(cls, uri: str | None = None, /, run_name: str | None = None, name: str | None = None) -> "Action":
        """One action.

        :param uri: ``RUN/ACTION``, in place of the two names.
        :param run_name: name of the run, or ``last``.
        :param name: of the action; of the run's first one, if not given.
        :raises flyte.errors.RuntimeUserError: ``RunNotFoundError``: there is no such run.
        :raises flyte.errors.ActionNotFoundError: there is no such action.
        """
        run, action = names_in(uri, run_name, name)
        looked_up = source()
        return await cls._of(await looked_up.run(run), action, looked_up)

    @classmethod
    async def _of(cls, run: RunEntry, name: str | None, looked_up: Source) -> Self:
        entry = await looked_up.action(run, name)
        task = (await looked_up.tasks([entry.task]))[entry.task]
        parent = await looked_up.action_by_id(entry.parent) if entry.parent is not None else None
        return cls(entry, run, task, parent, looked_up)

    @Awaited
    async def details(self) -> "ActionDetails":
        """All that is known of the action; awaited in async code."""
        return await ActionDetails._of(self._run, self.name, self._source)

    @Awaited
    async def sync(self) -> "Action":
        """Look the action up again; awaited in async code."""
        await self._look_again()
        return self

    async def _look_again(self) -> None:
        found = await self._source.action_by_id(self._entry.id)
        if found is None:
            raise ActionNotFoundError(f"action {self.name!r} of run {self.run_name!r} was deleted")
        self._entry = found

    @Awaited
    async def wait(self, quiet: bool = False, wait_for: WaitFor = "terminal") -> None:
        """Wait until the action has ended, in whichever process it runs; awaited in async code.

        :param quiet: means nothing here, where waiting says nothing.
        :param wait_for: ``running`` waits for its start only.
        """
        async for _ in self.watch(wait_for=wait_for):
            pass

    async def watch(
        self, cache_data_on_done: bool = False, wait_for: WaitFor = "terminal"
    ) -> AsyncIterator["ActionDetails"]:
        """The action's details now and after each change, until it has ended."""
        shown: ActionEntry | None = None
        async with aclosing(self._source.news(self._run, self.name)) as news:
            async for _ in news:
                await self._look_again()
                entry = self._entry
                if entry != shown:
                    shown = entry
                    yield await self.details.aio()
                if entry.has_ended or (wait_for == "running" and entry.phase == ActionPhase.RUNNING.value):
                    return

    @syncify
    async def get_logs(
        self, attempt: int | None = None, filter_system: bool = False, show_ts: bool = False
    ) -> AsyncIterator[str]:
        """The lines that the action wrote, to its streams or to a logger.

        :param attempt: only those of this attempt, 0 for the first.
        :param filter_system: means nothing here, where the lines are the user's own.
        :param show_ts: put the time before each line.
        """
        async with aclosing(self._source.lines(self._run, self.name, attempt)) as lines:
            async for line in lines:
                yield log_text(line, show_ts)

    @syncify
    async def show_logs(
        self,
        attempt: int | None = None,
        max_lines: int = 30,
        show_ts: bool = False,
        raw: bool = False,
        filter_system: bool = False,
    ) -> None:
        """Print the last lines that the action wrote; see :meth:`get_logs`.

        :param max_lines: how many at most.
        """
        lines = [line async for line in self.get_logs.aio(attempt, filter_system, show_ts)]
        print_lines(lines, max_lines)

    @syncify
    async def get_report(self, attempt: int | None = None) -> str:
        """The HTML of the action's report.

        :raises FileNotFoundError: it has none.
        """
        page = await self._source.report(self._run, self.name, attempt)
        if page is None:
            raise FileNotFoundError(
                f"action {self.name!r} of run {self.run_name!r} has no report; declare its task with report=True"
            )
        return page

    @syncify
    async def abort(self, reason: str = "Manually aborted from the SDK.") -> None:
        """Stop the action and all below it; on this machine, stop its process instead.

        :param reason: for whoever looks at the run.
        """
        await self._source.abort(self._run, self.name, reason)

    @syncify
    async def download_code(
        self, dest: "str | Path | None" = None, extract: bool = True, attempt: int | None = None
    ) -> Path:
        """The code that the action ran; on this machine it ran from where it is."""
        return no_code("Action.download_code()", self._source)


def print_lines(lines: list[str], max_lines: int) -> None:
    """Write the last lines to standard output."""
    shown = lines[-max_lines:] if max_lines > 0 else []
    if len(lines) > len(shown):
        sys.stdout.write(f"... {len(lines) - len(shown)} earlier lines\n")
    sys.stdout.writelines(f"{line}\n" for line in shown)
    sys.stdout.flush()
