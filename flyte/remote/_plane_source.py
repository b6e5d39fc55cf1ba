"""Runs and actions of a control plane, as the objects of this room ask for them (wire-protocol 1.2, 4.7, 11.5).

The second fulfilment of :class:`flyte.remote._source.Source`. What a control plane says becomes the entries that the
history of this machine has too; ids are numbers that are given out here, for as long as this process lasts.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any

from flyteidl2.common.list_pb2 import Filter, ListRequest, Sort
from flyteidl2.dataproxy.dataproxy_service_pb2 import (
    ARTIFACT_TYPE_REPORT,
    CreateDownloadLinkRequest,
    GetActionDataRequest,
)
from flyteidl2.workflow.run_service_pb2 import (
    AbortActionRequest,
    AbortRunRequest,
    ListRunsRequest,
    WatchActionDetailsRequest,
)

from flyte._core.identity import ActionID, ActionPhase
from flyte._core.log import logger
from flyte._journal.history_entries import (
    LogEntry,
    RunEntry,
)
from flyte._wire.identity import action_identifier, phase_to_wire, run_identifier
from flyte.errors import (
    RpcNotFoundError,
    RuntimeSystemError,
    RuntimeUserError,
    UnionRpcError,
)

from ._clusters import Operation
from ._plane_entries import PAGE, PlaneEntries
from ._plane_streams import HOPELESS, PATIENCE_S, PAUSE_S, SILENT_S, lines_of
from ._plane_words import literal_map, seconds_of

_DATA_TRIES = 6


class PlaneHistory(PlaneEntries):
    """The runs of a control plane.

    :param plane: where to ask.
    """

    is_local = False

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
        scope = self.plane.project_id(project, domain)
        order = Sort.Direction.ASCENDING if oldest_first else Sort.Direction.DESCENDING
        asked = ListRequest(limit=PAGE, sort_by_fields=[Sort(key="created_at", direction=order)])
        if phases is not None:
            numbers = [str(phase_to_wire(ActionPhase(phase))) for phase in phases]
            asked.filters.append(Filter(function=Filter.Function.VALUE_IN, field="phase", values=numbers))
        found: list[RunEntry] = []
        while limit is None or len(found) < limit:
            asked.limit = PAGE if limit is None else max(1, min(PAGE, limit - len(found)))
            request = ListRunsRequest(request=asked, project_id=scope, paused_actions_only=paused_only)
            answer = await self.plane.client.runs.ListRuns(request)
            for run in answer.runs:
                entry = self.run_from(run.action)
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
            last = seconds_of(answer.runs[-1].action.status.start_time) if answer.runs else 0.0
            beyond = (before is not None and last >= before) if oldest_first else (after is not None and last < after)
            if not answer.token or not answer.runs or beyond:
                break
            asked.token = answer.token
        return found if limit is None else found[:limit]

    # News -------------------------------------------------------------------------------------------------------

    async def news(self, run: RunEntry, name: str | None) -> AsyncGenerator[None]:
        """See :class:`flyte.remote._source.Source`: a stream of the control plane, opened again whenever it breaks.

        :raises UnionRpcError: the control plane was away for too long.
        """
        action = self.action_of(run, name)
        request = WatchActionDetailsRequest(action_id=action_identifier(action))
        pause_s, longest_s = PAUSE_S
        away_since: float | None = None
        yield
        while True:
            try:
                stream = self.plane.client.runs.WatchActionDetails(request, idle_timeout_s=SILENT_S)
                async with aclosing(stream) as messages:
                    async for _ in messages:
                        away_since, pause_s = None, PAUSE_S[0]
                        yield
            except HOPELESS:
                raise
            except UnionRpcError as error:
                logger.debug("the watch of %s/%s is opened again: %s", action.run_name, action.name, error)
            # Whether or not the stream said so, something may have changed: read it where it cannot be lost.
            try:
                await self.details_of(action)
            except HOPELESS:
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
        return literal_map(said.inputs.literals)

    async def outputs(self, action: int) -> bytes | None:
        """See :class:`flyte.remote._source.Source`."""
        said = await self._data(action)
        return literal_map(said.outputs.literals) if said.HasField("outputs") else None

    async def _data(self, action: int) -> Any:
        return await self.data_of(self.identity(action))

    async def data_of(self, action: ActionID) -> Any:
        """What the control plane has of an action's inputs and outputs."""
        request = GetActionDataRequest(action_id=action_identifier(action))
        data = (await self.cluster(Operation.OPERATION_GET_ACTION_DATA, action)).data
        pause_s = PAUSE_S[0]
        for _ in range(_DATA_TRIES):
            # What an action left may be recorded a moment after its end.
            with suppress(RpcNotFoundError):
                return await data.GetActionData(request)
            await asyncio.sleep(pause_s)
            pause_s *= 2
        return await data.GetActionData(request)

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

    def lines(self, run: RunEntry, name: str | None, attempt: int | None) -> AsyncGenerator[LogEntry]:
        """See :class:`flyte.remote._source.Source`; lines of an attempt that runs come as it writes them."""
        return lines_of(self, run, name, attempt)

    async def report(self, run: RunEntry, name: str, attempt: int | None) -> str | None:
        """See :class:`flyte.remote._source.Source`."""
        import httpx

        action = self._runs[run.id].new_sub_action(name)
        begun = (await self.details_of(action)).status.attempts
        if attempt is not None and attempt >= max(begun, 1):
            raise ValueError(f"action {name} has {begun} attempts, the first is 0: there is no {attempt}")
        number = attempt + 1 if attempt is not None else max(1, begun)
        request = CreateDownloadLinkRequest(artifact_type=ARTIFACT_TYPE_REPORT)
        request.action_attempt_id.action_id.CopyFrom(action_identifier(action))
        request.action_attempt_id.attempt = number
        try:
            data = (await self.cluster(Operation.OPERATION_CREATE_DOWNLOAD_LINK, action)).data
            links = (await data.CreateDownloadLink(request)).pre_signed_urls.signed_url
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
