"""A task's interface as the wire's TypedInterface, and its hash (wire-protocol section 6.2)."""

from typing import Any

from flyteidl2.core.interface_pb2 import TypedInterface, Variable, VariableEntry, VariableMap

from flyte._core.identity import hash_data
from flyte._core.interface import NativeInterface
from flyte.types._engine import codec_for, generation

_TYPED, _BARE, _HASH = "types.typed_interface", "types.bare_interface", "types.interface_hash"


def typed_interface(interface: NativeInterface) -> TypedInterface:
    """The TypedInterface of an interface, variables sorted by name; made once per interface, not to be changed.

    :raises TypeError: an annotation cannot travel; the message names its parameter or result.
    """
    made = interface.memo.get(_TYPED)
    if made is None or made[0] != generation():
        docs = interface.docstring
        inputs = _variables(interface.get_input_types(), docs.input_descriptions if docs else {}, "parameter")
        outputs = _variables(interface.outputs, docs.output_descriptions if docs else {}, "result")
        made = interface.memo[_TYPED] = (generation(), TypedInterface(inputs=inputs, outputs=outputs))
    typed: TypedInterface = made[1]
    return typed


def bare_interface(interface: NativeInterface) -> TypedInterface:
    """:func:`typed_interface` without descriptions: parsing a docstring costs more than all the rest.

    :raises TypeError: an annotation cannot travel; the message names its parameter or result.
    """
    made = interface.memo.get(_BARE)
    if made is None or made[0] != generation():
        inputs = _variables(interface.get_input_types(), {}, "parameter")
        outputs = _variables(interface.outputs, {}, "result")
        made = interface.memo[_BARE] = (generation(), TypedInterface(inputs=inputs, outputs=outputs))
    typed: TypedInterface = made[1]
    return typed


def _variables(annotations: dict[str, Any], descriptions: dict[str, str], kind: str) -> VariableMap:
    entries = []
    for name in sorted(annotations):
        try:
            literal_type = codec_for(annotations[name]).literal_type
        except TypeError as error:
            raise TypeError(f"{kind} {name!r}: {error}") from error
        variable = Variable(type=literal_type, description=descriptions.get(name, ""))
        entries.append(VariableEntry(key=name, value=variable))
    return VariableMap(variables=entries)


def interface_hash(interface: NativeInterface) -> str:
    """The hash of an interface's names and types; empty when it has neither parameters nor results.

    Descriptions are left out, so that editing a docstring neither renames actions nor empties the cache.
    """
    made = interface.memo.get(_HASH)
    if made is None or made[0] != generation():
        made = interface.memo[_HASH] = (generation(), _hash(interface))
    return str(made[1])


def _hash(interface: NativeInterface) -> str:
    if not interface.inputs and not interface.outputs:
        return ""
    return hash_data(bare_interface(interface).SerializeToString(deterministic=True))
