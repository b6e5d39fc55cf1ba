"""Resources in the words of flyteidl2 and Kubernetes."""

import json
import subprocess
import sys
from typing import get_args

import pytest
from flyteidl2.core import tasks_pb2
from hypothesis import given
from hypothesis import strategies as st

import flyte
from flyte import Resources
from flyte._definition.devices import Accelerators
from flyte.extend import get_proto_extended_resources, get_proto_resources, pod_spec_from_resources

NAMES = tasks_pb2.Resources


def entries(several):
    return [(NAMES.ResourceName.Name(entry.name), entry.value) for entry in several]


def test_none():
    """PR1: None gives None."""
    assert get_proto_resources(None) is None
    assert get_proto_extended_resources(None) is None


def test_nothing_set():
    """PR2: nothing asked for gives None."""
    assert get_proto_resources(Resources()) is None
    assert get_proto_extended_resources(Resources()) is None
    assert get_proto_resources(Resources(gpu=0)) is None


def test_message_type():
    """PR3: the message of the protocol."""
    message = get_proto_resources(Resources(cpu=1))
    assert isinstance(message, tasks_pb2.Resources)
    assert message.requests
    assert not message.limits


def test_requests_and_limits():
    """PR4: a tuple is requests and limits, a single value requests only."""
    message = get_proto_resources(Resources(cpu=(1, 2), memory=("1Gi", "2Gi")))
    assert entries(message.requests) == [("CPU", "1"), ("MEMORY", "1Gi")]
    assert entries(message.limits) == [("CPU", "2"), ("MEMORY", "2Gi")]
    mixed = get_proto_resources(Resources(cpu=(1, 2), memory="1Gi"))
    assert entries(mixed.requests) == [("CPU", "1"), ("MEMORY", "1Gi")]
    assert entries(mixed.limits) == [("CPU", "2")]


@pytest.mark.parametrize(("cpu", "text"), [(1, "1"), (0.5, "0.5"), ("500m", "500m"), ("2", "2"), (0, "0")])
def test_values_are_texts(cpu, text):
    """PR5: CPU, MEMORY, GPU, EPHEMERAL_STORAGE with values as texts."""
    message = get_proto_resources(Resources(cpu=cpu, memory="1Gi", gpu=2, disk="5Gi"))
    assert entries(message.requests) == [("CPU", text), ("MEMORY", "1Gi"), ("GPU", "2"), ("EPHEMERAL_STORAGE", "5Gi")]


@pytest.mark.parametrize(
    ("gpu", "count"),
    [
        ("T4:2", "2"),
        (3, "3"),
        (flyte.TPU("V5P", "2x2x1"), "1"),
        (flyte.GPU("A100", 1, "1g.5gb"), "1"),
        ("Trn1:16", "16"),
    ],
)
def test_gpu_is_a_count(gpu, count):
    """PR6: of an accelerator there is the count only."""
    assert entries(get_proto_resources(Resources(gpu=gpu)).requests) == [("GPU", count)]


def test_disk():
    """PR7: disk is EPHEMERAL_STORAGE."""
    assert entries(get_proto_resources(Resources(disk="10Gi")).requests) == [("EPHEMERAL_STORAGE", "10Gi")]


def test_shared_memory():
    """PR8: shm is no entry, but shared memory at /dev/shm."""
    assert get_proto_resources(Resources(shm="auto")) is None
    auto = get_proto_extended_resources(Resources(shm="auto")).shared_memory
    assert (auto.mount_path, auto.mount_name, auto.size_limit) == ("/dev/shm", "flyte-shm", "")
    assert get_proto_extended_resources(Resources(shm="1Gi")).shared_memory.size_limit == "1Gi"
    assert not get_proto_extended_resources(Resources(gpu="T4:1")).HasField("shared_memory")


# What flyte 2.12.1 sends for each, observed by running it.
ON_THE_WIRE = {
    "A2:1": ("A2", "NVIDIA_GPU"),
    "A10:1": ("nvidia-a10", "NVIDIA_GPU"),
    "A10G:1": ("nvidia-a10g", "NVIDIA_GPU"),
    "A100:1": ("nvidia-tesla-a100", "NVIDIA_GPU"),
    "A100_80G:1": ("nvidia-a100-80gb", "NVIDIA_GPU"),
    "A100 80G:1": ("nvidia-a100-80gb", "NVIDIA_GPU"),
    "B200:1": ("B200", "NVIDIA_GPU"),
    "H100:1": ("nvidia-tesla-h100", "NVIDIA_GPU"),
    "H200:1": ("H200", "NVIDIA_GPU"),
    "L4:1": ("nvidia-l4", "NVIDIA_GPU"),
    "L40s:1": ("nvidia-l40s", "NVIDIA_GPU"),
    "V100:1": ("nvidia-tesla-v100", "NVIDIA_GPU"),
    "RTX_PRO_4500:1": ("nvidia-rtx-pro-4500", "NVIDIA_GPU"),
    "RTX_PRO_6000:1": ("nvidia-rtx-pro-6000", "NVIDIA_GPU"),
    "GB10:1": ("GB10", "NVIDIA_GPU"),
    "T4:1": ("nvidia-tesla-t4", "NVIDIA_GPU"),
    "T4 shared:1": ("T4 shared", "NVIDIA_GPU"),
    "Trn1:1": ("Trn1", "AMAZON_NEURON"),
    "Inf2:1": ("Inf2", "AMAZON_NEURON"),
    "MI300X:1": ("MI300X", "AMD_GPU"),
    "Gaudi1:1": ("Gaudi1", "HABANA_GAUDI"),
    "AppleSilicon": ("AppleSilicon", "APPLE_SILICON"),
}


