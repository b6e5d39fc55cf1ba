"""Codecs that ask a third-party transformer, and protobuf messages."""

import typing
from typing import Any

from flyteidl2.core.literals_pb2 import Literal, Scalar
from flyteidl2.core.types_pb2 import LiteralType, SimpleType
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from flyte.errors import TypeTransformerFailedError
from flyte.types._codec import Codec
from flyte.types._mismatch import Mismatch
from flyte.types._transformer import TypeTransformer


class ForeignCodec(Codec[Any]):
    """A type with a registered transformer; its conversions are coroutines."""

    awaits = True

    def __init__(self, annotation: Any, target: Any, transformer: TypeTransformer[Any]) -> None:
        super().__init__(annotation, transformer.name)
        self.target = target
        self.transformer = transformer

    def build_type(self) -> LiteralType:
        return self.transformer.get_literal_type(self.target)

    def accepts_class(self, cls: type) -> bool:
        return cls is (typing.get_origin(self.target) or self.target)

    def wire(self, value: Any) -> bytes:
        raise self._only_async()

    def read(self, literal: Literal) -> Any:
        raise self._only_async()

    def take(self, value: Any) -> tuple[Any, bytes]:
        raise self._only_async()

    def _only_async(self) -> Mismatch:
        return Mismatch(
            self.describe(),
            got="a call that cannot wait",
            why=f"transformer {self.name!r} converts asynchronously; use encode_async, decode_async or transfer_async",
        )

    async def make(self, value: Any) -> Literal:
        try:
            if self.transformer.type_assertions_enabled:
                self.transformer.assert_type(self.target, value)
            return await self.transformer.to_literal(value, self.target, self.literal_type)
        except TypeTransformerFailedError as error:
            raise Mismatch(self.describe(), value, str(error)) from error

    async def load(self, literal: Literal) -> Any:
        try:
            return await self.transformer.to_python_value(literal, self.target)
        except TypeTransformerFailedError as error:
            raise Mismatch(self.describe(), got=f"a literal its transformer refuses: {error}") from error


class MessageCodec(Codec[Message]):
    """A protobuf message: its JSON form as a Struct.

    :raises TypeError: the message has a JSON form that is not an object, such as Duration or Timestamp.
    """

    def __init__(self, annotation: Any, cls: type[Message]) -> None:
        super().__init__(annotation, "Protobuf-Transformer")
        self.cls = cls
        if not isinstance(json_format.MessageToDict(cls()), dict):
            raise TypeError(
                f"protobuf message {cls.__module__}.{cls.__qualname__} cannot be a task's input or output, because its "
                "JSON form is not an object; put it into a message of your own, or use datetime and timedelta"
            )

    def build_type(self) -> LiteralType:
        result = LiteralType(simple=SimpleType.STRUCT)
        result.metadata.update({"pb_type": f"{self.cls.__module__}.{self.cls.__name__}"})
        return result

    def accepts_class(self, cls: type) -> bool:
        return cls is self.cls

    def wire(self, value: Any) -> bytes:
        if not isinstance(value, self.cls):
            raise Mismatch(self.describe(), value)
        struct = Struct()
        try:
            struct.update(json_format.MessageToDict(value))
        except (ValueError, TypeError, json_format.Error, RecursionError) as error:
            raise Mismatch(f"{self.describe()} with a JSON form", value, str(error)[:200]) from error
        return Literal(scalar=Scalar(generic=struct)).SerializeToString(deterministic=True)

    def read(self, literal: Literal) -> Message:
        if not literal.scalar.HasField("generic"):
            return self.unexpected(literal)
        try:
            return json_format.ParseDict(json_format.MessageToDict(literal.scalar.generic), self.cls())
        except (json_format.Error, ValueError, TypeError, RecursionError) as error:
            raise Mismatch(self.describe(), got=f"fields that it does not have ({str(error)[:200]})") from error
