"""Constraints of an ``Annotated`` type, written into the metadata of its LiteralType."""

import sys
import warnings
from typing import Annotated, Any

from flyteidl2.core.types_pb2 import LiteralType

from flyte.types._annotations import Shape
from flyte.types._codec import Codec

_NOT_CONSTRAINTS = ("type", "format", "$defs", "$ref", "anyOf", "items", "additionalProperties", "default", "enum")


def constrain(codec: Codec[Any], shape: Shape) -> None:
    """Add what the annotation's pydantic fields and constraints say to the codec's LiteralType."""
    if "pydantic" not in sys.modules and not any(type(m).__module__ == "annotated_types" for m in shape.metadata):
        return
    constraints = _constraints(shape)
    if not constraints:
        return
    unconstrained = codec.variant_type
    del codec.__dict__["variant_type"]
    codec.value_type = unconstrained
    literal_type = LiteralType()
    literal_type.CopyFrom(codec.literal_type)
    literal_type.metadata.update(constraints)
    codec.literal_type = literal_type


def _constraints(shape: Shape) -> dict[str, Any]:
    relevant = [m for m in shape.metadata if type(m).__module__.partition(".")[0] in ("pydantic", "annotated_types")]
    if not relevant:
        return {}
    import pydantic

    annotated: Any = Annotated[(shape.target, *relevant)]
    try:
        # A default or alias in the Field has no meaning here, which pydantic would warn of.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schema = pydantic.TypeAdapter(annotated).json_schema()
            plain = pydantic.TypeAdapter(shape.target).json_schema()
    except pydantic.PydanticUserError:
        # A type that pydantic does not know keeps its constraints to itself.
        return {}
    return {k: v for k, v in schema.items() if k not in _NOT_CONSTRAINTS and plain.get(k) != v}
