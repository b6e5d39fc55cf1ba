"""Runs and actions of a control plane, as the objects of this room ask for them (wire-protocol 1.2, 4.7, 11.5).

The second fulfilment of :class:`flyte.remote._source.Source`. What a control plane says becomes the entries that the
history of this machine has too; ids are numbers that are given out here, for as long as this process lasts.
"""

import asyncio
import builtins
import json
import random
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Any

from flyteidl2.common.identifier_pb2 import ActionIdentifier, ProjectIdentifier
from flyteidl2.common.list_pb2 import Filter, ListRequest, Sort
from flyteidl2.core.catalog_pb2 import CatalogCacheStatus
from flyteidl2.core.execution_pb2 import ExecutionError
from flyteidl2.core.literals_pb2 import LiteralMap
from flyteidl2.dataproxy.dataproxy_service_pb2 import (
    ARTIFACT_TYPE_REPORT,
    CreateDownloadLinkRequest,
    GetActionDataRequest,
    TailLogsRequest,
)
from flyteidl2.workflow.run_definition_pb2 import ActionDetails
from flyteidl2.workflow.run_service_pb2 import (
    AbortActionRequest,
    AbortRunRequest,
    GetActionDetailsRequest,
    ListActionsRequest,
    ListRunsRequest,
    WatchActionDetailsRequest,
)

from flyte._core.identity import ROOT_ACTION, ActionID, ActionPhase
from flyte._core.log import logger
from flyte._core.raised import code_of, kind_of
from flyte._journal.history_entries import (
    ACTIONS_BITS,
    ActionEntry,
    AttemptEntry,
    Fault,
    LogEntry,
    RunEntry,
    TaskEntry,
)
from flyte._wire.faults import TRACEBACK, error_from, told
from flyte._wire.identity import action_identifier, phase_from_wire, phase_to_wire, run_identifier
from flyte.errors import (
    ActionNotFoundError,
    LogsNotYetAvailableError,
    RpcInvalidArgumentError,
    RpcNotFoundError,
    RpcPermissionDeniedError,
    RpcUnauthenticatedError,
    RpcUnimplementedError,
    RuntimeSystemError,
    RuntimeUnknownError,
    RuntimeUserError,
    UnionRpcError,
)

from ._plane import Plane

SILENT_S = 25.0
"""After so long without news the truth is read again: news may be lost on the way (wire-protocol section 11.5)."""
PATIENCE_S = 300.0
"""How long a control plane may be away while somebody waits for an action of it."""
_PAUSE_S = (0.2, 10.0)
_PAGE = 100
_DATA_TRIES = 6
_LOG_TRIES = 5
_HOPELESS = (
    RpcNotFoundError,
    RpcInvalidArgumentError,
    RpcPermissionDeniedError,
    RpcUnauthenticatedError,
    RpcUnimplementedError,
)
_CACHE = {
    CatalogCacheStatus.CACHE_HIT: "hit",
    CatalogCacheStatus.CACHE_MISS: "miss",
    CatalogCacheStatus.CACHE_POPULATED: "miss",
    CatalogCacheStatus.CACHE_SKIPPED: "refresh",
    CatalogCacheStatus.CACHE_PUT_FAILURE: "miss",
    CatalogCacheStatus.CACHE_LOOKUP_FAILURE: "miss",
}


