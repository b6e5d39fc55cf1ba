"""Remembered values as Python: from a LiteralMap and the interface it was written under, without the user's code.

Nothing is executed: a pickle is read only if it is made of built-in types alone (those of the closed set of
:mod:`flyte.types._pickle`), and else stands as a :class:`PickledValue`. Structures become dataclasses made from their
schema, enums the names that travel, files and folders the references that they are.
"""

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, make_dataclass
from typing import Any

from flyteidl2.core.interface_pb2 import TypedInterface, VariableMap
from flyteidl2.core.literals_pb2 import Literal, LiteralMap
from flyteidl2.core.types_pb2 import BlobType, LiteralType, SimpleType
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from flyte.errors import TypeTransformerFailedError
from flyte.types._codec import read_offloaded
from flyte.types._engine import codec_for
from flyte.types._files import is_remote, opened
from flyte.types._guessing import guess_type
from flyte.types._hashing import canonical_bytes
from flyte.types._mismatch import Mismatch
from flyte.types._packing import unpack
from flyte.types._pickle import FORMAT, TAG, load_closed

_TUPLE = "TupleWrapper_"
_READ_BYTES = 64 * 1024 * 1024
"""Pickles in files that are longer than this are not read just to be shown."""


@dataclass(frozen=True, slots=True)
class PickledValue:
    """A value that only pickle could carry; it was not read, because reading it may run code.

    :param python_class: what the task declared.
    :param size_bytes: of the pickle; None where it is in a file.
    :param uri: of the file, if it is in one.
    """

    python_class: str
    size_bytes: int | None = None
    uri: str | None = None

    def __repr__(self) -> str:
        where = f"in {self.uri}" if self.uri else f"{self.size_bytes} bytes"
        return f"<pickled {self.python_class}, {where}, not read>"


@dataclass(frozen=True, slots=True)
class UnreadValue:
    """A value that could not be read.

    :param why: in words.
    """

    why: str

    def __repr__(self) -> str:
        return f"<not readable: {self.why}>"


def parse_literals(data: bytes | None) -> dict[str, Literal]:
    """Name -> literal of what was remembered.

    :raises ValueError: the bytes are damaged.
    """
    try:
        kept = LiteralMap.FromString(data or b"")
    except DecodeError as error:
        raise ValueError(f"the remembered values are damaged: {error}") from error
    return dict(kept.literals)


def names_of(interface: bytes | None) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs of an interface."""
    typed = _parse_interface(interface)
    return [e.key for e in typed.inputs.variables], [e.key for e in typed.outputs.variables]


def decode_inputs(data: bytes | None, interface: bytes | None) -> dict[str, Any]:
    """Name -> value of an action's inputs.

    :param interface: bytes of the TypedInterface; values are read by their own form where there is none.
    :raises ValueError: the bytes are damaged.
    """
    return _decode(parse_literals(data), _parse_interface(interface).inputs)


def decode_outputs(data: bytes | None, interface: bytes | None) -> dict[str, Any]:
    """Name -> value of an action's outputs; see :func:`decode_inputs`."""
    return _decode(parse_literals(data), _parse_interface(interface).outputs)


def _parse_interface(interface: bytes | None) -> TypedInterface:
    try:
        return TypedInterface.FromString(interface or b"")
    except DecodeError:
        return TypedInterface()


def _decode(literals: Mapping[str, Literal], variables: VariableMap) -> dict[str, Any]:
    types = {entry.key: entry.value.type for entry in variables.variables}
    names = [name for name in types if name in literals] + [name for name in sorted(literals) if name not in types]
    return {name: decode_literal(literals[name], types.get(name)) for name in names}


def compare_inputs(mine: bytes | None, theirs: bytes | None, ignored: Collection[str] = ()) -> tuple[int, list[str]]:
    """How many inputs of two calls are equal, and the names of those that are not, as the cache sees them.

    :param ignored: names of inputs that make no difference.
    :raises ValueError: the bytes are damaged.
    """
    ours, others = parse_literals(mine), parse_literals(theirs)
    names = [name for name in sorted({*ours, *others}) if name not in ignored]
    differ = [
        name
        for name in names
        if name not in ours or name not in others or canonical_bytes(ours[name]) != canonical_bytes(others[name])
    ]
    return len(names) - len(differ), differ


def decode_literal(literal: Literal, declared: LiteralType | None = None) -> Any:
    """The value of a literal; an :class:`UnreadValue` where it cannot be told.

    :param declared: its type; by the literal's own form if not given.
    """
    try:
        return _value(literal, declared if declared is not None and declared.WhichOneof("type") else None)
    except (ValueError, TypeError, OSError) as error:  # TypeTransformerFailedError is both of the first
        return UnreadValue(str(error).partition("\n")[0])
    except Mismatch as mismatch:
        return UnreadValue(str(mismatch.failure()).partition("\n")[0])
    except RecursionError:
        return UnreadValue("it is nested too deeply")