@pytest.mark.parametrize("gpu", ON_THE_WIRE)
def test_device_names(gpu):
    """PR9: devices go by the labels of nodes."""
    accelerator = get_proto_extended_resources(Resources(gpu=gpu)).gpu_accelerator
    kind = tasks_pb2.GPUAccelerator.DeviceClass.Name(accelerator.device_class)
    assert (accelerator.device, kind) == ON_THE_WIRE[gpu]
    assert not accelerator.HasField("partition_size")


@pytest.mark.parametrize(
    ("device", "label", "partition", "kind"),
    [
        (flyte.GPU("A100", 1, "1g.5gb"), "nvidia-tesla-a100", "1g.5gb", "NVIDIA_GPU"),
        (flyte.TPU("V5E", "1x1"), "tpu-v5-lite-podslice", "1x1", "GOOGLE_TPU"),
        (flyte.TPU("V5P", "2x2x1"), "tpu-v5p-slice", "2x2x1", "GOOGLE_TPU"),
        (flyte.TPU("V6E", "2x2"), "tpu-v6e-slice", "2x2", "GOOGLE_TPU"),
    ],
)
def test_partitions(device, label, partition, kind):
    """PR9: the partition is carried."""
    accelerator = get_proto_extended_resources(Resources(gpu=device)).gpu_accelerator
    assert (accelerator.device, accelerator.partition_size) == (label, partition)
    assert tasks_pb2.GPUAccelerator.DeviceClass.Name(accelerator.device_class) == kind


def test_any_gpu_names_no_device():
    """PR6, PR9: a count of any GPU has no accelerator, and does not fail for want of a name."""
    assert get_proto_extended_resources(Resources(gpu=2)) is None
    assert get_proto_extended_resources(Resources(gpu=flyte.Device(2, "GPU"))) is None
    tpu = get_proto_extended_resources(Resources(gpu=flyte.Device(1, "TPU"))).gpu_accelerator
    assert (tpu.device, tpu.device_class) == ("", tasks_pb2.GPUAccelerator.GOOGLE_TPU)


@given(st.sampled_from(get_args(Accelerators)), st.sampled_from([None, "auto", "1Gi"]))
def test_messages_survive_the_wire(gpu, shm):
    """PR3, PR9: what is sent is what is read."""
    resources = Resources(cpu=(1, 2), gpu=gpu, shm=shm)
    for message in (get_proto_resources(resources), get_proto_extended_resources(resources)):
        assert type(message).FromString(message.SerializeToString()) == message


# Pods -----------------------------------------------------------------------------------------------------------------


def needs(**arguments):
    (container,) = pod_spec_from_resources(**arguments).containers
    return container.resources.requests or {}, container.resources.limits or {}


def test_pod_spec():
    """PS1: a real V1PodSpec of one container with the name given."""
    from kubernetes.client import V1PodSpec

    spec = pod_spec_from_resources("mine", Resources(cpu=1))
    assert isinstance(spec, V1PodSpec)
    assert [c.name for c in spec.containers] == ["mine"]


def test_pod_of_nothing():
    """PS2: with nothing, a container called primary without requests and limits."""
    (container,) = pod_spec_from_resources().containers
    assert container.name == "primary"
    assert needs() == ({}, {})
    assert needs(requests=Resources(), limits=Resources()) == ({}, {})


def test_pod_of_requests():
    """PS3: limits equal requests if only those are given."""
    expected = {"cpu": "1", "memory": "1Gi"}
    assert needs(requests=Resources(cpu=1, memory="1Gi")) == (expected, expected)


def test_pod_of_limits():
    """PS4: requests equal limits if only those are given."""
    expected = {"cpu": "2", "memory": "2Gi"}
    assert needs(limits=Resources(cpu=2, memory="2Gi")) == (expected, expected)


