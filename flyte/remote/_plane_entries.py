"""Runs and actions of a control plane as entries of a history (wire-protocol sections 1.2 and 1.3).

What is read becomes the entries that the history of this machine has too; ids are numbers that are given out here, for
as long as this process lasts.
"""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from flyteidl2.common.identifier_pb2 import ActionIdentifier
from flyteidl2.common.list_pb2 import ListRequest, Sort
from flyteidl2.workflow.run_definition_pb2 import ActionDetails
from flyteidl2.workflow.run_service_pb2 import (
    GetActionDetailsRequest,
    ListActionsRequest,
)

from flyte._core.identity import ROOT_ACTION, ActionID, ActionPhase
from flyte._journal.history_entries import (
    ACTIONS_BITS,
    ActionEntry,
    AttemptEntry,
    RunEntry,
    TaskEntry,
    actions_called,
    several_called,
)
from flyte._wire.identity import action_identifier, run_identifier
from flyte.errors import (
    ActionNotFoundError,
    RpcNotFoundError,
    RuntimeUserError,
)

from ._client import Client
from ._plane import Plane
from ._plane_words import CACHE_WORDS, fault_in, fault_of, phase_of, seconds_of, task_name_of

PAGE = 100
NAME_LONGEST = 30
"""Characters of a run's or action's name; a longer one is of none, and no control plane takes it."""


