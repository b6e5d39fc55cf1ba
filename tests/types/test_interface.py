"""TypedInterface and its hash (wire-protocol section 6.2)."""

import base64
import hashlib
from typing import Literal

import pytest
from flyteidl2.core.interface_pb2 import TypedInterface

from flyte._core.interface import NativeInterface
from flyte.types import TypeEngine
from flyte.types._interface import interface_hash, typed_interface


def described(z: int, a: str = "x", choice: Literal["p", "q"] = "p") -> tuple[int, list[str]]:
    """Do it.

    Args:
        z: the last letter
    """
    raise NotImplementedError


def plain(z: int, a: str = "x", choice: Literal["p", "q"] = "p") -> tuple[int, list[str]]:
    raise NotImplementedError


def nothing() -> None: ...


def test_variables_are_sorted_and_described():
    typed = typed_interface(NativeInterface.from_callable(described))
    assert [entry.key for entry in typed.inputs.variables] == ["a", "choice", "z"]
    assert [entry.value.description for entry in typed.inputs.variables] == ["", "", "the last letter"]
    assert [entry.key for entry in typed.outputs.variables] == ["o0", "o1"]
    assert typed.outputs.variables[1].value.type == TypeEngine.to_literal_type(list[str])
    assert list(typed.inputs.variables[1].value.type.enum_type.values) == ["p", "q"]


def test_an_interface_is_made_once():
    interface = NativeInterface.from_callable(plain)
    assert typed_interface(interface) is typed_interface(interface)
    assert interface_hash(interface) is interface_hash(interface)


def test_the_hash_is_that_of_the_deterministic_bytes():
    interface = NativeInterface.from_callable(plain)
    data = typed_interface(interface).SerializeToString(deterministic=True)
    assert interface_hash(interface) == base64.b64encode(hashlib.sha256(data).digest()).decode()


def test_a_docstring_does_not_change_the_hash():
    assert interface_hash(NativeInterface.from_callable(described)) == interface_hash(
        NativeInterface.from_callable(plain)
    )


def test_the_hash_follows_names_and_types():
    hashes = {
        interface_hash(NativeInterface.from_types(inputs, outputs))
        for inputs, outputs in (
            ({"a": int}, {}),
            ({"b": int}, {}),
            ({"a": str}, {}),
            ({"a": int}, {"o0": int}),
            ({"a": int | str}, {}),
            ({"a": str | int}, {}),
        )
    }
    assert len(hashes) == 6


def test_an_interface_of_nothing():
    interface = NativeInterface.from_callable(nothing)
    assert interface_hash(interface) == ""
    assert typed_interface(interface).SerializeToString() == TypedInterface(inputs={}, outputs={}).SerializeToString()


def test_the_parameter_is_named_when_its_type_cannot_travel():
    with pytest.raises(TypeError, match=r"parameter 'broken': .*unresolved forward reference"):
        typed_interface(NativeInterface.from_types({"broken": list["Nowhere"]}, {}))  # type: ignore[name-defined]  # noqa: F821
