"""pydantic models: their plain form is pydantic's own JSON dump, an Enum by its name (wire-protocol section 7).

Together with ``_fidelity`` the only module that imports pydantic. A value that would not come back the same from its
JSON form (``str | datetime`` inside a model) travels in Python's own types, and is refused if that does not help.
"""

import enum
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pydantic
import pydantic.json_schema
from pydantic_core import PydanticSerializationError, to_jsonable_python

from flyte._core.interface import describe
from flyte.types import _annotations
from flyte.types._fidelity import keeps_everything, kept, nested_classes
from flyte.types._mismatch import Mismatch
from flyte.types._nesting import dynamic_plain
from flyte.types._packing import sort_maps
from flyte.types._plain import PLAIN_CLASSES, Plain, mark_of, marked

Convert = Callable[[Any], Any]
Leaf = Callable[[type[enum.Enum]], Convert | None]


def model_plain(annotation: Any, target: Any) -> Plain:
    """The plain form of a pydantic model."""
    cls: type[pydantic.BaseModel] = target
    words = describe(annotation)
    name_enums = _renaming(cls, _to_name, {})
    find_enums = _renaming(cls, _from_name, {})
    validate = cls.model_validate
    sure = keeps_everything(cls)
    classes_fit = nested_classes(cls)
    is_root = issubclass(cls, pydantic.RootModel)
    # A computed field in the dump would be refused, or taken for data, where unknown fields are not ignored.
    round_trip = _minds_computed_fields(cls, set())
    loose = dynamic_plain(cls)
    enums = {f"{found.__module__}.{found.__qualname__}": found for found in _enum_classes(cls, set())}
    origin = cls.__pydantic_generic_metadata__["origin"]

    def check(value: Any) -> None:
        if type(value) is cls:
            return
        if isinstance(value, cls):
            if type(value).__pydantic_generic_metadata__["origin"] is cls:
                return
            raise Mismatch(
                words,
                value,
                f"it is of a subclass and would come back as {cls.__qualname__}; annotate with "
                f"{type(value).__qualname__}, or with a union of both",
            )
        if origin is not None and type(value) is origin:
            return
        raise Mismatch(words, value)

    def pack(value: Any) -> Any:
        check(value)
        if sure and classes_fit is not None and not classes_fit(value):
            raise Mismatch(words, value, _SUBCLASS)
        if sure:
            return dump(value)
        # What JSON cannot tell apart travels in Python's own types.
        for way in (dump, loose_dump):
            try:
                plain = way(value)
                if kept(unpack(plain), value):
                    return plain
            except Mismatch:
                if way is loose_dump:
                    raise
        raise Mismatch(words, value, "pydantic does not give the same value back from what it dumps")

    def loose_dump(value: Any) -> Any:
        try:
            dumped = value.model_dump(mode="python", round_trip=True)
            return marked(_LOOSE, loose.pack(_without_enums(dumped, enums)))
        except Mismatch as mismatch:
            held = type(mismatch.value).__qualname__
            why = f"it holds a {held}, which does not come back the same from what pydantic dumps"
            raise Mismatch(words, value, why) from mismatch

    def dump(value: Any) -> Any:
        try:
            plain = value.model_dump(mode="json", round_trip=round_trip)
        except (PydanticSerializationError, UnicodeDecodeError):
            # Bytes that are not UTF-8: pydantic refuses them; raw is what its reader takes as well.
            try:
                plain = _jsonable(value.model_dump(mode="python"))
            except (PydanticSerializationError, UnicodeDecodeError, TypeError) as error:
                raise Mismatch(f"{words} that pydantic can dump", value, str(error)[:200]) from error
        except Exception as error:  # a user's own serializer
            why = f"{type(error).__name__}: {str(error)[:200]}"
            raise Mismatch(f"{words} that can be dumped", value, why) from error
        return name_enums(plain) if name_enums is not None else plain

    def unpack(plain: Any) -> Any:
        if mark_of(plain) == _LOOSE:
            plain = _with_enums(loose.unpack(plain["value"]), enums)
        elif type(plain) is not dict and not is_root:
            raise Mismatch(words, plain)
        elif find_enums is not None:
            plain = find_enums(plain)
        try:
            return validate(plain, by_alias=True, by_name=True)
        except pydantic.ValidationError as error:
            raise Mismatch(words, got=_problems(error)) from error
        except Exception as error:  # a user's own validator
            raise Mismatch(words, got=f"fields it refuses ({type(error).__name__}: {str(error)[:200]})") from error

    known = set(cls.model_fields)
    required = {name for name, field in cls.model_fields.items() if field.is_required()}
    return Plain(
        annotation,
        pack,
        unpack,
        canon=lambda value: sort_maps(pack(value)),
        dumped=True,
        kinds=PLAIN_CLASSES if is_root else (dict,),
        owns=(cls,),
        schema=lambda _: model_schema(cls),
        fits=None if is_root else lambda plain: type(plain) is dict and required <= plain.keys() <= known,
    )


