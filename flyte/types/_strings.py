"""Literals as values to show: what consoles, logs and ``flyte get`` print."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from flyteidl2.core.literals_pb2 import Literal, LiteralMap
from flyteidl2.task.common_pb2 import Inputs, NamedLiteral, Outputs
from google.protobuf import json_format

from flyte.types._packing import unpack


def literal_string_repr(
    lm: Literal | NamedLiteral | Inputs | Outputs | LiteralMap | dict[str, Literal] | None,
) -> Any:
    """The value to show of one literal, or name -> value of several.

    Nothing is unpickled: binaries that are not msgpack are shown in base64.

    :raises ValueError: it is none of these messages.
    """
    if lm is None:
        return {}
    if isinstance(lm, Literal):
        return _shown(lm)
    if isinstance(lm, NamedLiteral):
        return {lm.name: _shown(lm.value)}
    if isinstance(lm, (Inputs, Outputs)):
        return {named.name: _shown(named.value) for named in lm.literals}
    literals: Mapping[str, Literal]
    if isinstance(lm, LiteralMap):
        literals = lm.literals
    elif isinstance(lm, dict):
        literals = lm
    else:
        raise ValueError(f"literal_string_repr() takes a literal or a map of them, not {type(lm).__qualname__}")
    return {name: _shown(literals[name]) for name in literals}


def _shown(literal: Literal) -> Any:
    match literal.WhichOneof("value"):
        case "scalar":
            return _shown_scalar(literal.scalar)
        case "collection":
            return [_shown(member) for member in literal.collection.literals]
        case "map":
            return {key: _shown(literal.map.literals[key]) for key in sorted(literal.map.literals)}
        case "offloaded_metadata":
            return literal.offloaded_metadata.uri
    return None


def _shown_scalar(scalar: Any) -> Any:
    match scalar.WhichOneof("value"):
        case "primitive":
            return _shown_primitive(scalar.primitive)
        case "blob":
            return scalar.blob.uri
        case "binary":
            return _shown_binary(scalar.binary)
        case "schema":
            return scalar.schema.uri
        case "error":
            return scalar.error.message
        case "generic":
            return json_format.MessageToDict(scalar.generic)
        case "structured_dataset":
            return scalar.structured_dataset.uri
        case "union":
            return _shown(scalar.union.value)
    return None


def _shown_primitive(primitive: Any) -> Any:
    which = primitive.WhichOneof("value")
    if which == "datetime":
        return primitive.datetime.ToDatetime().isoformat()
    if which == "duration":
        seconds = primitive.duration.ToTimedelta().total_seconds()
        return int(seconds) if seconds.is_integer() else seconds
    return getattr(primitive, which) if which else None


def _shown_binary(binary: Any) -> Any:
    if binary.tag == "msgpack":
        try:
            return json.dumps(unpack(binary.value), default=str)
        except ValueError:
            pass  # not what its tag says: shown as the bytes it is
    return base64.b64encode(binary.value)
