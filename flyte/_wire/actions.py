"""Sub-actions to and from the wire (wire-protocol section 6.3-6.7)."""

from dataclasses import dataclass
from typing import Any

from flyteidl2.actions.actions_service_pb2 import (
    AbortRequest,
    Action,
    EnqueueRequest,
    WatchForUpdatesRequest,
    WatchForUpdatesResponse,
)
from flyteidl2.core.execution_pb2 import ErrorDocument, ExecutionError
from flyteidl2.task.common_pb2 import Outputs
from flyteidl2.task.task_definition_pb2 import TaskIdentifier, TaskSpec
from flyteidl2.workflow.run_definition_pb2 import TaskAction
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import StringValue

from flyte._core.code_bundle import SerializationContext
from flyte._core.identity import ActionID, ActionPhase
from flyte.errors import BaseRuntimeError, RuntimeSystemError

from .faults import error_from, execution_error_from, timeout_error
from .identity import action_identifier, phase_from_wire
from .task import task_spec


@dataclass(frozen=True, slots=True)
class ActionNews:
    """One message of a watch: an update of an action, or the end of the snapshot.

    :param name: of the action; None for the end of the snapshot.
    """

    name: str | None
    phase: ActionPhase | None = None
    output_uri: str = ""
    error: ExecutionError | None = None
    value: Any = None


def enqueue_task(
    task: Any,
    sctx: SerializationContext,
    *,
    action: ActionID,
    parent: str,
    group: str | None,
    input_uri: str,
    run_base_dir: str,
    cache_key: str | None,
    queue: str | None,
) -> EnqueueRequest:
    """The request that starts a task as a child of an action.

    :param action: the child.
    :param parent: name of the task's action that calls it.
    :param input_uri: where its inputs were written.
    :param cache_key: what its result is cached under, if it is.
    :raises flyte.errors.DeploymentError: the task cannot be translated.
    """
    spec = task_spec(task, sctx)
    described = TaskAction(id=_task_id(spec), spec=spec, queue=queue or "")
    if cache_key is not None:
        described.cache_key.CopyFrom(StringValue(value=cache_key))
    return EnqueueRequest(
        action=Action(
            action_id=action_identifier(action),
            parent_action_name=parent,
            input_uri=input_uri,
            run_output_base=run_base_dir,
            group=group or "",
            task=described,
        )
    )


def _task_id(spec: TaskSpec) -> TaskIdentifier:
    template = spec.task_template.id
    return TaskIdentifier(
        org=template.org,
        project=template.project,
        domain=template.domain,
        name=template.name,
        version=template.version,
    )


def watch_children(parent: ActionID) -> WatchForUpdatesRequest:
    """The request for all news of an action's children."""
    return WatchForUpdatesRequest(parent_action_id=action_identifier(parent))


def abort_action(action: ActionID, reason: str) -> AbortRequest:
    """The request that ends an action and all below it."""
    return AbortRequest(action_id=action_identifier(action), reason=reason)


def news_from(message: WatchForUpdatesResponse) -> ActionNews | None:
    """What a message of the watch says; None for one that this release does not know."""
    if message.HasField("control_message"):
        return ActionNews(None) if message.control_message.sentinel else None
    if not message.HasField("action_update"):
        return None
    update = message.action_update
    return ActionNews(
        update.action_id.name,
        phase_from_wire(update.phase),
        update.output_uri,
        update.error if update.HasField("error") else None,
        update.value if update.HasField("value") else None,
    )


def failure_of_child(phase: ActionPhase, error: ExecutionError | None, name: str) -> BaseRuntimeError:
    """What the caller of a child sees that has failed or run out of time."""
    if phase is ActionPhase.TIMED_OUT:
        return timeout_error(error.code if error is not None else "", error.message if error is not None else "")
    if error is None:
        return RuntimeSystemError("NoError", f"action {name} has failed, and the control plane does not say why")
    return error_from(error)


def error_left(data: bytes) -> ExecutionError:
    """What a container left in ``error.pb``.

    :raises RuntimeSystemError: the bytes are damaged.
    """
    try:
        return execution_error_from(ErrorDocument.FromString(data))
    except DecodeError as error:
        raise RuntimeSystemError("DamagedError", f"an error document cannot be read: {error}") from error


def parse_outputs(data: bytes, where: str) -> Outputs:
    """The outputs that a container left.

    :raises RuntimeSystemError: the bytes are damaged.
    """
    try:
        return Outputs.FromString(data)
    except DecodeError as error:
        raise RuntimeSystemError("DamagedOutputs", f"outputs cannot be read from {where}: {error}") from error
