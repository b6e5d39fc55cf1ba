"""Codecs of tuple, NamedTuple and TypedDict as a value of their own: a map, as a model of these fields would dump."""

import types
import typing
from collections.abc import Callable
from typing import Any

from flyte._core.interface import describe
from flyte.types._annotations import resolve
from flyte.types._compile import hints_of, plain_of, typeddict_plain
from flyte.types._mismatch import Mismatch
from flyte.types._plain import Convert, Plain, SchemaContext
from flyte.types._structs import PayloadCodec

_TAG = "Pydantic Transformer"


def tuple_codec(annotation: Any, args: tuple[Any, ...]) -> PayloadCodec:
    """``tuple[A, B]``: fields ``item_0``, ``item_1``."""
    fields = {f"item_{i}": arg for i, arg in enumerate(args)}
    plain = _row_plain(annotation, tuple, fields, tuple, index=True)
    # Peers name the schema after the alias: tuple[...] and Tuple[...] differ.
    alias = "tuple" if isinstance(resolve(annotation)[0], types.GenericAlias) else "Tuple"
    return _codec(annotation, "Typed Tuple", plain, f"TupleWrapper_{alias}", fields)


def namedtuple_codec(annotation: Any, target: Any) -> PayloadCodec:
    """A NamedTuple class: its fields."""
    cls: Any = typing.get_origin(target) or target
    hints = hints_of(target)
    fields = {name: hints.get(name, Any) for name in cls._fields}
    plain = _row_plain(annotation, cls, fields, cls._make, index=False)
    return _codec(annotation, "Typed NamedTuple", plain, f"NamedTupleWrapper_{cls.__name__}", fields)


def typeddict_codec(annotation: Any, target: Any) -> PayloadCodec:
    """A TypedDict class: its keys."""
    cls: Any = typing.get_origin(target) or target
    plain = typeddict_plain(annotation, target, "json")
    fields = {name: _bare(hint) for name, hint in hints_of(target).items()}
    return _codec(annotation, "Typed TypedDict", plain, f"TypedDictWrapper_{cls.__name__}", fields)


def _bare(hint: Any) -> Any:
    while typing.get_origin(hint) in (typing.Required, typing.NotRequired):
        hint = typing.get_args(hint)[0]
    return hint


def _codec(annotation: Any, name: str, plain: Plain, title: str, fields: dict[str, Any]) -> PayloadCodec:
    def schema() -> dict[str, Any]:
        from flyte.types._models import wrapper_schema

        described = wrapper_schema(title, fields)
        if described is None:  # a field's type that pydantic does not know
            described = {"type": "object", "title": title, **plain.schema(SchemaContext())}
        return described

    return PayloadCodec(annotation, name, plain, schema, _TAG)


def _row_plain(
    annotation: Any, cls: Any, fields: dict[str, Any], make: Callable[[list[Any]], Any], index: bool
) -> Plain:
    words = describe(annotation)
    plains = {name: plain_of(hint, "json") for name, hint in fields.items()}
    count = len(plains)
    steps = [f"[{i}]" if index else f".{name}" for i, name in enumerate(plains)]

    def writer(positions: list[tuple[int, str, Convert]]) -> Convert:
        def write(value: Any) -> dict[str, Any]:
            # A plain tuple may stand for a NamedTuple, but not a NamedTuple for a tuple: its class would be lost.
            if type(value) is not tuple and type(value) is not cls:
                raise Mismatch(words, value)
            if len(value) != count:
                raise Mismatch(words, value, f"it has {len(value)} elements, not {count}")
            packed = {}
            for i, name, convert in positions:
                try:
                    packed[name] = convert(value[i])
                except Mismatch as mismatch:
                    raise mismatch.under(steps[i]) from mismatch.__cause__
            return packed

        return write

    def unpack(packed: Any) -> Any:
        if type(packed) is not dict or len(packed) != count:
            raise Mismatch(words, packed)
        values = []
        for i, (name, plain) in enumerate(plains.items()):
            if name not in packed:
                raise Mismatch(words, packed, f"{name!r} is missing")
            try:
                values.append(plain.unpack(packed[name]))
            except Mismatch as mismatch:
                raise mismatch.under(steps[i]) from mismatch.__cause__
        return make(values)

    def schema(context: SchemaContext) -> dict[str, Any]:
        described = {name: plain.schema(context) for name, plain in plains.items()}
        return {"properties": described, "required": list(described)} if described else {}

    in_order = [(i, name, plain.pack) for i, (name, plain) in enumerate(plains.items())]
    by_name = sorted(((i, name, plain.canon) for i, (name, plain) in enumerate(plains.items())), key=lambda p: p[1])
    return Plain(
        annotation,
        writer(in_order),
        unpack,
        canon=writer(by_name),
        kinds=(dict,),
        owns=(cls,),
        schema=schema,
        fits=lambda packed: type(packed) is dict and packed.keys() == plains.keys(),
    )
