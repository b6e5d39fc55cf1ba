"""Which pydantic models keep every value through their JSON dump, and which have to be looked at value by value.

A dump loses what JSON cannot tell apart: a datetime in ``str | datetime``, a tuple in ``Any``, a secret. Models whose
fields cannot lose anything are recognised when they are compiled, so that checking costs nothing on each call.
"""

import datetime
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any

import pydantic

from flyte.types import _annotations
from flyte.types._equality import same

_KEPT = {
    int,
    float,
    bool,
    str,
    type(None),
    bytes,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
}
# What a JSON value of each class is read as; variants of a union must not share one.
_JSON_KIND = {int: "int", float: "float", bool: "bool", type(None): "null"}


def keeps_everything(cls: type[pydantic.BaseModel], seen: frozenset[Any] = frozenset()) -> bool:
    """Whether no value of a model can change on its way through JSON, its nested models being of the declared class."""
    if cls in seen:
        return True
    decorators = cls.__pydantic_decorators__
    if decorators.field_serializers or decorators.model_serializers:
        return False
    if cls.model_config.get("extra") == "allow" or cls.model_config.get("ser_json_bytes", "utf8") != "utf8":
        return False
    seen |= {cls}
    return all(not _has_serializer(f) and _kept(f.annotation, seen) for f in cls.model_fields.values())


def _has_serializer(field: Any) -> bool:
    return any("Serializer" in type(item).__name__ for item in field.metadata)


def _kept(annotation: Any, seen: frozenset[Any]) -> bool:
    target, metadata = _annotations.resolve(annotation)
    if any("Serializer" in type(item).__name__ for item in metadata):
        return False
    origin, args = typing.get_origin(target), typing.get_args(target)
    if origin is None:
        if not isinstance(target, type):
            return False
        if hasattr(target, _annotations.REFERENCE):
            return True
        if issubclass(target, pydantic.BaseModel):
            return keeps_everything(target, seen)
        return target in _KEPT or issubclass(target, enum.Enum)
    if origin in (list, set, frozenset) or (origin is tuple and Ellipsis in args):
        return _kept(args[0], seen)
    if origin is tuple:
        return all(_kept(arg, seen) for arg in args)
    if origin is dict:
        return _annotations.resolve(args[0])[0] in (str, int) and _kept(args[1], seen)
    if origin is typing.Union or origin is types.UnionType:
        kinds = [_JSON_KIND.get(_annotations.resolve(arg)[0], "other") for arg in args]
        return len(set(kinds)) == len(kinds) and all(_kept(arg, seen) for arg in args)
    return origin is typing.Literal and all(type(arg) in (str, int, bool, type(None)) for arg in args)


ClassCheck = Callable[[Any], bool]


def nested_classes(cls: type[pydantic.BaseModel], seen: dict[Any, Any] | None = None) -> ClassCheck | None:
    """A test that nested models are of the declared class; None when there are none.

    An instance of a subclass would come back as the declared class, without the fields it adds.
    """
    seen = {} if seen is None else seen
    if cls in seen:
        return lambda value: type(value) is not cls or seen[cls] is None or seen[cls](value)
    seen[cls] = None
    checks = [(n, c) for n, f in cls.model_fields.items() if (c := _classes_in(f.annotation, seen)) is not None]
    if not checks:
        return None

    def check(value: Any) -> bool:
        return all(test(getattr(value, name)) for name, test in checks)

    seen[cls] = check
    return check


def _classes_in(annotation: Any, seen: dict[Any, Any]) -> ClassCheck | None:
    target, _ = _annotations.resolve(annotation)
    origin, args = typing.get_origin(target), typing.get_args(target)
    if isinstance(target, type) and origin is None:
        # A file is a file, whatever its parameter says it holds.
        if not issubclass(target, pydantic.BaseModel) or hasattr(target, _annotations.REFERENCE):
            return None
        inner = nested_classes(target, seen)
        return lambda value: (
            not isinstance(value, target) or (type(value) is target and (inner is None or inner(value)))
        )
    if origin in (list, set, frozenset, tuple):
        item = _annotations.resolve(args[0])[0] if args else None
        was_seen = item in seen
        tests = [_classes_in(arg, seen) for arg in args if arg is not Ellipsis]
        if not any(tests):
            return None
        if len(tests) == 1 and tests[0] is not None:
            test = tests[0]
            if not was_seen and item in seen and seen[item] is None:
                exact = frozenset((item,))  # models without models: their class is all there is to see
                return lambda value: exact.issuperset(map(type, value)) or all(map(test, value))
            return lambda value: all(map(test, value))
        return lambda value: all(t is None or t(v) for t, v in zip(tests, value, strict=False))
    if origin is dict:
        test_value = _classes_in(args[1], seen)
        return None if test_value is None else lambda value: all(map(test_value, value.values()))
    if origin is typing.Union or origin is types.UnionType:
        some = [t for arg in args if (t := _classes_in(arg, seen)) is not None]
        # A value passes when it is none of the models, or exactly one of them.
        classes = [a for arg in args if isinstance(a := _annotations.resolve(arg)[0], type)]
        return (lambda value: type(value) in classes or all(t(value) for t in some)) if some else None
    return None


def kept(back: Any, value: Any) -> bool:
    """Whether a model came back as it was; excluded fields and private attributes do not count."""
    cls = type(value)
    if type(back) is not cls:
        return False
    if not isinstance(value, pydantic.BaseModel):
        return same(back, value)
    for name, field in cls.model_fields.items():
        if not field.exclude and not _kept_part(getattr(back, name), getattr(value, name)):
            return False
    return same(back.__pydantic_extra__, value.__pydantic_extra__)


def _kept_part(back: Any, value: Any) -> bool:
    if isinstance(value, pydantic.BaseModel):
        return kept(back, value)
    if type(back) is type(value):
        if isinstance(value, (list, tuple)):
            return len(back) == len(value) and all(map(_kept_part, back, value))
        if isinstance(value, dict) and back.keys() == value.keys():
            return same(list(back), list(value)) and all(_kept_part(back[key], value[key]) for key in value)
    return same(back, value)