def test_pod_of_both():
    """PS5: both are kept as given; what is missing is not invented."""
    both = needs(requests=Resources(cpu="1"), limits=Resources(cpu="2", memory="2Gi"))
    assert both == ({"cpu": "1"}, {"cpu": "2", "memory": "2Gi"})


@pytest.mark.parametrize(
    ("gpu", "count"), [("A100:2", "2"), (2, "2"), (flyte.GPU("A100", 1, "1g.5gb"), "1"), (flyte.TPU("V5E", "2x2"), "1")]
)
@pytest.mark.parametrize("key", ["nvidia.com/gpu", "amd.com/gpu"])
def test_pod_gpu(gpu, count, key):
    """PS6: the count, as text, under the cluster's name for it."""
    assert needs(requests=Resources(gpu=gpu), k8s_gpu_resource_key=key) == ({key: count}, {key: count})
    assert needs(requests=Resources(gpu=0)) == ({}, {})


def test_pod_gpu_default_key():
    """PS6: it is NVIDIA's unless said otherwise."""
    assert needs(limits=Resources(gpu=1))[0] == {"nvidia.com/gpu": "1"}


def test_pod_disk_and_shared_memory():
    """PS7: disk is ephemeral-storage; shm a volume in memory at /dev/shm."""
    assert needs(requests=Resources(disk="5Gi", shm="auto"))[0] == {"ephemeral-storage": "5Gi"}
    for shm, size in (("auto", None), ("1Gi", "1Gi")):
        spec = pod_spec_from_resources(requests=Resources(shm=shm))
        (volume,), (mount,) = spec.volumes, spec.containers[0].volume_mounts
        assert volume.name == mount.name
        assert (volume.empty_dir.medium, volume.empty_dir.size_limit) == ("Memory", size)
        assert mount.mount_path == "/dev/shm"


@pytest.mark.parametrize("cpu", [1, 0.5, "1", "500m"])
def test_pod_quantities_are_texts(cpu):
    """PS8: whatever the type given, kubernetes 37 gets texts."""
    requests, limits = needs(requests=Resources(cpu=cpu, gpu=2), limits=Resources(cpu=cpu))
    assert requests["cpu"] == limits["cpu"] == str(cpu)
    assert all(isinstance(value, str) for value in [*requests.values(), *limits.values()])


@pytest.mark.parametrize("parameter", ["requests", "limits"])
@pytest.mark.parametrize(("field", "value"), [("cpu", (1, 2)), ("memory", ("1Gi", "2Gi"))])
def test_pod_of_a_tuple(parameter, field, value):
    """PS9: (least, most) makes no sense here, and the message names where."""
    with pytest.raises(ValueError, match=f"{parameter} has {field}="):
        pod_spec_from_resources(**{parameter: Resources(**{field: value})})


def test_pod_as_json():
    """PS10: the kubernetes client writes it as plain JSON."""
    from kubernetes.client import ApiClient

    spec = pod_spec_from_resources(requests=Resources(cpu=1, memory="1Gi", gpu="T4:1", disk="1Gi", shm="1Gi"))
    plain = json.loads(json.dumps(ApiClient().sanitize_for_serialization(spec)))
    quantities = {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1", "ephemeral-storage": "1Gi"}
    assert plain == {
        "containers": [
            {
                "name": "primary",
                "resources": {"requests": quantities, "limits": quantities},
                "volumeMounts": [{"name": "flyte-shm", "mountPath": "/dev/shm"}],
            }
        ],
        "volumes": [{"name": "flyte-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
    }


def test_pod_in_a_template():
    """PS11: it is a start for a PodTemplate of a task."""
    template = flyte.PodTemplate(pod_spec=pod_spec_from_resources(requests=Resources(cpu=1)))
    env = flyte.TaskEnvironment("pods", pod_template=template)

    @env.task
    async def work() -> int:
        return 1

    assert work.pod_template.pod_spec.containers[0].resources.requests == {"cpu": "1"}
    assert flyte.run(work).result == 1


def test_each_needs_its_own_package_only():
    """M4: messages need no kubernetes, pods no flyteidl2; importing flyte.extend needs neither."""
    program = (
        "import sys; sys.modules[{blocked!r}] = None\n"
        "import flyte\n"
        "from flyte.extend import get_proto_resources, pod_spec_from_resources\n"
        "assert 'google.protobuf' not in sys.modules\n"
        "print({call})"
    )
    for blocked, call in (
        ("kubernetes", "len(get_proto_resources(flyte.Resources(cpu=1)).requests)"),
        ("flyteidl2", "len(pod_spec_from_resources(requests=flyte.Resources(cpu=1)).containers)"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program.format(blocked=blocked, call=call)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.stdout.strip(), done.stderr) == ("1", "")
