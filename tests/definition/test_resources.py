"""Resources and devices: what is accepted, what is refused and how it says so."""

import pickle
import re
import subprocess
import sys
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flyte
from flyte import AMD_GPU, APPLE_SILICON, GPU, HABANA_GAUDI, TPU, Device, Neuron, Resources
from flyte._definition.devices import Accelerators


def test_all_parts_in_the_documented_order():
    """X2: the five parameters, positional and by keyword."""
    device = GPU("T4", 1)
    assert Resources(1, "1Gi", device, "10Gi", "auto") == Resources(
        cpu=1, memory="1Gi", gpu=device, disk="10Gi", shm="auto"
    )
    assert Resources() == Resources(cpu=None, memory=None, gpu=None, disk=None, shm=None)


@pytest.mark.parametrize("cpu", [0, 1, 0.5, "1", "500m", "0.5", "1e3", (1, 2), ("500m", 1), (0.5, "1")])
def test_cpu(cpu):
    """X2: cpu as a number, a quantity or (least, most)."""
    assert Resources(cpu=cpu).cpu == cpu


@pytest.mark.parametrize(
    "memory", ["1Gi", "512Mi", "2G", "100k", "1000", "1.5Gi", "1e9", ("1Gi", "2Gi"), ("1G", "1Gi")]
)
def test_memory(memory):
    """X2, F26: memory as a quantity or (least, most)."""
    assert Resources(memory=memory).memory == memory


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cpu": -1}, ValueError, "cpu=-1 is not a number of cores; ask for 0 or more"),
        ({"cpu": -0.5}, ValueError, "cpu=-0.5"),
        ({"cpu": float("nan")}, ValueError, "cpu=nan"),
        ({"cpu": float("inf")}, ValueError, "cpu=inf"),
        ({"cpu": True}, TypeError, "cpu takes a number of cores or a text such as '500m', got True"),
        ({"cpu": "abc"}, ValueError, "cpu='abc' is not a Kubernetes quantity"),
        ({"cpu": "-1"}, ValueError, "cpu='-1' is not a Kubernetes quantity"),
        ({"cpu": ""}, ValueError, "cpu='' is not a Kubernetes quantity"),
        ({"cpu": (1, 2, 3)}, ValueError, "cpu=(1, 2, 3) has 3 parts; write (least, most)"),
        ({"cpu": (1,)}, ValueError, "cpu=(1,) has 1 parts"),
        ({"cpu": (2, 1)}, ValueError, "cpu=(2, 1) asks for at least more than at most; swap the two"),
        ({"cpu": ("1", "500m")}, ValueError, "asks for at least more than at most"),
        ({"cpu": (1, -2)}, ValueError, "cpu=-2"),
        ({"cpu": [1, 2]}, TypeError, "cpu takes a number of cores"),
        ({"memory": "1Gib"}, ValueError, "memory='1Gib' is not a Kubernetes quantity; did you mean '1Gi'?"),
        ({"memory": "1GB"}, ValueError, "did you mean '1G'?"),
        ({"memory": "512 mb"}, ValueError, "did you mean '512M'?"),
        ({"memory": "64KB"}, ValueError, "did you mean '64k'?"),
        ({"memory": "2gib"}, ValueError, "did you mean '2Gi'?"),
        ({"memory": "lots"}, ValueError, "write a number with a unit, such as '512Mi', '1Gi' or '2G'"),
        ({"memory": "512m"}, ValueError, "is a fraction of a byte; write '512M' or '512Mi'"),
        ({"memory": 1024}, TypeError, "memory takes a text such as '512Mi', '1Gi' or '2G', got 1024; write '1024'"),
        ({"memory": ("1Gi",)}, ValueError, "memory=('1Gi',) has 1 parts"),
        ({"memory": ("2Gi", "1Gi")}, ValueError, "asks for at least more than at most"),
        ({"memory": ["1Gi", "2Gi"]}, TypeError, "memory takes a text"),
        ({"gpu": -1}, ValueError, "gpu=-1 is negative; ask for 0 or more"),
        ({"gpu": True}, TypeError, "gpu takes a count"),
        ({"gpu": 1.5}, TypeError, "gpu takes a count"),
        ({"gpu": "T5:1"}, ValueError, "gpu='T5:1' is not known; did you mean 'T4:1'?"),
        ({"gpu": "h100:1"}, ValueError, "did you mean 'H100:1'?"),
        ({"gpu": "T4"}, ValueError, "gpu='T4' does not say how many; write 'T4:1'"),
        ({"gpu": "A100 80G"}, ValueError, "write 'A100_80G:1'"),
        ({"gpu": "2"}, ValueError, "gpu='2' is text; write gpu=2"),
        ({"gpu": "T4:9"}, ValueError, "gpu='T4:9' asks for a number of T4 that no machine has; use one of 1, 2"),
        ({"gpu": "Trn1:2"}, ValueError, "use one of 1, 4, 8, 16"),
        ({"gpu": ""}, ValueError, "gpu=''"),
        ({"disk": 10}, TypeError, "disk takes a text"),
        ({"disk": "10Gib"}, ValueError, "disk='10Gib' is not a Kubernetes quantity; did you mean '10Gi'?"),
        ({"shm": 5}, TypeError, "shm takes a text"),
        ({"shm": "Auto"}, ValueError, "shm='Auto' is not a Kubernetes quantity"),
    ],
)
def test_refused(arguments, error, message):
    """X2: negative, wrong type, tuple length, unknown accelerator, malformed quantity; parameter, value and remedy."""
    with pytest.raises(error, match=re.escape(message)):
        Resources(**arguments)


