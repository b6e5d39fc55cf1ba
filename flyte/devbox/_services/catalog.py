"""TaskService and TriggerService: what was deployed, and when it runs by itself."""

import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from flyteidl2.common.identifier_pb2 import ProjectIdentifier, TriggerIdentifier, TriggerName
from flyteidl2.task import task_service_pb2 as tasks
from flyteidl2.task.common_pb2 import Inputs, TriggerAutomationSpec
from flyteidl2.task.task_definition_pb2 import (
    Task,
    TaskDetails,
    TaskIdentifier,
    TaskMetadata,
    TaskSpec,
    TaskTrigger,
)
from flyteidl2.task.task_service_pb2_grpc import TaskServiceServicer
from flyteidl2.trigger import trigger_service_pb2 as triggers
from flyteidl2.trigger.trigger_definition_pb2 import Trigger, TriggerDetails, TriggerSpec, TriggerStatus
from flyteidl2.trigger.trigger_service_pb2_grpc import TriggerServiceServicer

from flyte.devbox._calendar import check_schedule
from flyte.devbox._intake import Specs
from flyte.devbox._listing import Column, conditions, order, page, read_moment
from flyte.devbox._reading import moment
from flyte.devbox._refusal import Code, Refusal
from flyte.devbox._store import Statement, Store

_TASK_COLUMNS = {
    "project": Column("project"),
    "domain": Column("domain"),
    "name": Column("name"),
    "version": Column("version"),
    "task_name": Column("name"),
    "task_version": Column("version"),
    "environment_name": Column("environment"),
    "created_at": Column("deployed_at", read_moment),
    "deployed_at": Column("deployed_at", read_moment),
}
_TRIGGER_COLUMNS = {
    "project": Column("project"),
    "domain": Column("domain"),
    "name": Column("name"),
    "task_name": Column("task_name"),
    "task_version": Column("task_version"),
    "active": Column("active", lambda text: int(text.lower() in ("1", "true"))),
    "created_at": Column("deployed_at", read_moment),
    "updated_at": Column("updated_at", read_moment),
}
_OF_TRIGGER = "project = ? AND domain = ? AND task_name = ? AND name = ?"

_PUT_TRIGGER = (
    "INSERT INTO trigger_ VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, NULL) "
    "ON CONFLICT (project, domain, task_name, name) DO UPDATE SET revision = revision + 1, "
    "task_version = excluded.task_version, spec = excluded.spec, automation = excluded.automation, "
    "active = excluded.active, updated_at = excluded.updated_at, org = excluded.org"
)


@dataclass(frozen=True, slots=True)
class KnownTrigger:
    """A trigger, and the task that it starts."""

    name: TriggerName
    revision: int
    spec: TriggerSpec
    automation: TriggerAutomationSpec
    active: bool
    deployed_at: float
    updated_at: float
    triggered_at: float | None

    @property
    def task_id(self) -> TaskIdentifier:
        """The task that it starts."""
        name = self.name
        return TaskIdentifier(
            org=name.org,
            project=name.project,
            domain=name.domain,
            name=name.task_name,
            version=self.spec.task_version,
        )

    def given(self) -> tuple[Inputs | None, tuple[str, str]]:
        """Its inputs: themselves, or where they are and what tells them from others."""
        if self.spec.WhichOneof("input_wrapper") == "offloaded_input_data":
            offloaded = self.spec.offloaded_input_data
            return None, (offloaded.uri, offloaded.inputs_hash)
        return self.spec.inputs, ("", "")