class PlaneEntries:
    """Single runs and actions of a control plane.

    :param plane: where to ask.
    """

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self._runs: list[ActionID] = []
        self._run_numbers: dict[ActionID, int] = {}
        self._actions: dict[int, list[str]] = {}
        self._action_numbers: dict[tuple[int, str], int] = {}
        self._tasks: list[TaskEntry] = []
        self._task_numbers: dict[tuple[str, str, str, bytes | None], int] = {}

    # Numbers ----------------------------------------------------------------------------------------------------

    def _run_number(self, root: ActionID) -> int:
        number = self._run_numbers.setdefault(root, len(self._runs))
        if number == len(self._runs):
            self._runs.append(root)
        return number

    def action_number(self, run: int, name: str) -> int:
        """The number that stands for an action."""
        names = self._actions.setdefault(run, [])
        number = self._action_numbers.setdefault((run, name), run << ACTIONS_BITS | len(names))
        if number == run << ACTIONS_BITS | len(names):
            names.append(name)
        return number

    def _task_number(self, name: str, version: str, kind: str, interface: bytes | None) -> int:
        number = self._task_numbers.setdefault((name, version, kind, interface), len(self._tasks))
        if number == len(self._tasks):
            self._tasks.append(TaskEntry(number, name, version, kind, interface, "{}"))
        return number

    def action_of(self, run: RunEntry, name: str | None) -> ActionID:
        """The identity of an action of a run; of its first one, if no name is given."""
        return self._runs[run.id].new_sub_action(name or ROOT_ACTION)

    def task_name(self, action: ActionEntry) -> str:
        """Name of the task, traced function or condition that an action is of."""
        return self._tasks[action.task].name

    def writes_lines(self, action: ActionEntry) -> bool:
        """Whether an attempt of the action was begun, which may write lines."""
        return self._tasks[action.task].kind == "task" and action.attempts > 0

    def identity(self, number: int) -> ActionID:
        """The identity that a number of an action stands for."""
        run, at = number >> ACTIONS_BITS, number & (1 << ACTIONS_BITS) - 1
        root = self._runs[run]
        return ActionID(
            name=self._actions[run][at],
            run_name=root.run_name,
            project=root.project,
            domain=root.domain,
            org=root.org,
        )

    def _root_of(self, message: ActionIdentifier) -> ActionID:
        # Organizations do not exist in the open-source control plane, whose answers name none.
        return self.plane.root(message.run.name, message.run.project, message.run.domain)

    # Runs -------------------------------------------------------------------------------------------------------

    async def run_of(self, root: ActionID) -> RunEntry:
        """The run with this first action."""
        if 0 < len(root.run_name or "") <= NAME_LONGEST:
            with suppress(RpcNotFoundError):
                return self.run_from(await self.details_of(root))
        raise RuntimeUserError(
            "RunNotFoundError",
            f"there is no run {root.run_name!r} in project {root.project!r}, domain {root.domain!r} at "
            f"{self.plane.endpoint}",
        )

    def entry_of(self, root: ActionID, said: Any) -> RunEntry:
        """The run that was just made.

        :param said: its first action, as the control plane describes it; None if it does not.
        """
        if said is not None and said.id.run.name:
            return self.run_from(said)
        return RunEntry(
            id=self._run_number(root),
            name=root.run_name or "",
            task="",
            phase=ActionPhase.QUEUED.value,
            started_at=time.time(),
            project=root.project,
            domain=root.domain,
            base_dir=self.plane.run_url(root),
        )

    async def run_by_id(self, number: int) -> RunEntry | None:
        """See :class:`flyte.remote._source.Source`."""
        try:
            return self.run_from(await self.details_of(self._runs[number]))
        except RpcNotFoundError:
            return None

    def run_from(self, said: Any) -> RunEntry:
        """A run, from its first action: an Action or its details."""
        root = self._root_of(said.id)
        status = said.status
        phase = phase_of(status.phase)
        ended = seconds_of(status.end_time) if status.HasField("end_time") and phase.is_terminal else None
        fault = fault_in(said) if isinstance(said, ActionDetails) else None
        recovered = said.metadata.relation.related_to.name if said.metadata.HasField("relation") else ""
        return RunEntry(
            id=self._run_number(root),
            name=said.id.run.name,
            task=task_name_of(said),
            phase=phase.value,
            started_at=seconds_of(status.start_time),
            ended_at=ended,
            project=root.project,
            domain=root.domain,
            base_dir=self.plane.run_url(root),
            error=json.dumps(asdict(fault)) if fault is not None else None,
            recovered_name=recovered or None,
        )

    # Actions ----------------------------------------------------------------------------------------------------

    async def details_of(self, action: ActionID) -> ActionDetails:
        """What the control plane knows of an action."""
        request = GetActionDetailsRequest(action_id=action_identifier(action))
        details: ActionDetails = (await self.plane.client.runs.GetActionDetails(request)).details
        return details

    async def actions(self, run: RunEntry) -> list[ActionEntry]:
        """See :class:`flyte.remote._source.Source`."""
        root = self._runs[run.id]
        asked = ListRequest(limit=PAGE, sort_by_fields=[Sort(key="created_at", direction=Sort.Direction.ASCENDING)])
        found: list[ActionEntry] = []
        while True:
            request = ListActionsRequest(request=asked, run_id=run_identifier(root))
            answer = await self.plane.client.runs.ListActions(request)
            found += [self.entry_from(run.id, one) for one in answer.actions]
            if not answer.token or not answer.actions:
                return found
            asked.token = answer.token

    async def action(self, run: RunEntry, name: str | None) -> ActionEntry:
        """See :class:`flyte.remote._source.Source`."""
        wanted = self.action_of(run, name)
        if len(wanted.name) <= NAME_LONGEST:
            with suppress(RpcNotFoundError):
                return self.entry_from(run.id, await self.details_of(wanted))
        actions = await self.actions(run)
        found = actions_called(wanted.name, actions, await self.tasks({one.task for one in actions}))
        if len(found) > 1:
            raise ActionNotFoundError(several_called(run.name, wanted.name, found))
        if not found:
            raise ActionNotFoundError(f"run {run.name!r} has no action {wanted.name!r} at {self.plane.endpoint}")
        return self.entry_from(run.id, await self.details_of(self.identity(found[0].id)))

    async def action_by_id(self, number: int) -> ActionEntry | None:
        """See :class:`flyte.remote._source.Source`."""
        try:
            return self.entry_from(number >> ACTIONS_BITS, await self.details_of(self.identity(number)))
        except RpcNotFoundError:
            return None

    async def tasks(self, numbers: Iterable[int]) -> dict[int, TaskEntry]:
        """See :class:`flyte.remote._source.Source`."""
        return {number: self._tasks[number] for number in numbers}

    async def attempts(self, action: ActionEntry) -> list[AttemptEntry]:
        """See :class:`flyte.remote._source.Source`."""
        details = await self.details_of(self.identity(action.id))
        found = []
        for one in details.attempts:
            fault = fault_of(one.error_info) if one.HasField("error_info") else None
            found.append(
                AttemptEntry(
                    max(0, one.attempt - 1),
                    seconds_of(one.start_time),
                    seconds_of(one.end_time) if one.HasField("end_time") else None,
                    json.dumps(asdict(fault)) if fault is not None else None,
                )
            )
        return sorted(found, key=lambda entry: entry.number)

    def entry_from(self, run: int, said: Any) -> ActionEntry:
        """An action, from what is listed of it or from its details."""
        status, metadata = said.status, said.metadata
        phase = phase_of(status.phase)
        began = seconds_of(status.start_time)
        details = said if isinstance(said, ActionDetails) else None
        fault = fault_in(details) if details is not None else None
        first = details.attempts[-1] if details is not None and details.attempts else None
        started: float | None = began if phase not in (ActionPhase.QUEUED, ActionPhase.WAITING_FOR_RESOURCES) else None
        if first is not None and first.HasField("start_time"):
            started = seconds_of(first.start_time)
        kind = metadata.WhichOneof("spec") or (details.WhichOneof("spec") if details is not None else None) or "task"
        interface: bytes | None = None
        version = metadata.task.id.version
        if details is not None and details.HasField("task"):
            interface = details.task.task_template.interface.SerializeToString(deterministic=True)
            version = version or details.task.task_template.id.version
        elif details is not None and details.HasField("trace"):
            interface = details.trace.interface.SerializeToString(deterministic=True)
        return ActionEntry(
            id=self.action_number(run, said.id.name),
            run=run,
            name=said.id.name,
            parent=self.action_number(run, metadata.parent) if metadata.parent else None,
            task=self._task_number(task_name_of(said), version, kind, interface),
            group=metadata.group or None,
            phase=phase.value,
            attempts=status.attempts,
            queued_at=began,
            started_at=started,
            ended_at=seconds_of(status.end_time) if phase.is_terminal and status.HasField("end_time") else None,
            cache=CACHE_WORDS.get(status.cache_status),
            source=None,
            waiting=json.dumps({"for": "an answer", "since": began}) if phase is ActionPhase.PAUSED else None,
            error=json.dumps(asdict(fault)) if fault is not None else None,
        )

    async def cluster(self, operation: int, action: ActionID) -> Client:
        """Where the data of an action is asked for."""
        return await self.plane.client.at_cluster(operation, action_id=action_identifier(action))