@pytest.mark.parametrize(
    ("gpu", "device"),
    [
        (None, None),
        (0, None),
        (3, Device(3, "GPU")),
        ("T4:2", Device(2, "GPU", "T4")),
        ("A100_80G:1", Device(1, "GPU", "A100_80G")),
        ("L40S shared:1", Device(1, "GPU", "L40S shared")),
        ("Trn1:4", Device(4, "NEURON", "Trn1")),
        ("MI100:1", Device(1, "AMD_GPU", "MI100")),
        ("Gaudi1:1", Device(1, "HABANA_GAUDI", "Gaudi1")),
        ("AppleSilicon", Device(1, "APPLE_SILICON", "AppleSilicon")),
        ("AppleSilicon:1", Device(1, "APPLE_SILICON", "AppleSilicon")),
        (TPU("V5P", "2x2x1"), Device(1, "TPU", "V5P", "2x2x1")),
    ],
)
def test_get_device(gpu, device):
    """X2: get_device() gives the same for every way of writing."""
    assert Resources(gpu=gpu).get_device() == device


@pytest.mark.parametrize("accelerator", get_args(Accelerators))
def test_every_literal_is_accepted(accelerator):
    """X2: each literal that a type checker offers makes a device of that count."""
    device = Resources(gpu=accelerator).get_device()
    assert device.quantity == int(accelerator.rpartition(":")[2]) if ":" in accelerator else device.quantity == 1
    assert device.device == accelerator.partition(":")[0].replace("A100 80G", "A100_80G").replace(
        "RTX PRO ", "RTX_PRO_"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [("A100 80G:4", "A100_80G:4"), ("RTX PRO 6000:2", "RTX_PRO_6000:2"), ("RTX PRO 4500:1", "RTX_PRO_4500:1")],
)
def test_older_spelling(old, new):
    """Section 14: the 2.0 spelling with spaces means the same."""
    assert Resources(gpu=old) == Resources(gpu=new)
    name, _, count = old.partition(":")
    assert GPU(name, int(count)) == Resources(gpu=new).get_device()


def test_shared_memory():
    """X2: get_shared_memory(), where auto is an empty text."""
    assert Resources(shm="auto").get_shared_memory() == ""
    assert Resources(shm="1Gi").get_shared_memory() == "1Gi"
    assert Resources().get_shared_memory() is None