class Catalog:
    """Tasks and triggers as they are written."""

    def __init__(self, store: Store, specs: Specs) -> None:
        self.store = store
        self.specs = specs

    def task_row(self, task: TaskIdentifier) -> sqlite3.Row:
        """The row of a task; of its latest version if it names none.

        :raises Refusal: there is no such task.
        """
        sql = "SELECT * FROM task WHERE project = ? AND domain = ? AND name = ?"
        values = [task.project, task.domain, task.name]
        if task.version:
            sql, values = f"{sql} AND version = ?", [*values, task.version]
        row = self.store.row(f"{sql} ORDER BY deployed_at DESC LIMIT 1", values)
        if row is None:
            version = f" version {task.version!r}" if task.version else ""
            where = f"{task.project}/{task.domain}"
            raise Refusal(Code.MISSING, f"there is no task {task.name!r}{version} in {where}; deploy it first")
        return row

    def spec_of(self, task: TaskIdentifier) -> TaskSpec:
        """The spec of a deployed task.

        :raises Refusal: there is no such task.
        """
        return self.specs.get(self.task_row(task)["spec"])

    def trigger(self, name: TriggerName) -> KnownTrigger:
        """A trigger.

        :raises Refusal: there is none of that name.
        """
        row = self.store.row(
            f"SELECT * FROM trigger_ WHERE {_OF_TRIGGER}", (name.project, name.domain, name.task_name, name.name)
        )
        if row is None:
            raise Refusal(
                Code.MISSING,
                f"task {name.task_name!r} in {name.project}/{name.domain} has no trigger {name.name!r}",
            )
        return trigger_from(row)

    def active_triggers(self) -> list[KnownTrigger]:
        """All triggers that are to fire."""
        return [trigger_from(row) for row in self.store.rows("SELECT * FROM trigger_ WHERE active = 1")]

    def fired(self, name: TriggerName, at: float) -> Statement:
        """What writes that a trigger was fired."""
        values = (at, name.project, name.domain, name.task_name, name.name)
        return f"UPDATE trigger_ SET triggered_at = ? WHERE {_OF_TRIGGER}", values

    def put_trigger(self, name: TriggerName, spec: TriggerSpec, automation: TriggerAutomationSpec) -> Statement:
        """What writes a trigger, as a new revision if it is there already.

        :raises Refusal: its schedule is none.
        """
        check_schedule(name.name, automation)
        now = time.time()
        return (
            _PUT_TRIGGER,
            (
                *(name.project, name.domain, name.task_name, name.name, name.org, spec.task_version),
                *(spec.SerializeToString(), automation.SerializeToString(), int(spec.active), now, now),
            ),
        )


def trigger_from(row: sqlite3.Row) -> KnownTrigger:
    """A trigger of its row."""
    name = TriggerName(
        org=row["org"],
        project=row["project"],
        domain=row["domain"],
        name=row["name"],
        task_name=row["task_name"],
    )
    return KnownTrigger(
        name,
        row["revision"],
        TriggerSpec.FromString(row["spec"]),
        TriggerAutomationSpec.FromString(row["automation"]),
        bool(row["active"]),
        row["deployed_at"],
        row["updated_at"],
        row["triggered_at"],
    )