_LOOSE = "python"
_SUBCLASS = "it holds an instance of a subclass, which would come back as the declared class"


def _minds_computed_fields(annotation: Any, seen: set[Any]) -> bool:
    target, _ = _annotations.resolve(annotation)
    if isinstance(target, type) and typing.get_origin(target) is None:
        if not issubclass(target, pydantic.BaseModel) or target in seen:
            return False
        seen.add(target)
        minds = bool(target.model_computed_fields) and target.model_config.get("extra") in ("allow", "forbid")
        return minds or any(_minds_computed_fields(f.annotation, seen) for f in target.model_fields.values())
    return typing.get_origin(target) is not typing.Literal and any(
        _minds_computed_fields(arg, seen)
        for arg in typing.get_args(target)
        if arg is not Ellipsis and not isinstance(arg, list)
    )


def adapted_plain(annotation: Any, target: Any) -> Plain:
    """The plain form of a class that tells pydantic how to validate and dump it."""
    words = describe(annotation)
    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(target)
    origin = typing.get_origin(target) or target

    def pack(value: Any) -> Any:
        if not isinstance(value, origin):
            raise Mismatch(words, value)
        return adapter.dump_python(value, mode="json")

    def unpack(plain: Any) -> Any:
        try:
            return adapter.validate_python(plain)
        except pydantic.ValidationError as error:
            raise Mismatch(words, got=_problems(error)) from error

    return Plain(
        annotation,
        pack,
        unpack,
        canon=lambda value: sort_maps(pack(value)),
        dumped=True,
        owns=(origin,),
        schema=lambda _: adapter.json_schema(),
    )


def _problems(error: pydantic.ValidationError) -> str:
    listed = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False)[:3]:
        where = ".".join(map(str, problem["loc"]))
        listed.append(f"{where}: {problem['msg']}" if where else problem["msg"])
    more = f" and {error.error_count() - 3} more" if error.error_count() > 3 else ""
    return f"data that does not validate ({'; '.join(listed)}{more})"


