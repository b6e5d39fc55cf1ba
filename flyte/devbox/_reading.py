"""Rows of the database as the messages that clients read."""

import sqlite3
from collections.abc import Iterable
from typing import Any

from flyteidl2.common.identifier_pb2 import ActionIdentifier, RunIdentifier
from flyteidl2.common.identity_pb2 import EnrichedIdentity
from flyteidl2.core.execution_pb2 import ExecutionError
from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.task.task_definition_pb2 import TaskIdentifier
from flyteidl2.workflow.run_definition_pb2 import (
    Action,
    ActionAttempt,
    ActionDetails,
    ActionMetadata,
    ActionStatus,
    ActionType,
    ConditionAction,
    ErrorInfo,
    PhaseTransition,
    TraceAction,
)
from flyteidl2.workflow.run_definition_pb2 import Run as RunMessage
from google.protobuf.timestamp_pb2 import Timestamp

from flyte._core.identity import ROOT_ACTION, ActionPhase
from flyte._wire.identity import phase_from_wire, phase_to_wire

from ._intake import Specs
from ._rows import CONDITION, TASK, TRACE, Run
from ._store import Store

_TERMINAL = {phase_to_wire(phase) for phase in ActionPhase if phase.is_terminal}
_TYPES = {
    TASK: ActionType.ACTION_TYPE_TASK,
    TRACE: ActionType.ACTION_TYPE_TRACE,
    CONDITION: ActionType.ACTION_TYPE_CONDITION,
}


def moment(at: float) -> Timestamp:
    """Seconds since the epoch as the wire has them."""
    stamp = Timestamp()
    stamp.FromMicroseconds(round(at * 1_000_000))
    return stamp


