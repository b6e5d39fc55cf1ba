"""Accelerators that a task can ask for: their names, the sizes they can be split into, and how many there can be.

`resources` hands these on. The names are those of the published API (``inspect.signature`` of flyte 2.12.1 and
2.0.0b33); what a control plane calls them is the wire's business, not this file's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

DeviceClass: TypeAlias = Literal["GPU", "TPU", "NEURON", "AMD_GPU", "HABANA_GAUDI", "APPLE_SILICON"]

GPUType: TypeAlias = Literal[
    "A2", "A10", "A10G", "A100", "A100_80G", "B200", "H100", "H200", "L4", "L40s", "T4", "V100",
    "RTX_PRO_4500", "RTX_PRO_6000", "GB10",
    "T4 shared", "L4 shared", "A10G shared", "A10 shared", "L40S shared",
]  # fmt: skip
GPUQuantity: TypeAlias = Literal[1, 2, 3, 4, 5, 6, 7, 8]
A100Partition: TypeAlias = Literal["1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"]
A100_80GPartition: TypeAlias = Literal["1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"]
H100Partition: TypeAlias = Literal["1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"]
H200Partition: TypeAlias = Literal["1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"]
RTXPartition: TypeAlias = Literal["1g.24gb", "2g.48gb", "4g.96gb"]
GPUPartition: TypeAlias = A100Partition | A100_80GPartition | H100Partition | H200Partition | RTXPartition

TPUType: TypeAlias = Literal["V5E", "V5P", "V6E"]
V5EPartition: TypeAlias = Literal["1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16"]
V5PPartition: TypeAlias = Literal[
    "2x2x1", "2x2x2", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16", "16x16x16", "16x16x24"
]
TPUPartition: TypeAlias = V5EPartition | V5PPartition

NeuronType: TypeAlias = Literal["Inf1", "Inf2", "Trn1", "Trn1n", "Trn2", "Trn2u"]
AMD_GPUType: TypeAlias = Literal[
    "MI100", "MI210", "MI250", "MI250X", "MI300A", "MI300X", "MI325X", "MI350X", "MI355X"
]  # fmt: skip
HABANA_GAUDIType: TypeAlias = Literal["Gaudi1"]

# Spelled out, because a type checker completes and checks only what it can read.
Accelerators: TypeAlias = Literal[
    "A2:1",
    "A10:1", "A10:2", "A10:3", "A10:4", "A10:5", "A10:6", "A10:7", "A10:8",
    "A10G:1", "A10G:2", "A10G:3", "A10G:4", "A10G:5", "A10G:6", "A10G:7", "A10G:8",
    "A100:1", "A100:2", "A100:3", "A100:4", "A100:5", "A100:6", "A100:7", "A100:8",
    "A100_80G:1", "A100_80G:2", "A100_80G:3", "A100_80G:4", "A100_80G:5", "A100_80G:6", "A100_80G:7", "A100_80G:8",
    "A100 80G:1", "A100 80G:2", "A100 80G:3", "A100 80G:4", "A100 80G:5", "A100 80G:6", "A100 80G:7", "A100 80G:8",
    "B200:1", "B200:2", "B200:3", "B200:4", "B200:5", "B200:6", "B200:7", "B200:8",
    "H100:1", "H100:2", "H100:3", "H100:4", "H100:5", "H100:6", "H100:7", "H100:8",
    "H200:1", "H200:2", "H200:3", "H200:4", "H200:5", "H200:6", "H200:7", "H200:8",
    "L4:1", "L4:2", "L4:3", "L4:4", "L4:5", "L4:6", "L4:7", "L4:8",
    "L40s:1", "L40s:2", "L40s:3", "L40s:4", "L40s:5", "L40s:6", "L40s:7", "L40s:8",
    "V100:1", "V100:2", "V100:3", "V100:4", "V100:5", "V100:6", "V100:7", "V100:8",
    "RTX_PRO_4500:1", "RTX PRO 4500:1",
    "RTX_PRO_6000:1", "RTX_PRO_6000:2", "RTX PRO 6000:1", "RTX PRO 6000:2",
    "GB10:1",
    "T4:1", "T4:2", "T4:3", "T4:4", "T4:5", "T4:6", "T4:7", "T4:8",
    "T4 shared:1", "L4 shared:1", "A10G shared:1", "A10 shared:1", "L40S shared:1",
    "Trn1:1", "Trn1:4", "Trn1:8", "Trn1:16",
    "Trn1n:1", "Trn1n:4", "Trn1n:8", "Trn1n:16",
    "Trn2:1", "Trn2:4", "Trn2:8", "Trn2:16",
    "Trn2u:1", "Trn2u:4", "Trn2u:8", "Trn2u:16",
    "Inf1:1", "Inf1:2", "Inf1:3", "Inf1:4", "Inf1:5", "Inf1:6", "Inf1:7", "Inf1:8",
    "Inf1:9", "Inf1:10", "Inf1:11", "Inf1:12", "Inf1:13", "Inf1:14", "Inf1:15", "Inf1:16",
    "Inf2:1", "Inf2:2", "Inf2:3", "Inf2:4", "Inf2:5", "Inf2:6",
    "Inf2:7", "Inf2:8", "Inf2:9", "Inf2:10", "Inf2:11", "Inf2:12",
    "MI100:1", "MI210:1", "MI250:1", "MI250X:1", "MI300A:1", "MI300X:1", "MI325X:1", "MI350X:1", "MI355X:1",
    "Gaudi1:1",
    "AppleSilicon", "AppleSilicon:1",
]  # fmt: skip

_NAMES: dict[str, tuple[str, ...]] = {
    "GPU": get_args(GPUType),
    "TPU": get_args(TPUType),
    "NEURON": get_args(NeuronType),
    "AMD_GPU": get_args(AMD_GPUType),
    "HABANA_GAUDI": get_args(HABANA_GAUDIType),
    "APPLE_SILICON": ("AppleSilicon",),
}
_PARTITIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("GPU", "A100"): get_args(A100Partition),
    ("GPU", "A100_80G"): get_args(A100_80GPartition),
    ("GPU", "H100"): get_args(H100Partition),
    ("GPU", "H200"): get_args(H200Partition),
    ("GPU", "RTX_PRO_6000"): get_args(RTXPartition),
    ("TPU", "V5E"): get_args(V5EPartition),
    ("TPU", "V5P"): get_args(V5PPartition),
    ("TPU", "V6E"): get_args(V5EPartition),
}
_CLASS_OF: dict[str, DeviceClass] = {name: kind for kind, names in _NAMES.items() for name in names}  # type: ignore[misc]
_ACCELERATORS = frozenset(get_args(Accelerators))


def _current_spelling(device: str) -> str:
    """``A100 80G``, as 2.0 wrote it, is ``A100_80G`` today; other names stay as they are."""
    return device if device.endswith(" shared") else device.replace(" ", "_")


def _nearest(name: object, names: Iterable[str]) -> str:
    """A hint naming the entry of ``names`` that was probably meant, whatever its case; half of it may be wrong."""
    from difflib import get_close_matches

    known = {one.lower(): one for one in names}
    close = get_close_matches(str(name).lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {known[close[0]]!r}?" if close else ""


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator, and how many of it.

    :func:`GPU`, :func:`TPU` and the like make one and check the device's name; made directly, a device or slice that a
    cluster knows and this list does not is let through.

    :param quantity: how many, at least 1.
    :param device_class: what kind of accelerator.
    :param device: its name; None for whatever the cluster has of that kind.
    :param partition: the slice of a GPU, such as ``"1g.5gb"``, or the topology of a TPU, such as ``"2x2x1"``.
    :raises TypeError: ``quantity`` is not a whole number.
    :raises ValueError: ``quantity`` is below 1, the class is unknown, or the device is known to have other partitions.
    """

    quantity: int
    device_class: DeviceClass
    device: str | None = None
    partition: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.device_class, str) or self.device_class not in _NAMES:
            raise ValueError(
                f"Device: device_class={self.device_class!r} is not known{_nearest(self.device_class, _NAMES)}; "
                f"use one of {', '.join(_NAMES)}"
            )
        if not isinstance(self.quantity, int) or isinstance(self.quantity, bool):
            raise TypeError(f"{self.device_class}: quantity takes a whole number, got {self.quantity!r}")
        if self.quantity < 1:
            raise ValueError(
                f"{self.device_class}: quantity={self.quantity} is not allowed; ask for 1 or more, or leave it out"
            )
        if self.device is not None:
            if not isinstance(self.device, str) or not self.device:
                raise TypeError(f"{self.device_class}: device takes a name, got {self.device!r}")
            spelling = _current_spelling(self.device)
            if spelling in _NAMES[self.device_class]:
                object.__setattr__(self, "device", spelling)
        if self.partition is not None:
            _check_partition(self.device_class, self.device, self.partition)


