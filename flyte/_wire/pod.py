"""A pod template in the words of a control plane: the user's pod, with the task put into its primary container."""

from typing import Any, cast

from flyteidl2.core import tasks_pb2
from google.protobuf.struct_pb2 import Struct

from flyte._definition.pod import PodTemplate
from flyte._definition.resources import Resources
from flyte.errors import DeploymentError

_QUANTITIES = {
    tasks_pb2.Resources.CPU: "cpu",
    tasks_pb2.Resources.MEMORY: "memory",
    tasks_pb2.Resources.EPHEMERAL_STORAGE: "ephemeral-storage",
}
# What the device plugins of the vendors call them in Kubernetes.
_ACCELERATORS = {
    "GPU": "nvidia.com/gpu",
    "TPU": "google.com/tpu",
    "NEURON": "aws.amazon.com/neuron",
    "AMD_GPU": "amd.com/gpu",
    "HABANA_GAUDI": "habana.ai/gaudi",
}


def k8s_pod(
    name: str, template: PodTemplate, container: tasks_pb2.Container, resources: Resources | None
) -> tasks_pb2.K8sPod:
    """The pod of a task.

    The primary container gets the task's arguments and variables, its image where it has none of its own, and its
    requests and limits in place of those that it has; it is added to a template without containers.

    :param name: full name of the task, for errors.
    :param template: the pod.
    :param container: what the task's container would be without a pod.
    :param resources: what the task asks for.
    :raises flyte.errors.DeploymentError: there is no primary container or no image, or the accelerator has no name in
        Kubernetes.
    """
    spec = _plain(template)
    containers: list[dict[str, Any]] = spec.setdefault("containers", [])
    primary: dict[str, Any] | None = next(
        (one for one in containers if one.get("name") == template.primary_container_name), None
    )
    if primary is None and containers:
        raise DeploymentError(
            f"task {name!r}: no container of its pod template is named {template.primary_container_name!r}, only "
            f"{', '.join(repr(one.get('name')) for one in containers)}; set primary_container_name"
        )
    if primary is None:
        primary = {"name": template.primary_container_name}
        containers.append(primary)
    primary["image"] = primary.get("image") or container.image
    if not primary["image"]:
        raise DeploymentError(
            f"task {name!r}: neither the task nor container {template.primary_container_name!r} of its pod template "
            "has an image; give one of them one"
        )
    primary["command"] = []
    primary["args"] = list(container.args)
    if container.env:
        variables: list[Any] = [{"name": pair.key, "value": pair.value} for pair in container.env]
        primary["env"] = [*variables, *primary.get("env", [])]
    _put_resources(name, primary, container.resources, resources)
    pod = tasks_pb2.K8sPod(
        metadata=tasks_pb2.K8sObjectMetadata(labels=template.labels, annotations=template.annotations),
        pod_spec=_struct(spec),
        primary_container_name=template.primary_container_name,
    )
    if container.HasField("data_config"):
        pod.data_config.CopyFrom(container.data_config)
    return pod


def _plain(template: PodTemplate) -> dict[str, Any]:
    if template.pod_spec is None:
        return {}
    from kubernetes.client import ApiClient

    client: Any = ApiClient()  # the client's own form of JSON; nothing is connected
    return cast("dict[str, Any]", client.sanitize_for_serialization(template.pod_spec))


def _put_resources(name: str, primary: dict[str, Any], asked: tasks_pb2.Resources, resources: Resources | None) -> None:
    requests = {_QUANTITIES[one.name]: one.value for one in asked.requests if one.name in _QUANTITIES}
    limits = {_QUANTITIES[one.name]: one.value for one in asked.limits if one.name in _QUANTITIES}
    device = resources.get_device() if resources is not None else None
    if device is not None:
        key = _ACCELERATORS.get(device.device_class)
        if key is None:
            raise DeploymentError(
                f"task {name!r}: resources has gpu={device.device_class}, which pods cannot ask for; leave "
                "the pod template out, or ask for it in the template's own resources"
            )
        # Kubernetes takes requests of a device only with the same limit.
        requests[key] = limits[key] = str(device.quantity)
    if not requests and not limits:
        return
    own: dict[str, Any] = primary.setdefault("resources", {})
    for kind, quantities in (("requests", requests), ("limits", limits)):
        if quantities:
            own[kind] = {**(own.get(kind) or {}), **quantities}


def _struct(spec: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(spec)
    return struct
