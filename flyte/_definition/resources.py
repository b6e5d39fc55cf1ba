"""What a task asks of the machine it runs on: processors, memory, accelerators, disk, shared memory.

Declared here and checked at once. A run in worker processes keeps to cores and memory, a run in one process to nothing.
`_wire.resources` says the same to a control plane.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .devices import (
    AMD_GPU,
    APPLE_SILICON,
    GPU,
    HABANA_GAUDI,
    TPU,
    Accelerators,
    Device,
    DeviceClass,
    Neuron,
    accelerator_spelling,
    device_of,
)

__all__ = [
    "AMD_GPU",
    "APPLE_SILICON",
    "Accelerators",
    "CPUBaseType",
    "Device",
    "DeviceClass",
    "GPU",
    "HABANA_GAUDI",
    "Neuron",
    "Resources",
    "TPU",
]

CPUBaseType: TypeAlias = int | float | str

# The grammar of a Kubernetes quantity (apimachinery, api/resource); a sign is left out, as nothing here is negative.
# A pattern here and below is a text: `re` compiles it on first use, which most programs never come to.
_QUANTITY = r"(\d+(?:\.\d*)?|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?"
_FACTORS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{unit}i": float(1024**power) for power, unit in enumerate("KMGTPE", start=1)
}


@dataclass(frozen=True, slots=True)
class Resources:
    """What a task asks of its machine; what is None is left to the platform.

    :param cpu: cores: a number (``1``, ``0.5``), a Kubernetes quantity (``"500m"``), or ``(least, most)``.
    :param memory: bytes as a Kubernetes quantity (``"512Mi"``, ``"2G"``), or ``(least, most)``.
    :param gpu: a count of any GPU, a name and count (``"T4:1"``), or a :class:`flyte.Device` made by
        :func:`flyte.GPU`, :func:`flyte.TPU` and the like.
    :param disk: ephemeral disk, as a quantity.
    :param shm: size of ``/dev/shm`` as a quantity, or ``"auto"`` for as much as the machine gives.
    :raises TypeError: a value of the wrong type.
    :raises ValueError: negative, not a quantity, an unknown accelerator, a tuple that is not ``(least, most)``.
    """

    cpu: CPUBaseType | tuple[CPUBaseType, CPUBaseType] | None = None
    memory: str | tuple[str, str] | None = None
    gpu: Accelerators | int | Device | None = None
    disk: str | None = None
    shm: str | Literal["auto"] | None = None

    def __post_init__(self) -> None:
        if self.cpu is not None:
            _check_range("cpu", self.cpu, _check_cpu)
        if self.memory is not None:
            _check_range("memory", self.memory, _check_bytes)
        if self.gpu is not None:
            self._check_gpu()
        if self.disk is not None:
            _check_bytes("disk", self.disk)
        if self.shm is not None and self.shm != "auto":
            _check_bytes("shm", self.shm)

    def _check_gpu(self) -> None:
        gpu = self.gpu
        if isinstance(gpu, Device):
            return
        if isinstance(gpu, str):
            object.__setattr__(self, "gpu", accelerator_spelling(gpu))
        elif not isinstance(gpu, int) or isinstance(gpu, bool):
            raise TypeError(
                f"Resources: gpu takes a count, a name and count such as 'T4:1', or a flyte.Device, got {gpu!r}"
            )
        elif gpu < 0:
            raise ValueError(f"Resources: gpu={gpu} is negative; ask for 0 or more")

    def cpu_range(self) -> tuple[float, float] | None:
        """Cores: the least that is needed, and the most that may be used; None if not asked for."""
        return _range_of("cpu", self.cpu, _check_cpu) if self.cpu is not None else None

    def memory_range(self) -> tuple[int, int] | None:
        """Bytes of memory: the least that is needed, and the most that may be used; None if not asked for."""
        if self.memory is None:
            return None
        least, most = _range_of("memory", self.memory, _check_bytes)
        return int(least), int(most)

    def get_device(self) -> Device | None:
        """The accelerator asked for, whichever way it was written; None if there is none."""
        if self.gpu is None or isinstance(self.gpu, Device):
            return self.gpu
        if isinstance(self.gpu, str):
            return device_of(self.gpu)
        return Device(self.gpu, "GPU") if self.gpu else None

    def get_shared_memory(self) -> str | None:
        """Size of ``/dev/shm``: a quantity, ``""`` for as much as the machine gives, None if not asked for."""
        return "" if self.shm == "auto" else self.shm


def _check_range(parameter: str, value: object, check_one: Callable[[str, object], float]) -> None:
    if not isinstance(value, tuple):
        check_one(parameter, value)
        return
    if len(value) != 2:
        raise ValueError(f"Resources: {parameter}={value!r} has {len(value)} parts; write (least, most)")
    least, most = check_one(parameter, value[0]), check_one(parameter, value[1])
    if least > most:
        raise ValueError(f"Resources: {parameter}={value!r} asks for at least more than at most; swap the two")


def _range_of(parameter: str, value: object, check_one: Callable[[str, object], float]) -> tuple[float, float]:
    least, most = value if isinstance(value, tuple) else (value, value)
    return check_one(parameter, least), check_one(parameter, most)


def _check_cpu(parameter: str, value: object) -> float:
    if isinstance(value, str):
        return _parse(parameter, value, "such as '2', '0.5' or '500m'")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"Resources: {parameter} takes a number of cores or a text such as '500m', got {value!r}")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"Resources: {parameter}={value!r} is not a number of cores; ask for 0 or more")
    return value


def _check_bytes(parameter: str, value: object) -> float:
    if not isinstance(value, str):
        hint = f"; write '{value}' for bytes, or a unit" if isinstance(value, int) else ""
        raise TypeError(f"Resources: {parameter} takes a text such as '512Mi', '1Gi' or '2G', got {value!r}{hint}")
    size = _parse(parameter, value, "such as '512Mi', '1Gi' or '2G'")
    if value[-1] in "num":
        raise ValueError(
            f"Resources: {parameter}={value!r} is a fraction of a byte; write '{value[:-1]}M' or '{value[:-1]}Mi'"
        )
    return size


def _parse(parameter: str, text: str, examples: str) -> float:
    found = re.fullmatch(_QUANTITY, text, re.ASCII)
    if found is None:
        raise ValueError(
            f"Resources: {parameter}={text!r} is not a Kubernetes quantity{_nearest_quantity(text)}; "
            f"write a number with a unit, {examples}"
        )
    number, suffix = found[1], found[2] or ""
    return float(number) * _FACTORS[suffix] if suffix in _FACTORS else float(number + suffix)


def _nearest_quantity(text: str) -> str:
    # "1Gib", "1gb", "1 GB", "1024kB": the number is right and the unit is nearly so.
    found = re.fullmatch(r"\s*([\d.]+)\s*([kmgtpe])(i?)b?(?:ytes?)?\s*", text, re.IGNORECASE)
    if found is None:
        return ""
    unit = found[2].upper() + "i" if found[3] else {"K": "k"}.get(found[2].upper(), found[2].upper())
    near = found[1] + unit
    return f"; did you mean {near!r}?" if re.fullmatch(_QUANTITY, near, re.ASCII) else ""