@pytest.mark.parametrize(
    ("made", "device"),
    [
        (lambda: GPU("T4", 1), Device(1, "GPU", "T4")),
        (lambda: GPU("A100", 2, "1g.5gb"), Device(2, "GPU", "A100", "1g.5gb")),
        (lambda: GPU("A100_80G", 1, "7g.80gb"), Device(1, "GPU", "A100_80G", "7g.80gb")),
        (lambda: GPU("H100", 1, "1g.20gb"), Device(1, "GPU", "H100", "1g.20gb")),
        (lambda: GPU("H200", 1, "7g.141gb"), Device(1, "GPU", "H200", "7g.141gb")),
        (lambda: GPU("RTX_PRO_6000", 1, "2g.48gb"), Device(1, "GPU", "RTX_PRO_6000", "2g.48gb")),
        (lambda: TPU("V5E"), Device(1, "TPU", "V5E")),
        (lambda: TPU("V6E", "16x16"), Device(1, "TPU", "V6E", "16x16")),
        (lambda: Neuron("Trn2u"), Device(1, "NEURON", "Trn2u")),
        (lambda: AMD_GPU("MI300X"), Device(1, "AMD_GPU", "MI300X")),
        (lambda: HABANA_GAUDI("Gaudi1"), Device(1, "HABANA_GAUDI", "Gaudi1")),
        (lambda: APPLE_SILICON(), Device(1, "APPLE_SILICON", "AppleSilicon")),
        (lambda: Device(2, "GPU", "a-label-of-this-cluster"), Device(2, "GPU", "a-label-of-this-cluster")),
        (lambda: Device(1, "GPU", "B200", "1g.23gb"), Device(1, "GPU", "B200", "1g.23gb")),
    ],
)
def test_devices(made, device):
    """X3: the functions that make a Device."""
    assert made() == device


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (lambda: GPU("T5", 1), ValueError, "GPU: device='T5' is not known; did you mean 'T4'?; use one of A2, A10"),
        (lambda: GPU(4, 1), TypeError, "GPU: device takes a name"),
        (lambda: GPU("T4", 1, "1g.5gb"), ValueError, "partition='1g.5gb' is not possible, no slices of a T4 are known"),
        (lambda: GPU("A100", 1, "1g.6gb"), ValueError, "is not one of a A100; did you mean '1g.5gb'?"),
        (lambda: GPU("A100", 1, "1g.10gb"), ValueError, "is not one of a A100"),
        (lambda: GPU("T4", 99), ValueError, "GPU: quantity=99 is out of range for T4; one machine has 1 to 8"),
        (lambda: GPU("T4", 0), ValueError, "quantity=0"),
        (lambda: GPU("T4", -1), ValueError, "quantity=-1"),
        (lambda: GPU("T4", "1"), TypeError, "quantity takes a whole number, got '1'"),
        (lambda: GPU("T4", True), TypeError, "quantity takes a whole number, got True"),
        (lambda: TPU("V4"), ValueError, "TPU: device='V4' is not known"),
        (lambda: TPU("V5E", "2x2x1"), ValueError, "is not one of a V5E"),
        (lambda: TPU("V5P", "2x2"), ValueError, "did you mean '2x2x2'?"),
        (lambda: Neuron("Trn3"), ValueError, "Neuron: device='Trn3' is not known; did you mean 'Trn2'?"),
        (lambda: AMD_GPU("MI200"), ValueError, "AMD_GPU: device='MI200' is not known; did you mean"),
        (lambda: HABANA_GAUDI("Gaudi2"), ValueError, "did you mean 'Gaudi1'?"),
        (lambda: Device(0, "GPU"), ValueError, "GPU: quantity=0 is not allowed; ask for 1 or more"),
        (lambda: Device(1, "GPUS"), ValueError, "device_class='GPUS' is not known; did you mean 'GPU'?"),
        (lambda: Device(1, "GPU", None, "1g.5gb"), ValueError, "partition='1g.5gb' needs a device"),
        (lambda: Device(1, "GPU", "A100", "1g.6gb"), ValueError, "did you mean '1g.5gb'?"),
    ],
)
def test_devices_refused(made, error, message):
    """X3: unknown device, partition that the device does not have, quantity out of range; nearest name."""
    with pytest.raises(error, match=re.escape(message)):
        made()


def test_immutable_hashable_picklable():
    """Values: frozen, equal and hashable by content, and the same after pickling."""
    one = Resources(cpu=(1, 2), memory="1Gi", gpu=GPU("T4", 1), shm="auto")
    assert {one: 1}[pickle.loads(pickle.dumps(one))] == 1
    with pytest.raises(AttributeError):
        one.cpu = 3  # type: ignore[misc]
    assert flyte.Resources.__module__ == flyte.Device.__module__ == "flyte"


UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
SIZES = st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(UNITS)))


@given(least=SIZES, most=SIZES)
def test_ranges_are_compared_by_size(least, most):
    """X2: (least, most) is accepted exactly if least is not the larger, whatever the units."""
    sizes = [number * UNITS[unit] for number, unit in (least, most)]
    memory = tuple(f"{number}{unit}" for number, unit in (least, most))
    if sizes[0] <= sizes[1]:
        assert Resources(memory=memory).memory == memory
    else:
        with pytest.raises(ValueError, match="swap the two"):
            Resources(memory=memory)


@given(st.text())
def test_any_text_is_accepted_or_refused_with_a_reason(text):
    """X2: no text gets anything but a value or a ValueError that names the parameter."""
    for parameter in ("cpu", "memory", "disk", "shm", "gpu"):
        reason = None
        try:
            Resources(**{parameter: text})
        except ValueError as error:
            reason = str(error)
        assert reason is None or f"{parameter}={text!r}" in reason


def test_import_needs_nothing_heavy():
    """Declaring resources loads neither protobuf nor kubernetes nor pydantic."""
    program = (
        "import flyte, sys; flyte.Resources(gpu='T4:1');"
        "print([m for m in ('google.protobuf', 'kubernetes', 'pydantic', 'flyteidl2', 'difflib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
