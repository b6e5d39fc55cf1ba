"""Resources and devices, and their form on the wire."""

import flyte
from flyte.extend import get_proto_extended_resources, get_proto_resources
from transcript import accepted, attempt, show

R = flyte.Resources
given = {
    "nothing": dict(), "cpu int": dict(cpu=1), "cpu float": dict(cpu=0.5), "cpu text": dict(cpu="500m"),
    "cpu range": dict(cpu=(1, 2)), "cpu texts": dict(cpu=("1", "4")), "memory": dict(memory="1Gi"),
    "memory range": dict(memory=("1Gi", "2Gi")), "gpu int": dict(gpu=2), "gpu text": dict(gpu="T4:2"),
    "gpu A100": dict(gpu="A100:1"), "gpu 80": dict(gpu="A100_80G:4"), "disk": dict(disk="10Gi"), "shm": dict(shm="auto"),
    "shm size": dict(shm="2Gi"), "all": dict(cpu=4, memory="16Gi", gpu="H100:8", disk="100Gi", shm="auto"),
    "device": dict(gpu=flyte.GPU("A100", 2)), "partition": dict(gpu=flyte.GPU("A100", 1, "1g.5gb")),
    "tpu": dict(gpu=flyte.TPU("V5P", "2x2x1")), "neuron text": dict(gpu="Trn1:4"), "amd": dict(gpu="MI300X:1"),
    "gaudi": dict(gpu="Gaudi1:1"), "L40s": dict(gpu="L40s:1"),
    "negative cpu": dict(cpu=-1), "negative range": dict(cpu=(-1, 2)), "three": dict(cpu=(1, 2, 3)),
    "unknown gpu": dict(gpu="Z9:1"), "negative gpu": dict(gpu=-1), "memory int": dict(memory=5), "cpu list": dict(cpu=[1, 2]),
    "memory text": dict(memory="lots"), "cpu bad": dict(cpu="lots"), "memory three": dict(memory=("1Gi", "2Gi", "3Gi")),
    "gpu zero": dict(gpu=0), "backwards": dict(cpu=(4, 2)),
}
for label, fields in given.items():
    value = attempt(label, lambda: R(**fields))
    if value is None:
        continue
    attempt("  device", lambda: value.get_device())
    attempt("  shared", lambda: value.get_shared_memory())
    attempt("  wire", lambda: str(get_proto_resources(value)))
    attempt("  extended", lambda: str(get_proto_extended_resources(value)))
show("None", get_proto_resources(None))
for label, make in {
    "GPU": lambda: flyte.GPU("T4", 1), "GPU keyword": lambda: flyte.GPU(device="H100", quantity=8),
    "TPU": lambda: flyte.TPU("V5E", "2x2"), "TPU bare": lambda: flyte.TPU("V6E"), "Neuron": lambda: flyte.Neuron("Inf2"),
    "AMD": lambda: flyte.AMD_GPU("MI300X"), "Gaudi": lambda: flyte.HABANA_GAUDI("Gaudi1"),
    "Apple": lambda: flyte.APPLE_SILICON(), "unknown": lambda: flyte.GPU("Z9", 1),
    "bad partition": lambda: flyte.GPU("A100", 1, "9g.9gb"), "zero": lambda: flyte.GPU("T4", 0),
    "Device": lambda: flyte.Device(1, "GPU", "T4"), "bad TPU": lambda: flyte.TPU("V1"),
    "bad Neuron": lambda: flyte.Neuron("X"), "H100 partition": lambda: flyte.GPU("H100", 1, "1g.10gb"),
    "Device 0": lambda: flyte.Device(0, "GPU"), "Device class": lambda: flyte.Device(1, "XPU"),
}.items():
    attempt(label, make)
