"""From a task's spec to what an executor is to run: command, environment, limits. Pure (wire-protocol section 5)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flyteidl2.core.interface_pb2 import TypedInterface
from flyteidl2.core.security_pb2 import Secret
from flyteidl2.core.tasks_pb2 import Resources, TaskTemplate
from flyteidl2.task.run_pb2 import RunSpec
from flyteidl2.task.task_definition_pb2 import TaskSpec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict

from flyte._core.identity import hash_data
from flyte._definition.resources import Resources as AskedFor

from ._machine import Policy

_VARIABLE = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt belongs, and where its files are. Folders and files are URIs.

    :param attempt: its number, from 1.
    :param started_at: when the run was started, or its trigger was due.
    """

    org: str
    project: str
    domain: str
    run: str
    action: str
    attempt: int
    input_uri: str
    run_output_base: str
    output_prefix: str
    previous_prefix: str | None
    raw_data_prefix: str
    started_at: float


def command_of(template: TaskTemplate, place: Place) -> list[str]:
    """The container's command for one attempt."""
    checkpoints = "_flytecheckpoints"
    filled = {
        "input": place.input_uri,
        "inputprefix": place.input_uri.removesuffix("/inputs.pb"),
        "outputprefix": place.output_prefix,
        "rawoutputdataprefix": place.raw_data_prefix,
        "checkpointoutputprefix": f"{place.output_prefix}/{checkpoints}",
        "prevcheckpointprefix": f"{place.previous_prefix}/{checkpoints}" if place.previous_prefix else '""',
        "runname": place.run,
        "actionname": place.action,
        "runstarttime": datetime.fromtimestamp(place.started_at, UTC).isoformat().replace("+00:00", "Z"),
        "perretryuniquekey": f"{place.run}-{place.action}-{place.attempt}",
        "namespace": f"{place.project}-{place.domain}",
    }
    command, args, _ = _container(template)
    return [_VARIABLE.sub(lambda found: filled.get(found[1].lower(), found[0]), word) for word in (*command, *args)]


def image_of(template: TaskTemplate) -> str:
    """The image that a task wants to run in."""
    return template.container.image if template.HasField("container") else str(_primary(template).get("image", ""))


def environment_of(spec: TaskSpec, run_spec: RunSpec, place: Place) -> dict[str, str]:
    """The variables of one attempt: the run's, the task's, and those that tell ``a0`` where it is (section 5.2)."""
    template = spec.task_template
    task = template.id
    base = {pair.key: pair.value for pair in run_spec.envs.values}
    base.update(_container(template)[2])
    base.update(
        RUN_NAME=place.run,
        ACTION_NAME=place.action,
        _U_RUN_BASE=place.run_output_base,
        _U_ORG_NAME=place.org,
        FLYTE_INTERNAL_EXECUTION_ID=place.run,
        FLYTE_INTERNAL_EXECUTION_PROJECT=place.project,
        FLYTE_INTERNAL_EXECUTION_DOMAIN=place.domain,
        FLYTE_INTERNAL_TASK_PROJECT=task.project,
        FLYTE_INTERNAL_TASK_DOMAIN=task.domain,
        FLYTE_INTERNAL_TASK_NAME=task.name,
        FLYTE_INTERNAL_TASK_VERSION=task.version,
        FLYTE_INTERNAL_PROJECT=task.project,
        FLYTE_INTERNAL_DOMAIN=task.domain,
        FLYTE_INTERNAL_NAME=task.name,
        FLYTE_INTERNAL_VERSION=task.version,
        FLYTE_ATTEMPT_NUMBER=str(place.attempt - 1),
        _F_PN=f"{place.run}-{place.action}-{place.attempt - 1}",
    )
    return base


def _container(template: TaskTemplate) -> tuple[Sequence[str], Sequence[str], dict[str, str]]:
    if template.HasField("container"):
        container = template.container
        return container.command, container.args, {pair.key: pair.value for pair in container.env}
    primary = _primary(template)
    variables = {
        one["name"]: str(one["value"])
        for one in primary.get("env", ())
        if "name" in one and one.get("value") is not None
    }
    return primary.get("command", ()), primary.get("args", ()), variables


def _primary(template: TaskTemplate) -> Mapping[str, Any]:
    """The container of a pod that the task runs in."""
    containers = MessageToDict(template.k8s_pod.pod_spec).get("containers", [])
    name = template.config.get("primary_container_name") or template.k8s_pod.primary_container_name
    found: Mapping[str, Any] = next((one for one in containers if one.get("name") == name), {})
    return found


