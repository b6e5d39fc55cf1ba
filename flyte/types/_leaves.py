"""Plain forms of the leaves: numbers, text, time, enums, literals and the other built-in types (see ``_plain``)."""

import base64
import datetime
import decimal
import enum
import fractions
import pathlib
import uuid
from collections.abc import Callable
from typing import Any

from flyte._core.interface import describe
from flyte.types._mismatch import Mismatch
from flyte.types._plain import PLAIN_CLASSES, Dialect, Plain, converted, mark_of, marked, through

_UNIT = datetime.timedelta(microseconds=1)


def _int(value: Any) -> int:
    if isinstance(value, int) and type(value) is not bool:
        return int(value)
    raise Mismatch("int", value)


def _str(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    raise Mismatch("str", value)


def _float_plain(annotation: Any, dialect: Dialect) -> Plain:
    def pack(value: Any) -> Any:
        if type(value) is float:
            return value
        if isinstance(value, float):
            return float(value)
        if isinstance(value, int) and type(value) is not bool:
            # A float field that holds an int is common in user code; the peers write it as it is.
            return int(value) if dialect == "dataclass" else _to_float(value)
        raise Mismatch("float", value)

    def unpack(plain: Any) -> float:
        if type(plain) is float:
            return plain
        if type(plain) is int:
            return _to_float(plain)
        raise Mismatch("float", plain)

    return Plain(
        annotation,
        pack,
        unpack,
        through=frozenset((float,)),
        kinds=(float, int),
        owns=(float,),
        schema=lambda _: {"type": "number"},
    )


def _to_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise Mismatch("float", value, "it is too large") from error


def jsonable(value: Any) -> Any:
    """A leaf as pydantic dumps it to JSON."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value)


def _from_json(cls: type) -> Callable[[Any], Any]:
    adapter: Any = None

    def read(plain: Any) -> Any:
        nonlocal adapter
        if adapter is None:
            from pydantic import TypeAdapter

            adapter = TypeAdapter(cls)
        return adapter.validate_python(plain)  # its ValidationError is a ValueError

    return read


def _seconds(value: datetime.timedelta) -> Any:
    seconds = value.total_seconds()
    if datetime.timedelta(seconds=seconds) == value:
        return seconds
    # Longer than a double counts in microseconds (285 years).
    return marked("microseconds", value // _UNIT)


def _read_seconds(plain: Any) -> datetime.timedelta:
    if type(plain) is dict:
        if mark_of(plain) != "microseconds" or type(plain["value"]) is not int:
            raise ValueError("not a timedelta")
        return datetime.timedelta(microseconds=plain["value"])
    return datetime.timedelta(seconds=plain)


def _plain_datetime(value: datetime.datetime) -> str:
    return value.isoformat()


def _read_date(plain: str) -> datetime.date:
    # fromisoformat also takes week dates and basic forms, which no writer of ours makes; they are dates all the same.
    return datetime.date.fromisoformat(plain)


def _read_datetime(plain: str) -> datetime.datetime:
    if len(plain) < 11:
        raise ValueError("a date without a time")
    return datetime.datetime.fromisoformat(plain)


def _bytes_plain(annotation: Any, cls: type, dialect: Dialect) -> Plain:
    def pack_raw(value: bytes) -> Any:
        return bytes(value)

    def pack_text(value: bytes) -> Any:
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:  # pydantic refuses these; a raw value is what its reader takes as well
            return bytes(value)

    def unpack(plain: Any) -> Any:
        if type(plain) is bytes:
            return cls(plain)
        return cls(plain.encode() if dialect == "json" else base64.b64decode(plain, validate=True))

    schema = {"type": "string", "format": "base64" if dialect == "dataclass" else "binary"}
    write = pack_raw if dialect == "dataclass" else pack_text
    return converted(annotation, cls, write, unpack, schema, (bytes, str))


def _read_complex(plain: list[Any]) -> complex:
    real, imaginary = plain
    if type(real) is not float or type(imaginary) is not float:
        raise ValueError("not two floats")
    return complex(real, imaginary)


def read_fraction(plain: str) -> fractions.Fraction:
    """The fraction of a text such as "3/7"; exponents are refused, because a short text could name a giant."""
    numerator, _, denominator = plain.partition("/")
    return fractions.Fraction(int(numerator), int(denominator or "1"))


def leaf(annotation: Any, target: Any, dialect: Dialect) -> Plain | None:
    """The plain form of a built-in leaf; None for anything else."""
    json = dialect == "json"
    if target is int:
        return through(annotation, int, {"type": "integer"}, _int)
    if target is float:
        return _float_plain(annotation, dialect)
    if target is bool:
        return through(annotation, bool, {"type": "boolean"})
    if target is str:
        return through(annotation, str, {"type": "string"}, _str)
    if target is type(None):
        return through(annotation, type(None), {"type": "null"})
    if target is datetime.datetime:
        schema = {"type": "string", "format": "date-time"}
        return converted(annotation, target, jsonable if json else _plain_datetime, _read_datetime, schema, (str,))
    if target is datetime.date:
        plain = converted(
            annotation, target, datetime.date.isoformat, _read_date, {"type": "string", "format": "date"}, (str,)
        )
        plain.pack = plain.canon = _date_pack(plain.pack)
        return plain
    if target is datetime.time:
        clock = jsonable if json else datetime.time.isoformat
        time_schema = {"type": "string", "format": "time"}
        return converted(annotation, target, clock, datetime.time.fromisoformat, time_schema, (str,))
    if target is datetime.timedelta:
        if json:
            schema = {"type": "string", "format": "duration"}
            return converted(annotation, target, jsonable, _from_json(target), schema, (str, int, float))
        return converted(
            annotation,
            target,
            _seconds,
            _read_seconds,
            {"type": "number", "format": "time-delta"},
            (float, int, dict),
        )
    if target in (bytes, bytearray):
        return _bytes_plain(annotation, target, dialect)
    if target is complex:
        numbers = {"type": "array", "items": {"type": "number"}}
        return converted(annotation, complex, lambda v: [v.real, v.imag], _read_complex, numbers, (list,))
    if target is decimal.Decimal:
        return converted(annotation, target, str, decimal.Decimal, {"type": "string", "format": "decimal"}, (str,))
    if target is fractions.Fraction:
        return converted(annotation, target, str, read_fraction, {"type": "string", "format": "fraction"}, (str,))
    if target is uuid.UUID:
        return converted(annotation, target, str, uuid.UUID, {"type": "string", "format": "uuid"}, (str,))
    if isinstance(target, type) and issubclass(target, pathlib.PurePath):
        plain = converted(annotation, target, str, target, {"type": "string", "format": "path"}, (str,))
        plain.owns |= {type(target())}
        return plain
    return None


def _date_pack(pack: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def pack_date(value: Any) -> Any:
        if isinstance(value, datetime.datetime):
            raise Mismatch("date", value, "its time of day would be lost; pass value.date()")
        return pack(value)

    return pack_date


def enum_plain(annotation: Any, cls: type[enum.Enum], dialect: Dialect) -> Plain:
    """An Enum: the member's value in a dataclass, its name in JSON."""
    words = describe(annotation)
    members = list(cls)
    to_plain: dict[Any, Any] = {}
    by_name = dialect == "json" or not all(type(member.value) in PLAIN_CLASSES[:6] for member in members)
    for member in members:
        to_plain[member] = member.name if by_name else member.value
    from_plain = {(type(plain), plain): member for member, plain in to_plain.items()}
    if by_name:
        from_plain.update({(str, name): member for name, member in cls.__members__.items()})
    is_flag = issubclass(cls, enum.Flag)

    def pack(value: Any) -> Any:
        if not isinstance(value, cls):
            raise Mismatch(words, value)
        plain = to_plain.get(value, to_plain)
        if plain is to_plain:
            if is_flag and type(value.value) is int:
                return value.value
            raise Mismatch(words, value, "it is not a named member")
        return plain

    def unpack(plain: Any) -> Any:
        try:
            member = from_plain.get((type(plain), plain))
        except TypeError:  # a list or dict
            member = None
        if member is not None:
            return member
        if is_flag and type(plain) is int:
            try:
                return cls(plain)
            except ValueError as error:
                raise Mismatch(words, plain) from error
        if type(plain) is int and (float, float(plain)) in from_plain:
            return from_plain[float, float(plain)]
        if type(plain) is str and plain in cls.__members__:  # the other dialect's form
            return cls.__members__[plain]
        if by_name:
            for known in members:
                if type(known.value) is type(plain) and known.value == plain:
                    return known
        raise Mismatch(words, plain, f"the members are {', '.join(list(cls.__members__)[:8])}")

    kinds = {type(plain) for plain in to_plain.values()} | ({int} if is_flag else set()) or {str}
    values = list(to_plain.values())
    return Plain(
        annotation,
        pack,
        unpack,
        kinds=kinds,
        owns=(cls,),
        schema=lambda _: {"enum": values},
        fits=_member_of(from_plain),
    )


def _member_of(table: dict[Any, Any]) -> Callable[[Any], bool]:
    def fits(plain: Any) -> bool:
        return type(plain) in PLAIN_CLASSES[:6] and (type(plain), plain) in table

    return fits


def literal_plain(annotation: Any, choices: tuple[Any, ...]) -> Plain:
    """``Literal``: the choice itself; an Enum member by its value, bytes raw."""
    words = describe(annotation)
    plains = {(type(c), c): c.value if isinstance(c, enum.Enum) else c for c in choices}
    values = {(type(plain), plain): choice for (_, choice), plain in plains.items()}

    def pack(value: Any) -> Any:
        try:
            return plains[type(value), value]
        except (KeyError, TypeError) as error:
            raise Mismatch(words, value) from error

    def unpack(plain: Any) -> Any:
        try:
            return values[type(plain), plain]
        except (KeyError, TypeError) as error:
            raise Mismatch(words, plain) from error

    return Plain(
        annotation,
        pack,
        unpack,
        kinds={type(plain) for plain in plains.values()},
        owns={type(choice) for choice in choices},
        schema=lambda _: {"enum": list(plains.values())},
        fits=_member_of(values),
    )