class PlaneHistory:
    """The runs of a control plane.

    :param plane: where to ask.
    """

    is_local = False

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

    def _action_number(self, run: int, name: str) -> int:
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

    async def run(self, name: str) -> RunEntry:
        """See :class:`flyte.remote._source.Source`."""
        if name == "last":
            found = await self.runs(limit=1)
            if not found:
                raise RuntimeUserError(
                    "RunNotFoundError",
                    f"there is no run yet in project {self.plane.project!r}, domain {self.plane.domain!r} at "
                    f"{self.plane.endpoint}",
                )
            name = found[0].name
        return await self.run_of(self.plane.root(name))

    async def run_of(self, root: ActionID) -> RunEntry:
        """The run with this first action."""
        try:
            return self._run_entry(await self.details_of(root))
        except RpcNotFoundError:
            raise RuntimeUserError(
                "RunNotFoundError",
                f"there is no run {root.run_name!r} in project {root.project!r}, domain {root.domain!r} at "
                f"{self.plane.endpoint}",
            ) from None

    def entry_of(self, root: ActionID, said: Any) -> RunEntry:
        """The run that was just made.

        :param said: its first action, as the control plane describes it; None if it does not.
        """
        if said is not None and said.id.run.name:
            return self._run_entry(said)
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
            return self._run_entry(await self.details_of(self._runs[number]))
        except RpcNotFoundError:
            return None

    async def runs(self, **filters: Any) -> list[RunEntry]:
        """See :class:`flyte.remote._source.Source`."""
        return await self._listed(**filters)

    async def _listed(
        self,
        *,
        task: str | None = None,
        phases: Sequence[str] | None = None,
        paused_only: bool = False,
        project: str | None = None,
        domain: str | None = None,
        after: float | None = None,
        before: float | None = None,
        oldest_first: bool = False,
        limit: int | None = None,
        labels: dict[str, str] | None = None,
        label_keys: Sequence[str] = (),
        version: str | None = None,
    ) -> list[RunEntry]:
        """Runs; only phases are filtered by the control plane, which may know no other filters."""
        scope = ProjectIdentifier(
            organization=self.plane.org, name=project or self.plane.project, domain=domain or self.plane.domain
        )
        order = Sort.Direction.ASCENDING if oldest_first else Sort.Direction.DESCENDING
        asked = ListRequest(limit=_PAGE, sort_by_fields=[Sort(key="created_at", direction=order)])
        if phases is not None:
            numbers = [str(phase_to_wire(ActionPhase(phase))) for phase in phases]
            asked.filters.append(Filter(function=Filter.Function.VALUE_IN, field="phase", values=numbers))
        found: list[RunEntry] = []
        while limit is None or len(found) < limit:
            asked.limit = _PAGE if limit is None else max(1, min(_PAGE, limit - len(found)))
            request = ListRunsRequest(request=asked, project_id=scope, paused_actions_only=paused_only)
            answer = await self.plane.client.runs.ListRuns(request)
            for run in answer.runs:
                entry = self._run_entry(run.action)
                if (
                    (task is None or entry.task == task or entry.task.endswith(f".{task}"))
                    and (after is None or entry.started_at >= after)
                    and (before is None or entry.started_at < before)
                    and all(run.labels.get(key) == value for key, value in (labels or {}).items())
                    and all(key in run.labels for key in label_keys)
                    and (version is None or run.action.metadata.task.id.version == version)
                ):
                    found.append(entry)
            # The end of an order by time: nothing that is still to come could be within the range.
            last = _seconds(answer.runs[-1].action.status.start_time) if answer.runs else 0.0
            beyond = (before is not None and last >= before) if oldest_first else (after is not None and last < after)
            if not answer.token or not answer.runs or beyond:
                break
            asked.token = answer.token
        return found if limit is None else found[:limit]

    def _run_entry(self, said: Any) -> RunEntry:
        """A run, from its first action: an Action or its details."""
        root = self._root_of(said.id)
        status = said.status
        phase = _phase(status.phase)
        ended = _seconds(status.end_time) if status.HasField("end_time") and phase.is_terminal else None
        fault = _fault(said) if isinstance(said, ActionDetails) else None
        recovered = said.metadata.relation.related_to.name if said.metadata.HasField("relation") else ""
        return RunEntry(
            id=self._run_number(root),
            name=said.id.run.name,
            task=_task_name(said),
            phase=phase.value,
            started_at=_seconds(status.start_time),
            ended_at=ended,
            project=root.project,
            domain=root.domain,
            base_dir=self.plane.run_url(root),
            error=json.dumps(fault.document()) if fault is not None else None,
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
        asked = ListRequest(limit=_PAGE, sort_by_fields=[Sort(key="created_at", direction=Sort.Direction.ASCENDING)])
        found: list[ActionEntry] = []
        while True:
            request = ListActionsRequest(request=asked, run_id=run_identifier(root))
            answer = await self.plane.client.runs.ListActions(request)
            found += [self._action_entry(run.id, one) for one in answer.actions]
            if not answer.token or not answer.actions:
                return found
            asked.token = answer.token

    async def action(self, run: RunEntry, name: str | None) -> ActionEntry:
        """See :class:`flyte.remote._source.Source`."""
        root = self._runs[run.id]
        wanted = root.new_sub_action(name or ROOT_ACTION)
        try:
            return self._action_entry(run.id, await self.details_of(wanted))
        except RpcNotFoundError:
            raise ActionNotFoundError(
                f"run {run.name!r} has no action {wanted.name!r} at {self.plane.endpoint}"
            ) from None

    async def action_by_id(self, number: int) -> ActionEntry | None:
        """See :class:`flyte.remote._source.Source`."""
        try:
            return self._action_entry(number >> ACTIONS_BITS, await self.details_of(self.identity(number)))
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
            fault = _fault_of(one.error_info) if one.HasField("error_info") else None
            found.append(
                AttemptEntry(
                    max(0, one.attempt - 1),
                    _seconds(one.start_time),
                    _seconds(one.end_time) if one.HasField("end_time") else None,
                    json.dumps(fault.document()) if fault is not None else None,
                )
            )
        return sorted(found, key=lambda entry: entry.number)

    def _action_entry(self, run: int, said: Any) -> ActionEntry:
        status, metadata = said.status, said.metadata
        phase = _phase(status.phase)
        began = _seconds(status.start_time)
        details = said if isinstance(said, ActionDetails) else None
        fault = _fault(details) if details is not None else None
        first = details.attempts[-1] if details is not None and details.attempts else None
        started: float | None = began if phase not in (ActionPhase.QUEUED, ActionPhase.WAITING_FOR_RESOURCES) else None
        if first is not None and first.HasField("start_time"):
            started = _seconds(first.start_time)
        kind = metadata.WhichOneof("spec") or (details.WhichOneof("spec") if details is not None else None) or "task"
        interface: bytes | None = None
        version = metadata.task.id.version
        if details is not None and details.HasField("task"):
            interface = details.task.task_template.interface.SerializeToString(deterministic=True)
            version = version or details.task.task_template.id.version
        elif details is not None and details.HasField("trace"):
            interface = details.trace.interface.SerializeToString(deterministic=True)
        return ActionEntry(
            id=self._action_number(run, said.id.name),
            run=run,
            name=said.id.name,
            parent=self._action_number(run, metadata.parent) if metadata.parent else None,
            task=self._task_number(_task_name(said), version, kind, interface),
            group=metadata.group or None,
            phase=phase.value,
            attempts=status.attempts,
            queued_at=began,
            started_at=started,
            ended_at=_seconds(status.end_time) if phase.is_terminal and status.HasField("end_time") else None,
            cache=_CACHE.get(status.cache_status),
            source=None,
            waiting=json.dumps({"for": "an answer", "since": began}) if phase is ActionPhase.PAUSED else None,
            error=json.dumps(fault.document()) if fault is not None else None,
        )

    # News -------------------------------------------------------------------------------------------------------

    async def news(self, run: RunEntry, name: str | None) -> AsyncGenerator[None]:
        """See :class:`flyte.remote._source.Source`: a stream of the control plane, opened again whenever it breaks.

        :raises UnionRpcError: the control plane was away for too long.
        """
        action = self._runs[run.id].new_sub_action(name or ROOT_ACTION)
        request = WatchActionDetailsRequest(action_id=action_identifier(action))
        pause_s, longest_s = _PAUSE_S
        away_since: float | None = None
        yield
        while True:
            try:
                stream = self.plane.client.runs.WatchActionDetails(request, idle_timeout_s=SILENT_S)
                async with aclosing(stream) as messages:
                    async for _ in messages:
                        away_since, pause_s = None, _PAUSE_S[0]
                        yield
            except _HOPELESS:
                raise
            except UnionRpcError as error:
                logger.debug("the watch of %s/%s is opened again: %s", action.run_name, action.name, error)
            # Whether or not the stream said so, something may have changed: read it where it cannot be lost.
            try:
                await self.details_of(action)
            except _HOPELESS:
                raise
            except UnionRpcError:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > PATIENCE_S:
                    raise
            else:
                away_since = None
                yield
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, longest_s)

    # Data -------------------------------------------------------------------------------------------------------

    async def inputs(self, action: int) -> bytes | None:
        """See :class:`flyte.remote._source.Source`."""
        said = await self._data(action)
        return _literal_map(said.inputs.literals)

    async def outputs(self, action: int) -> bytes | None:
        """See :class:`flyte.remote._source.Source`."""
        said = await self._data(action)
        return _literal_map(said.outputs.literals) if said.HasField("outputs") else None

    async def _data(self, action: int) -> Any:
        return await self.data_of(self.identity(action))

    async def data_of(self, action: ActionID) -> Any:
        """What the control plane has of an action's inputs and outputs."""
        request = GetActionDataRequest(action_id=action_identifier(action))
        pause_s = _PAUSE_S[0]
        for _ in range(_DATA_TRIES):
            # What an action left may be recorded a moment after its end.
            with suppress(RpcNotFoundError):
                return await self.plane.client.data.GetActionData(request)
            await asyncio.sleep(pause_s)
            pause_s *= 2
        return await self.plane.client.data.GetActionData(request)

    # Logs and reports -------------------------------------------------------------------------------------------

    async def logs(self, run: int, action: int | None, after: int) -> list[LogEntry]:
        """See :class:`flyte.remote._source.Source`; of all actions of a run, one after the other."""
        entry = await self.run_by_id(run)
        if entry is None:
            return []
        names = [None] if action is not None else [one.name for one in await self.actions(entry)]
        lines: list[LogEntry] = []
        for name in names:
            of = self.identity(action).name if action is not None else name
            lines += [line async for line in self.lines(entry, of, None)]
        return sorted(lines, key=lambda line: line.at) if action is None else lines

    async def lines(self, run: RunEntry, name: str | None, attempt: int | None) -> AsyncGenerator[LogEntry]:
        """See :class:`flyte.remote._source.Source`; lines of an attempt that runs come as it writes them."""
        action = self._runs[run.id].new_sub_action(name or ROOT_ACTION)
        number = attempt + 1 if attempt is not None else 1
        while True:
            async for line in self._lines_of(run.id, action, number):
                yield line
            details = await self.details_of(action)
            if attempt is not None or number >= details.status.attempts:
                return
            number += 1

    async def _lines_of(self, run: int, action: ActionID, number: int) -> AsyncGenerator[LogEntry]:
        request = TailLogsRequest(action_id=action_identifier(action), attempt=number)
        at = self._action_number(run, action.name)
        seen = failures = 0
        pause_s = _PAUSE_S[0] / 4
        while True:
            ended = _phase((details := await self.details_of(action)).status.phase).is_terminal
            ended = ended or number < details.status.attempts
            passed, why = 0, ""
            try:
                stream = self.plane.client.data.TailLogs(request, idle_timeout_s=SILENT_S)
                async with aclosing(stream) as messages:
                    async for message in messages:
                        for one in (line for batch in message.logs for line in batch.lines):
                            passed += 1
                            if passed > seen:  # what came before the stream broke is sent again
                                seen, failures = passed, 0
                                source = "stdout" if one.originator == 1 else "stderr"
                                when = _seconds(one.timestamp)
                                yield LogEntry(seen, at, when, source, one.message.rstrip("\n"))
                if ended:
                    return
            except (RpcNotFoundError, RpcUnimplementedError) as error:
                if ended and (number > details.status.attempts or failures >= _LOG_TRIES):
                    return
                if isinstance(error, RpcUnimplementedError):
                    raise LogsNotYetAvailableError(f"the control plane gives no logs: {error}") from None
                failures, why = failures + int(ended), str(error)
            except UnionRpcError as error:
                failures, why = failures + 1, str(error)
                if failures > _LOG_TRIES:
                    raise
            if why:
                logger.debug("the log of %s/%s is asked for again: %s", action.run_name, action.name, why)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)

    async def report(self, run: RunEntry, name: str, attempt: int | None) -> str | None:
        """See :class:`flyte.remote._source.Source`."""
        import httpx

        action = self._runs[run.id].new_sub_action(name)
        number = attempt + 1 if attempt is not None else max(1, (await self.details_of(action)).status.attempts)
        request = CreateDownloadLinkRequest(artifact_type=ARTIFACT_TYPE_REPORT)
        request.action_attempt_id.action_id.CopyFrom(action_identifier(action))
        request.action_attempt_id.attempt = number
        try:
            links = (await self.plane.client.data.CreateDownloadLink(request)).pre_signed_urls.signed_url
        except RpcNotFoundError:
            return None
        if not links:
            return None
        loopback = httpx.URL(links[0]).host in ("localhost", "127.0.0.1", "::1")
        async with httpx.AsyncClient(timeout=60.0, trust_env=not loopback) as web:
            answer = await web.get(links[0])
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise RuntimeSystemError("ReportNotRead", f"the report of {run.name}/{name}: {answer.status_code}")
        return str(answer.text)

    # Ending -----------------------------------------------------------------------------------------------------

    async def abort(self, run: RunEntry, name: str | None, reason: str) -> None:
        """See :class:`flyte.remote._source.Source`. What is not there needs no ending."""
        root = self._runs[run.id]
        try:
            if name is None:
                await self.plane.client.runs.AbortRun(AbortRunRequest(run_id=run_identifier(root), reason=reason))
            else:
                of = action_identifier(root.new_sub_action(name))
                await self.plane.client.runs.AbortAction(AbortActionRequest(action_id=of, reason=reason))
        except RpcNotFoundError:
            logger.warning("run %r is not there any more, so it is not aborted", run.name)


