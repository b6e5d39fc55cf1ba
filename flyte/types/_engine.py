"""From an annotation to its codec.

Controllers call :func:`codec_for` once per interface; users go through :class:`flyte.types.TypeEngine`.
"""

import threading
from typing import Any

from flyte.types import _transformer
from flyte.types._annotations import Shape, classify
from flyte.types._codec import Codec
from flyte.types._compile import key_of, plain_of
from flyte.types._containers import DictCodec, ListCodec, UnionCodec
from flyte.types._plain import SchemaContext
from flyte.types._scalars import SCALARS, ChoiceCodec, EnumCodec
from flyte.types._structs import PayloadCodec

_KEPT_BY_IDENTITY = 4096  # annotations made anew for each call would fill the memory otherwise

_by_identity: dict[int, tuple[Any, Codec[Any]]] = {}
_by_key: dict[Any, Codec[Any]] = {}
_lock = threading.RLock()
_generation = 0


def _forget() -> None:
    global _generation
    with _lock:
        _generation += 1
        _by_identity.clear()
        _by_key.clear()


_transformer.on_change(_forget)


def generation() -> int:
    """A number that grows with each registration; codecs taken before it grew may be out of date."""
    return _generation


def codec_for(annotation: Any) -> Codec[Any]:
    """The codec of an annotation, compiled on first use.

    :raises TypeError: the annotation cannot be a task's input or output.
    :raises RestrictedTypeError: its type may not be used.
    """
    entry = _by_identity.get(id(annotation))
    if entry is not None and entry[0] is annotation:
        return entry[1]
    key = key_of(annotation)
    codec = _by_key.get(key)
    if codec is None:
        with _lock:
            codec = _by_key.get(key)
            if codec is None:
                codec = _by_key[key] = _compile(annotation)
    if len(_by_identity) >= _KEPT_BY_IDENTITY:
        _by_identity.clear()
    _by_identity[id(annotation)] = (annotation, codec)
    return codec


def _compile(annotation: Any) -> Codec[Any]:
    shape = classify(annotation)
    codec = _codec_of(annotation, shape)
    if shape.metadata and shape.kind != "foreign":
        from flyte.types._schema import constrain

        constrain(codec, shape)
    return codec


def _codec_of(annotation: Any, shape: Shape) -> Codec[Any]:
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
            return ListCodec(annotation, codec_for(args[0]))
        case "dict":
            return DictCodec(annotation, codec_for(args[1]))
        case "union":
            return UnionCodec(annotation, [codec_for(arg) for arg in args])
        case "mapping":
            return PayloadCodec(annotation, "Typed Dict", plain_of(annotation, "dataclass"), None, "")
        case "dataclass":
            return _dataclass_codec(annotation)
        case "pydantic":
            return _model_codec(annotation)
        case "reference":
            from flyte.types._references import ReferenceCodec

            return ReferenceCodec(annotation, target)
        case "frame" | "dataframe":
            from flyte.types._frames.choice import frame_codec

            return frame_codec(annotation, shape)
        case "tuple" | "namedtuple" | "typeddict":
            return _row_codec(annotation, shape)
        case "protobuf":
            from flyte.types._foreign import MessageCodec

            return MessageCodec(annotation, target)
    from flyte.types._pickle import PickleCodec

    # Python 3.13 keeps its paths in a module of another name; a type has one name on every Python.
    name = "typing.Any" if shape.kind == "constant" else str(target).replace("pathlib._local.", "pathlib.")
    return PickleCodec(annotation, name, closed=shape.kind in ("closed", "constant"))


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
    from flyte.types import _tuples

    if shape.kind == "tuple":
        return _tuples.tuple_codec(annotation, shape.args)
    if shape.kind == "namedtuple":
        return _tuples.namedtuple_codec(annotation, shape.target)
    return _tuples.typeddict_codec(annotation, shape.target)
