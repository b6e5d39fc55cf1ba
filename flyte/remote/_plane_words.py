"""What a control plane says of actions, in the words of this room: times, phases, names, faults and cache."""

import builtins
from typing import Any

from flyteidl2.core.catalog_pb2 import CatalogCacheStatus
from flyteidl2.core.execution_pb2 import ExecutionError
from flyteidl2.core.literals_pb2 import LiteralMap
from flyteidl2.workflow.run_definition_pb2 import ActionDetails

from flyte._core.identity import ActionPhase
from flyte._core.raised import code_of, kind_of
from flyte._journal.history_entries import Fault
from flyte._wire.faults import TRACEBACK, error_from, told
from flyte._wire.identity import phase_from_wire
from flyte.errors import RuntimeUnknownError, RuntimeUserError

CACHE_WORDS = {
    CatalogCacheStatus.CACHE_HIT: "hit",
    CatalogCacheStatus.CACHE_MISS: "miss",
    CatalogCacheStatus.CACHE_POPULATED: "miss",
    CatalogCacheStatus.CACHE_SKIPPED: "refresh",
    CatalogCacheStatus.CACHE_PUT_FAILURE: "miss",
    CatalogCacheStatus.CACHE_LOOKUP_FAILURE: "miss",
}


def seconds_of(at: Any) -> float:
    """Seconds since the epoch."""
    return float(at.seconds + at.nanos / 1e9)


def phase_of(number: int) -> ActionPhase:
    """The phase of a number; queued, for one that this release does not know."""
    return phase_from_wire(number) or ActionPhase.QUEUED


def literal_map(literals: Any) -> bytes:
    """Bytes of a LiteralMap."""
    return LiteralMap(literals={one.name: one.value for one in literals}).SerializeToString(deterministic=True)


def task_name_of(said: Any) -> str:
    """Name of the task, traced function or condition that an action is of."""
    metadata = said.metadata
    kind = metadata.WhichOneof("spec")
    if kind == "trace":
        return str(metadata.trace.name)
    if kind == "condition":
        return str(metadata.condition.name)
    if isinstance(said, ActionDetails) and said.HasField("task"):
        return str(said.task.task_template.id.name)
    return str(metadata.task.id.name or metadata.task.short_name)


def fault_in(details: ActionDetails) -> Fault | None:
    """Why an action did not succeed; None if nothing is said of it."""
    if details.HasField("error_info"):
        return fault_of(details.error_info)
    if details.HasField("abort_info"):
        reason = details.abort_info.reason or "the control plane does not say why"
        return Fault("ActionAbortedError", "ActionAbortedError", "user", reason)
    if phase_of(details.status.phase) is ActionPhase.TIMED_OUT:
        return Fault("TaskTimeoutError", "TaskTimeoutError", "user", "the action ran out of time")
    return None


def fault_of(info: Any) -> Fault:
    """An error in the words of the history."""
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
    return Fault(name, code_of(made), kind_of(made, "user"), str(made), frames, parts.line)