def _value(literal: Literal, declared: LiteralType | None) -> Any:
    if literal.HasField("offloaded_metadata"):
        literal = read_offloaded(literal)
    which = literal.WhichOneof("value")
    if which == "collection":
        item = declared.collection_type if declared is not None and declared.HasField("collection_type") else None
        return [_value(member, item) for member in literal.collection.literals]
    if which == "map":
        member_type = declared.map_value_type if declared is not None and declared.HasField("map_value_type") else None
        members = literal.map.literals
        return {key: _value(members[key], member_type) for key in sorted(members)}
    if which != "scalar":
        return None
    if declared is not None and is_pickled(declared):
        return _pickled(literal, declared)
    scalar = literal.scalar
    match scalar.WhichOneof("value"):
        case "none_type":
            return None
        case "union":
            return _value(scalar.union.value, scalar.union.type if scalar.union.type.WhichOneof("type") else None)
        case "blob":
            return _blob(literal)
        case "structured_dataset":
            from flyte.io._dataframe import DataFrame

            return codec_for(DataFrame).decode(literal)
        case "error":
            return scalar.error.message
        case "schema":
            return scalar.schema.uri
        case "binary":
            return _binary(literal, declared)
        case "primitive" if scalar.primitive.WhichOneof("value") in _PLAIN:
            return getattr(scalar.primitive, scalar.primitive.WhichOneof("value") or "")
        case "primitive":
            simple = _TIMES[scalar.primitive.WhichOneof("value") or "datetime"]
            return codec_for(guess_type(LiteralType(simple=simple))).decode(literal)
        case _:
            return codec_for(dict).decode(literal)


_PLAIN = ("integer", "float_value", "string_value", "boolean")
_TIMES: dict[str, Any] = {"datetime": SimpleType.DATETIME, "duration": SimpleType.DURATION}


def is_pickled(declared: LiteralType) -> bool:
    """Whether values of a type travel pickled."""
    variants = declared.union_type.variants if declared.HasField("union_type") else ()
    return len(variants) == 2 and all(variant.structure.tag == TAG for variant in variants)


def _pickled(literal: Literal, declared: LiteralType) -> Any:
    scalar = literal.scalar.union.value.scalar if literal.scalar.HasField("union") else literal.scalar
    said = declared.metadata["python_class_name"] if len(declared.metadata) else "value"
    name = str(said).removeprefix("<class '").removesuffix("'>")
    if scalar.HasField("binary"):
        return _unpickled(scalar.binary.value, name)
    uri = scalar.blob.uri
    if not is_remote(uri):
        try:
            with opened(uri) as file:
                if file.seek(0, io.SEEK_END) <= _READ_BYTES:
                    file.seek(0)
                    return load_closed(file, {}, name)
        except Mismatch:
            pass
    return PickledValue(name, None, uri)


def _unpickled(data: bytes, name: str) -> Any:
    try:
        return load_closed(io.BytesIO(data), {}, name)
    except Mismatch:
        return PickledValue(name, len(data))


def _blob(literal: Literal) -> Any:
    kind = literal.scalar.blob.metadata.type
    if kind.format == FORMAT:
        return PickledValue("value", None, literal.scalar.blob.uri)
    if kind.dimensionality == BlobType.MULTIPART:
        from flyte.io._dir import Dir

        return codec_for(Dir).decode(literal)
    from flyte.io._file import File

    return codec_for(File).decode(literal)


def _binary(literal: Literal, declared: LiteralType | None) -> Any:
    binary = literal.scalar.binary
    if binary.tag != "msgpack":
        return _unpickled(binary.value, "value")
    if declared is not None and declared.simple == SimpleType.STRUCT:
        guessed = guess_type(declared)
        try:
            value = codec_for(guessed).decode(literal)
        except TypeTransformerFailedError:  # written under a schema that a guess does not tell in full
            schema = json_format.MessageToDict(declared.metadata)
            return _shaped(unpack(binary.value), schema, schema.get("$defs", {}))
        if type(value).__name__.startswith(_TUPLE):
            return tuple(getattr(value, name) for name in value.__dataclass_fields__)
        return value
    return unpack(binary.value)


def _shaped(value: Any, schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """A value with the attributes that its JSON schema names; what the schema does not tell stays as it is."""
    if "$ref" in schema:
        schema = definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
    if isinstance(value, list):
        return [_shaped(item, schema.get("items", {}), definitions) for item in value]
    if not isinstance(value, dict):
        return value
    for choice in schema.get("anyOf", ()):
        made = _shaped(value, choice, definitions)
        if not isinstance(made, dict):
            return made
    properties, title = schema.get("properties"), str(schema.get("title", ""))
    if not properties or not all(isinstance(name, str) and name.isidentifier() for name in value):
        inner = schema.get("additionalProperties")
        inner = inner if isinstance(inner, dict) else {}
        return {key: _shaped(item, inner, definitions) for key, item in value.items()}
    made = {name: _shaped(item, properties.get(name, {}), definitions) for name, item in value.items()}
    try:
        return make_dataclass(title if title.isidentifier() else "Value", made)(**made)
    except (TypeError, ValueError):  # a keyword as a name
        return made