def _seconds(at: Any) -> float:
    return float(at.seconds + at.nanos / 1e9)


def _phase(number: int) -> ActionPhase:
    return phase_from_wire(number) or ActionPhase.QUEUED


def _literal_map(literals: Any) -> bytes:
    return LiteralMap(literals={one.name: one.value for one in literals}).SerializeToString(deterministic=True)


def _task_name(said: Any) -> str:
    metadata = said.metadata
    kind = metadata.WhichOneof("spec")
    if kind == "trace":
        return str(metadata.trace.name)
    if kind == "condition":
        return str(metadata.condition.name)
    if isinstance(said, ActionDetails) and said.HasField("task"):
        return str(said.task.task_template.id.name)
    return str(metadata.task.id.name or metadata.task.short_name)


def _fault(details: ActionDetails) -> Fault | None:
    if details.HasField("error_info"):
        return _fault_of(details.error_info)
    if details.HasField("abort_info"):
        reason = details.abort_info.reason or "the control plane does not say why"
        return Fault("ActionAbortedError", "ActionAbortedError", "user", reason)
    if _phase(details.status.phase) is ActionPhase.TIMED_OUT:
        return Fault("TaskTimeoutError", "TaskTimeoutError", "user", "the action ran out of time")
    return None


def _fault_of(info: Any) -> Fault:
    made = error_from(ExecutionError(code=info.code, message=info.message, kind=info.kind))
    parts = told(info.message)
    name = type(made).__name__
    if parts.raised is not None:
        name = parts.raised.short_name
    elif type(made) in (RuntimeUserError, RuntimeUnknownError) and made.code.isidentifier():
        # The code of what the user's code raised is the name of its class.
        own = getattr(builtins, made.code, None)
        # What is no Exception, such as SystemExit, reaches nobody as itself.
        if issubclass(own, Exception) if isinstance(own, type) else made.kind == "user":
            name = made.code
    frames = f"{TRACEBACK.lstrip()}{parts.frames}" if parts.frames else ""
    return Fault(name, code_of(made), kind_of(made, "user"), str(made), frames)
