"""Compiled readers and writers of things with named fields: dataclass and TypedDict (see ``_plain``).

For each dataclass three functions are generated once. Their source consists of field numbers and field names, which are
Python identifiers; classes and converters come in as variables.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flyte.types._mismatch import Mismatch
from flyte.types._plain import Convert, Plain

_MISSING = object()


@dataclass(slots=True)
class Field:
    """One field of a structure.

    :param name: its name.
    :param plain: the plain form of its annotation.
    :param required: whether it must be present when read.
    :param init: whether the constructor takes it.
    :param keyword: whether the constructor takes it by keyword only.
    :param default: gives its default; None when it has none.
    """

    name: str
    plain: Plain
    required: bool = True
    init: bool = True
    keyword: bool = False
    default: Callable[[], Any] | None = None


def _conversion(names: dict[str, Any], plain: Plain, number: int) -> str:
    """Source that converts one field's variable, unless its value is its own plain form."""
    convert = f"at = {number}; x{number} = c{number}(x{number})"
    passing = sorted(plain.through, key=lambda cls: cls.__name__)
    if not passing:
        return convert
    if len(passing) <= 2:
        for i, cls in enumerate(passing):
            names[f"t{number}_{i}"] = cls
        foreign = " and ".join(f"type(x{number}) is not t{number}_{i}" for i in range(len(passing)))
    else:
        names[f"t{number}"] = frozenset(passing)
        foreign = f"type(x{number}) not in t{number}"
    return f"if {foreign}: {convert}"


def compile_writer(fields: list[Field], converts: list[Convert], check: Convert) -> Convert:
    """A function from an object to the dict of its fields' plain forms, in the order given.

    :param check: given an object, raises Mismatch when it is not of the class.
    """
    names: dict[str, Any] = {"Mismatch": Mismatch, "check": check, "names": [f.name for f in fields]}
    lines = ["def write(value):", " check(value)", " at = 0", " try:"]
    for i, (field, convert) in enumerate(zip(fields, converts, strict=True)):
        names[f"c{i}"], names[f"n{i}"] = convert, field.name
        lines.append(f"  x{i} = value.{field.name}" if field.name.isidentifier() else f"  x{i} = getattr(value, n{i})")
        lines.append("  " + _conversion(names, field.plain, i))
    body = ", ".join(f"n{i}: x{i}" for i in range(len(fields)))
    lines += [
        f"  return {{{body}}}",
        " except Mismatch as mismatch:",
        "  raise mismatch.under('.' + names[at]) from mismatch.__cause__",
        " except AttributeError as error:",
        "  raise Mismatch('all fields to be set', value, str(error)) from error",
    ]
    return _define(lines, names, "write")


def compile_reader(cls: Any, fields: list[Field], words: str, construct: Convert) -> Convert:
    """A function from a dict of plain forms to an object.

    :param construct: dict of converted fields -> object; the slow way, for dicts that lack some.
    """
    plain_way = _slow_reader(fields, words, construct)
    initial = [i for i, f in enumerate(fields) if f.init]
    if len(initial) != len(fields):
        return plain_way
    names: dict[str, Any] = {"Mismatch": Mismatch, "cls": cls, "names": [f.name for f in fields], "slow": plain_way}
    names["failure"] = constructor_failure
    names["words"] = words
    lines = ["def read(plain):", f" if type(plain) is not dict or len(plain) != {len(fields)}: return slow(plain)"]
    lines += [" at = 0", " try:"]
    for i, field in enumerate(fields):
        names[f"c{i}"], names[f"n{i}"] = field.plain.unpack, field.name
        lines.append(f"  x{i} = plain[n{i}]")
    lines += ["  pass", " except KeyError: return slow(plain)", " try:"]
    for i, field in enumerate(fields):
        lines.append("  " + _conversion(names, field.plain, i))
    lines += ["  pass", " except Mismatch as mismatch:"]
    lines += ["  raise mismatch.under('.' + names[at]) from mismatch.__cause__"]
    arguments = [f"x{i}" for i in initial if not fields[i].keyword]
    arguments += [f"{fields[i].name}=x{i}" for i in initial if fields[i].keyword]
    lines += [
        f" try: return cls({', '.join(arguments)})",
        " except Exception as error: raise failure(words, error) from error",
    ]
    return _define(lines, names, "read")


def constructor_failure(words: str, error: Exception) -> Mismatch:
    """What to raise when a user's constructor refuses what it is given."""
    return Mismatch(words, got=f"fields that its constructor refuses ({type(error).__name__}: {str(error)[:200]})")


def _define(lines: list[str], names: dict[str, Any], function: str) -> Convert:
    # The text consists of numbers and of field names that are Python identifiers.
    exec(compile("\n".join(lines), f"<flyte {function}>", "exec"), names)  # noqa: S102
    defined: Convert = names[function]
    return defined


def _slow_reader(fields: list[Field], words: str, construct: Convert) -> Convert:
    known = frozenset(field.name for field in fields)

    def read(plain: Any) -> Any:
        if type(plain) is not dict:
            raise Mismatch(words, plain)
        converted = {}
        for field in fields:
            value = plain.get(field.name, _MISSING)
            if value is _MISSING:
                if field.required:
                    raise Mismatch(words, plain, f"field {field.name!r} is missing")
                continue
            try:
                converted[field.name] = field.plain.unpack(value)
            except Mismatch as mismatch:
                raise mismatch.under(f".{field.name}") from mismatch.__cause__
        if not converted and plain and not known & plain.keys():
            raise Mismatch(words, plain, "it has none of the fields")
        return construct(converted)

    return read


def has_fields(fields: list[Field]) -> Callable[[Any], bool]:
    """A test whether a plain form has all the fields it needs and no others."""
    known = frozenset(field.name for field in fields)
    required = frozenset(field.name for field in fields if field.required)

    def fits(plain: Any) -> bool:
        return type(plain) is dict and required <= plain.keys() <= known

    return fits


def dataclass_fields(cls: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a dataclass in order.

    :raises TypeError: it has an InitVar without a default, which nothing could fill when a value is read.
    """
    for name, field in cls.__dataclass_fields__.items():
        if field._field_type.name == "_FIELD_INITVAR" and field.default is dataclasses.MISSING:
            raise TypeError(
                f"dataclass {cls.__qualname__} cannot be a task's input or output: its InitVar {name!r} has no "
                "default, so a value could not be rebuilt from its fields"
            )
    return list(dataclasses.fields(cls))