def _check_partition(device_class: str, device: str | None, partition: str) -> None:
    if not isinstance(partition, str) or not partition:
        raise TypeError(f"{device_class}: partition takes a name such as '1g.5gb', got {partition!r}")
    if device is None:
        raise ValueError(f"{device_class}: partition={partition!r} needs a device; name the device to split")
    valid = _PARTITIONS.get((device_class, device))
    if valid is None:
        return
    if partition not in valid:
        raise ValueError(
            f"{device_class}: partition={partition!r} is not one of a {device}{_nearest(partition, valid)}; "
            f"use one of {', '.join(valid)}"
        )


def _known(function: str, device_class: DeviceClass, device: str) -> str:
    names = _NAMES[device_class]
    if not isinstance(device, str):
        raise TypeError(f"{function}: device takes a name such as {names[0]!r}, got {device!r}")
    spelling = _current_spelling(device)
    if spelling not in names:
        raise ValueError(
            f"{function}: device={device!r} is not known{_nearest(device, names)}; use one of {', '.join(names)}"
        )
    return spelling


def GPU(device: GPUType, quantity: GPUQuantity, partition: GPUPartition | None = None) -> Device:
    """An NVIDIA GPU.

    :param device: its name; the older spelling with spaces (``A100 80G``) means the same.
    :param quantity: 1 to 8.
    :param partition: a slice of it (multi-instance GPU), for A100, H100, H200 and RTX PRO 6000.
    :raises ValueError: an unknown device, a quantity out of range, or a slice that this device does not have.
    """
    name = _known("GPU", "GPU", device)
    if isinstance(quantity, int) and not isinstance(quantity, bool) and quantity not in get_args(GPUQuantity):
        raise ValueError(f"GPU: quantity={quantity} is out of range for {name}; one machine has 1 to 8 of them")
    if partition is not None and ("GPU", name) not in _PARTITIONS:
        raise ValueError(
            f"GPU: partition={partition!r} is not possible, no slices of a {name} are known; leave partition out, or "
            "make a flyte.Device of what your cluster has"
        )
    return Device(quantity, "GPU", name, partition)


