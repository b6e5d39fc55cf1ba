"""The codecs of what travels as one msgpack payload, each made of its plain form."""

from typing import Any

from flyte.types import _tuples
from flyte.types._annotations import Shape
from flyte.types._codec import Codec
from flyte.types._compile import plain_of
from flyte.types._plain import SchemaContext
from flyte.types._structs import PayloadCodec


def payload_codec(annotation: Any, shape: Shape) -> Codec[Any]:
    """The codec of a dataclass, a pydantic model, a dict with other than text keys, or a tuple.

    :raises TypeError: a part of it cannot travel inside a structure.
    """
    match shape.kind:
        case "mapping":
            return PayloadCodec(annotation, "Typed Dict", plain_of(annotation, "dataclass"), None, "")
        case "dataclass":
            return _dataclass_codec(annotation)
        case "pydantic":
            return _model_codec(annotation)
    return _row_codec(annotation, shape)


def _dataclass_codec(annotation: Any) -> Codec[Any]:
    plain = plain_of(annotation, "dataclass")

    def schema() -> dict[str, Any]:
        context = SchemaContext()
        described = plain.schema(context)
        return {**described, "$defs": context.definitions} if context.definitions else described

    tag = "Object-Dataclass-Transformer"
    return PayloadCodec(annotation, tag, plain, schema, tag)


def _model_codec(annotation: Any) -> Codec[Any]:
    plain = plain_of(annotation, "json")
    tag = "Pydantic Transformer"
    return PayloadCodec(annotation, tag, plain, lambda: plain.schema(SchemaContext()), tag)


def _row_codec(annotation: Any, shape: Shape) -> Codec[Any]:
    if shape.kind == "tuple":
        return _tuples.tuple_codec(annotation, shape.args)
    if shape.kind == "namedtuple":
        return _tuples.namedtuple_codec(annotation, shape.target)
    return _tuples.typeddict_codec(annotation, shape.target)