def _jsonable(value: Any) -> Any:
    if type(value) is bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, dict):
        return {_jsonable(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(item) for item in value]
    return to_jsonable_python(value)


# Enums by name ------------------------------------------------------------------------------------------


def _to_name(cls: type[enum.Enum]) -> Convert | None:
    names = {_key(to_jsonable_python(member.value)): member.name for member in cls}
    return lambda plain: names.get(_key(plain), plain)


def _from_name(cls: type[enum.Enum]) -> Convert | None:
    members = dict(cls.__members__)
    values = {_key(to_jsonable_python(member.value)) for member in cls}

    def find(plain: Any) -> Any:
        # A name before a value: that is what was written.
        if type(plain) is str and plain in members:
            return members[plain]
        if _key(plain) in values:
            return plain
        return plain

    return find


def _key(plain: Any) -> Any:
    return (type(plain), plain) if isinstance(plain, (str, int, float, bool, bytes, type(None))) else repr(plain)


def _renaming(annotation: Any, leaf: Leaf, seen: dict[Any, Any]) -> Convert | None:
    """A function that renames the enums inside a dumped value; None when there are none.

    Peers rename where the declared type says that an Enum is there, but leave an Enum that is one variant of several
    as its value.
    """
    target, _ = _annotations.resolve(annotation)
    origin, args = typing.get_origin(target), typing.get_args(target)
    if isinstance(target, type) and origin is None:
        if issubclass(target, enum.Enum):
            return leaf(target)
        if issubclass(target, pydantic.BaseModel):
            return _rename_fields({n: f.annotation for n, f in target.model_fields.items()}, target, leaf, seen)
        return None
    if origin in (list, set, frozenset) or (origin is tuple and Ellipsis in args):
        return _rename_items(_renaming(args[0], leaf, seen))
    if origin is tuple:
        return _rename_positions([_renaming(arg, leaf, seen) for arg in args])
    if origin is dict:
        return _rename_entries(_renaming(args[0], leaf, seen), _renaming(args[1], leaf, seen))
    if origin is typing.Union or origin is types.UnionType:
        others = [arg for arg in args if arg is not type(None)]
        if len(others) == 1:
            inner = _renaming(others[0], leaf, seen)
            return None if inner is None else lambda plain: None if plain is None else inner(plain)
    return None


def _rename_items(item: Convert | None) -> Convert | None:
    if item is None:
        return None
    return lambda plain: [item(element) for element in plain] if type(plain) is list else plain


def _rename_positions(items: list[Convert | None]) -> Convert | None:
    if not any(items):
        return None

    def rename(plain: Any) -> Any:
        if type(plain) is not list or len(plain) != len(items):
            return plain
        return [item(element) if item else element for item, element in zip(items, plain, strict=True)]

    return rename


def _rename_entries(key: Convert | None, value: Convert | None) -> Convert | None:
    if key is None and value is None:
        return None

    def rename(plain: Any) -> Any:
        if type(plain) is not dict:
            return plain
        return {(key(k) if key else k): (value(v) if value else v) for k, v in plain.items()}

    return rename


def _rename_fields(annotations: dict[str, Any], target: Any, leaf: Leaf, seen: dict[Any, Any]) -> Convert | None:
    if target in seen:
        # A recursive model: looked up when it is used, because it is still being compiled.
        return lambda plain: seen[target](plain) if seen[target] else plain
    seen[target] = None
    renames = {name: rename for name, hint in annotations.items() if (rename := _renaming(hint, leaf, seen))}
    if next(_enum_classes(target, set()), None) is None:
        return None

    def rename_fields(plain: Any) -> Any:
        if type(plain) is not dict:
            return plain
        return {name: renames[name](value) if name in renames else value for name, value in plain.items()}

    seen[target] = rename_fields
    return rename_fields


def _enum_classes(annotation: Any, seen: set[Any]) -> Iterator[type[enum.Enum]]:
    """The Enum classes that an annotation and the fields of its models name."""
    target, _ = _annotations.resolve(annotation)
    if isinstance(target, type) and typing.get_origin(target) is None:
        if issubclass(target, enum.Enum):
            yield target
        elif issubclass(target, pydantic.BaseModel) and target not in seen:
            seen.add(target)
            for field in target.model_fields.values():
                yield from _enum_classes(field.annotation, seen)
    elif typing.get_origin(target) is not typing.Literal:
        for arg in typing.get_args(target):
            if arg is not Ellipsis and not isinstance(arg, list):
                yield from _enum_classes(arg, seen)


_ENUM = "$enum"


def _without_enums(value: Any, enums: dict[str, type[enum.Enum]]) -> Any:
    """A Python dump with the members of declared Enums written as tuples of class and name."""
    if isinstance(value, enum.Enum):
        cls = type(value)
        name = f"{cls.__module__}.{cls.__qualname__}"
        return (_ENUM, name, value.name) if enums.get(name) is cls else value
    if type(value) is dict:
        return {_without_enums(k, enums): _without_enums(v, enums) for k, v in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_without_enums(item, enums) for item in value)
    return value


def _with_enums(value: Any, enums: dict[str, type[enum.Enum]]) -> Any:
    """The same with its members back; only classes that the model declares are looked up."""
    if type(value) is tuple and len(value) == 3 and value[0] == _ENUM and type(value[1]) is str:
        cls = enums.get(value[1])
        if cls is not None and type(value[2]) is str and value[2] in cls.__members__:
            return cls.__members__[value[2]]
    if type(value) is dict:
        return {_with_enums(k, enums): _with_enums(v, enums) for k, v in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_with_enums(item, enums) for item in value)
    return value


# Schemas ------------------------------------------------------------------------------------------


class _EnumNames(pydantic.json_schema.GenerateJsonSchema):
    """pydantic's JSON schema, with the members of an Enum by name."""

    def enum_schema(self, schema: Any) -> dict[str, Any]:
        described = super().enum_schema(schema)
        names = [member.name for member in schema["members"]]
        described.pop("const", None)
        return {**described, "enum": names}


def model_schema(cls: type[pydantic.BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model."""
    return cls.model_json_schema(schema_generator=_EnumNames)


def wrapper_schema(title: str, fields: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON schema of a model of these fields, which stands for a tuple or TypedDict on the wire.

    None when pydantic does not know one of their types.
    """
    definitions: Any = {name: (annotation, ...) for name, annotation in fields.items()}
    try:
        return model_schema(pydantic.create_model(title, **definitions))
    except pydantic.PydanticUserError:
        return None
