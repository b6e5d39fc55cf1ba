"""From an annotation to its plain form: the compiler of everything inside a structure (see ``_plain``)."""

import dataclasses
import threading
import typing
from typing import Any

from flyte._core.interface import describe
from flyte.types import _annotations, _transformer
from flyte.types._annotations import key_of
from flyte.types._fields import Field, compile_reader, compile_writer, constructor_failure, dataclass_fields, has_fields
from flyte.types._leaves import enum_plain, leaf, literal_plain
from flyte.types._mismatch import Mismatch
from flyte.types._nesting import (
    bare_dict_plain,
    dict_plain,
    dynamic_plain,
    sequence_plain,
    set_plain,
    tuple_plain,
    union_plain,
)
from flyte.types._plain import Dialect, Plain, SchemaContext

_cache: dict[Any, Plain] = {}
# What is being compiled: other threads see it only when the outermost annotation is done, because the parts of a
# recursive class refer to it before it can be used.
_unfinished: dict[Any, Plain | None] = {}
_ROOT = object()
_lock = threading.RLock()
_transformer.on_change(_cache.clear)


def plain_of(annotation: Any, dialect: Dialect) -> Plain:
    """The plain form of an annotation, compiled on first use.

    :raises TypeError: the annotation cannot travel inside a structure.
    """
    key = (key_of(annotation), dialect)
    found = _cache.get(key)
    if found is not None:
        return found
    with _lock:
        found = _cache.get(key) or _unfinished.get(key)
        if found is None:
            outermost = not _unfinished
            # A place for itself, so that the set is not empty while the parts of this one are compiled.
            _unfinished.setdefault(_ROOT, None)
            try:
                found = _unfinished[key] = _compile(annotation, dialect, key)
                if outermost:
                    _unfinished.pop(_ROOT)
                    _cache.update(_unfinished)
            finally:
                if outermost:
                    _unfinished.clear()
    return found


def _compile(annotation: Any, dialect: Dialect, key: Any) -> Plain:
    target, _ = _annotations.resolve(annotation)
    found = leaf(annotation, target, dialect)
    if found is not None:
        return found
    if target in (Any, object):
        return dynamic_plain(annotation)
    origin, args = typing.get_origin(target), typing.get_args(target)
    if origin in (tuple, set, frozenset) or target in (list, tuple, set, frozenset):
        return _collection(annotation, origin or target, args, dialect)
    shape = _annotations.classify(target)
    match shape.kind:
        case "list":
            return sequence_plain(annotation, list, plain_of(args[0], dialect))
        case "mapping" if not args:
            return bare_dict_plain(annotation)
        case "dict" | "mapping":
            k, v = args
            return dict_plain(annotation, plain_of(k, dialect), plain_of(v, dialect), dialect)
        case "union":
            return union_plain(annotation, [plain_of(arg, dialect) for arg in args])
        case "enum":
            return enum_plain(annotation, target, dialect)
        case "literal" | "constant":
            return literal_plain(annotation, args)
        case "dataclass":
            return _dataclass_plain(annotation, target, dialect, key)
        case "namedtuple":
            return _namedtuple_plain(annotation, target, dialect)
        case "typeddict":
            return typeddict_plain(annotation, target, dialect)
        case "reference":
            from flyte.types._references import reference_plain

            return reference_plain(annotation, target)
        case "frame" | "dataframe":
            from flyte.types._frames.codec import frame_plain

            return frame_plain(annotation, _annotations.classify(annotation))
        case "pydantic":
            from flyte.types._models import model_plain

            return model_plain(annotation, target)
    if hasattr(target, "__get_pydantic_core_schema__"):
        from flyte.types._models import adapted_plain

        return adapted_plain(annotation, target)
    raise TypeError(
        f"{describe(annotation)} cannot travel inside a dataclass, tuple, NamedTuple, TypedDict or dict: make it a "
        "dataclass or a pydantic model, or pass it as a parameter of its own"
    )


