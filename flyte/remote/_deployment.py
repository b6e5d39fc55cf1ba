"""The call that keeps a task under its name and version on a control plane (wire-protocol section 4.6)."""

from typing import Any

from flyteidl2.task.task_definition_pb2 import TaskSpec
from flyteidl2.task.task_service_pb2 import DeployTaskRequest

from flyte._core.code_bundle import SerializationContext
from flyte._wire.identity import task_identifier
from flyte.errors import (
    DeploymentError,
    RpcAlreadyExistsError,
    RpcTimeoutError,
    RpcUnavailableError,
    RuntimeSystemError,
    UnionRpcError,
)

from ._plane import Plane


async def deploy_task(
    plane: Plane, name: str, spec: TaskSpec, context: SerializationContext, triggers: list[Any]
) -> bool:
    """Deploy one task; gives whether it was new. One of that name and version is there to stay.

    :raises flyte.errors.DeploymentError: the control plane refuses it.
    :raises flyte.errors.RuntimeSystemError: ``SystemUnavailableError``: the control plane cannot be reached.
    """
    request = DeployTaskRequest(task_id=task_identifier(name, context), spec=spec, triggers=triggers)
    try:
        await plane.client.tasks.DeployTask(request)
    except RpcAlreadyExistsError:
        return False
    except (RpcUnavailableError, RpcTimeoutError) as error:
        raise RuntimeSystemError("SystemUnavailableError", f"task {name!r} was not deployed: {error}") from error
    except UnionRpcError as error:
        raise DeploymentError(f"task {name!r} of version {context.version!r} was not deployed: {error}") from error
    return True
