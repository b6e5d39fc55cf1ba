"""Sub-actions to and from the wire (wire-protocol section 6.3-6.7)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flyteidl2.actions.actions_service_pb2 import (
    AbortRequest,
    Action,
    EnqueueRequest,
    WatchForUpdatesRequest,
    WatchForUpdatesResponse,
)
from flyteidl2.core.execution_pb2 import ContainerError, ErrorDocument, ExecutionError
from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.core.types_pb2 import LiteralType, SimpleType
from flyteidl2.task.common_pb2 import Outputs
from flyteidl2.task.task_definition_pb2 import TaskIdentifier, TaskSpec
from flyteidl2.workflow.run_definition_pb2 import ConditionAction, ConditionPromptType, TaskAction, TraceAction
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import StringValue

from flyte._core.code_bundle import SerializationContext
from flyte._core.identity import ActionID, ActionPhase
from flyte.errors import BaseRuntimeError, RuntimeSystemError

from .faults import error_from, execution_error_from, timeout_error
from .identity import action_identifier, phase_from_wire, phase_to_wire
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


def enqueue_trace(
    *,
    name: str,
    action: ActionID,
    parent: str,
    group: str | None,
    input_uri: str,
    run_base_dir: str,
    phase: ActionPhase,
    times: tuple[datetime, datetime],
    output_uri: str,
    interface: Any,
) -> EnqueueRequest:
    """The request that tells of a traced function's call, which has ended.

    :param name: of the function.
    :param action: the call.
    :param parent: name of the task's action that made it.
    :param times: when it began and ended.
    :param output_uri: the file of its outputs; empty if there is none.
    :param interface: the function's TypedInterface.
    """
    wire: Any = phase_to_wire(phase)
    described = TraceAction(name=name, phase=wire)
    described.start_time.FromDatetime(times[0])
    described.end_time.FromDatetime(times[1])
    if output_uri:
        described.outputs.output_uri = output_uri
    described.spec.interface.CopyFrom(interface)
    return EnqueueRequest(
        action=Action(
            action_id=action_identifier(action),
            parent_action_name=parent,
            input_uri=input_uri,
            run_output_base=run_base_dir,
            group=group or "",
            trace=described,
        )
    )


_SIMPLE = {bool: SimpleType.BOOLEAN, int: SimpleType.INTEGER, float: SimpleType.FLOAT, str: SimpleType.STRING}
_PRIMITIVES = {bool: "boolean", int: "integer", float: "float_value", str: "string_value"}
_PROMPTS = {
    "text": ConditionPromptType.CONDITION_PROMPT_TYPE_TEXT,
    "markdown": ConditionPromptType.CONDITION_PROMPT_TYPE_MARKDOWN,
}


def enqueue_condition(
    *,
    name: str,
    data_type: Any,
    prompt: str,
    prompt_type: str,
    description: str,
    timeout_s: float | None,
    webhook: tuple[str, Mapping[str, Any] | None] | None,
    action: ActionID,
    parent: str,
    group: str | None,
    input_uri: str,
    run_base_dir: str,
) -> EnqueueRequest:
    """The request that makes the control plane wait for an answer.

    :param data_type: of the answer: bool, int, float or str.
    :param timeout_s: how long it may take, in seconds; None for as long as it takes.
    :param webhook: address to call, and what to send there.
    :param action: the condition.
    :param parent: name of the task's action that asks.
    :raises TypeError: an answer of another type, or a payload that is not JSON.
    """
    if data_type not in _SIMPLE:
        shown = getattr(data_type, "__name__", data_type)
        raise TypeError(
            f"condition {name!r} has data_type={shown}, but a control plane takes only bool, int, float and str as "
            "answers; ask for a str and read the value from it"
        )
    described = ConditionAction(
        name=name,
        type=LiteralType(simple=_SIMPLE[data_type]),
        prompt=prompt,
        description=description,
        prompt_type=_PROMPTS[prompt_type],
    )
    if timeout_s is not None:
        described.timeout.FromNanoseconds(round(timeout_s * 1e9))
    if webhook is not None:
        url, payload = webhook
        described.webhook.url = url
        if payload is not None:
            try:
                described.webhook.payload.update(json.loads(json.dumps(payload)))
            except (TypeError, ValueError) as error:
                raise TypeError(f"condition {name!r}: the payload of its webhook cannot be sent: {error}") from None
    return EnqueueRequest(
        action=Action(
            action_id=action_identifier(action),
            parent_action_name=parent,
            input_uri=input_uri,
            run_output_base=run_base_dir,
            group=group or "",
            condition=described,
        )
    )


def prompt_kind(wire: int) -> str:
    """How a prompt is written: ``text`` or ``markdown``."""
    return next((kind for kind, number in _PROMPTS.items() if number == wire), "text")


def condition_type(wire: LiteralType) -> type:
    """The type of a condition's answer; one that is not said is a text."""
    return next((kind for kind, simple in _SIMPLE.items() if wire.WhichOneof("type") and wire.simple == simple), str)


def answer_from(value: Literal, data_type: Any, name: str) -> Any:
    """The value that a condition was answered with.

    :raises RuntimeSystemError: it is of another type.
    """
    primitive = value.scalar.primitive
    field = primitive.WhichOneof("value")
    if field == "integer" and data_type is float:
        return float(primitive.integer)
    if field is None or field != _PRIMITIVES.get(data_type):
        raise RuntimeSystemError(
            "UnexpectedAnswer",
            f"condition {name!r} waits for a value of type {getattr(data_type, '__name__', data_type)}, "
            f"but the control plane gave {field or value.WhichOneof('value') or 'nothing'}",
        )
    return getattr(primitive, field)


def is_final(error: ExecutionError) -> bool:
    """Whether a failure is the last word, so that trying again makes no sense."""
    return bool(error.recoverability == ContainerError.Kind.NON_RECOVERABLE)


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


def failure_of_child(
    phase: ActionPhase, error: ExecutionError | None, name: str, known: Sequence[Mapping[str, Any]] = ()
) -> BaseRuntimeError:
    """What the caller of a child sees that has failed or run out of time; see :func:`.faults.error_from`."""
    if phase is ActionPhase.TIMED_OUT:
        return timeout_error(error.code if error is not None else "", error.message if error is not None else "")
    if error is None:
        return RuntimeSystemError("NoError", f"action {name} has failed, and the control plane does not say why")
    return error_from(error, known)


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