def _collection(annotation: Any, origin: Any, args: tuple[Any, ...], dialect: Dialect) -> Plain:
    if origin is list:
        return sequence_plain(annotation, list, dynamic_plain(Any), bare=True)
    if origin is not tuple:
        return set_plain(annotation, origin, plain_of(args[0] if args else Any, dialect))
    if not args and annotation is not tuple[()]:
        return sequence_plain(annotation, tuple, dynamic_plain(Any), bare=True)
    if Ellipsis in args:
        return sequence_plain(annotation, tuple, plain_of(args[0], dialect))
    return tuple_plain(annotation, [plain_of(arg, dialect) for arg in args], tuple)


def hints_of(cls: Any) -> dict[str, Any]:
    """The annotations of a class's fields, forward references and type parameters resolved.

    :raises TypeError: an annotation names something that does not exist.
    """
    origin = typing.get_origin(cls) or cls
    local = {origin.__name__: origin}
    try:
        hints = typing.get_type_hints(origin, localns=local, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{origin.__qualname__} has a field whose annotation names {error.name!r}, which does not exist; import "
            "it outside 'if TYPE_CHECKING' and define it at module level"
        ) from error
    parameters = dict(zip(getattr(origin, "__parameters__", ()), typing.get_args(cls), strict=False))
    for base in getattr(origin, "__orig_bases__", ()):
        base_parameters = getattr(typing.get_origin(base), "__parameters__", ())
        if typing.get_origin(base) is not typing.Generic:
            for parameter, argument in zip(base_parameters, typing.get_args(base), strict=False):
                parameters.setdefault(parameter, _substitute(argument, parameters))
    return {name: _substitute(hint, parameters) for name, hint in hints.items()} if parameters else hints