def TPU(device: TPUType, partition: TPUPartition | None = None) -> Device:
    """A Google TPU slice; its size is the topology in ``partition``.

    :raises ValueError: an unknown device, or a topology that it does not have.
    """
    return Device(1, "TPU", _known("TPU", "TPU", device), partition)


def Neuron(device: NeuronType) -> Device:
    """An AWS Inferentia or Trainium chip.

    :raises ValueError: an unknown device.
    """
    return Device(1, "NEURON", _known("Neuron", "NEURON", device))


def AMD_GPU(device: AMD_GPUType) -> Device:
    """An AMD Instinct GPU.

    :raises ValueError: an unknown device.
    """
    return Device(1, "AMD_GPU", _known("AMD_GPU", "AMD_GPU", device))


def HABANA_GAUDI(device: HABANA_GAUDIType) -> Device:
    """An Intel Gaudi accelerator.

    :raises ValueError: an unknown device.
    """
    return Device(1, "HABANA_GAUDI", _known("HABANA_GAUDI", "HABANA_GAUDI", device))


def APPLE_SILICON() -> Device:
    """The GPU of an Apple silicon machine."""
    return Device(1, "APPLE_SILICON", "AppleSilicon")


def accelerator_spelling(request: str) -> str:
    """``request``, such as ``"T4:1"`` or ``"A100 80G:2"``, in the current spelling.

    :raises ValueError: not a known accelerator and count; the message names the nearest.
    """
    name, _, count = request.rpartition(":")
    spelling = f"{_current_spelling(name)}:{count}" if name else request
    if spelling in _ACCELERATORS:
        return spelling
    bare = _current_spelling(request)
    if bare in _CLASS_OF:
        raise ValueError(f"Resources: gpu={request!r} does not say how many; write {bare + ':1'!r}")
    if request.isascii() and request.isdigit():
        raise ValueError(f"Resources: gpu={request!r} is text; write gpu={int(request)} for any GPU, or 'T4:{request}'")
    counts = [a.rpartition(":")[2] for a in get_args(Accelerators) if a.rpartition(":")[0] == _current_spelling(name)]
    if counts:
        raise ValueError(
            f"Resources: gpu={request!r} asks for a number of {_current_spelling(name)} that no machine has; "
            f"use one of {', '.join(counts)}"
        )
    current = [a for a in get_args(Accelerators) if a == spelling_of(a)]
    names = sorted({a.rpartition(":")[0] for a in current if ":" in a})
    raise ValueError(
        f"Resources: gpu={request!r} is not known{_nearest(request, current)}; "
        f"use 'NAME:COUNT' with a name of {', '.join(names)}"
    )


def spelling_of(accelerator: str) -> str:
    """An accelerator of the list in its current spelling."""
    name, separator, count = accelerator.rpartition(":")
    return f"{_current_spelling(name)}:{count}" if separator else accelerator


def device_of(accelerator: str) -> Device:
    """The device that a valid accelerator string such as ``"T4:2"`` stands for."""
    name, _, count = accelerator.rpartition(":")
    if not name:
        name, count = accelerator, "1"
    return Device(int(count), _CLASS_OF[name], name)
