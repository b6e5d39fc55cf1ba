"""Tasks as their TaskSpecs, without a control plane, an image or a code bundle."""

from pathlib import Path
from typing import Any

from flyte._core.code_bundle import SerializationContext
from flyte._definition.task import TaskTemplate
from flyte._definition.task_environment import TaskEnvironment
from flyte._wire.task import task_spec

UNVERSIONED = "serialized"
"""The version of a task that is written down without one, as the published package says it."""


def serialize(task: TaskTemplate[Any, Any, Any], ctx: SerializationContext | None = None) -> Any:
    """A task as a control plane would be told it when it is deployed: a ``TaskSpec`` of flyteidl2.

    :param ctx: version, names and code; default version ``"serialized"``, and modules below the current folder.
    :raises flyte.errors.DeploymentError: a field that the protocol has no place for; the message says what to do.
    """
    context = ctx or SerializationContext(version=UNVERSIONED, root_dir=Path.cwd())
    return task_spec(task, context, deploy=True)


def serialize_env(env: TaskEnvironment, ctx: SerializationContext | None = None) -> list[Any]:
    """Every task of an environment, as :func:`serialize` writes one."""
    return [serialize(task, ctx) for task in env.tasks.values()]
