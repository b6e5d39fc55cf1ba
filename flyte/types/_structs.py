"""Codecs of everything that travels as one msgpack payload: dataclass, tuple, NamedTuple, TypedDict, dict."""

from collections.abc import Callable
from typing import Any

from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.core.types_pb2 import LiteralType, SimpleType, TypeAnnotation, TypeStructure

from flyte.types import _framing as framing
from flyte.types._codec import Codec
from flyte.types._mismatch import Mismatch
from flyte.types._packing import pack, sort_maps, unpack
from flyte.types._plain import Plain

Schema = Callable[[], dict[str, Any]]


def struct_type(schema: dict[str, Any] | None, tag: str) -> LiteralType:
    """The LiteralType of a msgpack payload.

    :param schema: its JSON schema, for the metadata.
    :param tag: the transformer's name.
    """
    result = LiteralType(simple=SimpleType.STRUCT, annotation=_annotation())
    if schema is not None:
        result.metadata.update(schema)
    if tag:
        result.structure.CopyFrom(TypeStructure(tag=tag))
    return result


def _annotation() -> TypeAnnotation:
    annotation = TypeAnnotation()
    annotation.annotations.update({"cache-key-metadata": {"serialization-format": "msgpack"}})
    return annotation


class PayloadCodec(Codec[Any]):
    """A value that travels as msgpack.

    :param name: the tag of a union's variant.
    :param plain: its plain form.
    :param schema: gives the JSON schema for the LiteralType; None for no schema.
    :param type_tag: the tag inside the LiteralType itself; empty for none.
    """

    canonical = True

    def __init__(self, annotation: Any, name: str, plain: Plain, schema: Schema | None, type_tag: str) -> None:
        super().__init__(annotation, name)
        self.plain = plain
        self._schema = schema
        self._type_tag = type_tag

    def build_type(self) -> LiteralType:
        return struct_type(self._schema() if self._schema is not None else None, self._type_tag)

    def accepts_class(self, cls: type) -> bool:
        return cls in self.plain.owns

    def wire(self, value: Any) -> bytes:
        return framing.msgpack_binary(self._pack(self.plain.pack(value), value))

    def _pack(self, plain: Any, value: Any) -> bytes:
        try:
            return pack(plain)
        except (ValueError, OverflowError, RecursionError) as error:
            why = "an int does not fit into 64 bits" if isinstance(error, OverflowError) else str(error)
            raise Mismatch(f"{self.describe()} that msgpack can hold", value, why) from error

    def read(self, literal: Literal) -> Any:
        scalar = literal.scalar
        if scalar.HasField("binary") and scalar.binary.tag == "msgpack":
            return self.plain.unpack(unpack_payload(scalar.binary.value, self))
        if scalar.HasField("generic"):
            return self.plain.unpack(plain_struct(scalar.generic))
        return self.unexpected(literal)

    def take(self, value: Any) -> tuple[Any, bytes]:
        plain = self.plain
        packed = plain.pack(value)
        # A model's dump is not worth making twice: its maps are sorted afterwards.
        data = self._pack(sort_maps(packed) if plain.dumped else plain.canon(value), value)
        return plain.unpack(packed), framing.msgpack_binary(data)

    def take_sized(self, value: Any) -> tuple[Any, int]:
        taken, size, _ = self.take_wired(value)
        return taken, size

    def take_wired(self, value: Any) -> tuple[Any, int, bytes]:
        # The order of the keys changes nothing about the size, nor about what is read back.
        packed = self.plain.pack(value)
        data = framing.msgpack_binary(self._pack(packed, value))
        return self.plain.unpack(packed), len(data), data


def unpack_payload(payload: bytes, codec: Codec[Any]) -> Any:
    """What a msgpack payload holds.

    :raises Mismatch: it is not msgpack.
    """
    try:
        return unpack(payload)
    except ValueError as error:
        raise Mismatch(codec.describe(), got=f"a payload that is {error}") from error


def plain_struct(struct: Any) -> dict[str, Any]:
    """A protobuf Struct as plain values; the console and older SDKs send structures that way.

    All its numbers are doubles, so a whole one is read as an int, which a float field takes as well.
    """
    return {key: _plain_value(value) for key, value in struct.fields.items()}


def _plain_value(value: Any) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return plain_struct(value.struct_value)
        case "list_value":
            return [_plain_value(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
    return None
