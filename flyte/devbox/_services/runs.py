"""RunService and ActionsService: what clients and controllers ask of runs and actions."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from typing import Any

from flyteidl2.actions import actions_service_pb2 as actions
from flyteidl2.actions.actions_service_pb2_grpc import ActionsServiceServicer
from flyteidl2.common.identifier_pb2 import ActionIdentifier, RunIdentifier
from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.core.types_pb2 import SimpleType
from flyteidl2.task.common_pb2 import Inputs
from flyteidl2.task.run_pb2 import RunSpec
from flyteidl2.task.task_definition_pb2 import TaskIdentifier, TaskSpec
from flyteidl2.workflow import run_service_pb2 as service
from flyteidl2.workflow.run_definition_pb2 import ConditionAction, EnrichedAction
from flyteidl2.workflow.run_service_pb2_grpc import RunServiceServicer
from flyteidl2.workflow.state_service_pb2 import ActionUpdate

from flyte._core.identity import ROOT_ACTION, ActionPhase
from flyte._wire.identity import phase_from_wire, phase_to_wire
from flyte.devbox._dispatch import Dispatcher
from flyte.devbox._intake import Intake
from flyte.devbox._listing import Column, conditions, order, page, read_moment, read_number
from flyte.devbox._machine import Answered
from flyte.devbox._reading import Reader
from flyte.devbox._refusal import Code, Refusal
from flyte.devbox._rows import CONDITION, TASK, Run, error_of, state_from
from flyte.devbox._store import Store
from flyte.devbox._watch import Changes

from .catalog import Catalog

_RECHECK_S = 5.0
"""How often a stream reads the truth again, whatever it was told."""

_BURST, _BREATH_S = 8, 0.01
"""After so many updates at once, a watch waits a moment: of what changes again meanwhile, only the last is sent."""

_COLUMNS = {
    "project": Column("run.project"),
    "domain": Column("run.domain"),
    "run_name": Column("run.name"),
    "name": Column("action.name"),
    "phase": Column("action.phase", read_number),
    "parent_name": Column("action.parent"),
    "action_type": Column("action.kind", read_number),
    "run_source": Column("run.source", read_number),
    "trigger_name": Column("run.trigger_name"),
    "task_project": Column("action.task_project"),
    "task_domain": Column("action.task_domain"),
    "task_name": Column("action.task_name"),
    "task_version": Column("action.task_version"),
    "function_name": Column("action.short_name"),
    "created_at": Column("action.created_at", read_moment),
    "updated_at": Column("action.updated_at", read_moment),
    "ended_at": Column("action.ended_at", read_moment),
    "duration_ms": Column("(coalesce(action.ended_at, action.updated_at) - action.created_at) * 1000", read_number),
}


class Runs(RunServiceServicer):
    """Creates, shows, lists, watches and ends runs."""

    def __init__(
        self, store: Store, changes: Changes, dispatcher: Dispatcher, intake: Intake, reader: Reader, catalog: Catalog
    ) -> None:
        self._store = store
        self._changes = changes
        self._dispatcher = dispatcher
        self._intake = intake
        self._reader = reader
        self._catalog = catalog

    async def CreateRun(self, request: service.CreateRunRequest, context: Any) -> service.CreateRunResponse:
        """Create a run, and queue its first action."""
        identity = RunIdentifier()
        match request.WhichOneof("id"):
            case "run_id":
                identity.CopyFrom(request.run_id)
            case "project_id":
                project = request.project_id
                identity = RunIdentifier(org=project.organization, project=project.name, domain=project.domain)
            case _:
                raise Refusal(Code.INVALID, "run_id or project_id must be given")
        spec, inputs, offloaded, run_spec = self._what(request)
        run = await self._intake.create_run(
            identity,
            spec,
            run_spec,
            inputs=inputs,
            input_uri=offloaded[0],
            inputs_hash=offloaded[1],
            source=request.source,
            request_id=next((str(value) for key, value in context.invocation_metadata() if key == "x-request-id"), ""),
            start_time=request.run_start_time.ToMilliseconds() / 1000 if request.HasField("run_start_time") else None,
            trigger=(request.trigger_name.name, 0) if request.WhichOneof("task") == "trigger_name" else ("", 0),
        )
        row = self._reader.action_row(run.id, ROOT_ACTION)
        assert row is not None
        return service.CreateRunResponse(run=self._reader.run(run, row))

    def _what(self, request: service.CreateRunRequest) -> tuple[TaskSpec, Inputs | None, tuple[str, str], RunSpec]:
        run_spec = request.run_spec
        inputs, offloaded = None, ("", "")
        match request.WhichOneof("input_wrapper"):
            case "inputs":
                inputs = request.inputs
            case "offloaded_input_data":
                offloaded = (request.offloaded_input_data.uri, request.offloaded_input_data.inputs_hash)
        match request.WhichOneof("task"):
            case "task_spec":
                return request.task_spec, inputs, offloaded, run_spec
            case "task_id":
                return self._catalog.spec_of(request.task_id), inputs, offloaded, run_spec
            case "trigger_name":
                trigger = self._catalog.trigger(request.trigger_name)
                if inputs is None and not offloaded[0]:
                    inputs, offloaded = trigger.given()
                if not request.HasField("run_spec"):
                    run_spec = trigger.spec.run_spec
                return self._catalog.spec_of(trigger.task_id), inputs, offloaded, run_spec
        raise Refusal(Code.INVALID, "task_id, task_spec or trigger_name must be given")

    def _run(self, identity: RunIdentifier) -> Run:
        row = self._intake.find_run(identity.project, identity.domain, identity.name)
        if row is None:
            raise Refusal(
                Code.MISSING, f"there is no run {identity.name!r} in {identity.project!r}/{identity.domain!r}"
            )
        return self._intake.run_from(row)

    def _action(self, identity: ActionIdentifier) -> tuple[Run, sqlite3.Row]:
        run = self._run(identity.run)
        row = self._reader.action_row(run.id, identity.name)
        if row is None:
            raise Refusal(Code.MISSING, f"run {run.name!r} has no action {identity.name!r}")
        return run, row

    # Details ----------------------------------------------------------------------------------------------------------

    async def GetRunDetails(self, request: service.GetRunDetailsRequest, context: Any) -> service.GetRunDetailsResponse:
        """What a run was asked to do, and its first action."""
        run, row = self._action(ActionIdentifier(run=request.run_id, name=ROOT_ACTION))
        return service.GetRunDetailsResponse(details={"run_spec": run.spec, "action": self._reader.details(run, row)})

    async def WatchRunDetails(
        self, request: service.WatchRunDetailsRequest, context: Any
    ) -> AsyncIterator[service.WatchRunDetailsResponse]:
        """The same again whenever it changes, until the run has ended."""
        async for run, row in self._changes_of(ActionIdentifier(run=request.run_id, name=ROOT_ACTION)):
            details = {"run_spec": run.spec, "action": self._reader.details(run, row)}
            yield service.WatchRunDetailsResponse(details=details)

    async def GetActionDetails(
        self, request: service.GetActionDetailsRequest, context: Any
    ) -> service.GetActionDetailsResponse:
        """All that is known of an action."""
        return service.GetActionDetailsResponse(details=self._reader.details(*self._action(request.action_id)))

    async def WatchActionDetails(
        self, request: service.WatchActionDetailsRequest, context: Any
    ) -> AsyncIterator[service.WatchActionDetailsResponse]:
        """The same again whenever it changes, until the action has ended."""
        async for run, row in self._changes_of(request.action_id):
            yield service.WatchActionDetailsResponse(details=self._reader.details(run, row))

    async def _changes_of(self, identity: ActionIdentifier) -> AsyncIterator[tuple[Run, sqlite3.Row]]:
        run = self._run(identity.run)
        with self._changes.subscribed(("action", run.id, identity.name)) as changed:
            seen: Any = None
            while True:
                run, row = self._action(identity)
                if tuple(row) != seen:
                    seen = tuple(row)
                    yield run, row
                phase = phase_from_wire(row["phase"])
                if phase is not None and phase.is_terminal:
                    return
                await changed.take(_RECHECK_S)

    # Lists ------------------------------------------------------------------------------------------------------------

    async def ListRuns(self, request: service.ListRunsRequest, context: Any) -> service.ListRunsResponse:
        """Runs of a project, of a task or of a trigger, a page at a time."""
        where, values = self._scope(request)
        if request.paused_actions_only:
            where += " AND EXISTS (SELECT 1 FROM action AS other WHERE other.run = run.id AND other.phase = ?)"
            values.append(phase_to_wire(ActionPhase.PAUSED))
        rows, token = self._page(request.request, f"action.name = '{ROOT_ACTION}'{where}", values)
        return service.ListRunsResponse(
            runs=[self._reader.run(self._intake.run_from(self._owner(row)), row) for row in rows], token=token
        )

    def _scope(self, request: service.ListRunsRequest) -> tuple[str, list[Any]]:
        columns: tuple[str, ...]
        match request.WhichOneof("scope_by"):
            case "project_id":
                scope = request.project_id
                return " AND run.project = ? AND run.domain = ?", [scope.name, scope.domain]
            case "trigger_name":
                trigger = request.trigger_name
                values = [trigger.project, trigger.domain, trigger.name, trigger.task_name]
                columns = ("run.project", "run.domain", "run.trigger_name", "action.task_name")
            case "task_name" | "task_id" as which:
                task = getattr(request, which)
                values = [task.project, task.domain, task.name]
                columns = ("action.task_project", "action.task_domain", "action.task_name")
                if which == "task_id":
                    values, columns = [*values, task.version], (*columns, "action.task_version")
            case _:
                return "", []
        return "".join(f" AND {column} = ?" for column in columns), values

    def _owner(self, row: sqlite3.Row) -> sqlite3.Row:
        owner = self._store.row("SELECT * FROM run WHERE id = ?", (row["run"],))
        assert owner is not None
        return owner

    def _page(self, request: Any, where: str, values: list[Any]) -> tuple[list[sqlite3.Row], str]:
        filtered, more = conditions(request.filters, _COLUMNS)
        limit, offset = page(request)
        sql = f"SELECT action.* FROM action JOIN run ON run.id = action.run WHERE {where}{filtered}"
        sql += f"{order(request, _COLUMNS, 'action.id')} LIMIT ? OFFSET ?"
        rows = self._store.rows(sql, [*values, *more, limit + 1, offset])
        return rows[:limit], str(offset + limit) if len(rows) > limit else ""

    async def ListActions(self, request: service.ListActionsRequest, context: Any) -> service.ListActionsResponse:
        """Actions of a run, a page at a time."""
        run = self._run(request.run_id)
        rows, token = self._page(request.request, "action.run = ?", [run.id])
        return service.ListActionsResponse(actions=[self._reader.action(run, row) for row in rows], token=token)

    async def WatchActions(
        self, request: service.WatchActionsRequest, context: Any
    ) -> AsyncIterator[service.WatchActionsResponse]:
        """All actions of a run, then each again when it changes, until the run has ended."""
        run = self._run(request.run_id)
        filtered, values = conditions(request.filter, _COLUMNS)
        with self._changes.subscribed(("run", run.id)) as changed:
            wanted: list[str] | None = None
            while True:
                for rows in self._in_parts(run, wanted):
                    meets = {row["id"] for row in rows}
                    if filtered:
                        meets = self._meeting(meets, filtered, values)
                    counts = self._counts(run, rows)
                    yield service.WatchActionsResponse(
                        enriched_actions=[
                            EnrichedAction(
                                action=self._reader.action(run, row),
                                meets_filter=row["id"] in meets,
                                children_phase_counts=counts.get(row["name"], {}),
                            )
                            for row in rows
                        ]
                    )
                if (not self._dispatcher.runs.get(run.id) and wanted is not None) or self._has_ended(run):
                    return
                wanted = list(await changed.take(_RECHECK_S))

    def _has_ended(self, run: Run) -> bool:
        sql = "SELECT 1 FROM action WHERE run = ? AND phase IN (0, 1, 2, 3, 4, 9) LIMIT 1"
        return self._store.row(sql, (run.id,)) is None

    def _in_parts(self, run: Run, names: list[str] | None) -> list[list[sqlite3.Row]]:
        if names is None:
            rows = self._store.rows("SELECT * FROM action WHERE run = ? ORDER BY id", (run.id,))
        else:
            rows = [row for name in names if (row := self._reader.action_row(run.id, name)) is not None]
        return [rows[start : start + 200] for start in range(0, len(rows), 200)]

    def _meeting(self, ids: set[int], filtered: str, values: list[Any]) -> set[int]:
        marks = ", ".join("?" * len(ids))
        sql = f"SELECT action.id FROM action JOIN run ON run.id = action.run WHERE action.id IN ({marks}){filtered}"
        return {row["id"] for row in self._store.rows(sql, [*ids, *values])}

    def _counts(self, run: Run, parents: list[sqlite3.Row]) -> dict[str, dict[int, int]]:
        """How many children of each phase the actions have."""
        marks = ", ".join("?" * len(parents))
        sql = (
            f"SELECT parent, phase, count(*) AS number FROM action WHERE run = ? AND parent IN ({marks}) GROUP BY 1, 2"
        )
        counts: dict[str, dict[int, int]] = {}
        for one in self._store.rows(sql, [run.id, *(parent["name"] for parent in parents)]):
            counts.setdefault(one["parent"], {})[one["phase"]] = one["number"]
        return counts

    async def WatchRuns(
        self, request: service.WatchRunsRequest, context: Any
    ) -> AsyncIterator[service.WatchRunsResponse]:
        """Runs as they change, for as long as the client listens."""
        with self._changes.subscribed("runs") as changed:
            while True:
                for run_id in await changed.take():
                    owner = self._store.row("SELECT * FROM run WHERE id = ?", (run_id,))
                    row = self._reader.action_row(run_id, ROOT_ACTION)
                    if owner is not None and row is not None and _is_watched(request, owner, row):
                        run = self._intake.run_from(owner)
                        yield service.WatchRunsResponse(runs=[self._reader.run(run, row)])

    # Ending and answering ---------------------------------------------------------------------------------------------

    async def AbortRun(self, request: service.AbortRunRequest, context: Any) -> service.AbortRunResponse:
        """End all of a run."""
        self._intake.abort_run(self._run(request.run_id), request.reason or "the run was aborted")
        await self._store.write()
        return service.AbortRunResponse()

    async def AbortAction(self, request: service.AbortActionRequest, context: Any) -> service.AbortActionResponse:
        """End an action and all below it."""
        run, row = self._action(request.action_id)
        live = self._dispatcher.find(run.id, row["name"])
        if live is not None:
            self._dispatcher.abort(live, request.reason or "the action was aborted")
            await self._store.write()
        return service.AbortActionResponse()

    async def SignalEvent(self, request: service.SignalEventRequest, context: Any) -> service.SignalEventResponse:
        """Answer a condition."""
        literal = Literal()
        primitive = literal.scalar.primitive
        match request.payload.WhichOneof("value"):
            case "bool_value":
                primitive.boolean = request.payload.bool_value
            case "int_value":
                primitive.integer = request.payload.int_value
            case "float_value":
                primitive.float_value = request.payload.float_value
            case "string_value":
                primitive.string_value = request.payload.string_value
            case _:
                raise Refusal(Code.INVALID, "the payload holds no value")
        await self.signal(request.action_id, literal)
        return service.SignalEventResponse()

    async def signal(self, identity: ActionIdentifier, literal: Literal) -> None:
        """Give a condition its value.

        :raises Refusal: it is no condition, has ended otherwise, or takes a value of another type.
        """
        run, row = self._action(identity)
        if row["kind"] != CONDITION:
            raise Refusal(Code.PRECONDITION, f"action {row['name']!r} of run {run.name!r} is not a condition")
        condition = ConditionAction.FromString(row["detail"])
        _check_type(condition, literal)
        value = literal.SerializeToString(deterministic=True)
        live = self._dispatcher.find(run.id, row["name"])
        if live is None or live.state.phase.is_terminal:
            if row["value"] == value or (live is not None and live.value == value):
                return
            raise Refusal(Code.PRECONDITION, f"condition {condition.name!r} of run {run.name!r} has ended already")
        live.value = value
        self._dispatcher.apply(live, Answered(time.time()))
        await self._store.write()

    # Where data is ----------------------------------------------------------------------------------------------------

    async def GetActionDataURIs(
        self, request: service.GetActionDataURIsRequest, context: Any
    ) -> service.GetActionDataURIsResponse:
        """Where the inputs and outputs of an action are."""
        _, row = self._action(request.action_id)
        done = phase_from_wire(row["phase"]) in (ActionPhase.SUCCEEDED, ActionPhase.RECOVERED)
        suffix = "/outputs.pb" if row["kind"] == TASK else ""
        outputs = f"{row['output_uri']}{suffix}" if done and row["output_uri"] else ""
        return service.GetActionDataURIsResponse(inputs_uri=row["input_uri"], outputs_uri=outputs)


def _is_watched(request: service.WatchRunsRequest, owner: sqlite3.Row, row: sqlite3.Row) -> bool:
    match request.WhichOneof("target"):
        case "project_id":
            target = request.project_id
            return (owner["project"], owner["domain"]) == (target.name, target.domain)
        case "task_id":
            task: TaskIdentifier = request.task_id
            found = (row["task_project"], row["task_domain"], row["task_name"], row["task_version"])
            return found == (task.project, task.domain, task.name, task.version)
    return True


def _check_type(condition: ConditionAction, literal: Literal) -> None:
    fields = {
        SimpleType.BOOLEAN: "boolean",
        SimpleType.INTEGER: "integer",
        SimpleType.FLOAT: "float_value",
        SimpleType.STRING: "string_value",
    }
    wanted = fields.get(condition.type.simple)
    given = literal.scalar.primitive.WhichOneof("value")
    if condition.HasField("type") and wanted != given:
        names = {"boolean": "bool", "integer": "int", "float_value": "float", "string_value": "str", None: "nothing"}
        raise Refusal(
            Code.INVALID,
            f"condition {condition.name!r} takes a value of type {names.get(wanted, wanted)}, not {names.get(given)}",
        )


class Actions(ActionsServiceServicer):
    """What the controller in a container asks: start children, hear of them, end them."""

    def __init__(self, runs: Runs, store: Store, changes: Changes, dispatcher: Dispatcher, intake: Intake) -> None:
        self._runs = runs
        self._store = store
        self._changes = changes
        self._dispatcher = dispatcher
        self._intake = intake

    async def Enqueue(self, request: actions.EnqueueRequest, context: Any) -> actions.EnqueueResponse:
        """Take a new action; one that is there already is ALREADY_EXISTS, and goes on as it is."""
        await self._intake.enqueue(request.action)
        return actions.EnqueueResponse()

    async def WatchForUpdates(
        self, request: actions.WatchForUpdatesRequest, context: Any
    ) -> AsyncIterator[actions.WatchForUpdatesResponse]:
        """All children of an action, a sentinel, then each child again when it changes."""
        identity = request.parent_action_id
        row = self._intake.find_run(identity.run.project, identity.run.domain, identity.run.name)
        if row is None:
            raise Refusal(Code.MISSING, f"there is no run {identity.run.name!r}")
        run = self._intake.run_from(row)
        with self._changes.subscribed(("children", run.id, identity.name)) as changed:
            sql = "SELECT * FROM action WHERE run = ? AND (parent = ? OR name = ?) ORDER BY id"
            for child in self._store.rows(sql, (run.id, identity.name, identity.name)):
                yield actions.WatchForUpdatesResponse(action_update=_update_from(run, child))
            yield actions.WatchForUpdatesResponse(control_message={"sentinel": True})
            while True:
                updates = await changed.take()
                for update in updates.values():
                    yield actions.WatchForUpdatesResponse(action_update=update)
                if len(updates) >= _BURST:
                    await asyncio.sleep(_BREATH_S)

    async def Abort(self, request: actions.AbortRequest, context: Any) -> actions.AbortResponse:
        """End an action and all below it."""
        run, row = self._runs._action(request.action_id)
        live = self._dispatcher.find(run.id, row["name"])
        if live is not None:
            self._dispatcher.abort(live, request.reason or "the action was aborted by its parent")
            await self._store.write()
        return actions.AbortResponse()

    async def Signal(self, request: actions.SignalRequest, context: Any) -> actions.SignalResponse:
        """Answer a condition."""
        await self._runs.signal(request.action_id, request.value)
        return actions.SignalResponse()


def _update_from(run: Run, row: sqlite3.Row) -> ActionUpdate:
    state = state_from(row)
    update = ActionUpdate(phase=row["phase"], output_uri=row["output_uri"])
    update.action_id.CopyFrom(
        ActionIdentifier(
            run=RunIdentifier(org=run.org, project=run.project, domain=run.domain, name=run.name), name=row["name"]
        )
    )
    error = error_of(state.fault, state.ended_at)
    if error is not None and state.phase in (ActionPhase.FAILED, ActionPhase.TIMED_OUT):
        update.error.CopyFrom(error)
    if row["value"] is not None:
        update.value.CopyFrom(Literal.FromString(row["value"]))
    return update
