"""Arguments and results as messages, and their hash."""

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.task.common_pb2 import Inputs, NamedLiteral
from hypothesis import given
from hypothesis import strategies as st

from flyte._control.boundary import boundary_of
from flyte._core.identity import ActionID, ActionPhase, hash_data
from flyte._wire.identity import action_from, action_identifier, phase_from_wire, phase_to_wire
from flyte._wire.values import arguments_from, inputs_from, inputs_hash, outputs_from, result_from
from flyte.errors import RuntimeDataValidationError
from flyte.models import NativeInterface

NEEDED = inspect.Parameter.empty


@dataclass
class Point:
    x: int
    tags: dict[str, int]


class Both(NamedTuple):
    total: int
    label: str


async def several(b: int, a: str = "x", c: list[Point] | None = None) -> tuple[int, str]:
    return 1, ""


INTERFACE = NativeInterface.from_callable(several)


def send(interface, **arguments):
    return asyncio.run(inputs_from(interface, arguments))


def test_order_and_defaults():
    message = asyncio.run(inputs_from(INTERFACE, {"b": 1}, context={"k": "v"}))
    assert [one.name for one in message.literals] == ["b", "a", "c"]
    assert [(pair.key, pair.value) for pair in message.context] == [("k", "v")]
    assert asyncio.run(arguments_from(INTERFACE, message)) == {"b": 1, "a": "x", "c": None}


@given(st.integers(-(2**63), 2**63 - 1), st.text(max_size=9), st.lists(st.integers(-5, 5), max_size=3))
def test_round_trip(b, a, points):
    c = [Point(p, {"n": p}) for p in points]
    message = Inputs.FromString(send(INTERFACE, b=b, a=a, c=c).SerializeToString())
    assert asyncio.run(arguments_from(INTERFACE, message)) == {"b": b, "a": a, "c": c}


@given(st.integers(-9, 9), st.text(max_size=9), st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=3))
def test_the_hash_is_that_of_calls_in_this_process(b, a, tags):
    """A call has one name, wherever its action runs."""
    arguments = {"b": b, "a": a, "c": [Point(1, tags)]}
    _, pieces = boundary_of(INTERFACE).take("t", (), arguments)
    assert inputs_hash(send(INTERFACE, **arguments)) == hash_data(b"".join(pieces))


def test_hash():
    """wire-protocol 6.2."""
    assert inputs_hash(Inputs()) == ""
    message = send(INTERFACE, b=1)
    assert inputs_hash(message, ["a", "b", "c"]) == ""
    assert inputs_hash(message, ["a"]) == inputs_hash(send(INTERFACE, b=1, a="other"), ["a"]) != inputs_hash(message)
    hashed = Inputs(literals=[NamedLiteral(name="f", value=Literal(hash="abc"))])
    assert inputs_hash(hashed) == hash_data(b"f:abc;")


@pytest.mark.parametrize(
    ("interface", "result"),
    [
        (NativeInterface({}, {}), None),
        (NativeInterface({}, {"o0": int}), 3),
        (NativeInterface({}, {"o0": list[int]}), [1, 2]),
        (NativeInterface({}, {f"o{i}": int for i in range(12)}), tuple(range(12))),
        (NativeInterface({}, {"total": int, "label": str}, output_class=Both), Both(1, "a")),
    ],
)
def test_results(interface, result):
    message = asyncio.run(outputs_from(interface, result))
    received = asyncio.run(result_from(interface, message))
    assert received == result and type(received) is type(result)
    message.literals.sort(key=lambda one: one.name)  # o10 before o2
    assert asyncio.run(result_from(interface, message)) == result


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, ValueError, "task 't' is missing the required argument b"),
        ({"b": 1, "d": 2}, TypeError, "no parameter 'd'"),
        ({"b": "one"}, TypeError, "task 't': parameter 'b'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error, says):
    with pytest.raises(error, match=says):
        asyncio.run(inputs_from(INTERFACE, arguments, task_name="t"))


def test_bad_messages():
    message = send(INTERFACE, b=1)
    del message.literals[0]
    with pytest.raises(RuntimeDataValidationError, match="'b': was not sent"):
        asyncio.run(arguments_from(INTERFACE, message, task_name="t"))
    message = send(NativeInterface({"z": (int, NEEDED)}, {}), z=1)
    with pytest.raises(RuntimeDataValidationError, match="is no parameter"):
        asyncio.run(arguments_from(INTERFACE, message))
    message = send(NativeInterface({"b": (str, NEEDED)}, {}), b="text")
    with pytest.raises(RuntimeDataValidationError, match="'b'"):
        asyncio.run(arguments_from(INTERFACE, message))
    one = NativeInterface({}, {"o0": int})
    with pytest.raises(RuntimeDataValidationError, match="missing"):
        asyncio.run(result_from(one, asyncio.run(outputs_from(NativeInterface({}, {}), None))))


@pytest.mark.parametrize(
    ("outputs", "result", "says"),
    [
        ({}, 1, "declares no result"),
        ({"o0": int}, "one", "'o0'"),
        ({"o0": int, "o1": int}, (1, 2, 3), "2 values .o0, o1., but is 3 values"),
        ({"o0": int, "o1": int}, 5, "but is a int"),
    ],
)
def test_bad_results(outputs, result, says):
    with pytest.raises(RuntimeDataValidationError, match=says):
        asyncio.run(outputs_from(NativeInterface({}, outputs), result, task_name="t"))


def test_phases():
    for phase in ActionPhase:
        assert phase_from_wire(phase_to_wire(phase)) is phase
    assert [phase_to_wire(p) for p in (ActionPhase.QUEUED, ActionPhase.PAUSED, ActionPhase.RECOVERED)] == [1, 9, 10]
    assert phase_from_wire(0) is None and phase_from_wire(99) is None


def test_action_ids():
    action = ActionID(name="a0", run_name="r1", project="shop", domain="development", org="acme")
    message = action_identifier(action)
    assert action_from(message) == action
    message.run.org = ""  # the open-source control plane has none
    assert action_from(message, org="acme") == action
    with pytest.raises(ValueError, match="has no org, project"):
        action_identifier(ActionID(name="a0", run_name="r1", domain="d"))
