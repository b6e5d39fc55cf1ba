"""Which codec an annotation has. What only some programs use is loaded when an annotation asks for it."""

from collections.abc import Callable
from typing import Any

from flyte.types._annotations import Shape
from flyte.types._codec import Codec
from flyte.types._scalars import SCALARS, ChoiceCodec, EnumCodec


def codec_of(annotation: Any, shape: Shape, codec_for: Callable[[Any], Codec[Any]]) -> Codec[Any]:
    """The codec of an annotation.

    :param shape: what kind of type it is.
    :param codec_for: gives the codecs of its parts.
    :raises TypeError: the annotation cannot be a task's input or output.
    """
    target, args = shape.target, shape.args
    if shape.kind in SCALARS:
        return SCALARS[shape.kind](annotation, shape.kind)
    match shape.kind:
        case "foreign":
            assert shape.transformer is not None
            from flyte.types._foreign import ForeignCodec

            return ForeignCodec(annotation, target, shape.transformer)
        case "enum":
            return EnumCodec(annotation, target)
        case "literal":
            return ChoiceCodec(annotation, args)
        case "list":
            from flyte.types._containers import ListCodec

            return ListCodec(annotation, codec_for(args[0]))
        case "dict":
            from flyte.types._containers import DictCodec

            return DictCodec(annotation, codec_for(args[1]))
        case "union":
            from flyte.types._containers import UnionCodec

            return UnionCodec(annotation, [codec_for(arg) for arg in args])
        case "mapping" | "dataclass" | "pydantic" | "tuple" | "namedtuple" | "typeddict":
            from flyte.types._payloads import payload_codec

            return payload_codec(annotation, shape)
        case "reference":
            from flyte.types._references import ReferenceCodec

            return ReferenceCodec(annotation, target)
        case "frame" | "dataframe":
            from flyte.types._frames.choice import frame_codec

            return frame_codec(annotation, shape)
        case "protobuf":
            from flyte.types._foreign import MessageCodec

            return MessageCodec(annotation, target)
    from flyte.types._pickle import PickleCodec

    # Python 3.13 keeps its paths in a module of another name; a type has one name on every Python.
    name = "typing.Any" if shape.kind == "constant" else str(target).replace("pathlib._local.", "pathlib.")
    return PickleCodec(annotation, name, closed=shape.kind in ("closed", "constant"))
