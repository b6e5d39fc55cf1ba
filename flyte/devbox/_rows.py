"""Actions as rows of the database, and back. Pure."""

import sqlite3
from dataclasses import dataclass, field
from typing import Any

from flyteidl2.core.execution_pb2 import ContainerError, ExecutionError
from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.task.run_pb2 import RunSpec
from flyteidl2.workflow.state_service_pb2 import ActionUpdate

from flyte._core.identity import ActionPhase
from flyte._wire.identity import phase_from_wire, phase_to_wire

from ._machine import Fault, Origin, Policy, State
from ._store import Statement

TASK, TRACE, CONDITION = 1, 2, 3

_ORIGINS: dict[Origin, "ExecutionError.ErrorKind"] = {
    "user": ExecutionError.ErrorKind.USER,
    "system": ExecutionError.ErrorKind.SYSTEM,
    "unknown": ExecutionError.ErrorKind.UNKNOWN,
}
_FROM_ORIGIN: dict[int, Origin] = {int(number): origin for origin, number in _ORIGINS.items()}


@dataclass(slots=True)
class Run:
    """What all actions of a run share."""

    id: int
    org: str
    project: str
    domain: str
    name: str
    spec: RunSpec
    created_at: float
    source: int = 0
    trigger_name: str = ""
    trigger_revision: int = 0
    live: dict[str, "Live"] = field(default_factory=dict)
    """Its actions that have not ended, by name."""


@dataclass(slots=True, kw_only=True)
class Live:
    """An action that has not ended.

    :param kind: TASK, TRACE or CONDITION.
    :param spec: digest of its task spec.
    :param ticket: of the attempt that runs; None if none does.
    :param output_prefix: of that attempt.
    """

    id: int
    run: Run
    name: str
    parent: str
    kind: int
    state: State
    policy: Policy
    input_uri: str
    run_output_base: str
    spec: bytes | None = None
    task: tuple[str, str] = ("", "")
    cache_key: str | None = None
    cache_status: int = 0
    recovered_from: bytes | None = None
    value: bytes | None = None
    ticket: str | None = None
    output_prefix: str = ""
    queued_at: float = 0.0
    timer: Any = None
    slot: Any = None
    """The place that it waits for or has; see `flyte._core.slots`."""
    children: int = 0
    """How many of its children have not ended: while it waits for them it takes no place of its own."""
    holds_reservation: bool = False
    owner: str = ""
    """The nearest action above it that has not ended, which it ends with; its parent, until that has succeeded."""
    owned: int = 0
    """How many that have not ended belong to it."""


def error_of(fault: Fault | None, at: float | None = None) -> ExecutionError | None:
    """A fault as the wire has it."""
    if fault is None:
        return None
    kinds = ContainerError.Kind
    error = ExecutionError(
        code=fault.code,
        message=fault.message,
        kind=_ORIGINS[fault.origin],
        recoverability=kinds.RECOVERABLE if fault.recoverable else kinds.NON_RECOVERABLE,
    )
    if at is not None:
        error.timestamp.FromMilliseconds(round(at * 1000))
    return error


def fault_from(error: ExecutionError) -> Fault:
    """What the wire says of a failure."""
    recoverable = error.recoverability == ContainerError.Kind.RECOVERABLE
    return Fault(error.code, error.message, _FROM_ORIGIN.get(error.kind, "unknown"), recoverable)


def fault_in(document: ContainerError) -> Fault:
    """What a container left in ``error.pb``."""
    recoverable = document.kind == ContainerError.Kind.RECOVERABLE
    return Fault(document.code, document.message, _FROM_ORIGIN.get(document.origin, "unknown"), recoverable)


def _error_bytes(fault: Fault | None, at: float) -> bytes | None:
    error = error_of(fault, at)
    return None if error is None else error.SerializeToString()


def state_from(row: sqlite3.Row) -> State:
    """The state of an action."""
    return State(
        phase=phase_from_wire(row["phase"]) or ActionPhase.QUEUED,
        created_at=row["created_at"],
        attempt=row["attempt"],
        user_failures=row["user_failures"],
        system_failures=row["system_failures"],
        not_before=row["not_before"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        fault=None if row["error"] is None else fault_from(ExecutionError.FromString(row["error"])),
        output_uri=row["output_uri"],
        reason=row["reason"],
    )


_UPDATE = (
    "UPDATE action SET phase = ?, attempt = ?, user_failures = ?, system_failures = ?, not_before = ?, "
    "started_at = ?, ended_at = ?, updated_at = ?, error = ?, output_uri = ?, reason = ?, value = ?, "
    "cache_status = ?, recovered_from = ? WHERE id = ?"
)


def update_of(live: Live, at: float) -> Statement:
    """Write an action's state."""
    state = live.state
    return (
        _UPDATE,
        (
            phase_to_wire(state.phase),
            state.attempt,
            state.user_failures,
            state.system_failures,
            state.not_before,
            state.started_at,
            state.ended_at,
            at,
            _error_bytes(state.fault, at),
            state.output_uri,
            state.reason,
            live.value,
            live.cache_status,
            live.recovered_from,
            live.id,
        ),
    )


def attempt_started(live: Live, folder: str) -> Statement:
    """Write that an attempt is about to be begun."""
    state = live.state
    return (
        "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?, NULL, NULL, ?, '', ?)",
        (
            live.id,
            state.attempt,
            phase_to_wire(state.phase),
            live.queued_at,
            state.started_at or state.created_at,
            live.output_prefix,
            folder,
        ),
    )


def attempt_ticket(live: Live) -> Statement:
    """Write by what the attempt that runs is found again."""
    return (
        "UPDATE attempt SET process = ? WHERE action = ? AND number = ?",
        (live.ticket or "", live.id, live.state.attempt),
    )


def attempt_ended(live: Live, number: int, phase: ActionPhase, fault: Fault | None, at: float) -> Statement:
    """Write how an attempt ended."""
    return (
        "UPDATE attempt SET phase = ?, ended_at = ?, error = ? WHERE action = ? AND number = ? AND ended_at IS NULL",
        (phase_to_wire(phase), at, _error_bytes(fault, at), live.id, number),
    )


def update_message(live: Live, state: State) -> ActionUpdate:
    """What watchers of its parent are told of an action."""
    phase: Any = phase_to_wire(state.phase)
    update = ActionUpdate(phase=phase, output_uri=state.output_uri or live.output_prefix)
    update.action_id.run.org = live.run.org
    update.action_id.run.project = live.run.project
    update.action_id.run.domain = live.run.domain
    update.action_id.run.name = live.run.name
    update.action_id.name = live.name
    if state.phase in (ActionPhase.FAILED, ActionPhase.TIMED_OUT):
        error = error_of(state.fault, state.ended_at)
        if error is not None:
            update.error.CopyFrom(error)
    if live.value is not None:
        update.value.CopyFrom(Literal.FromString(live.value))
    return update