class Tasks(TaskServiceServicer):
    """Keeps deployed tasks."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._store = catalog.store

    async def DeployTask(self, request: tasks.DeployTaskRequest, context: Any) -> tasks.DeployTaskResponse:
        """Keep a task under its name and version, with its triggers; those of before that are not listed go."""
        task, spec = request.task_id, request.spec
        if not (task.project and task.domain and task.name and task.version):
            raise Refusal(Code.INVALID, f"task_id needs project, domain, name and version, got {task}")
        digest, written = self._catalog.specs.put(spec)
        metadata = spec.task_template.metadata
        statements: list[Statement] = [
            written,
            (
                "INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(task.project, task.domain, task.name, task.version, task.org, digest, time.time()),
                    *(spec.short_name, spec.environment.name, int(metadata.is_entrypoint)),
                    spec.documentation.short_description,
                ),
            ),
        ]
        if request.triggers:
            marks = ", ".join("?" * len(request.triggers))
            others = f"project = ? AND domain = ? AND task_name = ? AND name NOT IN ({marks})"
            names = [one.name for one in request.triggers]
            statements.append((f"DELETE FROM trigger_ WHERE {others}", (task.project, task.domain, task.name, *names)))
            statements += [self._trigger(task, one) for one in request.triggers]
        await self._store.write(*statements)
        return tasks.DeployTaskResponse()

    def _trigger(self, task: TaskIdentifier, given: TaskTrigger) -> Statement:
        spec = TriggerSpec(
            run_spec=given.spec.run_spec,
            active=given.spec.active,
            task_version=task.version,
            description=given.spec.description,
        )
        match given.spec.WhichOneof("input_wrapper"):
            case "inputs":
                spec.inputs.CopyFrom(given.spec.inputs)
            case "offloaded_input_data":
                spec.offloaded_input_data.CopyFrom(given.spec.offloaded_input_data)
        name = TriggerName(org=task.org, project=task.project, domain=task.domain, name=given.name, task_name=task.name)
        return self._catalog.put_trigger(name, spec, given.automation_spec)

    async def GetTaskDetails(self, request: tasks.GetTaskDetailsRequest, context: Any) -> tasks.GetTaskDetailsResponse:
        """A deployed task, with its spec."""
        row = self._catalog.task_row(request.task_id)
        details = TaskDetails(
            task_id=_task_id(row), metadata=self._metadata(row), spec=self._catalog.specs.get(row["spec"])
        )
        return tasks.GetTaskDetailsResponse(details=details)

    def _metadata(self, row: sqlite3.Row) -> TaskMetadata:
        return TaskMetadata(
            short_name=row["short_name"],
            deployed_at=moment(row["deployed_at"]),
            environment_name=row["environment"],
            short_description=row["short_description"],
        )

    async def ListTasks(self, request: tasks.ListTasksRequest, context: Any) -> tasks.ListTasksResponse:
        """Deployed tasks, every version of each."""
        where, values = "1", list[Any]()
        if request.WhichOneof("scope_by") == "project_id":
            scope: ProjectIdentifier = request.project_id
            where, values = "project = ? AND domain = ?", [scope.name, scope.domain]
        for known in request.known_filters:
            if known.WhichOneof("filter_by") == "is_entrypoint":
                where, values = f"{where} AND is_entrypoint = ?", [*values, int(known.is_entrypoint)]
        filtered, more = conditions(request.request.filters, _TASK_COLUMNS)
        limit, offset = page(request.request)
        body = f"FROM task WHERE {where}"
        total = self._store.row(f"SELECT count(*) AS n {body}", values)
        matching = self._store.row(f"SELECT count(*) AS n {body}{filtered}", [*values, *more])
        ordering = order(request.request, _TASK_COLUMNS, "name")
        rows = self._store.rows(
            f"SELECT * {body}{filtered}{ordering} LIMIT ? OFFSET ?", [*values, *more, limit + 1, offset]
        )
        answer = tasks.ListTasksResponse(
            tasks=[Task(task_id=_task_id(row), metadata=self._metadata(row)) for row in rows[:limit]],
            token=str(offset + limit) if len(rows) > limit else "",
        )
        answer.metadata.total = total["n"] if total is not None else 0
        answer.metadata.filtered_total = matching["n"] if matching is not None else 0
        return answer

    async def ListVersions(self, request: tasks.ListVersionsRequest, context: Any) -> tasks.ListVersionsResponse:
        """The versions of a task, the newest first if nothing else is asked."""
        task = request.task_name
        filtered, more = conditions(request.request.filters, _TASK_COLUMNS)
        limit, offset = page(request.request)
        rows = self._store.rows(
            f"SELECT * FROM task WHERE project = ? AND domain = ? AND name = ?{filtered}"
            f"{order(request.request, _TASK_COLUMNS, 'version')} LIMIT ? OFFSET ?",
            [task.project, task.domain, task.name, *more, limit + 1, offset],
        )
        answer = tasks.ListVersionsResponse(token=str(offset + limit) if len(rows) > limit else "")
        for row in rows[:limit]:
            answer.versions.add(version=row["version"], deployed_at=moment(row["deployed_at"]))
        return answer


def _task_id(row: sqlite3.Row) -> TaskIdentifier:
    return TaskIdentifier(
        org=row["org"], project=row["project"], domain=row["domain"], name=row["name"], version=row["version"]
    )


class Triggers(TriggerServiceServicer):
    """Keeps triggers, and switches them on and off."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._store = catalog.store

    async def DeployTrigger(
        self, request: triggers.DeployTriggerRequest, context: Any
    ) -> triggers.DeployTriggerResponse:
        """Keep a trigger of a deployed task."""
        name, spec = request.name, request.spec
        task = TaskIdentifier(
            org=name.org, project=name.project, domain=name.domain, name=name.task_name, version=spec.task_version
        )
        spec.task_version = self._catalog.task_row(task)["version"]
        await self._store.write(self._catalog.put_trigger(name, spec, request.automation_spec))
        return triggers.DeployTriggerResponse(trigger=_details(self._catalog.trigger(name)))

    async def GetTriggerDetails(
        self, request: triggers.GetTriggerDetailsRequest, context: Any
    ) -> triggers.GetTriggerDetailsResponse:
        """A trigger."""
        return triggers.GetTriggerDetailsResponse(trigger=_details(self._catalog.trigger(request.name)))

    async def ListTriggers(self, request: triggers.ListTriggersRequest, context: Any) -> triggers.ListTriggersResponse:
        """Triggers of a project or a task."""
        where, values = "1", list[Any]()
        match request.WhichOneof("scope_by"):
            case "project_id":
                scope = request.project_id
                where, values = "project = ? AND domain = ?", [scope.name, scope.domain]
            case "task_name" | "task_id" as which:
                task = getattr(request, which)
                where = "project = ? AND domain = ? AND task_name = ?"
                values = [task.project, task.domain, task.name]
                if which == "task_id" and task.version:
                    where, values = f"{where} AND task_version = ?", [*values, task.version]
        filtered, more = conditions(request.request.filters, _TRIGGER_COLUMNS)
        limit, offset = page(request.request)
        rows = self._store.rows(
            f"SELECT * FROM trigger_ WHERE {where}{filtered}{order(request.request, _TRIGGER_COLUMNS, 'name')} "
            "LIMIT ? OFFSET ?",
            [*values, *more, limit + 1, offset],
        )
        found = [trigger_from(row) for row in rows[:limit]]
        return triggers.ListTriggersResponse(
            triggers=[
                Trigger(
                    id=TriggerIdentifier(name=one.name, revision=one.revision),
                    status=_status(one),
                    active=one.active,
                    automation_spec=one.automation,
                )
                for one in found
            ],
            token=str(offset + limit) if len(rows) > limit else "",
        )

    async def UpdateTriggers(
        self, request: triggers.UpdateTriggersRequest, context: Any
    ) -> triggers.UpdateTriggersResponse:
        """Switch triggers on or off."""
        for name in request.names:
            self._catalog.trigger(name)
        now = time.time()
        await self._store.write(
            *(
                (
                    f"UPDATE trigger_ SET active = ?, updated_at = ?, revision = revision + 1 WHERE {_OF_TRIGGER}",
                    (int(request.active), now, name.project, name.domain, name.task_name, name.name),
                )
                for name in request.names
            )
        )
        return triggers.UpdateTriggersResponse()

    async def DeleteTriggers(
        self, request: triggers.DeleteTriggersRequest, context: Any
    ) -> triggers.DeleteTriggersResponse:
        """Forget triggers; the runs that they started stay."""
        for name in request.names:
            self._catalog.trigger(name)
        await self._store.write(
            *(
                (f"DELETE FROM trigger_ WHERE {_OF_TRIGGER}", (one.project, one.domain, one.task_name, one.name))
                for one in request.names
            )
        )
        return triggers.DeleteTriggersResponse()


def _status(trigger: KnownTrigger) -> TriggerStatus:
    status = TriggerStatus(deployed_at=moment(trigger.deployed_at), updated_at=moment(trigger.updated_at))
    if trigger.triggered_at is not None:
        status.triggered_at.CopyFrom(moment(trigger.triggered_at))
    return status


def _details(trigger: KnownTrigger) -> TriggerDetails:
    spec = TriggerSpec()
    spec.CopyFrom(trigger.spec)
    spec.active = trigger.active
    return TriggerDetails(
        id=TriggerIdentifier(name=trigger.name, revision=trigger.revision),
        spec=spec,
        status=_status(trigger),
        automation_spec=trigger.automation,
        description=trigger.spec.description,
    )