def _substitute(hint: Any, parameters: dict[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return parameters.get(hint, hint)
    generic: Any = hint
    free = getattr(hint, "__parameters__", ())
    if not free or (isinstance(hint, type) and typing.get_origin(hint) is None):
        return hint
    return generic[tuple(parameters.get(parameter, parameter) for parameter in free)]


def _dataclass_plain(annotation: Any, target: Any, dialect: Dialect, key: Any) -> Plain:
    cls: Any = typing.get_origin(target) or target
    words = describe(annotation)

    def schema(context: SchemaContext) -> dict[str, Any]:
        return _dataclass_schema(cls, target, fields, context)

    # Registered before its fields are compiled, so that a recursive class finds itself; the two functions look the
    # compiled ones up when they are called.
    plain = Plain(
        annotation,
        lambda value: plain.pack(value),
        lambda value: plain.unpack(value),
        canon=lambda value: plain.canon(value),
        kinds=(dict,),
        owns=(cls,),
        schema=schema,
    )
    _unfinished[key] = plain
    fields: list[Field] = []
    _fill(fields, cls, target, dialect)

    def check(value: Any) -> None:
        if type(value) is not cls:
            raise Mismatch(words, value, _subclass_remedy(value, cls))

    plain.pack = compile_writer(fields, [field.plain.pack for field in fields], check)
    by_name = sorted(fields, key=lambda field: field.name)
    plain.canon = compile_writer(by_name, [field.plain.canon for field in by_name], check)
    plain.unpack = compile_reader(cls, fields, words, _constructor(cls, fields, words))
    plain.fits = has_fields(fields)
    return plain


def _subclass_remedy(value: Any, cls: type) -> str:
    if not isinstance(value, cls):
        return ""
    return (
        f"it is of a subclass and would come back as {cls.__qualname__}; annotate with "
        f"{type(value).__qualname__}, or with a union of both"
    )


def _fill(fields: list[Field], cls: Any, target: Any, dialect: Dialect) -> None:
    hints = hints_of(target)
    for field in dataclass_fields(cls):
        default = None
        if field.default is not dataclasses.MISSING:
            default = _constant(field.default)
        try:
            plain = plain_of(hints[field.name], dialect)
        except TypeError as error:
            raise TypeError(f"field {field.name!r} of {cls.__qualname__}: {error}") from error
        required = default is None and field.default_factory is dataclasses.MISSING and field.init
        fields.append(Field(field.name, plain, required, field.init, bool(field.kw_only), default))


def _constant(value: Any) -> typing.Callable[[], Any]:
    return lambda: value


def _constructor(cls: Any, fields: list[Field], words: str) -> typing.Callable[[Any], Any]:
    initial = {field.name for field in fields if field.init}

    def construct(converted: dict[str, Any]) -> Any:
        try:
            made = cls(**{name: value for name, value in converted.items() if name in initial})
        except Exception as error:
            raise constructor_failure(words, error) from error
        for name, value in converted.items():
            if name not in initial:
                object.__setattr__(made, name, value)
        return made

    return construct


def _dataclass_schema(cls: Any, target: Any, fields: list[Field], context: SchemaContext) -> dict[str, Any]:
    if target in context.open:
        context.recursive.add(target)
        return {"$ref": f"#/$defs/{cls.__name__}"}
    context.open.append(target)
    properties: dict[str, Any] = {}
    for field in fields:
        if not field.init:
            continue
        described = field.plain.schema(context)
        if field.default is not None:
            default = _plain_default(field)
            if default is not _UNSAYABLE:
                described = {**described, "default": default}
        properties[field.name] = described
    context.open.pop()
    result: dict[str, Any] = {"type": "object", "title": cls.__name__}
    if properties:
        result["properties"] = properties
    required = [field.name for field in fields if field.required]
    if required:
        result["required"] = required
    result["additionalProperties"] = False
    if target in context.recursive:
        context.recursive.discard(target)
        context.definitions[cls.__name__] = result
        return {"$ref": f"#/$defs/{cls.__name__}"}
    return result


_UNSAYABLE = object()


def _plain_default(field: Field) -> Any:
    try:
        plain = field.plain.pack(field.default() if field.default else None)
    except Mismatch:
        return _UNSAYABLE  # a default that is not of the field's own type
    return plain if type(plain) is not bytes else _UNSAYABLE


def _namedtuple_plain(annotation: Any, target: Any, dialect: Dialect) -> Plain:
    cls: Any = typing.get_origin(target) or target
    hints = hints_of(target)
    items = [plain_of(hints.get(name, Any), dialect) for name in cls._fields]
    return tuple_plain(annotation, items, cls._make, cls)


def typeddict_plain(annotation: Any, target: Any, dialect: Dialect) -> Plain:
    """A TypedDict: a map of its keys; keys that are not required may be missing."""
    cls: Any = typing.get_origin(target) or target
    words = describe(annotation)
    hints = hints_of(target)
    fields = [Field(n, plain_of(h, dialect), n in cls.__required_keys__) for n, h in hints.items()]
    known = {field.name for field in fields}

    def writer(canonical: bool) -> typing.Callable[[Any], Any]:
        ordered = sorted(fields, key=lambda field: field.name) if canonical else fields
        converts = [(f, f.plain.canon if canonical else f.plain.pack) for f in ordered]

        def write(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise Mismatch(words, value)
            for name in value.keys() - known:
                raise Mismatch(words, value, f"it has no key {name!r}")
            packed = {}
            for field, convert in converts:
                if field.name in value:
                    try:
                        packed[field.name] = convert(value[field.name])
                    except Mismatch as mismatch:
                        raise mismatch.under(f"[{field.name!r}]") from mismatch.__cause__
                elif field.required:
                    raise Mismatch(words, value, f"key {field.name!r} is missing")
            return packed

        return write

    def unpack(plain: Any) -> dict[str, Any]:
        if type(plain) is not dict:
            raise Mismatch(words, plain)
        value = {}
        for field in fields:
            if field.name in plain:
                try:
                    value[field.name] = field.plain.unpack(plain[field.name])
                except Mismatch as mismatch:
                    raise mismatch.under(f"[{field.name!r}]") from mismatch.__cause__
            elif field.required:
                raise Mismatch(words, plain, f"key {field.name!r} is missing")
        return value

    def schema(context: SchemaContext) -> dict[str, Any]:
        result: dict[str, Any] = {"type": "object"}
        if fields:
            result["properties"] = {field.name: field.plain.schema(context) for field in fields}
        required = sorted(field.name for field in fields if field.required)
        if required:
            result["required"] = required
        result["additionalProperties"] = False
        return result

    return Plain(
        annotation,
        writer(canonical=False),
        unpack,
        canon=writer(canonical=True),
        kinds=(dict,),
        owns=(dict,),
        schema=schema,
        fits=has_fields(fields),
    )
