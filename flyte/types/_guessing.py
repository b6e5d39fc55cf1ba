"""From the wire's types back to Python annotations, for interfaces whose Python is not at hand."""

import dataclasses
import datetime
import enum
import keyword
import typing
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flyteidl2.core.interface_pb2 import TypedInterface
from flyteidl2.core.types_pb2 import LiteralType, SimpleType
from google.protobuf import json_format

from flyte._core.interface import Empty, NativeInterface

if TYPE_CHECKING:
    from flyteidl2.task.common_pb2 import NamedParameter

_SIMPLE: dict[int, Any] = {
    SimpleType.NONE: type(None),
    SimpleType.INTEGER: int,
    SimpleType.FLOAT: float,
    SimpleType.STRING: str,
    SimpleType.BOOLEAN: bool,
    SimpleType.DATETIME: datetime.datetime,
    SimpleType.DURATION: datetime.timedelta,
    SimpleType.BINARY: bytes,
}
_JSON: dict[str, Any] = {
    "integer": int,
    "number": float,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}
_FORMATS: dict[str, Any] = {
    "date-time": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
    "time-delta": datetime.timedelta,
    "base64": bytes,
}


def guess_type(literal_type: LiteralType) -> Any:
    """An annotation whose values a LiteralType describes.

    A structure with a JSON schema becomes a dataclass made from it, an enum an Enum class.

    :raises ValueError: none is known.
    """
    which = literal_type.WhichOneof("type")
    if which == "simple":
        if literal_type.simple == SimpleType.STRUCT:
            return _guess_struct(literal_type)
        if literal_type.simple in _SIMPLE:
            return _SIMPLE[literal_type.simple]
    elif which == "collection_type":
        item: Any = guess_type(literal_type.collection_type)
        return typing.List[item]  # noqa: UP006
    elif which == "map_value_type":
        value: Any = guess_type(literal_type.map_value_type)
        return typing.Dict[str, value]  # noqa: UP006
    elif which == "enum_type":
        members = {_identifier(value): value for value in literal_type.enum_type.values}
        return enum.Enum("GuessedEnum", {name: name for name in members})
    elif which == "union_type":
        variants = literal_type.union_type.variants
        if any(variant.structure.tag == "FlytePickle" for variant in variants) and len(variants) == 2:
            from flyte.types._pickle import FlytePickle

            return FlytePickle
        return typing.Union[tuple(guess_type(variant) for variant in variants)]  # noqa: UP007
    elif which == "structured_dataset_type":
        from flyte.types._frames.handlers import wrapper_class

        if (cls := wrapper_class()) is not None:
            return cls
        raise ValueError("a LiteralType of frames is that of flyte.io.DataFrame, which the program has not imported")
    raise ValueError(f"no Python type is known for a LiteralType of {which or 'no type'}")


def _identifier(value: str) -> str:
    if not value.isidentifier() or keyword.iskeyword(value) or value.startswith("_"):
        raise ValueError(f"enum value {value!r} is not a Python name")
    return value


def _guess_struct(literal_type: LiteralType) -> Any:
    schema = json_format.MessageToDict(literal_type.metadata) if literal_type.HasField("metadata") else {}
    if "pb_type" in schema or ("properties" not in schema and "$ref" not in schema):
        return dict
    return _guess_object(schema, schema.get("$defs", {}), ())


def _guess_object(schema: dict[str, Any], definitions: dict[str, Any], above: tuple[str, ...]) -> Any:
    ref = schema.get("$ref", "")
    if ref:
        name = ref.rpartition("/")[2]
        if name in above or name not in definitions:
            return dict
        return _guess_object(definitions[name], definitions, (*above, name))
    required = schema.get("required", [])
    fields: list[Any] = []
    for name, described in sorted(
        schema.get("properties", {}).items(), key=lambda p: required.index(p[0]) if p[0] in required else 1 << 30
    ):
        if not name.isidentifier() or keyword.iskeyword(name):
            return dict
        hint = _guess_json(described, definitions, above)
        if name in required:
            fields.append((name, hint))
        else:
            fields.append((name, hint | None, dataclasses.field(default=None)))
    title = str(schema.get("title", "Guessed"))
    return dataclasses.make_dataclass(title if title.isidentifier() else "Guessed", fields)


def _guess_json(schema: dict[str, Any], definitions: dict[str, Any], above: tuple[str, ...]) -> Any:
    if "$ref" in schema or "properties" in schema:
        return _guess_object(schema, definitions, above)
    if "anyOf" in schema:
        return typing.Union[tuple(_guess_json(s, definitions, above) for s in schema["anyOf"])]  # noqa: UP007
    if "enum" in schema:
        return typing.Literal[tuple(schema["enum"])] if all(isinstance(v, str) for v in schema["enum"]) else Any
    kind = schema.get("type", "")
    if kind == "string" and schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if kind == "number" and schema.get("format") == "time-delta":
        return datetime.timedelta
    if kind == "array" and "items" in schema:
        return list[_guess_json(schema["items"], definitions, above)]  # type: ignore[misc]
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return dict[str, _guess_json(schema["additionalProperties"], definitions, above)]  # type: ignore[misc]
    return _JSON.get(kind, Any)


def guess_interface(
    interface: TypedInterface, default_inputs: "Iterable[NamedParameter] | None" = None
) -> NativeInterface:
    """A Python interface of a task whose Python is not at hand, such as a deployed one.

    :param interface: the wire's interface.
    :param default_inputs: its default inputs; their values become defaults.
    :raises ValueError: a variable's type has no Python counterpart.
    """
    from flyte.types._engine import codec_for

    defaults = {parameter.name: parameter.parameter for parameter in default_inputs or ()}
    inputs: dict[str, tuple[Any, Any]] = {}
    for entry in interface.inputs.variables:
        hint = _guess_variable(entry.key, entry.value.type)
        default: Any = Empty
        parameter = defaults.get(entry.key)
        if parameter is not None and parameter.HasField("default"):
            codec = codec_for(hint)
            if not codec.awaits:
                default = codec.decode(parameter.default)
        inputs[entry.key] = (hint, default)
    outputs = {entry.key: _guess_variable(entry.key, entry.value.type) for entry in interface.outputs.variables}
    return NativeInterface(inputs, outputs)


def _guess_variable(name: str, literal_type: LiteralType) -> Any:
    try:
        return guess_type(literal_type)
    except ValueError as error:
        raise ValueError(f"variable {name!r}: {error}") from error