def policy_of(template: TaskTemplate) -> Policy:
    """How often and how long a task may be tried."""
    metadata = template.metadata
    retries = metadata.retries
    backoff = retries.backoff
    has_backoff = retries.HasField("backoff")
    return Policy(
        name=template.id.name,
        retries=retries.retries,
        backoff_base_s=_seconds(backoff.base) or 0.0 if has_backoff else 0.0,
        backoff_factor=backoff.factor if has_backoff and backoff.HasField("factor") and backoff.factor >= 1 else 1.0,
        backoff_cap_s=_seconds(backoff.cap) if has_backoff and backoff.HasField("cap") else None,
        max_runtime_s=_seconds(metadata.timeout),
        queued_timeout_s=_seconds(metadata.timeouts.queued_timeout),
        deadline_s=_seconds(metadata.timeouts.deadline),
    )


@dataclass(frozen=True, slots=True)
class Needs:
    """What an attempt takes of the machine.

    :param cpus: processors that it asks for; 0 if it does not say.
    :param memory_bytes: memory that it asks for; 0 if it does not say.
    :param limit_bytes: memory that it may have at most; 0 for no limit.
    """

    cpus: float = 0.0
    memory_bytes: int = 0
    limit_bytes: int = 0

    def beyond(self, cpus: float, memory_bytes: int) -> str:
        """What it asks for that a machine of so much does not have; empty if it fits."""
        if self.cpus > cpus:
            return f"{self.cpus:g} processors, but there are {cpus:g}"
        if self.memory_bytes > memory_bytes:
            return f"{self.memory_bytes / 2**30:.3g} GiB of memory, but there are {memory_bytes / 2**30:.3g} GiB"
        return ""


def needs_of(template: TaskTemplate) -> Needs:
    """What a task says of processors and memory: a limit counts, without one what it asks for is the limit as well.

    :raises ValueError: a text that is not a quantity.
    """
    asked, most = {}, {}
    if template.HasField("container"):
        names = {Resources.CPU: "cpu", Resources.MEMORY: "memory"}
        given = template.container.resources
        asked = {names[one.name]: one.value for one in given.requests if one.name in names}
        most = {names[one.name]: one.value for one in given.limits if one.name in names}
    elif template.HasField("k8s_pod"):
        resources = _primary(template).get("resources", {})
        asked, most = resources.get("requests", {}), resources.get("limits", {})
    if not asked and not most:
        return _NO_NEEDS
    cpu, memory = _range("cpu", asked, most), _range("memory", asked, most)
    said = AskedFor(cpu=cpu, memory=memory)
    cpus, sizes = said.cpu_range(), said.memory_range()
    least, limit = sizes or (0, 0)
    return Needs(cpus[0] if cpus is not None else 0.0, least, limit)


_NO_NEEDS = Needs()


def _range(name: str, asked: Mapping[str, Any], most: Mapping[str, Any]) -> tuple[str, str] | None:
    least = asked.get(name) or most.get(name)
    return (str(least), str(most.get(name) or least)) if least else None


def _seconds(duration: Duration) -> float | None:
    return (duration.seconds + duration.nanos / 1e9) or None


# Secrets ------------------------------------------------------------------------------------------------------------


def secret_variable(secret: Secret) -> str:
    """The environment variable that a task reads a secret from (wire-protocol section 5.2)."""
    if secret.env_var:
        return secret.env_var
    name = f"{secret.group}_{secret.key}" if secret.group else secret.key
    return name.replace("-", "_").upper()


def secret_names(secret: Secret) -> Iterable[str]:
    """The names that a secret may have been stored under, the best first."""
    if secret.group:
        yield f"{secret.group}_{secret.key}"
        yield f"{secret.group}-{secret.key}"
    yield secret.key


# Cache --------------------------------------------------------------------------------------------------------------


def cache_key_of(template: TaskTemplate, inputs_hash: str) -> str | None:
    """What the result of a run's first action is cached under, as a controller computes it for its children.

    None if it is not to be cached.
    """
    metadata = template.metadata
    if not metadata.discoverable or not metadata.discovery_version:
        return None
    text = f"{inputs_hash}{template.id.name}{interface_hash(template.interface)}{metadata.discovery_version}"
    return hash_data(text.encode())


def interface_hash(interface: TypedInterface) -> str:
    """Hash of what a task takes and gives; empty for a task that does neither."""
    if not interface.inputs.variables and not interface.outputs.variables:
        return ""
    ordered = TypedInterface()
    ordered.CopyFrom(interface)
    for variables in (ordered.inputs.variables, ordered.outputs.variables):
        in_order = sorted(variables, key=lambda entry: entry.key)
        del variables[:]
        variables.extend(in_order)
    return hash_data(ordered.SerializeToString(deterministic=True))
