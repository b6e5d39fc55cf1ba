"""What kind of type an annotation is, decided once for everybody who asks.

The compiler of codecs asks before it builds one; a declaration asks which parts only pickle can carry. Loads neither
protobuf nor pydantic: a class is recognised as theirs only when the program itself has imported them.
"""

import datetime
import enum
import os
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

from flyte.types import _transformer
from flyte.types._frames.content import is_known
from flyte.types._frames.handlers import handles

_SCALARS: dict[Any, str] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
    type(None): "none",
    datetime.datetime: "datetime",
    datetime.date: "date",
    datetime.timedelta: "timedelta",
}
_CLOSED_NAMES = {
    ("decimal", "Decimal"),
    ("uuid", "UUID"),
    ("pathlib", "PurePath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib", "PureWindowsPath"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("fractions", "Fraction"),
}
_CLOSED = {bytes, bytearray, complex, datetime.time, range}
REFERENCE = "__flyte_reference__"
"""Class attribute of what travels by reference: ``"file"`` or ``"dir"`` (see ``_references``), or ``"dataframe"`` (see
``_frames``)."""
_POLICIES = ("allow", "warn", "forbid")
PicklePolicy = typing.Literal["allow", "warn", "forbid"]


def pickle_policy() -> PicklePolicy:
    """What to do with values that only pickle can carry: the environment variable ``FLYTE_PICKLE``, default "warn".

    :raises ValueError: it is none of ``allow``, ``warn`` and ``forbid``.
    """
    value = os.environ.get("FLYTE_PICKLE", "warn")
    if value not in _POLICIES:
        raise ValueError(f"FLYTE_PICKLE={value!r} is not one of {', '.join(_POLICIES)}")
    return typing.cast(PicklePolicy, value)


class Shape(typing.NamedTuple):
    """What an annotation is.

    :param kind: the name of its way of travelling.
    :param target: the annotation without Annotated, NewType and aliases.
    :param args: its type arguments.
    :param metadata: what Annotated carried.
    :param transformer: the third-party transformer, when the kind is "foreign".
    """

    kind: str
    target: Any
    args: tuple[Any, ...] = ()
    metadata: tuple[Any, ...] = ()
    transformer: "_transformer.TypeTransformer[Any] | None" = None


def resolve(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """An annotation without Annotated, NewType and type aliases, and the metadata that was found on the way.

    :raises TypeError: it is a forward reference that was never resolved.
    """
    metadata: tuple[Any, ...] = ()
    while True:
        if annotation is None:
            return type(None), metadata
        if isinstance(annotation, (str, typing.ForwardRef)):
            raise TypeError(
                f"the annotation {annotation!r} is an unresolved forward reference; use the type itself, or define it "
                "at module level so that it can be found"
            )
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            metadata += annotation.__metadata__
            annotation = annotation.__origin__
        elif origin in (typing.Required, typing.NotRequired, typing.Final):
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, typing.TypeVar):
            annotation = annotation.__bound__ or (
                typing.Union[annotation.__constraints__] if annotation.__constraints__ else Any  # noqa: UP007
            )
        elif type(annotation).__name__ == "TypeAliasType":  # Python 3.12's "type X = ..."
            annotation = annotation.__value__
        elif not _is_type(annotation):
            raise TypeError(f"{annotation!r} is not a type, so it cannot annotate a task's input or output")
        else:
            return annotation, metadata


def _is_type(annotation: Any) -> bool:
    if isinstance(annotation, type) or typing.get_origin(annotation) is not None:
        return True
    return annotation is Any or type(annotation).__module__ in ("typing", "typing_extensions")


def key_of(annotation: Any) -> Any:
    """What tells annotations apart: unlike ``==`` on them, the order of a union's variants counts."""
    args = typing.get_args(annotation)
    if not args:
        return annotation
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return (origin, key_of(args[0]), *((type(item), _hashable(item)) for item in args[1:]))
    if origin is typing.Literal:
        return (origin, *((type(arg), arg) for arg in args))
    # The class of the alias itself too: List[int] and list[int] name themselves differently in messages and pickles.
    return (type(annotation), origin, *(key_of(arg) if not isinstance(arg, list) else str(arg) for arg in args))


def _hashable(item: Any) -> Any:
    try:
        hash(item)
    except TypeError:
        return ("by identity", id(item))
    return item


def classify(annotation: Any) -> Shape:
    """What kind of type an annotation is.

    :raises TypeError: an unresolved forward reference.
    :raises RestrictedTypeError: the type may not be used.
    """
    target, metadata = resolve(annotation)
    for item in metadata:
        if isinstance(item, _transformer.TypeTransformer):
            return Shape("foreign", target, typing.get_args(target), metadata, item)
    name = _transformer.restricted(target) or _transformer.restricted(typing.get_origin(target))
    if name is not None:
        from flyte.errors import RestrictedTypeError

        raise RestrictedTypeError(f"type {target!r} ({name}) may not be a task's input or output")
    transformer = _transformer.find_exact(target)
    if transformer is None:
        kind = _kind(target)
        if kind is not None:
            return Shape(kind, target, typing.get_args(target), metadata)
        transformer = _transformer.find_inherited(target)
    if transformer is None and _transformer.load_entry_points():
        transformer = _transformer.find_exact(target) or _transformer.find_inherited(target)
    if transformer is not None:
        return Shape("foreign", target, typing.get_args(target), metadata, transformer)
    return Shape("pickle", target, typing.get_args(target), metadata)


def _kind(target: Any) -> str | None:
    origin = typing.get_origin(target)
    args = typing.get_args(target)
    if origin is None:
        return _class_kind(target)
    if origin is typing.Union or origin is types.UnionType:
        return "union"
    if origin is typing.Literal:
        return "literal" if all(type(a) is str for a in args) else "constant"
    if origin is list:
        return "list"
    if origin is dict:
        return "dict" if resolve(args[0])[0] is str else "mapping"
    if origin is tuple:
        return "closed" if Ellipsis in args and is_closed(target) else None if Ellipsis in args else "tuple"
    if origin in (set, frozenset):
        return "closed" if is_closed(target) else None
    if isinstance(origin, type):
        kind = _class_kind(origin)
        return kind if kind in ("dataclass", "namedtuple", "typeddict", "pydantic") else None
    return None


def _class_kind(cls: Any) -> str | None:
    kind = _SCALARS.get(cls) if isinstance(cls, type) else None
    if kind is not None:
        return kind
    if is_closed_class(cls):
        return "closed"
    if typing.is_typeddict(cls):
        return "typeddict"
    if not isinstance(cls, type):
        return None
    if cls is dict:
        return "mapping"
    if issubclass(cls, enum.Enum):
        return "enum"
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return "namedtuple"
    if hasattr(cls, REFERENCE):
        return "dataframe" if getattr(cls, REFERENCE) == "dataframe" else "reference"
    if is_known(cls) or handles(cls):
        return "frame"
    # Only a program that imported these can have such a class.
    if (pydantic := sys.modules.get("pydantic")) and issubclass(cls, pydantic.BaseModel):
        return "pydantic"
    if (message := sys.modules.get("google.protobuf.message")) and issubclass(cls, message.Message):
        return "protobuf"
    return "dataclass" if is_dataclass(cls) else None


def is_closed_class(cls: Any) -> bool:
    """Whether a class is one of the closed set that travels pickled and is unpickled without running any code."""
    if not isinstance(cls, type):
        return False
    return cls in _CLOSED or (cls.__module__.partition(".")[0], cls.__name__) in _CLOSED_NAMES


def is_closed(annotation: Any) -> bool:
    """Whether every value of an annotation consists of built-in types of the closed set."""
    target, metadata = resolve(annotation)
    if any(isinstance(item, _transformer.TypeTransformer) for item in metadata):
        return False
    if target in _SCALARS if isinstance(target, type) else False:
        return True
    origin, args = typing.get_origin(target), typing.get_args(target)
    if origin is None:
        return is_closed_class(target) or (isinstance(target, type) and _is_importable_enum(target))
    if origin in (list, set, frozenset, tuple, dict, typing.Union, types.UnionType):
        return bool(args or target == tuple[()]) and all(a is Ellipsis or is_closed(a) for a in args)
    return origin is typing.Literal and all(type(a) in _SCALARS or type(a) in _CLOSED for a in args)


def _is_importable_enum(cls: type) -> bool:
    return issubclass(cls, enum.Enum) and "<locals>" not in cls.__qualname__


def enums_in(annotation: Any) -> Iterator[type[enum.Enum]]:
    """The Enum classes that an annotation names."""
    target, _ = resolve(annotation)
    if isinstance(target, type) and typing.get_origin(target) is None:
        if issubclass(target, enum.Enum):
            yield target
        return
    if typing.get_origin(target) is not typing.Literal:
        for arg in typing.get_args(target):
            if arg is not Ellipsis:
                yield from enums_in(arg)


def pickled_parts(annotation: Any) -> tuple[str, ...]:
    """The parts of an annotation that only an open pickle can carry, whose decoding may run code.

    :returns: the path of each part: "" for the whole annotation, ``[]`` for the elements of a list,
        ``[value]`` for the values of a dict, each with the type after a colon; nothing when there is none.
    """
    return tuple(_pickled(annotation, ""))


def _pickled(annotation: Any, path: str) -> Iterator[str]:
    shape = classify(annotation)
    if shape.kind == "pickle":
        yield f"{path}: {_readable(shape.target)}" if path else ""
    elif shape.kind == "list":
        yield from _pickled(shape.args[0], f"{path}[]")
    elif shape.kind == "dict":
        yield from _pickled(shape.args[1], f"{path}[value]")
    elif shape.kind == "union":
        for arg in shape.args:
            for part in _pickled(arg, path):
                yield part or _readable(resolve(arg)[0])


def _readable(target: Any) -> str:
    return target.__qualname__ if isinstance(target, type) else str(target).replace("typing.", "")
