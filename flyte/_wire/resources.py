"""Resources in the words of a control plane (flyteidl2) and of Kubernetes.

Used by task plugins through ``flyte.extend`` and by what writes tasks down for a control plane. Both packages are
imported when they are needed: a plugin that only asks for a pod spec needs no flyteidl2, and the other way round.
"""

from typing import TYPE_CHECKING, Any

from flyte._definition.pod import PRIMARY_CONTAINER_DEFAULT_NAME
from flyte._definition.resources import Device, Resources

if TYPE_CHECKING:
    from flyteidl2.core import tasks_pb2
    from kubernetes.client import V1PodSpec

SHARED_MEMORY_PATH = "/dev/shm"  # where POSIX shared memory is on Linux; wire-protocol section 4.5
SHARED_MEMORY_VOLUME = "flyte-shm"

# What nodes are labelled with. A device that is not here goes by its own name (observed, flyte 2.12.1).
_LABELS = {
    "A10": "nvidia-a10",
    "A10G": "nvidia-a10g",
    "A100": "nvidia-tesla-a100",
    "A100_80G": "nvidia-a100-80gb",
    "H100": "nvidia-tesla-h100",
    "L4": "nvidia-l4",
    "L40s": "nvidia-l40s",
    "T4": "nvidia-tesla-t4",
    "V100": "nvidia-tesla-v100",
    "RTX_PRO_4500": "nvidia-rtx-pro-4500",
    "RTX_PRO_6000": "nvidia-rtx-pro-6000",
    "V5E": "tpu-v5-lite-podslice",
    "V5P": "tpu-v5p-slice",
    "V6E": "tpu-v6e-slice",
}
# Numbers of GPUAccelerator.DeviceClass, as not every release of flyteidl2 knows every name.
_DEVICE_CLASSES = {"GPU": 0, "TPU": 1, "NEURON": 2, "AMD_GPU": 3, "HABANA_GAUDI": 4, "APPLE_SILICON": 5}


def get_proto_resources(resources: Resources | None) -> "tasks_pb2.Resources | None":
    """Requests and limits as the message of a task's container; None if nothing is asked for.

    A value is a request; of ``(least, most)``, least is the request and most the limit. Of an accelerator there is only
    the count here; what it is, and shared memory, travel in :func:`get_proto_extended_resources`.
    """
    if resources is None:
        return None
    from flyteidl2.core import tasks_pb2

    names = tasks_pb2.Resources
    requests: list[tasks_pb2.Resources.ResourceEntry] = []
    limits: list[tasks_pb2.Resources.ResourceEntry] = []
    for name, value in ((names.CPU, resources.cpu), (names.MEMORY, resources.memory)):
        if value is None:
            continue
        least, most = value if isinstance(value, tuple) else (value, None)
        requests.append(names.ResourceEntry(name=name, value=str(least)))
        if most is not None:
            limits.append(names.ResourceEntry(name=name, value=str(most)))
    device = resources.get_device()
    if device is not None:
        requests.append(names.ResourceEntry(name=names.GPU, value=str(device.quantity)))
    if resources.disk is not None:
        requests.append(names.ResourceEntry(name=names.EPHEMERAL_STORAGE, value=resources.disk))
    if not requests:
        return None
    return tasks_pb2.Resources(requests=requests, limits=limits)


def get_proto_extended_resources(resources: Resources | None) -> "tasks_pb2.ExtendedResources | None":
    """Which accelerator, and how much shared memory; None if neither is asked for."""
    if resources is None:
        return None
    device, shared = resources.get_device(), resources.get_shared_memory()
    accelerated = device is not None and (device.device is not None or device.device_class != "GPU")
    if not accelerated and shared is None:
        return None
    from flyteidl2.core import tasks_pb2

    extended = tasks_pb2.ExtendedResources()
    if device is not None and accelerated:
        extended.gpu_accelerator.CopyFrom(_accelerator(device))
    if shared is not None:
        extended.shared_memory.mount_path = SHARED_MEMORY_PATH
        extended.shared_memory.mount_name = SHARED_MEMORY_VOLUME
        extended.shared_memory.size_limit = shared
    return extended


def _accelerator(device: Device) -> "tasks_pb2.GPUAccelerator":
    from flyteidl2.core import tasks_pb2

    name = device.device or ""
    accelerator = tasks_pb2.GPUAccelerator(device=_LABELS.get(name, name))
    # An open enum: a number that this release of flyteidl2 has no name for still travels.
    accelerator.device_class = _DEVICE_CLASSES[device.device_class]  # type: ignore[assignment]
    if device.partition is not None:
        accelerator.partition_size = device.partition
    return accelerator


def pod_spec_from_resources(
    primary_container_name: str = PRIMARY_CONTAINER_DEFAULT_NAME,
    requests: Resources | None = None,
    limits: Resources | None = None,
    k8s_gpu_resource_key: str = "nvidia.com/gpu",
) -> "V1PodSpec":
    """A pod spec of one container with these requests and limits; a start for ``PodTemplate(pod_spec=...)``.

    :param primary_container_name: name of the container.
    :param requests: the least it needs; default the limits.
    :param limits: the most it may take; default the requests.
    :param k8s_gpu_resource_key: what the cluster calls its accelerators, such as ``"amd.com/gpu"``.
    :raises ValueError: a ``(least, most)`` value: here, requests and limits are apart already.
    """
    from kubernetes.client import (
        V1Container,
        V1EmptyDirVolumeSource,
        V1PodSpec,
        V1ResourceRequirements,
        V1Volume,
        V1VolumeMount,
    )

    least = _quantities("requests", requests, k8s_gpu_resource_key)
    most = _quantities("limits", limits, k8s_gpu_resource_key)
    if requests is None:
        least = dict(most)
    if limits is None:
        most = dict(least)
    needs = V1ResourceRequirements(requests=least or None, limits=most or None)
    container = V1Container(name=primary_container_name, resources=needs)
    spec = V1PodSpec(containers=[container])
    shared = _shared_memory(limits, requests)
    if shared is not None:
        memory = V1EmptyDirVolumeSource(medium="Memory", size_limit=shared or None)
        spec.volumes = [V1Volume(name=SHARED_MEMORY_VOLUME, empty_dir=memory)]
        container.volume_mounts = [V1VolumeMount(name=SHARED_MEMORY_VOLUME, mount_path=SHARED_MEMORY_PATH)]
    return spec


def _quantities(parameter: str, resources: Resources | None, gpu_key: str) -> dict[str, str]:
    """Kubernetes' names and quantities; texts, as the client's models take nothing else since release 37."""
    if resources is None:
        return {}
    found: dict[str, Any] = {
        "cpu": resources.cpu,
        "memory": resources.memory,
        "ephemeral-storage": resources.disk,
    }
    for name in ("cpu", "memory"):
        if isinstance(found[name], tuple):
            raise ValueError(
                f"pod_spec_from_resources: {parameter} has {name}={found[name]!r}; give the least to requests and the "
                "most to limits"
            )
    device = resources.get_device()
    if device is not None:
        found[gpu_key] = device.quantity
    return {name: str(value) for name, value in found.items() if value is not None}


def _shared_memory(*several: Resources | None) -> str | None:
    sizes = [one.get_shared_memory() for one in several if one is not None]
    return next((size for size in sizes if size is not None), None)