class Reader:
    """Makes messages of what is written."""

    def __init__(self, store: Store, specs: Specs, user: str) -> None:
        self._store = store
        self._specs = specs
        self._user = user

    def run_id(self, run: Run) -> RunIdentifier:
        """A run's identity."""
        return RunIdentifier(org=run.org, project=run.project, domain=run.domain, name=run.name)

    def action_row(self, run: int, name: str) -> sqlite3.Row | None:
        """The row of an action."""
        return self._store.row("SELECT * FROM action WHERE run = ? AND name = ?", (run, name))

    def run(self, run: Run, root: sqlite3.Row) -> RunMessage:
        """A run as lists show it."""
        return RunMessage(action=self.action(run, root), labels=run.spec.labels.values)

    def action(self, run: Run, row: sqlite3.Row) -> Action:
        """An action as lists show it."""
        identity = ActionIdentifier(run=self.run_id(run), name=row["name"])
        return Action(id=identity, metadata=self._metadata(run, row), status=self.status(row))

    def status(self, row: sqlite3.Row) -> ActionStatus:
        """Where an action stands."""
        status = ActionStatus(
            phase=row["phase"],
            start_time=moment(row["created_at"]),
            attempts=max(row["attempt"], 1),
            cache_status=row["cache_status"],
        )
        if row["ended_at"] is not None:
            status.end_time.CopyFrom(moment(row["ended_at"]))
            status.duration_ms = max(round((row["ended_at"] - row["created_at"]) * 1000), 0)
        return status

    def _metadata(self, run: Run, row: sqlite3.Row) -> ActionMetadata:
        metadata = ActionMetadata(
            parent=row["parent"],
            group=row["call_group"],
            action_type=_TYPES[row["kind"]],
            executed_by=self.identity(),
            environment_name=row["environment"],
        )
        metadata.source = run.source  # type: ignore[assignment]  # a number, as the database has it
        if row["kind"] == TASK:
            task = metadata.task
            task.id.CopyFrom(
                TaskIdentifier(
                    org=run.org,
                    project=row["task_project"],
                    domain=row["task_domain"],
                    name=row["task_name"],
                    version=row["task_version"],
                )
            )
            task.task_type, task.short_name = row["task_type"], row["short_name"]
            prefix = f"{row['environment']}."
            metadata.funtion_name = row["task_name"].removeprefix(prefix) if row["environment"] else row["task_name"]
        elif row["kind"] == TRACE:
            metadata.trace.name = metadata.funtion_name = row["task_name"]
        else:
            metadata.condition.name = metadata.funtion_name = row["task_name"]
            metadata.condition.type.CopyFrom(ConditionAction.FromString(row["detail"]).type)
        if row["name"] == ROOT_ACTION:
            if run.trigger_name:
                metadata.trigger_name = run.trigger_name
                metadata.trigger_id.revision = run.trigger_revision
                metadata.trigger_id.name.name = run.trigger_name
                metadata.trigger_id.name.project, metadata.trigger_id.name.domain = run.project, run.domain
                metadata.trigger_id.name.task_name = row["task_name"]
            if run.spec.HasField("relation"):
                metadata.relation.CopyFrom(run.spec.relation)
        if row["recovered_from"] is not None:
            metadata.recovered_from.ParseFromString(row["recovered_from"])
        return metadata

    def identity(self) -> EnrichedIdentity:
        """The one person who uses this control plane."""
        identity = EnrichedIdentity()
        identity.user.id.subject = identity.user.spec.user_handle = self._user
        return identity

    def details(self, run: Run, row: sqlite3.Row) -> ActionDetails:
        """All that is known of an action."""
        details = ActionDetails(
            id=ActionIdentifier(run=self.run_id(run), name=row["name"]),
            metadata=self._metadata(run, row),
            status=self.status(row),
            attempts=self._attempts(row),
        )
        phase = phase_from_wire(row["phase"])
        if row["kind"] == TASK:
            details.task.CopyFrom(self._specs.get(row["spec"]))
        elif row["kind"] == TRACE:
            details.trace.CopyFrom(TraceAction.FromString(row["detail"]).spec)
        else:
            details.condition.CopyFrom(ConditionAction.FromString(row["detail"]))
        if phase is ActionPhase.ABORTED:
            details.abort_info.reason = row["reason"]
            details.abort_info.aborted_by.CopyFrom(self.identity())
        elif phase in (ActionPhase.FAILED, ActionPhase.TIMED_OUT) and row["error"] is not None:
            details.error_info.CopyFrom(_error_info(row["error"]))
        elif row["value"] is not None:
            details.signal_info.output.CopyFrom(Literal.FromString(row["value"]))
            details.signal_info.signalled_by.CopyFrom(self.identity())
        return details

    def _attempts(self, row: sqlite3.Row) -> Iterable[ActionAttempt]:
        kept = self._store.rows("SELECT * FROM attempt WHERE action = ? ORDER BY number", (row["id"],))
        if not kept and row["kind"] == TASK and row["phase"] in _TERMINAL and row["output_uri"]:
            # Nothing ran: the outputs were taken from the cache or from another run.
            yield ActionAttempt(
                phase=row["phase"],
                attempt=1,
                start_time=moment(row["created_at"]),
                end_time=moment(row["ended_at"]),
                cache_status=row["cache_status"],
                outputs={"output_uri": f"{row['output_uri']}/outputs.pb"},
            )
        for one in kept:
            prefix = one["output_prefix"]
            attempt = ActionAttempt(
                phase=one["phase"],
                attempt=one["number"],
                start_time=moment(one["started_at"]),
                logs_available=True,
                cluster="devbox",
                cache_status=row["cache_status"],
                outputs={"output_uri": f"{prefix}/outputs.pb", "report_uri": f"{prefix}/report.html"},
                phase_transitions=_transitions(one),
            )
            attempt.log_context.primary_pod_name = "a0"
            if one["ended_at"] is not None:
                attempt.end_time.CopyFrom(moment(one["ended_at"]))
            if one["error"] is not None:
                attempt.error_info.CopyFrom(_error_info(one["error"]))
            yield attempt


def _transitions(attempt: sqlite3.Row) -> Iterable[PhaseTransition]:
    queued: Any = phase_to_wire(ActionPhase.QUEUED)
    running: Any = phase_to_wire(ActionPhase.RUNNING)
    begun, started, ended = moment(attempt["queued_at"]), moment(attempt["started_at"]), attempt["ended_at"]
    yield PhaseTransition(phase=queued, start_time=begun, end_time=started)
    if ended is None:
        yield PhaseTransition(phase=running, start_time=started)
        return
    yield PhaseTransition(phase=running, start_time=started, end_time=moment(ended))
    yield PhaseTransition(phase=attempt["phase"], start_time=moment(ended), end_time=moment(ended))


def _error_info(error: bytes) -> ErrorInfo:
    said = ExecutionError.FromString(error)
    kinds = ErrorInfo.Kind
    kind = kinds.KIND_SYSTEM if said.kind == ExecutionError.ErrorKind.SYSTEM else kinds.KIND_USER
    return ErrorInfo(message=said.message, code=said.code, kind=kind)
